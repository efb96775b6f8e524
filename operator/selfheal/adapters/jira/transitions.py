"""Moves of tickets: by transitions that the workflow offers now, chosen by the status they lead to.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/ (Get, Do transition).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.adapters.jira.errors import SYSTEM, Refused
from selfheal.adapters.jira.session import Session, quote
from selfheal.domain import errors, facts

_GOOD_RESOLUTIONS = ("fixed", "done", "resolved", "completed")
_BAD_WORDS = ("won't", "wont", "duplicate", "cannot", "declined", "known", "incomplete", "not ")


async def transition(
    session: Session, ticket: facts.TicketFacts, to_statuses: Sequence[str]
) -> None:
    """Move the ticket to the first of the statuses that is offered; there already: no request."""
    if _matches(ticket.status, to_statuses):
        return
    path = f"issue/{quote(ticket.key)}/transitions"
    answer = await session.read(path, {"expand": "transitions.fields"})
    offered: list[Mapping[str, Any]] = answer.get("transitions") or []
    chosen = choose(offered, to_statuses)
    if chosen is None:
        await _look_again(session, ticket, to_statuses)
        names = ", ".join(sorted({_target(entry) for entry in offered})) or "nothing"
        raise errors.TransitionNotOffered(
            f"{ticket.key} stands at {ticket.status}, from where its workflow offers {names}, but "
            f"not {' or '.join(to_statuses)}; add the transition, or let the account use it",
            system=SYSTEM,
        )
    fields = compute_fields(chosen)
    body: dict[str, Any] = {"transition": {"id": str(chosen["id"])}}
    if fields:
        body["fields"] = fields
    try:
        await session.write("POST", path, body)
    except Refused as exc:
        await _look_again(session, ticket, to_statuses)
        raise errors.TransitionNotOffered(
            f"Jira refuses to move {ticket.key} to {_target(chosen)}: {exc.text}; take the "
            "condition or field off the transition",
            system=SYSTEM,
        ) from exc


def choose(
    offered: Sequence[Mapping[str, Any]], to_statuses: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return the transition to the first status that has one, least demanding first; or None."""
    for status in to_statuses:
        ways = [entry for entry in offered if _leads_to(entry, status)]
        if ways:
            return min(ways, key=lambda entry: len(_missing(entry)))
    return None


def _leads_to(entry: Mapping[str, Any], status: str) -> bool:
    to = entry.get("to") or {}
    usable = entry.get("isAvailable", True)
    return usable and (_matches(_target(entry), [status]) or str(to.get("id")) == status)


def _target(entry: Mapping[str, Any]) -> str:
    return str((entry.get("to") or {}).get("name") or "")


def _matches(status: str, names: Sequence[str]) -> bool:
    return status.casefold() in {name.casefold() for name in names}


def _missing(entry: Mapping[str, Any]) -> list[str]:
    fields: Mapping[str, Mapping[str, Any]] = entry.get("fields") or {}
    return [
        str(field.get("name") or name)
        for name, field in fields.items()
        if field.get("required") and not field.get("hasDefaultValue") and name != "resolution"
    ]


def compute_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the transition's screen wants and we know: the resolution.

    TransitionNotOffered where it demands others, which names them.
    """
    missing = _missing(entry)
    if missing:
        raise errors.TransitionNotOffered(
            f"the transition to {_target(entry)} demands {', '.join(missing)}; make the field "
            "optional on its screen, or give it a default",
            system=SYSTEM,
        )
    field = (entry.get("fields") or {}).get("resolution")
    if field is None:
        return {}
    allowed = [str(value.get("name") or "") for value in field.get("allowedValues") or ()]
    name = choose_resolution(allowed)
    return {"resolution": {"name": name}} if name else {}


def choose_resolution(allowed: Sequence[str]) -> str | None:
    """Return the resolution that says most nearly "fixed"; None where there is none at all."""
    by_name = {name.casefold(): name for name in allowed if name}
    for wanted in _GOOD_RESOLUTIONS:
        if wanted in by_name:
            return by_name[wanted]
    neutral = [name for key, name in by_name.items() if not any(bad in key for bad in _BAD_WORDS)]
    return next(iter([*neutral, *by_name.values()]), None)


async def _look_again(
    session: Session, ticket: facts.TicketFacts, to_statuses: Sequence[str]
) -> None:
    """Raise Conflict where the ticket moved since it was read."""
    answer = await session.read(f"issue/{quote(ticket.key)}", {"fields": "status"})
    status = str(answer["fields"]["status"]["name"])
    if status.casefold() != ticket.status.casefold():
        raise errors.Conflict(f"{ticket.key} moved to {status} meanwhile")
