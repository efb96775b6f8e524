"""A runtime on a store in memory, for commands."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.store import FakeStore
from tests.scenario.world import VirtualClock

from selfheal import wiring
from selfheal.api.incident import IncidentSpec, Phase
from selfheal.api.policy import Policy
from selfheal.cli import once
from selfheal.engine.deps import Deps, Systems
from selfheal.engine.requeue import ASLEEP, Requeue
from selfheal.settings import Settings

KEY = "production/checkout-oom"


class Step:
    """A step that moves each incident to a phase, in ``turns`` steps."""

    def __init__(self, phase: Phase, turns: int = 1) -> None:
        self.phase, self.turns, self.taken = phase, turns, 0

    async def __call__(self, key: str, deps: Deps) -> Requeue:
        self.taken += 1
        if self.taken < self.turns:
            return Requeue(after=0.5)
        incident = await deps.store.get_incident(key)
        await deps.store.save_status(incident, incident.status.evolve(phase=self.phase))
        return Requeue(after=3600.0) if self.phase is Phase.PR_CREATED else ASLEEP


class Adapters:
    """What ``Wiring`` gives a command: the systems of a policy."""

    def __init__(self, tracker: Any = None, code: Any = None) -> None:
        self.systems = Systems(tracker=tracker, code=code, registry=None, crew=None)  # type: ignore[arg-type]

    async def connect_policy(self, policy: Policy, scope: object = None) -> Systems:
        return self.systems

    async def close(self) -> None:
        """Nothing to end."""


def install(
    monkeypatch: pytest.MonkeyPatch,
    store: FakeStore,
    *,
    step: Step | None = None,
    adapters: Adapters | None = None,
) -> Step:
    """Put a store with one incident behind the commands; return the step they take."""
    spec = {"summary": "checkout is restarting"}
    store.apply_incident(KEY, IncidentSpec.model_validate(spec))
    clock, taken = VirtualClock(), step or Step(Phase.INCIDENT_RESOLVED)

    async def build(settings: Settings) -> wiring.Runtime:
        deps = Deps(store=store, cluster=None, clock=clock, connect=None, holder="test")  # type: ignore[arg-type]
        found = adapters or Adapters()
        return wiring.Runtime(deps=deps, wiring=found, connection=found, cluster=found)  # type: ignore[arg-type]

    monkeypatch.setattr(wiring, "build", build)
    monkeypatch.setattr(once, "step", taken)
    return taken
