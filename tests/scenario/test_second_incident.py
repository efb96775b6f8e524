"""What proves a fix: the fault before it, and no second incident of the same cause in the window after."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml
from tests.scenario.test_taken_back import grows
from tests.scenario.world import (
    FILE,
    KEY,
    NAMESPACE,
    SOURCE,
    PlausibleModel,
    World,
    approve_when_asked,
    incident_spec,
    policy_spec,
)

from selfheal import ports
from selfheal.api.incident import IncidentStatus, Phase, Resolution
from selfheal.engine.step import step

OTHER = f"{NAMESPACE}/checkout-again"


async def proving() -> World:
    """Return a world whose fix is live and being proved."""
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(verification={"stableFor": "10m", "onFailure": "RevertPullRequest"}))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    await world.run_for(30)
    return world


async def look(world: World) -> IncidentStatus:
    """Let the operator look at the second incident until it rests."""
    for _ in range(20):
        world.clock.seconds += 1
        await step(OTHER, world.deps)
    return world.store.incidents[OTHER].status


async def test_it_counts_as_a_failed_verification_and_makes_no_fix_of_its_own() -> None:
    world = await proving()
    ours = world.cluster
    grows(world)
    world.store.apply_incident(OTHER, incident_spec(summary="checkout is killed again"))
    again = await look(world)
    assert again.duplicate_of == KEY
    assert again.phase is Phase.ANALYSIS_COMPLETE
    ours.needs["app"] = "100Mi"  # it looks well again by the time the first one is looked at
    ours.remove(NAMESPACE, "Deployment", "checkout")
    ours.apply(yaml.safe_load(world.code.files()[FILE]))
    world.clock.seconds += 5
    world.wake()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    handover = world.status.handover
    assert handover is not None
    assert handover.reason == "VerificationFailed"
    assert f"NoSecondIncident: {OTHER} reported the same fault again at 2026-11-23 " in handover.message
    assert world.store.policies["default"].status.failures == {"OOMKilled": 1}
    await world.run_for(60)
    assert OTHER in world.ticket.comments[-1].body
    await look(world)
    assert len(world.code.repo().pulls) == 2, "the fix and its revert"
    assert world.store.incidents[OTHER].status.phase is Phase.ANALYSIS_COMPLETE


async def test_one_that_finds_a_healthy_target_does_not_count() -> None:
    world = await proving()
    world.store.apply_incident(OTHER, incident_spec(summary="somebody is nervous"))
    again = await look(world)
    assert again.duplicate_of is None
    await world.run_to_end()
    assert world.status.handover is None


async def test_handed_back_to_the_proof_it_is_no_part_of_the_contract() -> None:
    world = await proving()
    grows(world)
    world.store.apply_incident(OTHER, incident_spec(summary="checkout is killed again"))
    await look(world)
    world.wake()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    await world.store.delete_incident(world.store.incidents[OTHER])
    world.tracker.move_by_person(world.ticket.key, "Verifying Fix", "bob")
    world.wake()
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    await world.run_for(30)
    assert world.status.verification is not None
    assert "NoSecondIncident" not in [check.name for check in world.status.verification.checks]


class Insistent(PlausibleModel):
    """A model that is sure of a lack of memory, whatever the evidence shows."""

    async def complete(self, messages: Any, **how: Any) -> ports.ModelAnswer:
        """Answer as ever, but for the analysis."""
        answer = await super().complete(messages, **how)
        said = json.loads(answer.text)
        if "ranking" not in said:
            return answer
        said |= {"finding": None, "class": "OOMKilled", "cause": "it needs more memory", "confidence": 0.95}
        return dataclasses.replace(answer, text=json.dumps(said))


@pytest.mark.parametrize("recovers", [True, False])
async def test_a_cause_that_nothing_shows_is_not_reproducible(recovers: bool) -> None:
    world = World(model=Insistent())
    world.cluster.needs.clear()
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    world.apply_source(SOURCE.encode())
    world.file_incident(policy_spec(recovery={"recovered": recovers}))
    await world.run_until(
        lambda w: w.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN)
    )
    assert "Analysis" in world.model.asked, world.model.asked
    assert Phase.ANALYSIS_COMPLETE not in world.phases()
    assert not world.code.repo().pulls
    if recovers:
        assert world.status.resolution is Resolution.RECOVERED, world.describe()
    else:
        assert world.status.handover.reason == "NotReproducible"


async def test_a_cause_that_shows_is_reproduced_before_it_is_fixed() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.FIX_GENERATED)
    before = {check.name: check.before for check in world.status.verification.checks}
    assert before["NoOOMKill"] is False
