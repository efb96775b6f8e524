"""Modes and endings: how far the operator goes, and how an incident may end."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
import yaml
from tests.scenario.world import (
    FILE,
    KEY,
    NAMESPACE,
    REPOSITORY,
    SOURCE,
    PlausibleModel,
    World,
    approve_when_asked,
    incident_spec,
    policy_spec,
    repository_spec,
)

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Phase, PullRequestStatus, Resolution
from selfheal.domain import errors, phases
from selfheal.domain.facts import ChecksState, DeliveryFacts, DeliveryState, PullRequestState
from selfheal.engine.step import step

CHAIN = list(phases.CHAIN)
HOUR = 3600.0


def fresh(**fields: Any) -> World:
    world = World(**fields)
    world.people.append(approve_when_asked)
    return world


def outside_writes(world: World) -> int:
    return world.tracker.writes.total() + world.code.created.total()


# --- how far it goes --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["spec", "mode", "flag"])
async def test_dry_run_writes_nothing_and_previews(how: str) -> None:
    world = fresh(dry_run=how == "flag")
    world.file_incident(
        policy_spec(mode="Observe") if how == "mode" else None, dryRun=how == "spec"
    )
    await world.run_until(
        lambda w: w.status.fix is not None and w.status.message.startswith("Dry run")
    )
    await world.run_for(2 * HOUR)
    assert world.phase is Phase.ANALYSIS_COMPLETE
    assert outside_writes(world) == 0
    assert not world.tracker.tickets
    assert (world.condition("Ready").status, world.condition("Ready").reason) == ("False", "DryRun")
    assert world.condition("TicketSynced").reason == "DryRun"
    assert world.status.fix is not None
    assert "+              memory: 128Mi" in (world.status.fix.preview or "")
    assert world.cluster.dry_runs


async def test_leaving_dry_run_begins_a_new_run() -> None:
    world = fresh()
    world.file_incident(dryRun=True)
    await world.run_until(
        lambda w: w.status.fix is not None and w.status.message.startswith("Dry run")
    )
    world.change_incident(dryRun=False)
    await world.run_until(Phase.INCIDENT_DETECTED)
    assert world.status.run == 2
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.phases()[-15:] == CHAIN
    assert world.tracker.created["ticket"] == 1


async def test_dry_run_in_the_middle_only_reads() -> None:
    world = fresh()
    world.people.clear()
    world.file_incident()
    await world.run_until(lambda w: w.status.message.startswith("Waits for a person"))
    world.change_incident(dryRun=True)
    before = outside_writes(world)
    world.code.approve(1, "rita")
    await world.run_for(HOUR)
    assert outside_writes(world) == before
    assert world.phase is Phase.PR_CREATED
    world.change_incident(dryRun=False)
    await world.run_to_end()
    assert world.status.run == 1


async def test_suggest_rests_with_the_proposal_in_the_ticket() -> None:
    world = fresh()
    world.file_incident(policy_spec(mode="Suggest", tracker={"pollInterval": "5m"}))
    await world.run_until(lambda w: "Suggest" in w.status.message)
    await world.run_for(48 * HOUR)
    assert world.phase is Phase.FIX_GENERATED
    assert world.code.created.total() == 0
    (comment,) = [c.body for c in world.ticket.comments if "Proposed fix" in c.body]
    assert "memory: 128Mi" in comment
    world.change_policy(mode="PullRequest")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED


@pytest.mark.parametrize("phase", [Phase.INCIDENT_DETECTED, Phase.PR_CREATION_IN_PROGRESS])
async def test_suspended_incident_sleeps(phase: Phase) -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(phase)
    world.change_incident(suspend=True)
    await world.step()
    calls, before = len(world.calls), outside_writes(world)
    assert world.requeue.after is None
    assert world.condition("Reconciling") is None
    await world.run_for(48 * HOUR)
    assert (len(world.calls), outside_writes(world)) == (calls, before)
    world.change_incident(suspend=False)
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED, "the time asleep did not count"


@pytest.mark.parametrize("how", ["policy", "flag"])
async def test_read_only_stops_every_outside_write(how: str) -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.FIX_GENERATED)
    if how == "flag":
        world.read_only = True
        world.restart()
    else:
        world.change_policy(suspend=True)
    before = outside_writes(world)
    await world.run_for(3 * HOUR)
    assert outside_writes(world) == before
    assert "stopped" in world.status.message
    world.read_only = False
    world.restart()
    world.change_policy(suspend=False)
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED


async def test_person_merges() -> None:
    world = fresh()
    world.file_incident(policy_spec(**repository_spec(merge={"by": "Person"})))
    await world.run_until(lambda w: "to merge" in w.status.message)
    await world.run_for(HOUR)
    assert world.phase is Phase.PR_APPROVED
    assert world.code.created["merge"] == 0
    world.code.merge_by_person(1, "rita")
    await world.run_to_end()
    assert world.phases() == CHAIN
    assert "rita" in next(e.why for e in world.status.history if e.to is Phase.PR_MERGED)


async def test_merged_by_a_person_at_once_still_passes_every_phase() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.merge_by_person(1, "rita")
    await world.run_to_end()
    assert world.phases() == CHAIN
    labels = world.code.label_history[REPOSITORY, 1]
    assert labels == [f"selfheal/{phase}" for phase in CHAIN[CHAIN.index(Phase.PR_CREATED) :]]


async def test_no_approval_required() -> None:
    world = World()
    world.code.protect(checks=["ci"])
    world.people.append(
        lambda w: w.code.set_checks(1, ChecksState.SUCCESS) if w.code.repo().pulls else None
    )
    world.file_incident(
        policy_spec(**repository_spec(merge={"requireApproval": False, "maxRisk": "High"}))
    )
    await world.run_to_end()
    assert world.phases() == CHAIN
    assert world.pull.reviews == ()


async def test_required_checks_are_waited_for() -> None:
    world = fresh()
    world.code.protect(checks=["ci"])
    world.file_incident()
    await world.run_until(lambda w: "required checks" in w.status.message)
    await world.run_for(HOUR)
    assert world.phase is Phase.PR_UNDER_REVIEW
    world.code.set_checks(1, ChecksState.SUCCESS)
    await world.run_to_end()
    assert world.phases() == CHAIN


async def test_freeze_holds_the_merge_back() -> None:
    world = fresh()
    window = {"cron": "0 9 * * *", "duration": "4h"}
    world.file_incident(policy_spec(freeze=[window]))
    await world.run_until(lambda w: "frozen" in w.status.message)
    await world.run_until(Phase.PR_MERGED)
    assert world.clock.now() >= dt.datetime(2026, 11, 23, 13, 0, tzinfo=dt.UTC)
    assert world.clock.now() < dt.datetime(2026, 11, 23, 13, 6, tzinfo=dt.UTC)


# --- review -----------------------------------------------------------------------------------


async def test_changes_requested_and_approved_after_all() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.request_changes(1, "rita", "not like this")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "ChangesRequested"
    assert "rita" in world.status.handover.message
    await world.run_until(lambda w: "handover" in w.milestones())
    await world.run_for(600)
    assert world.milestones().count("handover") == 1
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert world.status.run == 1
    assert world.status.resolution is Resolution.FIXED
    assert (
        Phase.PR_UNDER_REVIEW
        in world.phases()[world.phases().index(Phase.INCIDENT_REQUIRES_HUMAN) :]
    )


async def test_closed_unmerged() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.close(1)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "ClosedUnmerged"
    world.tracker.move_by_person(world.ticket.key, "Generating Fix", "ann")
    world.people.append(approve_when_asked)
    await world.run_to_end()
    assert world.status.run == 2
    assert len(world.code.repo().pulls) == 2


async def test_nobody_reviews() -> None:
    world = World()
    world.file_incident(policy_spec(tracker={"pollInterval": "2m"}, code={"pollInterval": "2m"}))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN, steps=20_000)
    assert world.status.handover is not None
    assert (world.status.handover.reason, world.status.handover.phase) == (
        "Timeout",
        Phase.PR_CREATED,
    )
    assert 24 * HOUR <= world.clock.seconds <= 24.1 * HOUR
    assert world.pull.state is PullRequestState.OPEN
    reminders = [c.body for c in world.ticket.comments if "Reminder:" in c.body]
    assert len(reminders) == 1
    assert "waits for a person to review it" in reminders[0]
    assert "in 720 minutes" in reminders[0] or "in 719 minutes" in reminders[0]


async def test_without_a_tracker_the_reminder_stands_in_the_pull_request() -> None:
    world = World()
    world.file_incident(policy_spec(tracker={"type": "None"}, code={"pollInterval": "5m"}))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN, steps=20_000)
    reminders = [body for body in world.code.comments(1) if "**Reminder:**" in body]
    assert len(reminders) == 1


async def test_the_same_failure_again_says_that_nothing_changed() -> None:
    world = fresh()
    world.file_incident(policy_spec(guards={"maxMemory": "64Mi"}))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert "Nothing changed" not in handed(world)
    for _ in range(2):
        world.tracker.move_by_person(world.ticket.key, "In Progress")
        await world.run_until(Phase.ANALYSIS_IN_PROGRESS)
        await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
        assert handed(world).count("Nothing changed") == 1
    await world.run_for(60.0)
    assert "Nothing changed" in world.ticket.comments[-1].body


def handed(world: World) -> str:
    assert world.status.handover is not None
    return world.status.handover.message


# --- endings ----------------------------------------------------------------------------------


async def test_fix_that_does_not_help_is_handed_over() -> None:
    world = fresh()
    world.cluster.needs["app"] = "1Gi"
    world.file_incident()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    handover = world.status.handover
    assert handover is not None
    assert (handover.phase, handover.reason) == (Phase.DEPLOYMENT_IN_PROGRESS, "VerificationFailed")
    assert "killed for lack of memory again" in handover.message
    assert world.store.policies["default"].status.failures == {"OOMKilled": 1}
    assert world.status.revert is not None
    await world.run_until(lambda w: "handover" in w.milestones())
    said = world.ticket.comments[-1].body
    assert "NoOOMKill before the fix: fails" in said
    assert "after it" not in said, "no check was evaluated after the fix"


async def test_verification_fails_and_a_revert_is_proposed() -> None:
    world = fresh()
    world.file_incident(policy_spec(verification={"stableFor": "10m"}))
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    await world.run_for(60)
    world.cluster.needs["app"] = "1Gi"  # it grows after all
    world.clock.seconds += 1
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    world.cluster.apply(yaml.safe_load(world.code.files()[FILE]))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "VerificationFailed"
    assert world.status.revert is not None
    assert len(world.code.repo().pulls) == 2
    assert world.code.created["pull_request"] == 2
    assert world.code.repo().files(world.pull.branch)[FILE] == SOURCE.encode()
    assert world.condition("Verified").reason == "Failed"
    await world.run_until(lambda w: "handover" in w.milestones())
    assert world.status.verification is not None
    assert world.status.verification.verdict == "Failed"
    assert world.store.policies["default"].status.failures == {"OOMKilled": 1}
    await world.run_for(600)
    assert len(world.code.repo().pulls) == 2, "at most one revert a merged fix"


async def test_class_that_failed_three_times_is_suspended() -> None:
    world = fresh()
    world.file_incident()
    policy = world.store.policies["default"]
    status = policy.status.evolve(failures={"OOMKilled": 3})
    await world.store.save_policy_status(policy, status)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "ClassSuspended"
    assert """-p '{"status":{"failures":{"OOMKilled":null}}}'""" in world.status.handover.message
    assert world.code.created.total() == 0
    policy = world.store.policies["default"]
    await world.store.save_policy_status(policy, policy.status.evolve(failures={}))
    world.tracker.move_by_person(world.ticket.key, "To Do", "ann")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED


async def test_success_forgets_the_failures_of_the_class() -> None:
    world = fresh()
    world.file_incident()
    policy = world.store.policies["default"]
    status = policy.status.evolve(failures={"OOMKilled": 2, "InvalidImageTag": 1})
    await world.store.save_policy_status(policy, status)
    await world.run_to_end()
    assert world.store.policies["default"].status.failures == {"InvalidImageTag": 1}


async def test_limit_of_open_pull_requests() -> None:
    world = fresh()
    world.file_incident(policy_spec(code={"limits": {"openPullRequests": 1}}))
    other = world.store.apply_incident("production/cart-oom", incident_spec(summary="cart"))
    pull = {
        "run": 1, "repository": REPOSITORY, "number": 9, "url": "https://x", "branch": "b",
        "headSHA": "1", "state": "Open",
    }  # fmt: skip
    open_, closed = (
        PullRequestStatus.model_validate(pull | {"state": s}) for s in ("Open", "Closed")
    )
    other = await world.store.save_status(other, other.status.evolve(pull_request=open_))
    await world.run_until(lambda w: "openPullRequests" in w.status.message)
    await world.run_for(2 * HOUR)
    assert world.code.created.total() == 0
    await world.store.save_status(other, other.status.evolve(pull_request=closed))
    await world.run_to_end()


async def test_recovers_by_itself() -> None:
    world = World()
    world.file_incident()
    await world.run_until(lambda w: "review" in w.status.message)
    world.cluster.needs.clear()
    source = yaml.safe_load(SOURCE)
    source["spec"]["template"]["metadata"]["annotations"] = {"restarted": "now"}
    world.cluster.apply(source)
    await world.run_to_end()
    assert world.status.resolution is Resolution.RECOVERED
    assert world.pull.state is PullRequestState.CLOSED
    assert len(world.code.comments(1)) == 1
    assert world.ticket.status == "Done"


async def test_healthy_from_the_start() -> None:
    world = World()
    world.cluster.needs.clear()
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    world.apply_source(SOURCE.encode())
    world.file_incident()
    await world.run_until(
        lambda w: w.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN)
    )
    assert world.status.resolution is Resolution.RECOVERED, world.describe()


@pytest.mark.parametrize("phase", [Phase.INCIDENT_DETECTED, Phase.ANALYSIS_IN_PROGRESS])
async def test_target_is_deleted(phase: Phase) -> None:
    world = World()
    world.file_incident()
    await world.run_until(phase)
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    await world.run_to_end()
    assert world.status.resolution is Resolution.TARGET_GONE


@pytest.mark.parametrize("phase", [Phase.ANALYSIS_COMPLETE, Phase.FIX_GENERATED, Phase.PR_CREATED])
async def test_target_is_deleted_later(phase: Phase) -> None:
    world = World()
    world.file_incident(policy_spec(mode="Suggest") if phase is Phase.FIX_GENERATED else None)
    await world.run_until(phase)
    world.cluster.remove(NAMESPACE, "Deployment", "checkout")
    await world.run_to_end()
    assert world.status.resolution is Resolution.TARGET_GONE


async def test_duplicate_waits_for_its_primary() -> None:
    world = fresh()
    world.file_incident()
    other = "production/checkout-again"
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    await world.run_until(lambda w: bool(w.store.cause_leases))
    world.store.apply_incident(other, incident_spec(summary="checkout again"))
    for _ in range(40):
        world.clock.seconds += 1
        await step(other, world.deps)
    found = world.store.incidents[other].status
    assert found.phase is Phase.ANALYSIS_COMPLETE
    assert KEY in found.message
    assert found.duplicate_of == KEY
    assert len(world.code.repo().pulls) == 0
    await world.run_to_end()
    for _ in range(60):
        world.clock.seconds += 5
        await step(other, world.deps)
    ended = world.store.incidents[other].status
    assert (ended.phase, ended.resolution) == (Phase.INCIDENT_RESOLVED, Resolution.DUPLICATE)
    assert len(world.code.repo().pulls) == 1
    assert world.tracker.created["ticket_link"] == 1


# --- without a tracker, without a model -------------------------------------------------------


async def test_without_a_tracker() -> None:
    world = fresh()
    world.file_incident(policy_spec(tracker={"type": "None"}))
    await world.run_to_end()
    assert world.phases() == CHAIN
    assert not world.tracker.tickets


async def test_moved_by_annotation_without_a_tracker() -> None:
    world = World()
    world.file_incident(policy_spec(tracker={"type": "None"}))
    await world.run_until(Phase.PR_CREATED)
    world.store.annotate(
        KEY, "selfheal.dev/transition-to", "INCIDENT_REQUIRES_HUMAN/1", manager="ann"
    )
    world.wake()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.history[-1].by == "ann (unproven)"
    await world.run_for(60)
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN
    world.people.append(approve_when_asked)
    world.store.annotate(KEY, "selfheal.dev/transition-to", "ANALYSIS_IN_PROGRESS/2", manager="bob")
    world.wake()
    await world.run_to_end()
    assert world.status.run == 2
    assert world.status.resolution is Resolution.FIXED


async def test_model_that_is_down_leaves_the_rules() -> None:
    class Down(PlausibleModel):
        async def complete(self, *args: Any, **kwargs: Any) -> Any:
            self.asked.append("down")
            raise errors.Unreachable("the model is down", system="model")

    world = fresh(model=Down())
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    degraded = world.condition("ModelDegraded")
    assert degraded is not None
    assert "the model is down" in degraded.message
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.status.diagnosis is not None
    assert world.status.diagnosis.by.value == "Rules"


async def test_target_found_by_its_name_in_the_text() -> None:
    world = fresh()
    world.file_incident(targetRef=None, summary="the checkout is down since nine")
    await world.run_to_end()
    assert world.status.target is not None
    assert world.status.target.name == "checkout"


async def test_target_that_nobody_names_is_asked_for_once() -> None:
    world = fresh()
    world.file_incident(targetRef=None, summary="something is slow")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert 1800 <= world.clock.seconds < 1900
    assert world.milestones().count("triage") == 1
    assert world.status.attempts.triage == 1


async def test_class_that_the_policy_does_not_fix() -> None:
    world = fresh()
    world.file_incident(policy_spec(guards={"classes": [IncidentClass.INVALID_IMAGE_TAG.value]}))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "ClassNotAllowed"
    assert world.code.created.total() == 0


async def test_guard_refuses() -> None:
    world = fresh()
    world.file_incident(policy_spec(guards={"maxMemory": "64Mi"}))
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.code.created.total() == 0
    assert "Mi" in world.status.handover.message


async def test_incident_is_deleted() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.FIX_GENERATED)
    await world.store.delete_incident(world.incident)
    await world.step()
    assert world.requeue.forget
    assert not world.store.stored_documents


@pytest.mark.parametrize("strategy", ["ArgoCD", "Flux"])
async def test_delivery_that_fails_by_its_own_word_is_handed_over(strategy: str) -> None:
    world = fresh(delivery_delay=10_000.0)
    world.file_incident(policy_spec(**repository_spec(deployment={"strategy": strategy})))
    await world.run_until(Phase.PR_MERGED)
    assert world.status.pull_request is not None
    sha = world.status.pull_request.merge_sha
    assert sha is not None
    begun = DeliveryFacts(revision=sha, state=DeliveryState.IN_PROGRESS)
    world.cluster.deliveries[sha] = begun
    await world.run_until(Phase.DEPLOYMENT_IN_PROGRESS)
    failed = dataclasses.replace(begun, state=DeliveryState.FAILURE, message="no such field")
    world.cluster.deliveries[sha] = failed
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "DeploymentFailed"
    assert "no such field" in handed(world)
