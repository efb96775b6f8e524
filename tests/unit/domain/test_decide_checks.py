"""The chain of checks before the rule of a phase."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Phase, PhaseClock, Receipt, Resolution
from selfheal.domain.decisions import Act, Advance, Escalate, NeedFacts, Stall, Wait
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import WorkloadFacts
from selfheal.domain.machine import decide

P = Phase
GONE = WorkloadFacts(exists=False)


def late(hours: float) -> PhaseClock:
    return PhaseClock(elapsed_seconds=hours * 3600)


@pytest.mark.parametrize("phase", Phase)
def test_suspended_rests_in_every_phase_with_its_clock_standing(phase: Phase) -> None:
    found = decide(f.view(f.status(phase, clock=late(99)), spec={"suspend": True}))
    assert (found.reason, found.pauses_clock, found.after) == ("Suspended", True, None)


@pytest.mark.parametrize("phase", Phase)
def test_a_policy_that_cannot_be_used_stalls_every_phase(phase: Phase) -> None:
    found = decide(f.view(f.status(phase, clock=late(99)), policy={"problem": "tracker.project: x"}))
    assert found == Stall(reason="PolicyInvalid", message="tracker.project: x")


@pytest.mark.parametrize("phase", [p for p in Phase if p is not P.INCIDENT_RESOLVED])
def test_a_ticket_that_went_away_stalls(phase: Phase) -> None:
    found = decide(f.view(f.status(phase), rules=f.policy(), ticket_missing=True))
    assert found.reason == "TicketMissing"
    assert "OPS-1" in found.message


@pytest.mark.parametrize("phase", Phase)
def test_a_ticket_that_another_incident_owns_is_left_to_it(phase: Phase) -> None:
    owner = f"selfheal-{'0' * 8}"
    mine = f"selfheal-{f.UID}"
    taken = f.ticket(labels=frozenset({owner, mine}), label_history=(owner, mine))
    found = decide(f.view(f.status(phase), rules=f.policy(), synced=False, ticket=taken))
    if phase is P.INCIDENT_RESOLVED:
        assert found.reason == "Resolved"
    else:
        assert found.reason == "TicketTaken"
        assert owner in found.message
    kept = f.ticket(labels=frozenset({owner, mine}), label_history=(mine, owner))
    other = decide(f.view(f.status(phase), rules=f.policy(), synced=False, ticket=kept))
    assert getattr(other, "reason", "") != "TicketTaken"


def test_a_ticket_never_known_is_named_by_the_spec() -> None:
    found = decide(f.view(f.status(ticket=None), spec={"ticket_key": "OPS-9"}, ticket_missing=True))
    assert "OPS-9" in found.message


@pytest.mark.parametrize("phase", [p for p in Phase if p is not P.INCIDENT_RESOLVED])
@pytest.mark.parametrize("how", ["flag", "policy"])
def test_read_only_stops_every_phase(phase: Phase, how: str) -> None:
    rules = f.policy(suspend=how == "policy")
    found = decide(
        f.view(f.status(phase, clock=late(99)), rules=rules, policy={"read_only": how == "flag"})
    )
    assert (found.reason, found.pauses_clock) == ("ReadOnly", True)


DRY = [
    ({"spec": {"dry_run": True}}),
    ({"policy": {"dry_run": True}}),
    ({"rules": f.policy(mode="Observe")}),
]


@pytest.mark.parametrize("how", DRY)
@pytest.mark.parametrize("phase", [*list(Phase)[3:14], P.INCIDENT_REQUIRES_HUMAN])
def test_past_the_analysis_a_dry_run_only_reads(phase: Phase, how: dict) -> None:
    found = decide(f.view(f.status(phase, clock=late(99)), **how))
    assert (found.reason, found.pauses_clock) == ("DryRun", True)


def test_an_open_move_is_finished_first() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS, why="w"))
    found = decide(f.view(status, rules=f.policy(), ticket=f.ticket(status="Analysis Complete")))
    assert found.effect.kind is EffectKind.MOVE_TICKET
    assert (found.effect.to, found.effect.why) == (P.FIX_GENERATION_IN_PROGRESS, "w")
    with pytest.raises(NeedFacts) as asked:
        decide(f.view(status, rules=f.policy(), hide=("ticket",)))
    assert asked.value.names == {"ticket"}


def test_our_open_pull_request_ends_with_the_incident() -> None:
    status = f.status(P.INCIDENT_RESOLVED, pull_request=f.pull_status())
    first = decide(f.view(status, pull_request=f.pull()))
    assert first.effect.kind is EffectKind.COMMENT_PULL_REQUEST
    said = status.evolve(receipts=[Receipt(key=first.effect.key, kind="c", at=f.NOW)])
    then = decide(f.view(said, pull_request=f.pull()))
    assert (then.effect.kind, then.effect.number) == (EffectKind.CLOSE_PULL_REQUEST, 7)


@pytest.mark.parametrize(
    "pull", [None, f.merged(), f.pull(labels=frozenset({"selfheal-keep"}))]
)
def test_a_pull_request_that_is_kept_or_over_is_left_alone(pull) -> None:
    found = decide(f.view(f.status(P.INCIDENT_RESOLVED, pull_request=f.pull_status()), pull_request=pull))
    assert found.reason == "Resolved"


BEFORE_MERGE = list(Phase)[:9]


@pytest.mark.parametrize("phase", BEFORE_MERGE)
def test_a_target_that_stayed_away_ends_the_incident_before_the_merge(phase: Phase) -> None:
    since = f.NOW - dt.timedelta(minutes=10)
    found = decide(f.view(f.status(phase, target_gone_since=since), workload=GONE))
    assert isinstance(found, Advance)
    assert found.resolution is Resolution.TARGET_GONE
    fresh = decide(f.view(f.status(phase), workload=GONE))
    assert isinstance(fresh, Wait)
    assert fresh.reason == "TargetGone"


@pytest.mark.parametrize("phase", list(Phase)[2:9])
def test_where_the_policy_waits_for_the_target_the_time_out_still_runs(phase: Phase) -> None:
    rules = f.policy(tracker=False, recovery={"targetGone": False})
    status = f.status(phase, pull_request=f.pull_status())
    seen = {"rules": rules, "workload": GONE, "pull_request": f.pull()}
    found = decide(f.view(status, **seen))
    assert (found.reason, found.pauses_clock) == ("TargetGone", False)
    found = decide(f.view(status.evolve(clock=late(25)), **seen))
    assert isinstance(found, Escalate)
    assert found.reason == "Timeout"


def test_a_target_never_seen_or_already_merged_is_not_gone() -> None:
    waiting = f.status(P.PR_CREATED, target_seen=False)
    assert decide(f.view(waiting, workload=GONE, pull_request=f.pull())).reason == "WaitingForReview"
    status = f.status(P.PR_UNDER_REVIEW)
    found = decide(f.view(status, workload=GONE, pull_request=f.merged()))
    assert found.to is P.PR_APPROVED


LIMITS = {
    P.INCIDENT_DETECTED: 1, P.ANALYSIS_IN_PROGRESS: 0.25, P.ANALYSIS_COMPLETE: 1,
    P.FIX_GENERATION_IN_PROGRESS: 0.5, P.FIX_GENERATED: 1, P.PR_CREATION_IN_PROGRESS: 0.5,
    P.PR_CREATED: 24, P.PR_UNDER_REVIEW: 24, P.PR_APPROVED: 24, P.PR_MERGED: 0.5,
    P.DEPLOYMENT_IN_PROGRESS: 0.5, P.DEPLOYMENT_COMPLETE: 1, P.VERIFICATION_COMPLETE: 1,
}  # fmt: skip


@pytest.mark.parametrize(("phase", "hours"), LIMITS.items())
@pytest.mark.parametrize("mapped", [True, False])
def test_every_phase_has_its_time_out(phase: Phase, hours: float, mapped: bool) -> None:
    found = decide(f.view(f.status(phase, clock=late(hours)), mapped=mapped))
    assert isinstance(found, Escalate)
    assert found.reason == "Timeout"
    just_before = f.view(f.status(phase, clock=late(hours - 0.01)), hide=tuple(f.ALL))
    with contextlib.suppress(NeedFacts):  # it went on to the rule of the phase
        assert decide(just_before) != found


@pytest.mark.parametrize("phase", [P.INCIDENT_DETECTED, P.ANALYSIS_IN_PROGRESS])
def test_triage_has_its_own_time_out(phase: Phase) -> None:
    status = f.status(phase, target=None, clock=late(0.5))
    assert decide(f.view(status)).reason == "Timeout"
    assert isinstance(decide(f.view(status.evolve(clock=late(0.49)))), Act)


@pytest.mark.parametrize(
    "view",
    [
        f.view(f.status(P.INCIDENT_REQUIRES_HUMAN, clock=late(999))),
        f.view(f.status(P.INCIDENT_RESOLVED, clock=late(999), pull_request=None)),
        f.view(f.status(P.ANALYSIS_COMPLETE, clock=late(999)), spec={"dry_run": True}),
        f.view(f.status(P.FIX_GENERATED, clock=late(999)), rules=f.policy(tracker=False, mode="Suggest")),
        f.view(f.status(P.ANALYSIS_COMPLETE, clock=late(999), duplicate_of="a/b")),
    ],
)
def test_no_time_out_where_there_is_none(view) -> None:
    assert not isinstance(decide(view), Escalate)

