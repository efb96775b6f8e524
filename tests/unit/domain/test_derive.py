"""A person always wins: every kind of move that people make, beside and between ours."""

from __future__ import annotations

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import derive

P = Phase
TO = f.NAMES


def read(status, ticket):
    return derive.derive(status, ticket, f.NOW)


def steps(status) -> list[tuple[str, str]]:
    return [(str(entry.to), entry.by) for entry in status.history[1:]]


def test_nothing_is_derived_without_ticket_or_phase() -> None:
    bare = f.status(ticket=None)
    assert read(bare, f.ticket(f.move(11, "Done"))).status is bare
    unborn = f.status(phase=P.INCIDENT_DETECTED).evolve(phase=None)
    assert read(unborn, f.ticket(f.move(11, "Done"))).status is unborn


def test_a_first_reading_starts_at_the_newest_entry_and_moves_nothing() -> None:
    status = f.status(ticket=f.ticket_status(P.INCIDENT_DETECTED, seen=None))
    found = read(status, f.ticket(f.move(11, "Under Review")))
    assert found.status.phase is P.INCIDENT_DETECTED
    assert found.status.ticket.seen_change == "11"
    assert found.person is None


def test_without_entries_the_first_reading_remembers_that() -> None:
    status = f.status(ticket=f.ticket_status(P.INCIDENT_DETECTED, seen=None))
    bare = f.ticket().__class__(id="1", key="OPS-1", url="", project="OPS", status="To Do")
    found = read(status, bare)
    assert found.status.ticket.seen_change == derive.NEVER
    assert read(found.status, f.ticket(f.move(11, "Done"))).status.phase is P.INCIDENT_RESOLVED


def test_entries_are_compared_as_numbers_when_the_seen_one_is_no_longer_listed() -> None:
    moves = [f.move(9, "a"), f.move(101, "b")]
    assert [m.id for m in derive.moves_after(moves, "99")] == ["101"]


def test_nothing_new_leaves_the_status_as_it_is() -> None:
    status = f.status(P.ANALYSIS_COMPLETE)
    assert read(status, f.ticket(status="Analysis Complete")).status == status


def test_a_status_that_the_map_does_not_know_keeps_the_phase_and_is_said() -> None:
    status = f.status(P.ANALYSIS_COMPLETE)
    assert read(status, f.ticket(status="Parked")).unknown_status == "Parked"
    found = read(status.evolve(intent=f.intent(P.PR_CREATED)), f.ticket(f.move(11, "Parked")))
    assert (found.unknown_status, found.person) == ("Parked", "Anna")
    assert found.status.phase is P.ANALYSIS_COMPLETE
    assert found.status.intent is None
    back = read(found.status, f.ticket(f.move(11, "Parked"), f.move(12, "Analysis Complete")))
    assert (back.unknown_status, back.status.phase, back.status.run) == (None, P.ANALYSIS_COMPLETE, 1)


@pytest.mark.parametrize("before", [p for p in Phase if p is not P.INCIDENT_RESOLVED])
def test_take_over_keeps_the_run(before: Phase) -> None:
    found = read(f.status(before), f.ticket(f.move(11, TO[P.INCIDENT_REQUIRES_HUMAN])))
    assert (found.status.phase, found.status.run) == (P.INCIDENT_REQUIRES_HUMAN, 1)
    assert found.person == "Anna"
    assert found.status.history[-1].by == "Anna"


@pytest.mark.parametrize("to", [p for p in Phase if p not in (P.INCIDENT_REQUIRES_HUMAN, P.INCIDENT_RESOLVED)])
def test_hand_back_grows_the_run_wherever_it_goes(to: Phase) -> None:
    found = read(f.status(P.INCIDENT_REQUIRES_HUMAN), f.ticket(f.move(11, TO[to])))
    assert found.status.run == 2
    assert TO[found.status.phase] == TO[to]
    assert found.status.attempts.analysis == 0


@pytest.mark.parametrize("to", [p for p in Phase if p is not P.INCIDENT_RESOLVED])
def test_reopening_grows_the_run_and_takes_the_resolution_off(to: Phase) -> None:
    status = f.status(P.INCIDENT_RESOLVED, resolution=Resolution.FIXED)
    found = read(status, f.ticket(f.move(11, TO[to])))
    assert (found.status.run, found.status.resolution) == (2, None)


def test_move_to_an_earlier_phase_grows_the_run_to_a_later_one_not() -> None:
    status = f.status(P.FIX_GENERATED)
    back = read(status, f.ticket(f.move(11, "In Progress"))).status
    assert (back.phase, back.run, back.diagnosis) == (P.ANALYSIS_IN_PROGRESS, 2, None)
    on = read(status, f.ticket(f.move(11, "Deploying"))).status
    assert (on.phase, on.run) == (P.DEPLOYMENT_IN_PROGRESS, 1)


@pytest.mark.parametrize("before", [p for p in Phase if p is not P.INCIDENT_RESOLVED])
def test_done_by_a_person_is_closed_by_person_whatever_we_meant_to_say(before: Phase) -> None:
    status = f.status(before, resolution=Resolution.RECOVERED, intent=f.intent(P.INCIDENT_RESOLVED))
    found = read(status, f.ticket(f.move(11, "Done"))).status
    assert (found.phase, found.resolution) == (P.INCIDENT_RESOLVED, Resolution.CLOSED_BY_PERSON)
    assert (found.run, found.intent) == (1, None)


def test_a_move_between_two_names_of_the_end_keeps_the_resolution() -> None:
    names = {**f.PLAIN, P.INCIDENT_RESOLVED: ["Done", "Closed"]}
    status = f.status(P.INCIDENT_RESOLVED, resolution=Resolution.FIXED, identity=f.identity(names))
    assert read(status, f.ticket(f.move(11, "Closed"))).status.resolution is Resolution.FIXED


def test_a_persons_move_cancels_an_open_intent() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS))
    found = read(status, f.ticket(f.move(11, "Needs Human Intervention"))).status
    assert found.intent is None


def test_a_shared_status_is_entered_at_its_first_phase() -> None:
    found = read(f.status(P.PR_MERGED), f.ticket(f.move(11, "Verifying Fix")))
    assert found.status.phase is P.VERIFICATION_IN_PROGRESS


def test_our_own_move_is_explained_by_its_intent() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS, why="allowed"))
    found = read(status, f.ticket(f.move(11, "Generating Fix", by=f.OPERATOR)))
    assert found.person is None
    assert found.status.phase is P.FIX_GENERATION_IN_PROGRESS
    assert found.status.intent is None
    assert found.status.ticket.last_operator_move.to is P.FIX_GENERATION_IN_PROGRESS
    assert (found.status.history[-1].by, found.status.history[-1].why) == ("operator", "allowed")


@pytest.mark.parametrize(
    "saved",
    [
        None,
        f.intent(P.PR_CREATED),
        f.intent(P.FIX_GENERATION_IN_PROGRESS, kind="analyse"),
        f.intent(P.FIX_GENERATION_IN_PROGRESS).evolve(to=None),
    ],
)
def test_a_move_of_our_account_that_no_intent_explains_is_a_persons(saved) -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=saved)
    found = read(status, f.ticket(f.move(11, "Generating Fix", by=f.OPERATOR)))
    assert found.person == "selfheal"
    assert found.status.phase is P.FIX_GENERATION_IN_PROGRESS


def test_a_person_who_moves_where_we_meant_to_go_is_still_a_person() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS))
    found = read(status, f.ticket(f.move(11, "Generating Fix")))
    assert found.person == "Anna"
    assert found.status.history[-1].by == "Anna"


def test_a_move_between_our_read_and_our_move_is_given_back_to_the_person() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS))
    ticket = f.ticket(
        f.move(11, "Needs Human Intervention"), f.move(12, "Generating Fix", by=f.OPERATOR)
    )
    found = read(status, ticket).status
    assert (found.phase, found.run) == (P.INCIDENT_REQUIRES_HUMAN, 1)
    assert found.intent.to is P.INCIDENT_REQUIRES_HUMAN
    assert "Anna" in found.intent.why
    returned = f.ticket(*ticket.moves[1:], f.move(13, "Needs Human Intervention", by=f.OPERATOR))
    done = read(found, returned).status
    assert (done.phase, done.run, done.intent) == (P.INCIDENT_REQUIRES_HUMAN, 1, None)
    assert len(done.history) == len(found.history)


def test_a_persons_move_after_ours_wins_and_ours_stays_in_the_history() -> None:
    status = f.status(P.INCIDENT_DETECTED, intent=f.intent(P.ANALYSIS_IN_PROGRESS))
    found = read(
        status, f.ticket(f.move(11, "In Progress", by=f.OPERATOR), f.move(12, "To Do"))
    ).status
    assert steps(found) == [("ANALYSIS_IN_PROGRESS", "operator"), ("INCIDENT_DETECTED", "Anna")]
    assert (found.run, found.intent) == (2, None)


def test_our_hand_over_that_a_person_gave_back_before_we_looked_is_a_hand_back() -> None:
    status = f.status(P.ANALYSIS_IN_PROGRESS, intent=f.intent(P.INCIDENT_REQUIRES_HUMAN))
    found = read(
        status,
        f.ticket(
            f.move(11, "Needs Human Intervention", by=f.OPERATOR), f.move(12, "In Progress")
        ),
    ).status
    assert (found.phase, found.run) == (P.ANALYSIS_IN_PROGRESS, 2)


def test_ours_between_two_moves_of_people_needs_no_return() -> None:
    status = f.status(P.ANALYSIS_COMPLETE, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS))
    found = read(
        status,
        f.ticket(
            f.move(11, "Fix Generated"),
            f.move(12, "Generating Fix", by=f.OPERATOR),
            f.move(13, "Creating PR", by=f.BEN),
        ),
    )
    assert (found.status.phase, found.person, found.status.intent) == (P.PR_CREATION_IN_PROGRESS, "Ben", None)
    assert steps(found.status) == [
        ("FIX_GENERATED", "Anna"),
        ("FIX_GENERATION_IN_PROGRESS", "operator"),
        ("PR_CREATION_IN_PROGRESS", "Ben"),
    ]


@pytest.mark.parametrize(
    ("before", "names", "phase", "run"),
    [
        (P.ANALYSIS_COMPLETE, ["Needs Human Intervention", "Analysis Complete"], P.ANALYSIS_COMPLETE, 2),
        (P.ANALYSIS_COMPLETE, ["Needs Human Intervention", "Deploying"], P.DEPLOYMENT_IN_PROGRESS, 2),
        (P.ANALYSIS_COMPLETE, ["Deploying", "Analysis Complete"], P.ANALYSIS_COMPLETE, 1),
        (P.PR_CREATED, ["To Do", "In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.PR_CREATED, ["To Do", "Under Review"], P.PR_UNDER_REVIEW, 1),
        (P.INCIDENT_RESOLVED, ["To Do", "In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.INCIDENT_REQUIRES_HUMAN, ["To Do", "In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.ANALYSIS_COMPLETE, ["To Do", "Needs Human Intervention"], P.INCIDENT_REQUIRES_HUMAN, 1),
        (P.ANALYSIS_COMPLETE, ["Parked", "Deploying"], P.DEPLOYMENT_IN_PROGRESS, 1),
        (P.ANALYSIS_COMPLETE, ["Needs Human Intervention", "Done"], P.INCIDENT_RESOLVED, 1),
    ],
)
def test_of_several_moves_the_newest_counts(before, names, phase, run) -> None:
    moves = [f.move(11 + n, name) for n, name in enumerate(names)]
    found = read(f.status(before), f.ticket(*moves)).status
    assert (found.phase, found.run) == (phase, run)
    assert found.ticket.seen_change == moves[-1].id


PLAIN = f.identity(f.PLAIN)


@pytest.mark.parametrize(
    ("before", "names", "phase", "run"),
    [
        (P.PR_UNDER_REVIEW, ["To Do"], P.INCIDENT_REQUIRES_HUMAN, 1),
        (P.INCIDENT_REQUIRES_HUMAN, ["In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.INCIDENT_RESOLVED, ["To Do"], P.INCIDENT_DETECTED, 2),
        (P.INCIDENT_RESOLVED, ["In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.PR_CREATED, ["Done"], P.INCIDENT_RESOLVED, 1),
        (P.PR_CREATED, ["To Do", "In Progress"], P.ANALYSIS_IN_PROGRESS, 2),
        (P.PR_CREATED, ["Done", "To Do"], P.INCIDENT_DETECTED, 2),
        (P.INCIDENT_RESOLVED, ["To Do", "In Progress", "To Do"], P.INCIDENT_REQUIRES_HUMAN, 2),
    ],
)
def test_people_in_the_plain_workflow(before, names, phase, run) -> None:
    status = f.status(before, identity=PLAIN)
    moves = [f.move(11 + n, name) for n, name in enumerate(names)]
    found = read(status, f.ticket(*moves)).status
    assert (found.phase, found.run) == (phase, run)


def test_in_the_plain_workflow_our_steps_within_a_status_are_no_moves() -> None:
    status = f.status(P.PR_MERGED, identity=PLAIN, ticket=f.ticket_status(P.PR_MERGED, status="In Progress"))
    assert read(status, f.ticket(status="In Progress")).status == status


def test_without_identity_the_default_table_serves() -> None:
    status = f.status(
        P.ANALYSIS_COMPLETE, identity=None, intent=f.intent(P.FIX_GENERATION_IN_PROGRESS)
    )
    ticket = f.ticket(f.move(11, "Deploying"), f.move(12, "Generating Fix", by=f.OPERATOR))
    found = read(status, ticket).status
    assert found.phase is P.DEPLOYMENT_IN_PROGRESS
    assert found.intent.to is P.DEPLOYMENT_IN_PROGRESS


@pytest.mark.parametrize("before", Phase)
def test_deriving_twice_is_deriving_once(before: Phase) -> None:
    ticket = f.ticket(f.move(11, "Needs Human Intervention"), f.move(12, "In Progress"))
    once = read(f.status(before), ticket).status
    assert read(once, ticket).status == once


def annotated(value: str | None, *, phase: Phase | None = P.ANALYSIS_COMPLETE, fields=None):
    base = f.incident(annotations={derive.TRANSITION_ANNOTATION: value} if value else {})
    known = f.status(P.ANALYSIS_COMPLETE, ticket=None).evolve(phase=phase)
    meta = base.metadata.evolve(managed_fields=fields or [])
    return base.evolve(metadata=meta, status=known)


WRITER = {
    "manager": "kubectl-annotate",
    "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{derive.TRANSITION_ANNOTATION}": {}}}},
}


def test_an_annotation_moves_it_where_there_is_no_tracker() -> None:
    shi = annotated("INCIDENT_REQUIRES_HUMAN/1", fields=[{"manager": "other"}, WRITER])
    found = derive.derive_from_annotation(shi, f.NOW)
    assert (found.phase, found.run) == (P.INCIDENT_REQUIRES_HUMAN, 1)
    assert found.observed_transition == "INCIDENT_REQUIRES_HUMAN/1"
    assert found.history[-1].by == "kubectl-annotate (unproven)"
    assert derive.derive_from_annotation(shi.evolve(status=found), f.NOW) is found


def test_an_annotation_to_an_earlier_phase_grows_the_run() -> None:
    found = derive.derive_from_annotation(annotated("INCIDENT_DETECTED/2"), f.NOW)
    assert (found.phase, found.run) == (P.INCIDENT_DETECTED, 2)
    assert found.history[-1].by == "unknown (unproven)"


def test_an_annotation_that_names_no_phase_is_said_and_moves_nothing() -> None:
    found = derive.derive_from_annotation(annotated("HALFWAY/1"), f.NOW)
    assert found.phase is P.ANALYSIS_COMPLETE
    assert "'HALFWAY' is not a phase" in found.message
    assert found.observed_transition == "HALFWAY/1"


@pytest.mark.parametrize(("value", "phase"), [(None, P.ANALYSIS_COMPLETE), ("PR_MERGED/1", None)])
def test_without_annotation_or_phase_nothing_happens(value, phase) -> None:
    shi = annotated(value, phase=phase)
    assert derive.derive_from_annotation(shi, f.NOW) is shi.status
