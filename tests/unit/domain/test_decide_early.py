"""INCIDENT_DETECTED to FIX_GENERATED, and the ends."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Attempts, Handover, HistoryEntry, Phase, Receipt, Resolution
from selfheal.domain import effects
from selfheal.domain.decisions import Act, Advance, Escalate, Stall, Wait
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import ChecksState, DuplicateFacts, WorkloadFacts
from selfheal.domain.machine import decide

P = Phase
ABSENT = WorkloadFacts(exists=False)
MODEL = {"has_model": True}
CUT = {"has_model": True, "cut_off": True}
SUGGEST = f.policy(tracker=False, mode="Suggest")


def said(known, *milestones: str, on: str = "comment-ticket"):
    keys = [f"{f.UID}/{known.run}/{on}/{name}" for name in milestones]
    return known.evolve(receipts=[*known.receipts, *(Receipt(key=k, kind=on, at=f.NOW) for k in keys)])


def kind(decision) -> EffectKind:
    assert isinstance(decision, Act), decision
    return decision.effect.kind


# --- INCIDENT_DETECTED

def test_target_and_ticket_known_moves_on() -> None:
    assert decide(f.view(f.status(ticket=None))).to is P.ANALYSIS_IN_PROGRESS
    assert decide(f.view(f.status(), rules=f.policy(), ticket=f.ticket())).to is P.ANALYSIS_IN_PROGRESS
    assert decide(f.view(f.status(ticket=None).evolve(phase=None))).to is P.ANALYSIS_IN_PROGRESS


def test_a_ticket_is_opened_or_claimed() -> None:
    bare = f.status(ticket=None)
    assert kind(decide(f.view(bare, rules=f.policy()))) is EffectKind.CREATE_TICKET
    wanted = {"rules": f.policy(), "spec": {"ticket_key": "OPS-1"}, "synced": False}
    assert decide(f.view(bare, **wanted)).reason == "TicketMissing"
    mine = f.ticket(labels=frozenset({f"selfheal-{f.UID}", "selfheal-phase-X", "selfheal-keep"}))
    assert kind(decide(f.view(bare, **wanted, ticket=mine))) is EffectKind.CLAIM_TICKET
    other = f.ticket(labels=frozenset({"selfheal-other"}))
    assert decide(f.view(bare, **wanted, ticket=other)).reason == "TicketNotAdopted"
    found = decide(f.view(bare, **wanted, ticket=mine, adoption_refused="the jql does not match"))
    assert found == Stall(reason="TicketNotAdopted", message="the jql does not match")


@pytest.mark.parametrize("how", [{"spec": {"dry_run": True}}, {"rules": f.policy(mode="Observe")}])
def test_a_dry_run_opens_no_ticket(how: dict) -> None:
    found = decide(f.view(f.status(ticket=None), **{"rules": f.policy(), **how}))
    assert found.to is P.ANALYSIS_IN_PROGRESS


def test_with_a_model_every_new_incident_is_read_once() -> None:
    assert kind(decide(f.view(policy=MODEL))) is EffectKind.TRIAGE
    read = f.status(attempts=Attempts(triage=1))
    assert decide(f.view(read, policy=MODEL)).to is P.ANALYSIS_IN_PROGRESS
    unsure = f.policy(tracker=False, agents={"when": "UnsureOnly"})
    assert decide(f.view(rules=unsure, policy=MODEL)).to is P.ANALYSIS_IN_PROGRESS


@pytest.mark.parametrize(
    ("spent", "policy", "attempt"), [(1, {}, 1), (1, MODEL, 1), (0, MODEL, 1), (1, CUT, 2)]
)
def test_triage_cut_off_is_tried_again(spent: int, policy: dict, attempt: int) -> None:
    status = f.status(
        target=None, attempts=Attempts(triage=spent), intent=f.intent(P.INCIDENT_DETECTED, kind="triage")
    )
    found = decide(f.view(status, policy=policy))
    assert (kind(found), f"/{attempt}/triage" in found.effect.key) == (EffectKind.TRIAGE, True)


def test_triage_asks_in_the_ticket_then_waits() -> None:
    status = f.status(target=None, attempts=Attempts(triage=2), intent=f.intent(P.PR_CREATED, kind="triage"))
    asked = decide(f.view(status, rules=f.policy(), policy=CUT, ticket=f.ticket()))
    assert kind(asked) is EffectKind.COMMENT_TICKET
    assert decide(f.view(status, policy=CUT)).reason == "TargetUnknown"
    entered = f.status(P.ANALYSIS_IN_PROGRESS, target=None)
    assert kind(decide(f.view(entered))) is EffectKind.TRIAGE


@pytest.mark.parametrize("phase", [P.INCIDENT_DETECTED, P.ANALYSIS_IN_PROGRESS])
def test_a_target_that_never_existed_stalls_with_its_clock_running(phase: Phase) -> None:
    found = decide(f.view(f.status(phase, target_seen=False), workload=ABSENT))
    assert (found.reason, found.pauses_clock) == ("TargetNotFound", False)
    assert "Deployment checkout" in found.message


# --- ANALYSIS_IN_PROGRESS

def analysing(spent: int = 1, *, intent: bool = False, held=None, **changes):
    saved = f.intent(P.ANALYSIS_IN_PROGRESS, kind="analyse") if intent else None
    return f.status(
        P.ANALYSIS_IN_PROGRESS, attempts=Attempts(analysis=spent), intent=saved, verification=held, **changes
    )


def test_a_stored_diagnosis_moves_on() -> None:
    assert decide(f.view(analysing(diagnosis=f.diagnosis_status()))).to is P.ANALYSIS_COMPLETE


@pytest.mark.parametrize(
    ("spent", "open_", "policy", "attempt"),
    [(0, False, {}, 1), (1, False, {}, 2), (1, True, MODEL, 1), (0, True, {}, 1), (1, True, CUT, 2)],
)
def test_attempts_of_the_analysis(spent, open_, policy, attempt) -> None:
    found = decide(f.view(analysing(spent, intent=open_), policy=policy))
    assert kind(found) is EffectKind.ANALYSE
    assert f"/{attempt}/analyse" in found.effect.key


def test_attempts_cut_off_are_spent_in_the_end() -> None:
    assert decide(f.view(analysing(3, intent=True), policy=CUT)).reason == "AttemptsSpent"


def test_no_cause_is_tried_again_and_then_handed_over() -> None:
    none = f.diagnosis(confidence=0.3)
    assert kind(decide(f.view(analysing(1), diagnosis=none))) is EffectKind.ANALYSE
    soon = f.diagnosis(confidence=0.3, at=f.NOW - dt.timedelta(seconds=4))
    assert decide(f.view(analysing(1), diagnosis=soon)).after == dt.timedelta(seconds=6)
    last = decide(f.view(analysing(3), diagnosis=none))
    assert isinstance(last, Escalate)
    assert last.reason == "NoCause"
    assert decide(f.view(analysing(3), diagnosis=f.diagnosis(failure="why"))).message == "why"


def test_a_target_that_looks_healthy_is_watched() -> None:
    well = {"diagnosis": f.diagnosis(not_failing=True)}
    assert decide(f.view(analysing(1, held=f.held(3)), **well)).reason == "NotFailing"
    assert kind(decide(f.view(analysing(1, held=f.held(3, None)), **well))) is EffectKind.ANALYSE
    assert decide(f.view(analysing(3), **well)).reason == "NotFailing"
    ended = decide(f.view(analysing(1, held=f.held(12, 10)), **well))
    assert (ended.to, ended.resolution) == (P.INCIDENT_RESOLVED, Resolution.RECOVERED)
    rules = f.policy(tracker=False, recovery={"recovered": False})
    found = decide(f.view(analysing(1, held=f.held(12)), rules=rules, **well))
    assert found.reason == "NotReproducible"


def test_maintenance_ends_as_maintenance() -> None:
    found = decide(
        f.view(
            analysing(1, held=f.held(12)), diagnosis=f.diagnosis(not_failing=True),
            policy={"in_maintenance": True},
        )
    )  # fmt: skip
    assert found.resolution is Resolution.MAINTENANCE


# --- ANALYSIS_COMPLETE

def test_the_policy_allows_the_class() -> None:
    assert decide(f.view(f.status(P.ANALYSIS_COMPLETE))).to is P.FIX_GENERATION_IN_PROGRESS
    allowed = f.policy(tracker=False, guards={"classes": ["OOMKilled"]})
    found = decide(f.view(f.status(P.ANALYSIS_COMPLETE), rules=allowed))
    assert found.to is P.FIX_GENERATION_IN_PROGRESS


def test_the_policy_refuses_the_class() -> None:
    status = f.status(P.ANALYSIS_COMPLETE)
    rules = f.policy(tracker=False, guards={"classes": ["Storage"]})
    assert decide(f.view(status, rules=rules)).reason == "ClassNotAllowed"
    assert decide(f.view(status, policy={"failed_verifications": 3})).reason == "ClassSuspended"
    assert decide(f.view(status, policy={"failed_verifications": 2})).to is P.FIX_GENERATION_IN_PROGRESS
    found = decide(f.view(status, mapped=False))
    assert isinstance(found, Stall)
    assert found.reason == "NoRepository"


def test_the_diagnosis_is_said_in_the_ticket_once() -> None:
    status = f.status(P.ANALYSIS_COMPLETE)
    seen = {"rules": f.policy(), "ticket": f.ticket(status="Analysis Complete")}
    assert decide(f.view(status, **seen)).effect.milestone == "diagnosis"
    assert decide(f.view(said(status, "diagnosis"), **seen)).to is P.FIX_GENERATION_IN_PROGRESS


def test_recovered_before_a_fix() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, verification=f.held(10))
    assert decide(f.view(status)).resolution is Resolution.RECOVERED
    young = f.status(P.ANALYSIS_COMPLETE, verification=f.held(9.9))
    assert decide(f.view(young)).to is P.FIX_GENERATION_IN_PROGRESS


@pytest.mark.parametrize(
    ("phase", "word"), [(P.PR_CREATED, "worked on"), (P.INCIDENT_REQUIRES_HUMAN, "handed to a person")]
)
def test_a_duplicate_links_its_ticket_and_waits(phase: Phase, word: str) -> None:
    status = f.status(P.ANALYSIS_COMPLETE, duplicate_of="production/other")
    same = DuplicateFacts(primary="production/other", primary_phase=phase)
    found = decide(f.view(status, duplicate=same))
    assert (found.reason, found.pauses_clock) == ("Duplicate", True)
    assert word in found.message
    seen = {"rules": f.policy(), "ticket": f.ticket(status="Analysis Complete"), "duplicate": same}
    assert kind(decide(f.view(status, **seen))) is EffectKind.LINK_TICKET
    linked = said(status, "duplicate", on="link-ticket")
    assert decide(f.view(linked, **seen)).reason == "Duplicate"


def test_a_duplicate_whose_primary_is_resolved() -> None:
    same = DuplicateFacts(primary="production/other", primary_phase=P.INCIDENT_RESOLVED)

    def at(held):
        known = f.status(P.ANALYSIS_COMPLETE, duplicate_of="production/other", verification=held)
        return decide(f.view(known, duplicate=same))

    assert at(f.held(11)).resolution is Resolution.DUPLICATE
    assert at(f.held(1)).reason == "Duplicate"
    assert at(f.held(None)).to is P.FIX_GENERATION_IN_PROGRESS


def test_a_dry_run_previews_once_and_rests() -> None:
    def at(*, policy=None, mapped=True, **changes):
        known = f.status(P.ANALYSIS_COMPLETE, **changes)
        return decide(f.view(known, spec={"dry_run": True}, policy=policy or {}, mapped=mapped))

    saved = f.intent(P.ANALYSIS_COMPLETE, kind="generate-fix")
    assert kind(at()) is EffectKind.GENERATE_FIX
    assert kind(at(attempts=Attempts(fix=1), intent=saved)) is EffectKind.GENERATE_FIX
    again = at(attempts=Attempts(fix=1), intent=saved, policy=CUT)
    assert "/2/generate-fix" in again.effect.key
    for rest in (
        at(fix=f.fix_status()), at(mapped=False), at(attempts=Attempts(fix=1)),
        at(attempts=Attempts(fix=2), intent=saved, policy=CUT),
    ):  # fmt: skip
        assert (rest.reason, rest.pauses_clock) == ("DryRun", True)


# --- preconditions

@pytest.mark.parametrize(
    ("phase", "lacks"),
    [
        (P.ANALYSIS_COMPLETE, {"diagnosis": None}),
        (P.FIX_GENERATION_IN_PROGRESS, {"diagnosis": None}),
        (P.FIX_GENERATED, {"fix": None}),
        (P.FIX_GENERATED, {"fix": f.fix_status(proposal_ref=None)}),
        (P.PR_CREATION_IN_PROGRESS, {"fix": None}),
        *[(phase, {"pull_request": None}) for phase in list(Phase)[6:14]],
        *[(phase, {"pull_request": f.pull_status()}) for phase in list(Phase)[9:14]],
    ],
)
def test_a_phase_without_its_precondition_says_so_and_rests(phase: Phase, lacks: dict) -> None:
    status = f.status(phase, **lacks)
    seen = {"rules": f.policy(), "ticket": f.ticket(status=f.NAMES[phase])}
    first = decide(f.view(status, **seen, pull_request=f.pull()))
    assert first.effect.milestone == "precondition"
    assert phase in first.effect.why
    found = decide(f.view(said(status, "precondition"), **seen, pull_request=f.pull()))
    assert isinstance(found, Stall)
    assert (found.reason, found.pauses_clock) == ("PreconditionMissing", False)


# --- FIX_GENERATION_IN_PROGRESS, FIX_GENERATED

def fixing(spent: int, *, intent: bool = False):
    saved = f.intent(P.FIX_GENERATION_IN_PROGRESS, kind="generate-fix") if intent else None
    return f.status(P.FIX_GENERATION_IN_PROGRESS, attempts=Attempts(fix=spent), intent=saved)


@pytest.mark.parametrize(
    ("spent", "open_", "policy", "attempt"),
    [(0, False, {}, 1), (1, False, {}, 2), (1, True, MODEL, 1), (1, True, CUT, 2)],
)
def test_attempts_at_a_fix(spent, open_, policy, attempt) -> None:
    found = decide(f.view(fixing(spent, intent=open_), policy=policy))
    assert f"/{attempt}/generate-fix" in found.effect.key


def test_a_proposal_moves_on_and_a_refused_one_is_tried_again() -> None:
    assert decide(f.view(fixing(1), proposal=f.proposal())).to is P.FIX_GENERATED
    no = f.proposal(refused="too many lines", refused_reason="GuardRefused")
    assert kind(decide(f.view(fixing(1), proposal=no))) is EffectKind.GENERATE_FIX
    assert decide(f.view(fixing(2), proposal=no)).reason == "GuardRefused"
    bare = f.proposal(refused="no")
    assert decide(f.view(fixing(2), proposal=bare)).reason == "NoSafeFix"
    assert decide(f.view(fixing(2))).reason == "AttemptsSpent"


def test_the_mode_allows_a_pull_request_or_ends_here() -> None:
    status = f.status(P.FIX_GENERATED)
    assert decide(f.view(status)).to is P.PR_CREATION_IN_PROGRESS
    found = decide(f.view(status, rules=SUGGEST))
    assert (found.reason, found.pauses_clock) == ("Suggested", True)
    well = f.status(P.FIX_GENERATED, verification=f.held(11))
    assert decide(f.view(well, rules=SUGGEST)).resolution is Resolution.RECOVERED


# --- the ends

def test_resolved_rests() -> None:
    bare = f.status(P.INCIDENT_RESOLVED, pull_request=None, ticket=None)
    assert decide(f.view(bare)).message == "Resolved."
    ended = bare.evolve(resolution=Resolution.FIXED)
    found = decide(f.view(ended, rules=f.policy()))
    assert found.message == "Resolved: Fixed."
    assert found.after is not None


def human(reason: str = "Timeout", *, phase: Phase = P.PR_UNDER_REVIEW, run: int = 1, by="operator", **more):
    return f.status(
        P.INCIDENT_REQUIRES_HUMAN,
        handover=Handover(phase=phase, reason=reason, message="m.", at=f.NOW, run=run),
        history=[HistoryEntry(to=P.INCIDENT_REQUIRES_HUMAN, by=by, at=f.NOW)], pull_request=f.pull_status(),
        **more,
    )  # fmt: skip


APPROVED = f.pull(reviews=(f.review(),))


@pytest.mark.parametrize(
    ("phase", "reason", "pull"),
    [
        (P.PR_CREATED, "Timeout", APPROVED),
        (P.PR_UNDER_REVIEW, "Timeout", APPROVED),
        (P.PR_APPROVED, "NotMergeable", APPROVED),
        *((phase, "Timeout", f.merged()) for phase in (P.PR_CREATED, P.PR_UNDER_REVIEW, P.PR_APPROVED)),
    ],
)
def test_an_approval_after_our_hand_over_of_the_review_resumes(phase: Phase, reason: str, pull) -> None:
    found = decide(f.view(human(reason, phase=phase), pull_request=pull))
    assert isinstance(found, Advance)
    assert found.to is P.PR_UNDER_REVIEW


@pytest.mark.parametrize(
    ("status", "pull"),
    [
        (human(phase=P.ANALYSIS_IN_PROGRESS), APPROVED),
        (human(phase=P.PR_APPROVED), APPROVED),  # it was approved before: that is no news
        (human("NotMergeable", phase=P.PR_APPROVED), f.pull(reviews=(f.review(),), required_checks=ChecksState.FAILURE)),
        (human("NoCause"), APPROVED),
        (human(by="Anna"), APPROVED),
        (human(run=2), APPROVED),
        (human(), f.pull()),
        (human(), None),
        (human(), f.pull(reviews=(f.review(sha="old"),))),
        (human(), f.pull(reviews=(f.review(),), mergeable=False)),
        (human().evolve(pull_request=None), APPROVED),
        (human().evolve(handover=None), APPROVED),
    ],
)
def test_nothing_else_resumes(status, pull) -> None:
    found = decide(f.view(status, pull_request=pull))
    assert isinstance(found, Wait)
    assert found.reason == "WaitingForPerson"


def test_the_hand_over_is_said_but_not_a_take_over() -> None:
    seen = {"rules": f.policy(), "ticket": f.ticket(status="x"), "pull_request": f.pull()}
    assert decide(f.view(human(), **seen)).effect.milestone == "handover"
    found = decide(f.view(human().evolve(handover=None), **seen))
    assert "taken over" in found.message
    assert "Timeout: m." in decide(f.view(said(human(), "handover"), **seen)).message


def test_branches_are_named_after_incident_run_and_attempt() -> None:
    assert effects.compute_branch("production", "checkout-oom", f.UID, run=2, attempt=3) == (
        "selfheal/production-checkout-oom-0f9c1d2e-r2a3"
    )
