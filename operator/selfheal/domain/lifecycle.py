"""Entering a phase: run, history and what earlier work still counts. Pure."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import (
    Attempts,
    Backoff,
    HistoryEntry,
    IncidentStatus,
    Phase,
    Resolution,
)
from selfheal.domain import clock, phases

HISTORY_LIMIT = 50
OPERATOR = "operator"


def enter(
    status: IncidentStatus, phase: Phase, *, by: str, at: dt.datetime, why: str, now: dt.datetime
) -> IncidentStatus:
    """Return the status after the operator's own move into a phase."""
    entry = HistoryEntry(from_=status.phase, to=phase, by=by, at=at, why=why)
    return status.evolve(
        phase=phase,
        phase_since=at,
        intent=None,
        backoff=Backoff(),
        clock=clock.start(now),
        history=[*status.history, entry][-HISTORY_LIMIT:],
    )


def enter_by_person(
    status: IncidentStatus,
    phase: Phase,
    *,
    by: str,
    at: dt.datetime,
    why: str,
    now: dt.datetime,
    coming_from: Phase | None = None,
    handed_back: bool = False,
) -> IncidentStatus:
    """Return the status after a person's move; a hand-back, reopening or step back: a new run.

    ``coming_from``: the phase before the person's first move, where older moves stand in between.
    ``handed_back``: the person passed through INCIDENT_REQUIRES_HUMAN on the way here.
    """
    before = coming_from or status.phase
    moved = enter(status, phase, by=by, at=at, why=why, now=now)
    if phase is Phase.INCIDENT_RESOLVED:
        stays = before is Phase.INCIDENT_RESOLVED and status.resolution is not None
        return moved.evolve(resolution=status.resolution if stays else Resolution.CLOSED_BY_PERSON)
    moved = moved.evolve(resolution=None)  # one that was only intended is cancelled with its move
    if begins_new_run(before, phase, handed_back=handed_back):
        return begin_run(moved)
    return moved


def begins_new_run(before: Phase | None, after: Phase, *, handed_back: bool = False) -> bool:
    """Say whether a person's move starts a new run."""
    if after is Phase.INCIDENT_REQUIRES_HUMAN:
        return before is Phase.INCIDENT_RESOLVED
    if handed_back or before in (Phase.INCIDENT_REQUIRES_HUMAN, Phase.INCIDENT_RESOLVED):
        return True
    return before is not None and phases.index(after) < phases.index(before)


def begin_run(status: IncidentStatus) -> IncidentStatus:
    """Return the status in its next run: fresh attempts; kept is what the phase's past implies.

    A hand-over stays, with the run that it belongs to: the next one says when nothing changed.
    """
    phase = status.phase
    assert phase is not None  # noqa: S101 - every caller has just entered a phase
    human = phase is Phase.INCIDENT_REQUIRES_HUMAN

    def kept(at_least: Phase) -> bool:
        return human or phases.reached(phase, at_least)

    return status.evolve(
        run=status.run + 1,
        attempts=Attempts(),
        receipts=[],
        duplicate_of=None,
        diagnosis=status.diagnosis if kept(Phase.ANALYSIS_COMPLETE) else None,
        fix=status.fix if kept(Phase.FIX_GENERATED) else None,
        pull_request=status.pull_request if kept(Phase.PR_CREATED) else None,
        deployment=status.deployment if kept(Phase.DEPLOYMENT_IN_PROGRESS) else None,
        verification=None,
    )
