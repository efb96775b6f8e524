"""Conditions: computed from the draft and the decision, never edited by hand. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from selfheal.api.incident import IncidentStatus, Phase
from selfheal.api.meta import Condition
from selfheal.domain import phases

# Reasons, each with what it means.
RESOLVED = "Resolved"  # the incident is over
IN_PROGRESS = "InProgress"  # the operator or somebody it waits for is at work
DRY_RUN = "DryRun"  # analysis only
NEEDS_PERSON = "NeedsPerson"  # handed over
PENDING = "Pending"  # its phase has not come yet
DONE = "Done"  # it has been reached
FAILED = "Failed"  # it was tried and did not hold
SYNCED = "Synced"  # ticket and phase agree
NO_TRACKER = "NoTracker"  # no ticket is kept by policy
UNKNOWN_STATUS = "UnknownStatus"  # the ticket stands in a status that the map does not name
VALID = "Valid"  # of a policy: it can be used
INVALID = "Invalid"  # of a policy: the fields that are wrong stand in the message
NOT_CREATED = "NotCreated"  # the ticket does not exist yet
INCIDENTS_MISSING = "IncidentsMissing"  # of a policy: too many tickets have no incident

ORPHANS_HELD = "OrphansHeld"
"""Condition of a policy whose orphaned tickets are left alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What conditions depend on beside the status."""

    tracked: bool
    dry: bool
    stalled: tuple[str, str] | None = None  # reason, message
    unknown_status: str | None = None
    degraded: str | None = None  # why the model was not used though one is configured
    asleep: bool = False  # suspended: nothing is under way


def compute(
    before: Sequence[Condition],
    status: IncidentStatus,
    standing: Standing,
    *,
    generation: int,
    now: dt.datetime,
) -> list[Condition]:
    """Return all conditions; ``lastTransitionTime`` changes only with ``status``."""
    wanted = [
        _ready(status, standing),
        *_kstatus(status, standing),
        _synced(status, standing),
        *_milestones(status),
    ]
    if standing.degraded:
        wanted.append(("ModelDegraded", "True", "RulesOnly", standing.degraded))
    known = {condition.type: condition for condition in before}
    return [_stamp(known.get(row[0]), row, generation, now) for row in wanted]


Row = tuple[str, str, str, str]


def compute_policy(
    before: Sequence[Condition], problems: Sequence[str], *, generation: int, now: dt.datetime
) -> list[Condition]:
    """Return the conditions of a policy: Ready, False with the first fields that are wrong."""
    known = {condition.type: condition for condition in before}
    row = ("Ready", "True", VALID, "The policy can be used.")
    if problems:
        row = ("Ready", "False", INVALID, "; ".join(problems))
    others = [one for one in before if one.type != "Ready"]
    return [_stamp(known.get("Ready"), row, generation, now), *others]


def compute_orphans(
    before: Sequence[Condition], held: int, *, generation: int, now: dt.datetime
) -> list[Condition]:
    """Return a policy's conditions with OrphansHeld, which stands while tickets are left alone."""
    others = [one for one in before if one.type != ORPHANS_HELD]
    if not held:
        return others
    known = next((one for one in before if one.type == ORPHANS_HELD), None)
    message = (
        f"{held} open tickets of this cluster have no incident any more. So many at once are not "
        "released: restore the incidents, or close the tickets."
    )
    row = (ORPHANS_HELD, "True", INCIDENTS_MISSING, message)
    return [*others, _stamp(known, row, generation, now)]


def _stamp(old: Condition | None, row: Row, generation: int, now: dt.datetime) -> Condition:
    type_, status, reason, message = row
    same = old is not None and old.status == status
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message[:1024],
        last_transition_time=old.last_transition_time if old is not None and same else now,
        observed_generation=generation,
    )


def _ready(status: IncidentStatus, standing: Standing) -> Row:
    if status.phase is Phase.INCIDENT_RESOLVED:
        return ("Ready", "True", RESOLVED, f"{status.resolution or 'Resolved'}")
    if standing.dry:
        return ("Ready", "False", DRY_RUN, status.message)
    if status.phase is Phase.INCIDENT_REQUIRES_HUMAN:
        return ("Ready", "False", NEEDS_PERSON, status.message)
    return ("Ready", "False", IN_PROGRESS, status.message)


def _kstatus(status: IncidentStatus, standing: Standing) -> list[Row]:
    if standing.stalled is not None:
        return [("Stalled", "True", *standing.stalled)]
    over = status.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN)
    rests = standing.dry and status.phase is Phase.ANALYSIS_COMPLETE
    if over or rests or standing.asleep:
        return []
    return [("Reconciling", "True", IN_PROGRESS, status.message)]


def _synced(status: IncidentStatus, standing: Standing) -> Row:
    if standing.dry:
        return ("TicketSynced", "False", DRY_RUN, "A dry run writes to no ticket.")
    if not standing.tracked:
        return ("TicketSynced", "False", NO_TRACKER, "The policy keeps no tickets.")
    if standing.unknown_status is not None:
        return (
            "TicketSynced",
            "False",
            UNKNOWN_STATUS,
            f"Ticket status {standing.unknown_status!r} is in no entry of tracker.statuses.",
        )
    if status.ticket is None:
        return ("TicketSynced", "False", NOT_CREATED, "The ticket does not exist yet.")
    return ("TicketSynced", "True", SYNCED, status.ticket.key)


def _milestones(status: IncidentStatus) -> list[Row]:
    diagnosis, fix, pull = status.diagnosis, status.fix, status.pull_request
    merged = pull is not None and pull.merge_sha is not None
    live = phases.reached(status.phase, Phase.DEPLOYMENT_COMPLETE) and merged
    proved = phases.reached(status.phase, Phase.VERIFICATION_COMPLETE) and live
    handover = status.handover
    broken = handover is not None and handover.run == status.run
    rows = [
        _row("Diagnosed", diagnosis is not None, diagnosis.cause if diagnosis else ""),
        _row("FixProposed", fix is not None, fix.summary if fix else ""),
        _row("PullRequestMerged", merged, pull.url if pull and merged else ""),
        _row("Deployed", live, status.deployment.revision if status.deployment and live else ""),
        _row("Verified", proved, "Every check held through the window." if proved else ""),
    ]
    if broken and handover is not None and handover.reason == "VerificationFailed":
        rows[-1] = ("Verified", "False", FAILED, handover.message)
    return rows


def _row(type_: str, reached: bool, message: str) -> Row:
    return (type_, "True", DONE, message) if reached else (type_, "False", PENDING, "")
