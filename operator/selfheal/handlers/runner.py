"""How the operator is run in a process: kopf around our own scheduler."""

from __future__ import annotations

import asyncio

import kopf

from selfheal.domain import errors
from selfheal.handlers import lifecycle
from selfheal.handlers.registration import register
from selfheal.settings import Settings


async def run_operator(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run until a signal or ``stop``; peering, finalizers and annotations of kopf are not used.

    Raises the SelfHealError that made a start impossible, such as a missing kubeconfig.
    """
    registry = kopf.OperatorRegistry()
    register(registry)
    lifecycle.use(settings)
    try:
        await kopf.operator(
            registry=registry,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
        )
    except Exception as failure:
        cause: BaseException | None = failure  # kopf wraps what its handlers raise
        while cause is not None:
            if isinstance(cause, errors.SelfHealError):
                raise cause from failure
            cause = cause.__cause__
        raise
