"""What was observed is written down, once and only where it belongs."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Handover, Phase
from selfheal.domain.absorb import absorb
from selfheal.domain.facts import (
    ChecksState,
    DeliveryFacts,
    DeliveryState,
    DuplicateFacts,
    ReviewState,
    WorkloadFacts,
)

P = Phase


def take(status, *, repo=None, now=f.NOW, **seen):
    seen = {"workload": None, "checks": None, "duplicate": None, **seen}
    looked = f.facts(**seen)
    once = absorb(status, looked, repository=repo, minimum_confidence=0.6, now=now)
    assert absorb(once, looked, repository=repo, minimum_confidence=0.6, now=now) == once
    return once


def test_the_target_is_kept_and_watched() -> None:
    assert take(f.status(target=None), target=f.TARGET).target == f.TARGET
    unseen = f.status(target_seen=False)
    assert take(unseen, workload=WorkloadFacts(exists=False)).target_gone_since is None
    seen = take(unseen, workload=WorkloadFacts(exists=True))
    gone = take(seen, workload=WorkloadFacts(exists=False))
    assert gone.target_gone_since == f.NOW
    assert take(gone, workload=WorkloadFacts(exists=True)).target_gone_since is None


@pytest.mark.parametrize("claimed", [True, False])
def test_only_a_claimed_ticket_becomes_ours(claimed: bool) -> None:
    found = take(f.status(ticket=None), ticket=f.ticket(f.move(11, "To Do")), claimed=claimed)
    assert (found.ticket.seen_change if claimed else found.ticket) == ("11" if claimed else None)


@pytest.mark.parametrize(
    ("change", "stored"),
    [({}, True), ({"confidence": 0.6}, True), ({"confidence": 0.59}, False), ({"failure": "x"}, False),
     ({"not_failing": True}, False)],
)  # fmt: skip
def test_a_diagnosis_above_the_threshold_is_stored(change: dict, stored: bool) -> None:
    found = take(f.status(P.ANALYSIS_IN_PROGRESS), diagnosis=f.diagnosis(**change))
    assert (found.diagnosis is not None) is stored
    assert take(f.status(), diagnosis=f.diagnosis(**change)).diagnosis is None


def test_checks_before_the_fix_are_those_of_the_diagnosis() -> None:
    named = f.diagnosis(checks=(f.check(holds=False, name="ready"),))
    found = take(f.status(P.ANALYSIS_IN_PROGRESS), diagnosis=named)
    assert [(c.name, c.before) for c in found.verification.checks] == [("ready", False)]


def test_a_duplicate_is_noted_and_cleared_where_it_rests() -> None:
    same = DuplicateFacts(primary="a/b")
    noted = take(f.status(P.ANALYSIS_COMPLETE), duplicate=same)
    assert noted.duplicate_of == "a/b"
    assert take(noted, duplicate=DuplicateFacts()).duplicate_of is None
    assert take(f.status(P.FIX_GENERATED), duplicate=same).duplicate_of is None


@pytest.mark.parametrize(
    ("phase", "preview"),
    [(P.FIX_GENERATION_IN_PROGRESS, None), (P.ANALYSIS_COMPLETE, "+1"), (P.PR_CREATED, "none")],
)
def test_a_proposal_is_stored_and_only_previewed_in_a_dry_run(phase: Phase, preview: str | None) -> None:
    found = take(f.status(phase, fix=None), proposal=f.proposal()).fix
    assert (found is None) if preview == "none" else (found.preview == preview)
    assert take(f.status(phase, fix=None), proposal=f.proposal(refused="no")).fix is None
    assert take(f.status(phase, fix=None).evolve(phase=None), proposal=f.proposal()).fix is None


@pytest.mark.parametrize(
    ("reviews", "word"),
    [((), "ReviewRequired"), ((f.review(),), "Approved"),
     ((f.review(ReviewState.CHANGES_REQUESTED),), "ChangesRequested")],
)  # fmt: skip
def test_a_pull_request_is_stored_with_the_head_that_we_made(reviews, word) -> None:
    new = take(f.status(pull_request=None, run=3), pull_request=f.pull(reviews=reviews, required_checks=ChecksState.SUCCESS))
    assert (new.pull_request.run, new.pull_request.review_decision) == (3, word)
    pushed = take(new.evolve(run=4), pull_request=f.pull(head_sha="foreign")).pull_request
    assert (pushed.run, pushed.head_sha, pushed.merge_sha) == (3, f.HEAD, None)
    assert take(new, pull_request=f.merged()).pull_request.merge_sha == f.MERGE


@pytest.mark.parametrize(
    ("phase", "seen", "state"),
    [
        (P.PR_MERGED, {}, "Pending"),
        (P.PR_MERGED, {"delivery": DeliveryFacts(revision="r", state=DeliveryState.SUCCESS, url="u")}, "Success"),
        (P.DEPLOYMENT_IN_PROGRESS, {"carries_change": True}, "InProgress"),
        (P.DEPLOYMENT_COMPLETE, {}, "Live"),
    ],
)
def test_the_delivery_of_the_merge(phase: Phase, seen: dict, state: str) -> None:
    found = take(f.status(phase), repo=f.repository(), **seen)
    assert (found.deployment.state, found.deployment.revision) == (state, f.MERGE)
    assert take(found).deployment.url == found.deployment.url
    assert take(f.status(P.PR_APPROVED)).deployment is None


def test_a_revert_is_stored() -> None:
    assert take(f.status(), revert=f.pull(number=8)).revert.number == 8


def test_checks_hold_since_they_began_and_start_afresh_after_the_fix() -> None:
    early = take(f.status(P.ANALYSIS_IN_PROGRESS), checks=(f.check(holds=True),))
    later = f.NOW + dt.timedelta(minutes=1)
    assert take(early, checks=(f.check(holds=True),), now=later).verification.checks[0].holds_since == f.NOW
    assert early.verification.started_at is None
    fixed = take(early.evolve(phase=P.DEPLOYMENT_COMPLETE), checks=(f.check(holds=True),), now=later)
    assert fixed.verification.started_at == later
    assert fixed.verification.checks[0].holds_since == later
    broken = take(fixed, checks=(f.check(holds=False),), now=later)
    assert broken.verification.checks[0].holds_since is None
    assert broken.verification.checks[0].fails_since == later
    much_later = later + dt.timedelta(minutes=1)
    still = take(broken, checks=(f.check(holds=False),), now=much_later)
    assert still.verification.checks[0].fails_since == later
    known = fixed.evolve(phase=P.VERIFICATION_COMPLETE)
    assert take(known, checks=(f.check(holds=True),), now=later).verification.verdict == "Passed"
    over = Handover(phase=P.VERIFICATION_IN_PROGRESS, reason="VerificationFailed", message="m", at=f.NOW, run=1)
    failed = fixed.evolve(phase=P.INCIDENT_REQUIRES_HUMAN, handover=over)
    assert take(failed, checks=(f.check(holds=False),), now=later).verification.verdict == "Failed"
