"""Who may give commands by comment: the groups of the author, as the tracker knows them."""

from __future__ import annotations

from typing import Any

from selfheal.domain import commands, errors
from selfheal.engine.context import Context
from selfheal.engine.deps import require_tracker


async def read_author_groups(context: Context) -> dict[str, Any]:
    """Ask for the groups of who gives the oldest command that is open; None: they are not shown.

    A comment must not hold up the incident: an account that may not look is a fact, and is said.
    """
    known, ticket = context.status.ticket, context.facts.ticket
    spec = context.spec.tracker.commands
    command = commands.find_open(known, ticket, spec) if known and ticket else None
    if command is None:
        return {"author_groups": None}
    tracker = require_tracker(context.systems)
    try:
        return {"author_groups": await tracker.get_groups(command.by.id)}
    except errors.Unreachable:
        raise
    except errors.Stalled:
        return {"author_groups": None}
