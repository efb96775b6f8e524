"""Earlier incidents of a workload: the rules and the agent know them, with their fixes and verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.scenario.world import KEY, PlausibleModel, World, approve_when_asked, policy_spec

from selfheal import ports
from selfheal.api import incident as incidents
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Phase, TargetRef


class ListeningModel(PlausibleModel):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []

    async def complete(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> ports.ModelAnswer:
        self.prompts.append(json.dumps(messages))
        return await super().complete(messages, **more)


async def add_earlier(world: World, name: str, *, merged: bool = True, target: str = "checkout") -> None:
    """An incident of the past that ended with a merged raise of the limit."""
    namespace = KEY.partition("/")[0]
    stored = world.store.apply_incident(f"{namespace}/{name}", incidents.IncidentSpec(policy_ref="default", summary=name))
    status = incidents.IncidentStatus(
        phase=Phase.INCIDENT_RESOLVED,
        phase_since=world.clock.now(),
        target=TargetRef(kind="Deployment", name=target),
        diagnosis=incidents.DiagnosisStatus.model_validate(
            {"class": IncidentClass.OOM_KILLED, "cause": "app was killed", "confidence": 0.9, "by": "Rules", "container": "app"}
        ),
        fix=incidents.FixStatus(summary=f"raised for {name}"),
        pull_request=incidents.PullRequestStatus(
            run=1, repository="shop/gitops", number=7, url="https://example.org/7", branch="b",
            head_sha="h", merge_sha="m" if merged else None,
        ),
        verification=incidents.VerificationStatus(verdict="Passed"),
    )  # fmt: skip
    await world.store.save_status(stored, status)


async def test_a_third_raise_of_the_limit_is_a_leak_and_goes_to_a_person() -> None:
    world = World()
    await add_earlier(world, "first")
    await add_earlier(world, "second")
    await add_earlier(world, "elsewhere", target="cart")
    world.file_incident(policy_spec())
    await world.run_until(lambda world: world.status.phase is Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.diagnosis is not None
    assert "raised before, for first, second" in world.status.diagnosis.cause
    assert not [call for call in world.calls if call == "code.ensure_pull_request"]


async def test_one_raise_before_is_told_to_the_agent_and_does_not_stop_the_fix() -> None:
    model = ListeningModel()
    world = World(model=model)
    world.people.append(approve_when_asked)
    await add_earlier(world, "first")
    await add_earlier(world, "closed-unmerged", merged=False)
    world.file_incident(policy_spec())
    await world.run_to_end()
    assert world.status.phase is Phase.INCIDENT_RESOLVED
    told = [text for text in model.prompts if "earlier incidents of this workload" in text]
    assert told
    assert all("raised for first" in text and "Passed" in text for text in told)
