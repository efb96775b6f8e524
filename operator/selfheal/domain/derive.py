"""The ticket decides the phase: from the changelog to the status, and who moved it. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from selfheal.api.incident import Incident, IncidentStatus, Intent, OperatorMove, Phase
from selfheal.domain import lifecycle, phases
from selfheal.domain.effects import EffectKind, compute_key
from selfheal.domain.facts import Move, TicketFacts

NEVER = "0"
"""``seenChange`` of a ticket whose changelog had no status entry when it was first read."""

TRANSITION_ANNOTATION = "selfheal.dev/transition-to"
POKE_ANNOTATION = "selfheal.dev/poke"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived:
    """The status after the ticket was read, and what is odd about the ticket."""

    status: IncidentStatus
    person: str | None = None  # who moved it, if somebody did
    unknown_status: str | None = None  # a ticket status that the map does not know


def derive(status: IncidentStatus, ticket: TicketFacts, now: dt.datetime) -> Derived:
    """Return the status that a freshly read ticket implies. May be repeated."""
    known = status.ticket
    if known is None or status.phase is None:
        return Derived(status=status)
    if known.seen_change is None:
        return Derived(status=_record(status, ticket, newest_id(ticket)))
    unseen = moves_after(ticket.moves, known.seen_change)
    if not unseen:
        return _check_standing(status, ticket, known.seen_change)
    ours = _explained(unseen, status)
    if ours is not None and len(unseen) == 1:
        return Derived(status=_confirm(status, ticket, ours, now))
    return _obey(status, ticket, unseen, ours, now)


def newest_id(ticket: TicketFacts) -> str:
    """Return the id of the newest status entry, or NEVER."""
    return ticket.moves[-1].id if ticket.moves else NEVER


def moves_after(moves: Sequence[Move], seen: str) -> list[Move]:
    """Return the status entries that are newer than the last one seen."""
    ids = [move.id for move in moves]
    if seen in ids:
        return list(moves[ids.index(seen) + 1 :])
    return list(moves) if seen == NEVER else [m for m in moves if _newer(m.id, seen)]


def _newer(one: str, other: str) -> bool:
    return (len(one), one) > (len(other), other)  # ids are decimal and grow


def _statuses(status: IncidentStatus) -> dict[Phase, Sequence[str]]:
    identity = status.identity
    table = identity.statuses if identity and identity.statuses else {}
    return {**phases.resolve_statuses({}), **{Phase(name): row for name, row in table.items()}}


def _explained(unseen: Sequence[Move], status: IncidentStatus) -> Move | None:
    intent = status.intent
    if intent is None or intent.kind != EffectKind.MOVE_TICKET or intent.to is None:
        return None
    for move in unseen:
        if move.by.is_operator and intent.to in phases.phases_of(move.to_status, _statuses(status)):
            return move
    return None


def _record(status: IncidentStatus, ticket: TicketFacts, seen: str) -> IncidentStatus:
    assert status.ticket is not None  # noqa: S101 - callers have checked
    read = status.ticket.evolve(
        id=ticket.id, key=ticket.key, url=ticket.url, status=ticket.status, seen_change=seen
    )
    return status if read == status.ticket else status.evolve(ticket=read)


def _check_standing(status: IncidentStatus, ticket: TicketFacts, seen: str) -> Derived:
    standing = phases.phases_of(ticket.status, _statuses(status))
    return Derived(
        status=_record(status, ticket, seen),
        unknown_status=None if standing else ticket.status,
    )


def _confirm(
    status: IncidentStatus, ticket: TicketFacts, ours: Move, now: dt.datetime
) -> IncidentStatus:
    intent = status.intent
    assert intent is not None and intent.to is not None  # noqa: S101, PT018 - it explains our move
    recorded = _record(status, ticket, newest_id(ticket))
    assert recorded.ticket is not None  # noqa: S101 - callers have checked
    moved = OperatorMove(to=intent.to, run=status.run, at=ours.at)
    recorded = recorded.evolve(ticket=recorded.ticket.evolve(last_operator_move=moved))
    if intent.to is recorded.phase:  # the ticket was returned to where a person had put it
        return recorded.evolve(intent=None)
    return lifecycle.enter(
        recorded, intent.to, by=lifecycle.OPERATOR, at=ours.at, why=intent.why, now=now
    )


def _obey(
    status: IncidentStatus,
    ticket: TicketFacts,
    unseen: Sequence[Move],
    ours: Move | None,
    now: dt.datetime,
) -> Derived:
    """Follow the moves in their order; the newest of a person counts, older ones are noted."""
    statuses = _statuses(status)
    newest = [move for move in unseen if move is not ours][-1]
    late = ours is not None and unseen.index(ours) > unseen.index(newest)
    recorded = _record(status, ticket, newest_id(ticket))
    coming_from, handed_back = status.phase, False
    for move in unseen[: unseen.index(newest)]:
        if move is ours:
            recorded = _confirm(recorded, ticket, ours, now)
            coming_from = recorded.phase
        else:
            recorded = _note(recorded, move, statuses, now)
        handed_back = handed_back or recorded.phase is Phase.INCIDENT_REQUIRES_HUMAN
    phase = phases.entered_by_person(newest.to_status, statuses, coming_from=recorded.phase)
    if phase is None:
        return Derived(
            status=recorded.evolve(intent=None),
            person=newest.by.name,
            unknown_status=newest.to_status,
        )
    why = f"moved the ticket to {newest.to_status}"
    moved = lifecycle.enter_by_person(
        recorded, phase, by=newest.by.name, at=newest.at, why=why, now=now,
        coming_from=coming_from, handed_back=handed_back,
    )  # fmt: skip
    if late:
        # our own move landed after theirs: the ticket goes back to where the person put it
        intent = Intent(
            key=_return_key(moved, newest), kind=EffectKind.MOVE_TICKET, at=now, to=phase,
            why=f"{newest.by.name} moved the ticket while the operator did",
        )  # fmt: skip
        moved = moved.evolve(intent=intent)
    return Derived(status=moved, person=newest.by.name)


def _return_key(status: IncidentStatus, move: Move) -> str:
    uid = status.identity.uid if status.identity else ""
    phase = status.phase or Phase.INCIDENT_DETECTED
    return compute_key(uid, status, phase, f"return-ticket-{move.id}")


def _note(
    status: IncidentStatus, move: Move, statuses: phases.StatusMap, now: dt.datetime
) -> IncidentStatus:
    phase = phases.entered_by_person(move.to_status, statuses, coming_from=status.phase)
    if phase is None:
        return status
    noted = lifecycle.enter(
        status, phase, by=move.by.name, at=move.at, why=f"moved the ticket to {move.to_status}",
        now=now,
    )  # fmt: skip
    return noted.evolve(intent=status.intent)  # ours may still have to be told apart


def derive_from_annotation(incident: Incident, now: dt.datetime) -> IncidentStatus:
    """Obey ``selfheal.dev/transition-to`` where no tracker is configured; the nonce is kept."""
    status = incident.status
    wanted = incident.metadata.annotations.get(TRANSITION_ANNOTATION)
    if not wanted or wanted == status.observed_transition or status.phase is None:
        return status
    seen = status.evolve(observed_transition=wanted)
    try:
        phase = Phase(wanted.split("/")[0])
    except ValueError:
        return seen.evolve(
            message=f"annotation {TRANSITION_ANNOTATION}: {wanted.split('/')[0]!r} is not a phase"
        )
    by = f"{find_manager(incident, TRANSITION_ANNOTATION)} (unproven)"
    return lifecycle.enter_by_person(
        seen, phase, by=by, at=now, why=f"annotation {TRANSITION_ANNOTATION}", now=now
    )


def find_manager(incident: Incident, annotation: str) -> str:
    """Return the field manager that last wrote an annotation."""
    for entry in incident.metadata.managed_fields:
        fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        if f"f:{annotation}" in fields:
            return str(entry.get("manager", "unknown"))
    return "unknown"
