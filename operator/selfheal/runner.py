"""How the operator is run in a process: kopf around our own scheduler."""

from __future__ import annotations

import kopf

from selfheal.handlers import lifecycle
from selfheal.handlers.registration import register
from selfheal.settings import Settings


async def run_operator(settings: Settings) -> None:
    """Run until a signal; peering, finalizers and annotations of kopf are not used."""
    registry = kopf.OperatorRegistry()
    register(registry)
    lifecycle.use(settings)
    await kopf.operator(
        registry=registry,
        clusterwide=True,
        standalone=True,
        liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
    )
