"""Faults that leave every pod ready: found by the operator's own scan of the trial's namespace."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

from selfheal.adapters.kube import connection, kubelet, scan

PATIENCE = 20.0
"""Seconds in which autoscalers and budgets say what is wrong, and counters are sampled."""

POLL = 2.0


def find_quiet(kubeconfig: str, namespace: str) -> dict[tuple[str, str], str]:
    """Wait a while for faults that no pod shows: kind and name of the target, and what it is."""
    return asyncio.run(_find(kubeconfig, namespace))


async def _find(kubeconfig: str, namespace: str) -> dict[tuple[str, str], str]:
    api = await connection.connect(kubeconfig)
    kubelets = kubelet.Kubelets(api)
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            rows = await scan.scan(api, kubelets, [namespace], dt.datetime.now(dt.UTC))
            found = {
                (row.target.kind, row.target.name): row.finding.class_.value
                for row in rows
                if row.finding is not None
            }
            if found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(POLL)
    finally:
        await kubelets.close()
        await api.close()
