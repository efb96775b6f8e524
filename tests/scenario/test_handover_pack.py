"""The hand-over pack of each row of the design's table (api.md): what a person who was woken finds in the ticket."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.scenario.world import (
    NAMESPACE,
    SOURCE,
    World,
    approve_when_asked,
    policy_spec,
    repository_spec,
)

from selfheal.api.incident import (
    Handover,
    Incident,
    IncidentSpec,
    IncidentStatus,
    Phase,
    Resolution,
)
from selfheal.api.meta import ObjectMeta
from selfheal.domain import errors, phases
from selfheal.domain.facts import ChecksState, DeliveryFacts, DeliveryState
from selfheal.engine import handover_pack

HUMAN = Phase.INCIDENT_REQUIRES_HUMAN
SLOW = {"tracker": {"pollInterval": "10m"}, "code": {"pollInterval": "10m"}}


def fresh(**settings: Any) -> World:
    world = World(**settings)
    world.people.append(approve_when_asked)
    return world


async def no_target() -> World:
    world = fresh()
    world.file_incident(targetRef=None, summary="something is slow")
    return world


async def no_cause() -> World:
    world = fresh()
    world.file_incident(policy_spec(agents={"minimumConfidence": 0.99}))
    return world


async def not_reproducible() -> World:
    world = fresh()
    world.cluster.needs.clear()
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    world.apply_source(SOURCE.encode())
    world.file_incident(policy_spec(recovery={"recovered": False}))
    return world


async def guard_refuses() -> World:
    world = fresh()
    world.file_incident(policy_spec(guards={"maxMemory": "64Mi"}))
    return world


async def pull_request_refused() -> World:
    world = fresh()

    async def refuse(*args: object, **values: object) -> None:
        raise errors.HandOver("PullRequestRefused", "GitHub refuses the pull request: body is too long")

    world.code.ensure_pull_request = refuse  # type: ignore[method-assign, assignment]
    world.file_incident()
    return world


async def changes_requested() -> World:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.request_changes(1, "rita", "not like this")
    return world


async def closed_unmerged() -> World:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.close(1)
    return world


async def nobody_reviews() -> World:
    world = World()
    world.file_incident(policy_spec(**SLOW))
    return world


async def nobody_merges() -> World:
    world = fresh()
    world.file_incident(policy_spec(**SLOW | {"code": {**SLOW["code"], **repository_spec(merge={"by": "Person"})["code"]}}))
    return world


async def checks_fail() -> World:
    world = fresh()
    world.code.protect(checks=["ci"])
    world.file_incident(policy_spec(**SLOW))
    await world.run_until(Phase.PR_CREATED)
    world.code.set_checks(1, ChecksState.FAILURE)
    return world


async def delivery_never_begins() -> World:
    world = fresh(delivery_delay=10.0**9)
    world.file_incident()
    return world


async def delivery_fails() -> World:
    world = fresh(delivery_delay=10.0**9)
    world.file_incident(policy_spec(**repository_spec(deployment={"strategy": "ArgoCD"})))
    await world.run_until(Phase.PR_MERGED)
    assert world.status.pull_request is not None
    sha = world.status.pull_request.merge_sha or ""
    begun = DeliveryFacts(revision=sha, state=DeliveryState.IN_PROGRESS)
    world.cluster.deliveries[sha] = begun
    await world.run_until(Phase.DEPLOYMENT_IN_PROGRESS)
    world.cluster.deliveries[sha] = dataclasses.replace(begun, state=DeliveryState.FAILURE, message="no such field")
    return world


async def verification_fails() -> World:
    world = fresh()
    world.cluster.needs["app"] = "1Gi"
    world.file_incident()
    return world


Row = tuple[Callable[[], Awaitable[World]], str, str, str]
ROWS: list[Row] = [
    (no_target, "Timeout", "Name the workload in a comment here", "To Do"),
    (no_cause, "NoCause", "say in a comment here what you see", "In Progress"),
    (not_reproducible, "NotReproducible", "Close this ticket if deployment/checkout is well", "In Progress"),
    (guard_refuses, "CapReached", "Change deployment/checkout in Git yourself", "Generating Fix"),
    (pull_request_refused, "PullRequestRefused", "Mend what keeps the pull request from being opened", "Creating PR"),
    (changes_requested, "ChangesRequested", "Read the review of https://github.example/acme/gitops/pull/1", "Under Review"),
    (closed_unmerged, "ClosedUnmerged", "what is wrong with https://github.example/acme/gitops/pull/1", "Generating Fix"),
    (nobody_reviews, "Timeout", "Review https://github.example/acme/gitops/pull/1", "Under Review"),
    (nobody_merges, "Timeout", "Merge https://github.example/acme/gitops/pull/1", "Under Review"),
    (checks_fail, "Timeout", "mend the failing checks or the conflict", "Under Review"),
    (delivery_never_begins, "Timeout", "Look why the merged commit does not reach deployment/checkout", "Deploying"),
    (delivery_fails, "DeploymentFailed", "Mend what the delivery says", "Deploying"),
    (verification_fails, "VerificationFailed", "selfheal rollback production/checkout-oom --yes", "In Progress"),
]  # fmt: skip


async def pack_of(world: World) -> str:
    await world.run_until(HUMAN, steps=5_000)
    await world.run_until(lambda w: "handover" in w.milestones())
    await world.run_for(600)
    assert world.milestones().count("handover") == 1, "it is said once"
    return next(c.body for c in world.ticket.comments if "A person is needed" in c.body)


@pytest.mark.parametrize(("prepare", "reason", "action", "status"), ROWS, ids=[row[0].__name__ for row in ROWS])
async def test_the_pack_says_all_that_a_person_needs(
    prepare: Callable[[], Awaitable[World]], reason: str, action: str, status: str
) -> None:
    world = await prepare()
    said = await pack_of(world)
    handover = world.status.handover
    assert handover is not None
    assert handover.reason == reason, handover
    assert f"A person is needed: {reason}" in said
    assert " ".join(handover.message.split())[:60] in " ".join(said.split()), "the exact error"
    assert f"- Stopped at: {handover_pack.STEPS[handover.phase]} ({handover.phase})" in said
    assert re.search(r"^- Seen: \S", said, re.MULTILINE)
    if world.status.diagnosis is not None:
        assert f"get shev -n {NAMESPACE} {world.status.diagnosis.evidence_ref}" in said
    assert re.search(r"^- Tried in run 1: \S", said, re.MULTILINE)
    assert said.count("Next:") == 1, "one next action"
    assert action in said
    assert f"move this ticket to {status};" in said.replace("*", "")
    assert len(said) < 2_500, "it is read in a glance"


@pytest.mark.parametrize("phase", [phase for phase in phases.CHAIN if phase is not Phase.INCIDENT_RESOLVED], ids=str)
def test_every_phase_has_a_next_action_and_a_way_back(phase: Phase) -> None:
    handover = Handover(phase=phase, reason="Timeout", message="It took too long.", at="2026-11-23T09:00:00Z", run=1)  # type: ignore[arg-type]
    incident = Incident(metadata=ObjectMeta(name="a", namespace="b"), spec=IncidentSpec(summary="x"))
    said = handover_pack.render(incident, IncidentStatus(handover=handover), measured=[])
    assert re.search(r"\*\*Next:\*\* [A-Z].*\.$", said, re.MULTILINE)
    assert "{" not in said
    assert phase in said
    assert re.search(r"move this ticket to \*[A-Z][A-Za-z ]+\*;", said)


async def test_mended_and_handed_back_as_the_pack_says_it_is_resolved() -> None:
    world = await guard_refuses()
    said = await pack_of(world)
    wanted = re.search(r"move this ticket to ([A-Za-z ]+);", said.replace("*", ""))
    assert wanted is not None
    world.change_policy(guards={"maxMemory": "1Gi"})
    world.tracker.move_by_person(world.ticket.key, wanted[1], "ann")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.status.run == 2


async def test_a_merge_by_hand_over_a_weekend_resumes_at_the_next_poll() -> None:
    world = await nobody_reviews()
    await world.run_until(HUMAN, steps=5_000)
    await world.run_for(2 * 86_400)
    world.code.approve(1, "rita")
    world.code.merge_by_person(1, "rita")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.code.created["pull_request"] == 1


async def test_an_approval_while_the_operator_is_down_resumes_at_its_start() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    await world.let_pass(3_600)  # nobody steps
    world.code.approve(1, "rita")
    world.restart()
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.code.created["pull_request"] == 1
