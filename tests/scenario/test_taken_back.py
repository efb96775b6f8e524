"""A fix that does not prove itself is taken back: proposed, or merged where the policy says so, once."""

from __future__ import annotations

import pytest
import yaml
from tests.scenario.world import FILE, NAMESPACE, SOURCE, World, approve_when_asked, policy_spec

from selfheal.api.incident import Phase


def grows(world: World) -> None:
    """Let the workload need more than the fix gave it, once the fix is verified."""
    world.cluster.needs["app"] = "1Gi"
    world.clock.seconds += 1
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    world.cluster.apply(yaml.safe_load(world.code.files()[FILE]))


async def taken_back(world: World, **policy: object) -> World:
    """Run a life whose fix fails its verification, to the hand-over and some time beyond."""
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(verification={"stableFor": "10m", "onFailure": "Revert"}, **policy))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    await world.run_for(60)
    grows(world)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    await world.run_for(900)
    assert world.status.handover is not None
    assert world.status.handover.reason == "VerificationFailed"
    assert len(world.code.repo().pulls) == 2
    return world


async def test_merged_where_the_policy_reverts() -> None:
    world = await taken_back(World())
    assert world.status.revert is not None
    assert world.status.revert.state == "Merged"
    assert world.code.files()[FILE] == SOURCE.encode()
    assert "It was taken back: https://github.example" in world.status.handover.message
    assert len(world.store.policies["default"].status.merges) == 2
    said = world.ticket.comments[-1].body
    assert "NoOOMKill" in said
    assert "was killed for lack of memory" in said
    assert world.status.revert.url in said
    assert "NoOOMKill before the fix: fails at 2026-11-23 " in said
    assert "NoOOMKill after it: fails since 2026-11-23 " in said
    assert "git revert" not in said, "that is done"
    body = world.pull.body
    assert body.startswith("This takes https://github.example/acme/gitops/pull/1 back. The fix did not prove itself: NoOOMKill")
    assert "NoOOMKill before the fix: fails at" in body
    assert "Ticket: " in body
    there = [said for said in world.code.comments(1) if "A person is needed: VerificationFailed" in said]
    assert len(there) == 1, "said in the pull request of the fix too, once"


async def test_where_people_have_to_approve_it_stays_proposed() -> None:
    world = World()
    world.code.protect(reviews=1)
    await taken_back(world)
    assert world.status.revert is not None
    assert world.status.revert.state == "Open"
    assert "A revert is proposed: " in world.status.handover.message
    assert f"git revert {world.status.pull_request.merge_sha}" in world.ticket.comments[-1].body
    assert world.code.files()[FILE] != SOURCE.encode()


async def test_in_a_freeze_nothing_is_merged_by_itself() -> None:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(verification={"stableFor": "10m", "onFailure": "Revert"}))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    world.change_policy(freeze=[{"cron": "0 * * * *", "duration": "1h"}])
    grows(world)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.revert is not None
    assert world.status.revert.state == "Open"


@pytest.mark.parametrize("mode", ["Escalate", "RevertPullRequest"])
async def test_elsewhere_the_fix_stays_merged(mode: str) -> None:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(verification={"stableFor": "10m", "onFailure": mode}))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    grows(world)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.code.files()[FILE] != SOURCE.encode()
    assert (world.status.revert is None) is (mode == "Escalate")


async def test_files_that_were_changed_since_are_left_to_a_person() -> None:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(verification={"stableFor": "10m", "onFailure": "Revert"}))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    files = world.code.files()
    changed = {**files, FILE: files[FILE] + b"# by hand\n"}
    world.code.repo().commit("main", changed, author="eva", message="x", at=world.clock.now())
    grows(world)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    await world.run_for(60)
    assert world.status.handover.reason == "VerificationFailed"
    assert "NoOOMKill: " in world.status.handover.message
    assert f"{FILE} was changed since" in world.status.handover.message
    assert world.status.verification.verdict == "Failed"
    assert world.store.policies["default"].status.failures == {"OOMKilled": 1}
    assert len(world.code.repo().pulls) == 1
    assert f"git revert {world.status.pull_request.merge_sha}" in world.ticket.comments[-1].body
