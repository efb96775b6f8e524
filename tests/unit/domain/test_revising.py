"""Another commit for an open pull request: when, by which key, how often, and when a person."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.domain import factories as f
from tests.unit.domain.test_decide_early import kind

from selfheal.api.incident import Attempts, HistoryEntry, Intent, Phase, Receipt
from selfheal.domain.absorb import absorb
from selfheal.domain.decisions import Act, Advance, Escalate, Wait
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import (
    BranchFacts,
    ChecksState,
    PullRequestFacts,
    Review,
    ReviewState,
    RevisionFacts,
)
from selfheal.domain.machine import decide

P = Phase
REVISE, REAPPLY = EffectKind.REVISE, EffectKind.REAPPLY
REVISING = f.repository(pullRequest={"onChangesRequested": "Revise"})
ONE = f.repository(pullRequest={"onChangesRequested": "Revise", "revisions": 1})
WAIVED = f.repository(merge={"requireApproval": False})


def objection(name: str = "r1", **changes: Any) -> Review:
    return Review(
        by=f.ANNA, is_person=True, state=ReviewState.CHANGES_REQUESTED, sha=f.HEAD, at=f.NOW, id=name, **changes
    )


ASKED = f.pull(reviews=(objection(),))
CONFLICT = f.pull(mergeable=False)
FAILING = f.pull(required_checks=ChecksState.FAILURE)


def spent(phase: Phase = P.PR_UNDER_REVIEW, **changes: Any):
    attempts = {key: changes.pop(key) for key in ("revision", "reapply") if key in changes}
    return f.status(phase, attempts=Attempts(fix=1, **attempts), **changes)


def revision(*, head: str = f.HEAD, refused: str | None = None, answers: tuple[str, ...] = ("r1",)) -> RevisionFacts:
    return RevisionFacts(proposal=f.proposal(refused=refused), head_sha=head, answers=answers)


def at(pull: PullRequestFacts, *, known=None, phase: Phase = P.PR_UNDER_REVIEW, **seen: Any):
    return decide(f.view(known or f.status(phase), pull_request=pull, **seen))


def push_key(effect: EffectKind, attempt: int = 1) -> str:
    return f"{f.UID}/1/PR_UNDER_REVIEW/{attempt}/push-{effect}"


@pytest.mark.parametrize(
    ("pull", "phase", "repo", "wanted"),
    [
        (ASKED, P.PR_UNDER_REVIEW, REVISING, REVISE),
        (ASKED, P.PR_APPROVED, REVISING, REVISE),
        (ASKED, P.PR_UNDER_REVIEW, None, "ChangesRequested"),
        (ASKED, P.PR_APPROVED, None, "ChangesRequested"),
        (FAILING, P.PR_UNDER_REVIEW, REVISING, REVISE),
        (FAILING, P.PR_APPROVED, REVISING, REVISE),
        (FAILING, P.PR_UNDER_REVIEW, None, "WaitingForApproval"),
        (CONFLICT, P.PR_CREATED, None, REAPPLY),
        (CONFLICT, P.PR_UNDER_REVIEW, None, REAPPLY),
        (CONFLICT, P.PR_APPROVED, None, REAPPLY),
        (f.pull(behind=True), P.PR_UNDER_REVIEW, None, "WaitingForApproval"),
        (f.pull(behind=True), P.PR_APPROVED, None, REAPPLY),
        (f.pull(mergeable=None), P.PR_UNDER_REVIEW, None, "WaitingForApproval"),
        # a person's commit is theirs to mend
        (f.pull(head_sha="x", mergeable=False), P.PR_UNDER_REVIEW, None, "WaitingForApproval"),
        (f.pull(head_sha="x", mergeable=False), P.PR_APPROVED, None, "NotMergeable"),
        (f.pull(head_sha="x", reviews=(objection(),)), P.PR_UNDER_REVIEW, REVISING, "ChangesRequested"),
        (f.pull(head_sha="x", required_checks=ChecksState.FAILURE), P.PR_UNDER_REVIEW, REVISING, "ChecksFailed"),
    ],
)  # fmt: skip
def test_what_an_open_pull_request_needs(pull, phase, repo, wanted) -> None:
    found = at(pull, phase=phase, repo=repo)
    if isinstance(wanted, EffectKind):
        assert (kind(found), found.effect.key.split("/")[3]) == (wanted, "1")
    else:
        assert found.reason == wanted


def test_a_revision_is_pushed_once_it_is_proved() -> None:
    found = at(ASKED, known=spent(revision=1), repo=REVISING, revisions={"revise": revision()})
    effect = found.effect
    assert (effect.kind, effect.key, effect.why) == (EffectKind.PUSH_REVISION, push_key(REVISE), "revise")
    assert (effect.sha, effect.branch, effect.number) == (f.HEAD, f.pull_status().branch, 7)
    again = at(ASKED, known=spent(P.PR_APPROVED, revision=1), repo=REVISING, revisions={"revise": revision()},
               phase=P.PR_APPROVED)  # fmt: skip
    assert again.effect.key == effect.key, "the same commit, whatever the phase"


def test_what_is_refused_goes_to_a_person_with_the_reason() -> None:
    refused = {"revise": revision(refused="above the cap")}
    found = at(ASKED, known=spent(revision=1), repo=REVISING, revisions=refused)
    assert (found.reason, "above the cap" in found.message) == ("ChangesRequested", True)
    more = f.pull(reviews=(objection(), Review(**{**vars(objection("r2")), "by": f.BEN})))
    assert kind(at(more, known=spent(revision=1), repo=REVISING, revisions=refused)) is REVISE
    found = at(more, known=spent(revision=1), repo=ONE, revisions=refused)
    assert "All 1 commits" in found.message


def test_the_allowance_of_each_kind() -> None:
    old = {"revise": revision(head="old"), "reapply": revision(head="old")}
    found = at(ASKED, known=spent(revision=1), repo=REVISING, revisions=old)
    assert (kind(found), found.effect.key.split("/")[3]) == (REVISE, "2")
    assert at(ASKED, known=spent(revision=2), repo=REVISING, revisions=old).reason == "ChangesRequested"
    assert kind(at(CONFLICT, known=spent(revision=2, reapply=2), revisions=old)) is REAPPLY
    assert at(CONFLICT, known=spent(reapply=3), revisions=old).reason == "NotMergeable"
    never = f.repository(pullRequest={"onChangesRequested": "Revise", "revisions": 0})
    assert at(ASKED, repo=never).reason == "ChangesRequested"


def test_an_attempt_that_was_cut_off() -> None:
    open_ = Intent(key="k", kind=REVISE, at=f.NOW)
    known = spent(revision=1, intent=open_)
    found = at(ASKED, known=known, repo=ONE, revisions={})
    assert found.effect.key.split("/")[3] == "1", "rules may simply be run again"
    model = {"cut_off": True, "has_model": True}
    assert at(ASKED, known=known, repo=ONE, revisions={}, policy=model).reason == "ChangesRequested"
    found = at(ASKED, known=known, repo=REVISING, revisions={}, policy=model)
    assert found.effect.key.split("/")[3] == "2", "the model may have been asked"


def test_an_answered_review_is_waited_for() -> None:
    known = spent(revision=1, pull_request=f.pull_status(answered=["r1"]))
    found = at(ASKED, known=known, repo=REVISING, revisions={})
    assert isinstance(found, Wait)
    assert (found.reason, "Anna" in found.message) == ("WaitingForReview", True)
    again = f.pull(reviews=(objection(), objection("r2")))
    assert kind(at(again, known=known, repo=REVISING, revisions={})) is REVISE
    conflict = f.pull(reviews=(objection(),), mergeable=False)
    assert kind(at(conflict, known=known, repo=REVISING, revisions={})) is REAPPLY


def branch(sha: str, key: str | None) -> BranchFacts:
    return BranchFacts(name="b", sha=sha, effect_key=key)


@pytest.mark.parametrize("effect", [REVISE, REAPPLY])
def test_a_commit_that_a_crash_left_unrecorded_is_adopted(effect) -> None:
    known = spent(revision=1, reapply=1)
    pull = f.pull(head_sha="new", reviews=(objection(),))
    found = at(pull, known=known, repo=REVISING, branch=branch("new", push_key(effect)))
    assert (found.effect.kind, found.effect.why) == (EffectKind.PUSH_REVISION, effect)
    for foreign in (branch("new", None), branch("new", push_key(effect, 2)), None):
        found = at(pull, known=known, repo=REVISING, branch=foreign)
        assert isinstance(found, Escalate)
    only = spent(**{"revision" if effect is REVISE else "reapply": 1})
    other = REAPPLY if effect is REVISE else REVISE
    assert isinstance(at(pull, known=only, repo=REVISING, branch=branch("new", push_key(other))), Escalate)


def test_a_host_that_shows_the_head_before_is_waited_for() -> None:
    found = at(f.pull(head_sha="old"), known=spent(revision=1), branch=branch(f.HEAD, push_key(REVISE)))
    assert found.reason == "WaitingForHost"


def test_what_was_pushed_is_written_down_once() -> None:
    pushed = RevisionFacts(proposal=f.proposal(ref="ev-2"), head_sha=f.HEAD, answers=("r1",), pushed_sha="new")
    known = f.status(P.PR_UNDER_REVIEW, pull_request=f.pull_status(answered=["r0"]))
    seen = f.facts(pushed=pushed, pull_request=None, workload=None, checks=None, duplicate=None)

    def take(status):
        return absorb(status, seen, repository=None, minimum_confidence=0.6, now=f.NOW)

    found = take(take(known))
    assert (found.pull_request.head_sha, found.pull_request.answered) == ("new", ["r0", "r1"])
    assert found.fix.proposal_ref == "ev-2"
    assert take(f.status(P.PR_UNDER_REVIEW, pull_request=None)).pull_request is None
    unpushed = f.facts(pushed=revision(), pull_request=None, workload=None, checks=None, duplicate=None)
    assert absorb(known, unpushed, repository=None, minimum_confidence=0.6, now=f.NOW) == known


GOOD = {"reviews": (f.review(),)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queued": True}, "InMergeQueue"),
        ({"draft": True}, "WaitingForMerge"),
        ({"required_checks": ChecksState.PENDING}, "WaitingForChecks"),
        ({"review_decision": "REVIEW_REQUIRED"}, "WaitingForApproval"),
    ],
)
def test_what_holds_a_merge_back_for_a_while(changes, reason) -> None:
    assert at(f.pull(**GOOD, **changes), phase=P.PR_APPROVED).reason == reason


def test_a_foreign_commit_is_never_merged_unseen() -> None:
    seen = {"repo": WAIVED, "repository": f.repository_facts(), "phase": P.PR_APPROVED}
    assert at(f.pull(head_sha="x"), **seen).reason == "ForeignPush"
    approved = f.pull(head_sha="x", reviews=(f.review(sha="x"),))
    assert kind(at(approved, **seen)) is EffectKind.MERGE_PULL_REQUEST


def test_a_revision_is_told_in_the_ticket_once() -> None:
    known = spent(revision=1, fix=f.fix_status(revision=1))
    seen = {"rules": f.policy(), "ticket": f.ticket(status="Under Review")}
    found = at(f.pull(), known=known, **seen)
    assert (found.effect.milestone, found.effect.key.rpartition("/")[2]) == ("revision", "revision-1")
    receipt = Receipt(key=found.effect.key, kind=found.effect.kind, at=f.NOW)
    assert isinstance(at(f.pull(), known=known.evolve(receipts=[receipt]), **seen), Wait)
    assert isinstance(at(f.pull(), known=f.status(P.PR_UNDER_REVIEW, fix=None)), Wait)


def test_an_approval_of_the_revision_goes_on() -> None:
    known = spent(revision=1, pull_request=f.pull_status(answered=["r1"]))
    found = at(f.pull(reviews=(objection(), f.review())), known=known, repo=REVISING)
    assert isinstance(found, Advance)
    assert found.to is P.PR_APPROVED


@pytest.mark.parametrize(
    ("by", "before", "queued", "leaves"),
    [
        ("Anna", P.PR_APPROVED, True, True),
        ("Anna", P.PR_APPROVED, False, False),
        ("operator", P.PR_APPROVED, True, False),
        ("Anna", P.PR_CREATED, True, False),
    ],
)
def test_a_persons_move_takes_it_out_of_the_queue(by, before, queued, leaves) -> None:
    history = [HistoryEntry(from_=before, to=P.PR_UNDER_REVIEW, by=by, at=f.NOW)]
    found = at(f.pull(queued=queued), known=f.status(P.PR_UNDER_REVIEW, history=history))
    assert (isinstance(found, Act) and found.effect.kind is EffectKind.LEAVE_QUEUE) is leaves
    nobody = f.status(P.PR_UNDER_REVIEW, history=[])
    assert isinstance(at(f.pull(queued=queued), known=nobody), Wait)
