"""PR_CREATION_IN_PROGRESS to VERIFICATION_COMPLETE."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.unit.domain import factories as f
from tests.unit.domain.test_decide_early import kind, said

from selfheal.api.incident import (
    HistoryEntry,
    Phase,
    PhaseClock,
    Resolution,
    RevertStatus,
    TargetRef,
)
from selfheal.domain.decisions import Act, Advance, Escalate, Stall
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import (
    BranchFacts,
    ChecksState,
    ContainerFacts,
    DeliveryFacts,
    DeliveryState,
    PodFacts,
    PullRequestState,
    ReviewState,
    WorkloadFacts,
)
from selfheal.domain.machine import decide

P = Phase
R = ReviewState
CLOSED = f.pull(state=PullRequestState.CLOSED)
WAIVED = f.repository(merge={"requireApproval": False})
BY_PERSON = f.repository(merge={"by": "Person"})


def at(phase: Phase, *, known=None, **seen):
    return decide(f.view(known or f.status(phase), **seen))


# --- PR_CREATION_IN_PROGRESS

def creating(**seen):
    return at(P.PR_CREATION_IN_PROGRESS, **seen)


def test_branch_then_pull_request_then_on() -> None:
    assert kind(creating()) is EffectKind.PUSH_BRANCH
    ours = f"{f.UID}/1/PR_CREATION_IN_PROGRESS/1/push-branch"
    branch = BranchFacts(name="b", sha=f.HEAD, effect_key=ours)
    assert kind(creating(branch=branch)) is EffectKind.OPEN_PULL_REQUEST
    foreign = BranchFacts(name="b", sha=f.HEAD, effect_key=None)
    assert creating(branch=foreign).reason == "BranchTaken"
    assert creating(pull_request=f.pull()).to is P.PR_CREATED
    assert creating(mapped=False).reason == "NoRepository"


def test_the_limit_of_open_pull_requests() -> None:
    assert creating(policy={"open_pull_requests": 20}).reason == "PullRequestLimit"
    assert creating(policy={"open_pull_requests": 20}).pauses_clock
    assert kind(creating(policy={"open_pull_requests": 19})) is EffectKind.PUSH_BRANCH


def test_what_earlier_runs_left_is_cleaned_up_first() -> None:
    second = f.status(P.PR_CREATION_IN_PROGRESS, run=2)
    own = "selfheal/production-checkout-oom-0f9c1d2e-r2a1"
    kept = f.pull(number=4, branch="old", labels=frozenset({"selfheal-keep"}))
    mine = f.pull(number=5, branch=own)
    old = f.pull(number=6, branch="older")
    found = creating(known=second, leftovers=(kept, mine, old), leftover_branches=("x",))
    assert (found.effect.kind, found.effect.number) == (EffectKind.CLOSE_PULL_REQUEST, 6)
    found = creating(known=second, leftovers=(kept, mine), leftover_branches=(own, "x"))
    assert (found.effect.kind, found.effect.branch) == (EffectKind.DELETE_BRANCH, "x")
    found = creating(known=second, leftovers=(kept,), leftover_branches=(own,))
    assert kind(found) is EffectKind.PUSH_BRANCH
    assert kind(creating(leftovers=(old,))) is EffectKind.PUSH_BRANCH


# --- PR_CREATED

@pytest.mark.parametrize(
    "pull",
    [
        f.pull(reviews=(f.review(R.COMMENTED),)), f.pull(person_comments=1), f.pull(assignees=("anna",)),
        f.pull(requested_reviewers=("anna",)), f.merged(), CLOSED,
    ],
)  # fmt: skip
def test_a_persons_first_sign_begins_the_review(pull) -> None:
    assert at(P.PR_CREATED, pull_request=pull).to is P.PR_UNDER_REVIEW


def test_nobody_has_looked_yet() -> None:
    robot = f.pull(reviews=(f.review(is_person=False),))
    assert at(P.PR_CREATED, pull_request=robot).reason == "WaitingForReview"
    well = f.status(P.PR_CREATED, verification=f.held(11))
    found = at(P.PR_CREATED, known=well, pull_request=robot)
    assert found.resolution is Resolution.RECOVERED


def test_a_pull_request_is_announced_and_one_that_is_gone_stalls() -> None:
    seen = {"rules": f.policy(), "ticket": f.ticket(status="PR Created")}
    assert at(P.PR_CREATED, pull_request=f.pull(), **seen).effect.milestone == "pull-request"
    for phase in (P.PR_CREATED, P.PR_UNDER_REVIEW, P.PR_APPROVED):
        found = at(phase)
        assert isinstance(found, Stall)
        assert found.reason == "PullRequestMissing"


@pytest.mark.parametrize(
    ("repo", "required", "risk", "waived"),
    [
        (WAIVED, True, "Low", True),
        (WAIVED, False, "Low", False),
        (WAIVED, True, "Medium", False),
        (f.repository(merge={"requireApproval": False, "maxRisk": "Medium"}), True, "Medium", True),
        (f.repository(merge={"requireApproval": False, "by": "Person"}), True, "Low", False),
        (f.repository(), True, "Low", False),
    ],
)
def test_when_no_approval_is_required(repo, required, risk, waived) -> None:
    for phase in (P.PR_CREATED, P.PR_UNDER_REVIEW):
        found = at(
            phase, known=f.status(phase, fix=f.fix_status(risk=risk)), repo=repo, pull_request=f.pull(),
            repository=f.repository_facts(required_checks=required),
        )  # fmt: skip
        assert isinstance(found, Advance) is waived
    unread = at(P.PR_CREATED, repo=repo, pull_request=f.pull())
    assert unread.reason == "WaitingForReview"
    unknown = f.status(P.PR_CREATED, fix=None)
    low = at(P.PR_CREATED, known=unknown, repo=repo, pull_request=f.pull(),
             repository=f.repository_facts())  # fmt: skip
    assert low.reason == "WaitingForReview"


# --- PR_UNDER_REVIEW

@pytest.mark.parametrize(
    ("reviews", "reason"),
    [
        ((f.review(),), None),
        ((f.review(R.CHANGES_REQUESTED), f.review()), None),
        ((f.review(), f.review(R.COMMENTED)), None),
        ((f.review(R.CHANGES_REQUESTED), f.review(R.DISMISSED), f.review(by=f.BEN)), None),
        ((), "WaitingForApproval"),
        ((f.review(sha="old"),), "WaitingForApproval"),
        ((f.review(is_person=False),), "WaitingForApproval"),
        ((f.review(by=f.OPERATOR),), "WaitingForApproval"),
        ((f.review(), f.review(R.DISMISSED)), "WaitingForApproval"),
        ((f.review(), f.review(R.CHANGES_REQUESTED)), "ChangesRequested"),
        ((f.review(), f.review(R.CHANGES_REQUESTED, by=f.BEN)), "ChangesRequested"),
    ],
)
def test_whose_approval_counts(reviews, reason) -> None:
    found = at(P.PR_UNDER_REVIEW, pull_request=f.pull(reviews=reviews))
    if reason is None:
        assert found.to is P.PR_APPROVED
    else:
        assert found.reason == reason


def test_the_repository_may_demand_more() -> None:
    pull = f.pull(reviews=(f.review(),), review_decision="REVIEW_REQUIRED")
    assert at(P.PR_UNDER_REVIEW, pull_request=pull).reason == "WaitingForApproval"


@pytest.mark.parametrize("checks", [ChecksState.PENDING, ChecksState.FAILURE])
def test_required_checks_are_waited_for(checks) -> None:
    pull = f.pull(reviews=(f.review(),), required_checks=checks)
    assert at(P.PR_UNDER_REVIEW, pull_request=pull).reason == "WaitingForChecks"


def test_merged_closed_and_recovered_during_the_review() -> None:
    assert at(P.PR_UNDER_REVIEW, pull_request=f.merged(merged_by="anna")).to is P.PR_APPROVED
    assert at(P.PR_UNDER_REVIEW, pull_request=CLOSED).reason == "ClosedUnmerged"
    well = f.status(P.PR_UNDER_REVIEW, verification=f.held(11))
    found = at(P.PR_UNDER_REVIEW, known=well, pull_request=f.pull())
    assert found.resolution is Resolution.RECOVERED


def test_a_foreign_push_is_not_merged_without_approval() -> None:
    pushed = f.pull(head_sha="foreign")
    found = at(P.PR_UNDER_REVIEW, repo=WAIVED, pull_request=pushed, repository=f.repository_facts())
    assert isinstance(found, Escalate)
    assert found.reason == "ForeignPush"


# --- PR_APPROVED

GOOD = f.pull(reviews=(f.review(),))


def test_merged_by_whom_the_policy_says() -> None:
    found = at(P.PR_APPROVED, pull_request=GOOD)
    assert (found.effect.kind, found.effect.sha) == (EffectKind.MERGE_PULL_REQUEST, f.HEAD)
    assert at(P.PR_APPROVED, pull_request=GOOD, repo=BY_PERSON).reason == "WaitingForMerge"
    assert at(P.PR_APPROVED, pull_request=f.merged()).to is P.PR_MERGED
    waived = at(P.PR_APPROVED, pull_request=f.pull(), repo=WAIVED, repository=f.repository_facts())
    assert kind(waived) is EffectKind.MERGE_PULL_REQUEST


def test_what_holds_a_merge_back() -> None:
    assert at(P.PR_APPROVED, pull_request=f.pull()).reason == "WaitingForApproval"
    until = f.NOW + dt.timedelta(minutes=2)
    frozen = at(P.PR_APPROVED, pull_request=GOOD, policy={"frozen_until": until})
    assert (frozen.reason, frozen.pauses_clock, frozen.after) == ("Frozen", True, until - f.NOW)
    limit = at(P.PR_APPROVED, pull_request=GOOD, policy={"merges_last_hour": 10})
    assert (limit.reason, limit.pauses_clock) == ("MergeLimit", True)
    assert at(P.PR_APPROVED, pull_request=CLOSED).reason == "ClosedUnmerged"
    failing = f.pull(required_checks=ChecksState.FAILURE)
    assert at(P.PR_APPROVED, pull_request=failing).reason == "NotMergeable"


def test_the_approval_is_said_in_the_ticket() -> None:
    seen = {"rules": f.policy(), "ticket": f.ticket(status="PR Approved")}
    for pull in (GOOD, f.merged()):
        assert at(P.PR_APPROVED, pull_request=pull, **seen).effect.milestone == "approval"


# --- delivery

def delivery(state: DeliveryState, message: str = "") -> DeliveryFacts:
    return DeliveryFacts(revision=f.MERGE, state=state, message=message)


@pytest.mark.parametrize(
    ("state", "carries", "started"),
    [
        (None, False, False), (DeliveryState.PENDING, False, False), (DeliveryState.UNKNOWN, True, True),
        (DeliveryState.IN_PROGRESS, False, True), (DeliveryState.SUCCESS, False, True), (None, True, True),
    ],
)  # fmt: skip
def test_delivery_starts(state, carries, started) -> None:
    word = delivery(state) if state else None
    found = at(P.PR_MERGED, pull_request=f.merged(), delivery=word, carries_change=carries)
    assert isinstance(found, Advance) is started


@pytest.mark.parametrize("phase", [P.PR_MERGED, P.DEPLOYMENT_IN_PROGRESS])
def test_a_failed_delivery_is_handed_over(phase: Phase) -> None:
    found = at(phase, delivery=delivery(DeliveryState.FAILURE, "job broke"))
    assert (found.reason, "job broke" in found.message) == ("DeploymentFailed", True)


def test_the_rollout_completes_or_fails() -> None:
    def go(carries=True, **load):
        return at(
            P.DEPLOYMENT_IN_PROGRESS, pull_request=f.merged(), carries_change=carries,
            workload=WorkloadFacts(exists=True, **load),
        )  # fmt: skip

    assert go(rollout_complete=True).to is P.DEPLOYMENT_COMPLETE
    assert go(rollout_complete=True, carries=False).reason == "RollingOut"
    assert go().reason == "RollingOut"
    assert kind(go(rollout_failed="deadline")) is EffectKind.OPEN_REVERT
    assert go(rollout_failed="old one", carries=False).reason == "RollingOut"


KILLED = {"last_terminated_reason": "OOMKilled"}
CRASHING = {"waiting_reason": "CrashLoopBackOff", "last_exit_code": 3}


@pytest.mark.parametrize(
    ("container", "pod", "words"),
    [
        ({"restarts": 2, **KILLED}, {}, "web-1/app is killed for lack of memory again, 2 times"),
        ({"restarts": 2, "terminated_reason": "OOMKilled"}, {}, "killed for lack of memory"),
        ({"restarts": 1, **KILLED}, {}, None),
        ({"restarts": 5, **CRASHING}, {}, "web-1/app crashes again, 5 times since the fix (exit code 3)"),
        ({"restarts": 4, **CRASHING}, {}, None),
        ({"restarts": 9}, {}, None),
        ({"restarts": 9, **KILLED}, {"created_at": f.NOW - dt.timedelta(minutes=9)}, None),  # what was there before
        ({"restarts": 9, **KILLED}, {"owned_by_current": False}, None),
        ({"restarts": 9, **KILLED}, {"deleting": True}, None),
    ],
)  # fmt: skip
def test_a_rollout_whose_new_pods_fail_by_themselves_is_not_waited_for(container, pod, words) -> None:
    entry = ContainerFacts(**{"name": "app", "image": "x", "ready": False, "restarts": 0, **container})
    stands = PodFacts(**{"name": "web-1", "phase": "Running", "ready": False, "created_at": f.NOW, "containers": (entry,), **pod})
    merged = HistoryEntry(to=P.PR_APPROVED, by="operator", at=f.NOW - dt.timedelta(minutes=1))

    def go(*history, carries=True):
        return at(
            P.DEPLOYMENT_IN_PROGRESS, known=f.status(P.DEPLOYMENT_IN_PROGRESS, history=list(history)),
            pull_request=f.merged(), carries_change=carries, workload=WorkloadFacts(exists=True, pods=(stands,)),
        )  # fmt: skip

    found = go(merged)
    if words is None:
        assert found.reason == "RollingOut"
    else:
        assert kind(found) is EffectKind.OPEN_REVERT
        reverted = f.status(P.DEPLOYMENT_IN_PROGRESS, history=[merged], revert=RevertStatus(number=9, url="https://r"))
        said = at(P.DEPLOYMENT_IN_PROGRESS, known=reverted, pull_request=f.merged(), carries_change=True,
                  workload=WorkloadFacts(exists=True, pods=(stands,)))  # fmt: skip
        assert said.reason == "VerificationFailed"
        assert words in said.message
        assert "https://r" in said.message
    assert go().reason == "RollingOut", "without a merge there is no since"
    assert go(merged, carries=False).reason == "RollingOut"


@pytest.mark.parametrize(("carries", "reason"), [(True, "VerificationFailed"), (False, "Timeout")])
def test_a_rollout_that_takes_too_long_is_the_fixs_fault_once_it_is_live(carries, reason) -> None:
    known = f.status(
        P.DEPLOYMENT_IN_PROGRESS, clock=PhaseClock(elapsed_seconds=31 * 60), revert=RevertStatus(number=8, url="https://code/8")
    )
    found = at(P.DEPLOYMENT_IN_PROGRESS, known=known, pull_request=f.merged(), carries_change=carries, workload=WorkloadFacts(exists=True))
    assert found.reason == reason
    assert "30 minutes" in found.message


@pytest.mark.parametrize(("age", "current", "fails"), [(0, True, True), (9, True, False), (9, False, True)])
def test_a_rollout_that_failed_before_the_merge_is_tried_again_first(age, current, fails) -> None:
    made = f.NOW - dt.timedelta(minutes=age)
    stands = PodFacts(name="web-1", phase="Failed", ready=False, created_at=made, owned_by_current=current)
    merged = HistoryEntry(to=P.PR_APPROVED, by="operator", at=f.NOW - dt.timedelta(minutes=1))
    found = at(
        P.DEPLOYMENT_IN_PROGRESS, known=f.status(P.DEPLOYMENT_IN_PROGRESS, history=[merged]),
        pull_request=f.merged(), carries_change=True,
        workload=WorkloadFacts(exists=True, pods=(stands,), rollout_failed="backoff limit"),
    )  # fmt: skip
    assert (kind(found) is EffectKind.OPEN_REVERT) if fails else (found.reason == "RollingOut")


@pytest.mark.parametrize(
    ("target_kind", "updated", "carries", "words"),
    [
        ("StatefulSet", 0, True, "delete pod db-2"), ("StatefulSet", 2, True, "delete pod db-0"),
        ("StatefulSet", 3, True, None), ("StatefulSet", 0, False, None), ("Deployment", 0, True, None),
    ],
)  # fmt: skip
def test_a_pod_that_a_stateful_set_will_not_replace_is_named(target_kind, updated, carries, words) -> None:
    found = at(
        P.DEPLOYMENT_IN_PROGRESS, known=f.status(P.DEPLOYMENT_IN_PROGRESS, target=TargetRef(kind=target_kind, name="db")),
        pull_request=f.merged(), carries_change=carries,
        workload=WorkloadFacts(exists=True, desired=3, updated=updated),
    )  # fmt: skip
    assert (words in found.message) if words else ("delete pod" not in found.message)


def test_the_first_evaluation_is_taken() -> None:
    assert at(P.DEPLOYMENT_COMPLETE, pull_request=f.merged()).to is P.VERIFICATION_IN_PROGRESS


def test_a_merge_seen_only_on_the_code_host_is_enough() -> None:
    known = f.status(P.DEPLOYMENT_COMPLETE, pull_request=f.pull_status())
    found = at(P.DEPLOYMENT_COMPLETE, known=known, pull_request=f.merged())
    assert found.to is P.VERIFICATION_IN_PROGRESS


# --- verification

def verifying(*checks, held=None, rules=None, **changes):
    known = f.status(P.VERIFICATION_IN_PROGRESS, verification=held, **changes)
    return decide(f.view(known, pull_request=f.merged(), checks=checks,
                         rules=rules or f.policy(tracker=False)))  # fmt: skip


HOLDS, BROKEN = f.check(holds=True), f.check(holds=False)


def test_every_check_holds_through_the_window() -> None:
    assert verifying(HOLDS, held=f.held(10)).to is P.VERIFICATION_COMPLETE
    assert verifying(HOLDS, held=f.held(12, 9)).reason == "Verifying"
    assert "check-0" in verifying(BROKEN, held=f.held(None)).message
    assert "the checks" in verifying().message
    assert verifying(held=f.held(12)).reason == "Verifying"


def test_a_proof_that_fails_is_taken_back_and_handed_over() -> None:
    final = f.check(holds=False, final=True)
    assert kind(verifying(final)) is EffectKind.OPEN_REVERT
    found = verifying(final, revert=RevertStatus(number=8, url="https://code/8"))
    assert (found.reason, "https://code/8" in found.message) == ("VerificationFailed", True)
    rules = f.policy(tracker=False, verification={"onFailure": "Escalate"})
    found = verifying(final, rules=rules)
    assert isinstance(found, Escalate)
    late = PhaseClock(elapsed_seconds=40 * 60)
    assert kind(verifying(BROKEN, clock=late)) is EffectKind.OPEN_REVERT
    assert verifying(BROKEN, clock=late, pull_request=None).reason == "VerificationFailed"


def test_results_stand_in_ticket_and_pull_request_before_the_end() -> None:
    known = f.status(P.VERIFICATION_COMPLETE)
    seen = {"rules": f.policy(), "ticket": f.ticket(status="Verifying Fix"), "pull_request": f.merged()}
    assert kind(decide(f.view(known, **seen))) is EffectKind.COMMENT_TICKET
    known = said(known, "verification")
    assert kind(decide(f.view(known, **seen))) is EffectKind.COMMENT_PULL_REQUEST
    known = said(known, "verification", on="comment-pull-request")
    assert decide(f.view(known, **seen)).resolution is Resolution.FIXED


# --- mirrors

def test_a_phase_is_left_only_when_its_mirrors_stand() -> None:
    known = said(f.status(P.PR_CREATED), "pull-request")
    seen = {"rules": f.policy(), "ticket": f.ticket(status="x"), "pull_request": f.pull(person_comments=1)}
    assert kind(decide(f.view(known, **seen, synced=False))) is EffectKind.SAVE_TICKET_MIRROR
    seen["ticket"] = f.view(known, **seen).facts.ticket
    assert kind(decide(f.view(known, **seen, synced=False))) is EffectKind.SAVE_PULL_REQUEST_MIRROR
    assert decide(f.view(known, **seen)).to is P.PR_UNDER_REVIEW
    seen["pull_request"] = f.pull(state=PullRequestState.CLOSED)
    review = f.status(P.PR_UNDER_REVIEW)
    assert isinstance(decide(f.view(review, **seen, synced=False)), Escalate)
    seen["ticket"] = None
    assert decide(f.view(known, **seen)).to is P.PR_UNDER_REVIEW


def test_a_long_run_goes_after_the_mirror_once_its_intent_is_saved() -> None:
    known = f.status(P.ANALYSIS_IN_PROGRESS)
    seen = {"rules": f.policy(), "ticket": f.ticket(status="In Progress"), "synced": False}
    first = decide(f.view(known, **seen))
    assert kind(first) is EffectKind.ANALYSE
    saved = known.evolve(intent=f.intent(P.PR_CREATED, kind="analyse").evolve(key=first.effect.key))
    assert kind(decide(f.view(saved, **seen))) is EffectKind.SAVE_TICKET_MIRROR
    assert isinstance(decide(f.view(saved, rules=f.policy(), ticket=f.ticket(status="x"))), Act)


def test_without_a_pull_request_to_read_there_is_nothing_to_mirror() -> None:
    known = said(f.status(P.VERIFICATION_COMPLETE), "verification", on="comment-pull-request")
    assert decide(f.view(known)).to is P.INCIDENT_RESOLVED


@pytest.mark.parametrize("phase", [P.PR_CREATED, P.PR_UNDER_REVIEW, P.PR_APPROVED])
def test_a_mapping_that_went_away_stalls_the_review(phase: P) -> None:
    found = decide(f.view(f.status(phase), mapped=False, pull_request=f.pull()))
    assert (type(found), getattr(found, "reason", "")) == (Stall, "NoRepository")
