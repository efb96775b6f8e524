"""Legality of every pair of phases, and which phases a ticket status stands for."""

from __future__ import annotations

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Phase
from selfheal.domain import phases

P = Phase

LEGAL = {
    P.INCIDENT_DETECTED: {P.ANALYSIS_IN_PROGRESS, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.ANALYSIS_IN_PROGRESS: {P.ANALYSIS_COMPLETE, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.ANALYSIS_COMPLETE: {P.FIX_GENERATION_IN_PROGRESS, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.FIX_GENERATION_IN_PROGRESS: {P.FIX_GENERATED, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.FIX_GENERATED: {P.PR_CREATION_IN_PROGRESS, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.PR_CREATION_IN_PROGRESS: {P.PR_CREATED, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.PR_CREATED: {P.PR_UNDER_REVIEW, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.PR_UNDER_REVIEW: {P.PR_APPROVED, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.PR_APPROVED: {P.PR_MERGED, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.PR_MERGED: {P.DEPLOYMENT_IN_PROGRESS, P.INCIDENT_REQUIRES_HUMAN},
    P.DEPLOYMENT_IN_PROGRESS: {P.DEPLOYMENT_COMPLETE, P.INCIDENT_REQUIRES_HUMAN},
    P.DEPLOYMENT_COMPLETE: {P.VERIFICATION_IN_PROGRESS, P.INCIDENT_REQUIRES_HUMAN},
    P.VERIFICATION_IN_PROGRESS: {P.VERIFICATION_COMPLETE, P.INCIDENT_REQUIRES_HUMAN},
    P.VERIFICATION_COMPLETE: {P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN},
    P.INCIDENT_RESOLVED: set(),
    P.INCIDENT_REQUIRES_HUMAN: {P.PR_UNDER_REVIEW},
}


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_every_pair_is_legal_for_the_operator_exactly_as_designed(before: Phase, after: Phase) -> None:
    assert phases.is_legal_for_operator(before, after) is (after in LEGAL[before])


def test_the_chain_has_fifteen_phases_and_no_place_for_a_person() -> None:
    assert len(phases.CHAIN) == 15
    assert phases.CHAIN[0] is P.INCIDENT_DETECTED
    assert phases.CHAIN[-1] is P.INCIDENT_RESOLVED
    assert not phases.reached(P.INCIDENT_REQUIRES_HUMAN, P.INCIDENT_DETECTED)
    assert not phases.reached(None, P.INCIDENT_DETECTED)
    with pytest.raises(ValueError, match="not in tuple"):
        phases.index(P.INCIDENT_REQUIRES_HUMAN)
    with pytest.raises(IndexError):
        phases.following(P.INCIDENT_RESOLVED)


def test_without_a_map_the_table_holds() -> None:
    assert phases.resolve_statuses({}) == {phase: (name,) for phase, name in f.NAMES.items()}
    assert phases.check_statuses({}) == []


def test_the_plain_workflow_needs_three_entries() -> None:
    resolved = phases.resolve_statuses(f.PLAIN)
    assert phases.check_statuses(f.PLAIN) == []
    assert resolved[P.INCIDENT_REQUIRES_HUMAN] == ("To Do",)
    assert resolved[P.INCIDENT_RESOLVED] == ("Done",)
    middle = set(Phase) - {P.INCIDENT_DETECTED, P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN}
    assert {resolved[phase] for phase in middle} == {("In Progress",)}


def test_a_phase_not_named_takes_the_nearest_named_one_before() -> None:
    resolved = phases.resolve_statuses({**f.PLAIN, P.PR_CREATED: ["Review"], P.PR_MERGED: ["Rolling"]})
    assert resolved[P.PR_CREATION_IN_PROGRESS] == ("In Progress",)
    assert resolved[P.PR_APPROVED] == ("Review",)
    assert resolved[P.VERIFICATION_COMPLETE] == ("Rolling",)


@pytest.mark.parametrize(
    ("statuses", "field"),
    [
        ({P.INCIDENT_RESOLVED: ["Done"]}, "INCIDENT_DETECTED"),
        ({P.INCIDENT_DETECTED: ["To Do"]}, "INCIDENT_RESOLVED"),
        ({**f.PLAIN, P.PR_CREATED: []}, "PR_CREATED"),
        ({**f.PLAIN, P.PR_CREATED: ["Done"]}, "INCIDENT_RESOLVED"),
        ({**f.PLAIN, P.INCIDENT_REQUIRES_HUMAN: ["In Progress"]}, "INCIDENT_REQUIRES_HUMAN"),
        ({**f.PLAIN, P.INCIDENT_REQUIRES_HUMAN: ["Done"]}, "INCIDENT_RESOLVED"),
        ({**f.PLAIN, P.PR_CREATED: ["done"]}, "INCIDENT_RESOLVED"),
        ({**f.PLAIN, P.INCIDENT_REQUIRES_HUMAN: ["in progress"]}, "INCIDENT_REQUIRES_HUMAN"),
    ],
)
def test_a_wrong_map_is_said_with_its_field(statuses: dict[Phase, list[str]], field: str) -> None:
    problems = phases.check_statuses(statuses)
    assert any(line.startswith(f"tracker.statuses.{field}:") for line in problems), problems


def test_aliases_of_the_first_phase_are_allowed() -> None:
    assert phases.check_statuses({**f.PLAIN, P.INCIDENT_DETECTED: ["To Do", "Open", "Waiting"]}) == []


def test_a_status_stands_for_its_phases_whatever_its_case() -> None:
    table = phases.resolve_statuses({})
    assert phases.phases_of("verifying fix", table) == (
        P.VERIFICATION_IN_PROGRESS, P.VERIFICATION_COMPLETE,
    )  # fmt: skip
    assert phases.phases_of("Nowhere", table) == ()
    plain = phases.resolve_statuses(f.PLAIN)
    assert phases.phases_of("To Do", plain) == (P.INCIDENT_DETECTED, P.INCIDENT_REQUIRES_HUMAN)


@pytest.mark.parametrize(
    ("name", "coming_from", "entered"),
    [
        ("In Progress", P.PR_MERGED, P.ANALYSIS_IN_PROGRESS),
        ("In Progress", P.INCIDENT_RESOLVED, P.ANALYSIS_IN_PROGRESS),
        ("To Do", P.ANALYSIS_COMPLETE, P.INCIDENT_REQUIRES_HUMAN),
        ("To Do", P.INCIDENT_RESOLVED, P.INCIDENT_DETECTED),
        ("Done", P.PR_CREATED, P.INCIDENT_RESOLVED),
        ("Elsewhere", P.PR_CREATED, None),
    ],
)
def test_what_a_person_enters_in_the_plain_workflow(
    name: str, coming_from: Phase, entered: Phase | None
) -> None:
    table = phases.resolve_statuses(f.PLAIN)
    assert phases.entered_by_person(name, table, coming_from=coming_from) is entered


@pytest.mark.parametrize("phase", Phase)
def test_what_a_person_enters_by_the_default_table(phase: Phase) -> None:
    entered = phases.entered_by_person(
        f.NAMES[phase], phases.resolve_statuses({}), coming_from=P.ANALYSIS_COMPLETE
    )
    first = P.VERIFICATION_IN_PROGRESS if phase is P.VERIFICATION_COMPLETE else phase
    assert entered is first
