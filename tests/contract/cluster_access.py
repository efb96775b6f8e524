"""Where the local cluster is, and whether it answers."""

from __future__ import annotations

import os
import pathlib

from selfheal.adapters.kube import connection
from selfheal.domain import errors

ROOT = pathlib.Path(__file__).resolve().parents[2]


async def connect_or_none() -> connection.Connection | None:
    """Return a connection by SELFHEAL_E2E_KUBECONFIG or .cluster/kubeconfig that answers."""
    for path in (os.environ.get("SELFHEAL_E2E_KUBECONFIG"), str(ROOT / ".cluster" / "kubeconfig")):
        if not path or not pathlib.Path(path).exists():  # noqa: ASYNC240
            continue
        api = await connection.connect(path)
        try:
            await api.get("/version")
        except errors.SelfHealError:
            await api.close()
        else:
            return api
    return None
