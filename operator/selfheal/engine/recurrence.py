"""A second incident of the same target and class while a fix is being proved: it was no fix."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Incident, Phase
from selfheal.domain.facts import CheckResult
from selfheal.engine.context import Context
from selfheal.verification import contract


async def check(context: Context) -> tuple[CheckResult, ...]:
    """Return the check that a second incident breaks; nothing outside the stability window.

    The second one follows this one as a duplicate (one cause has one holder): it never makes a fix
    of its own while this one is worked on. Reads only, may be repeated.
    """
    known = context.status.verification
    if context.status.phase is not Phase.VERIFICATION_IN_PROGRESS or known is None:
        return ()
    others = await context.deps.store.list_incidents(context.namespace)
    for other in others:
        if _says_so(other, context, known.started_at):
            return (contract.fail_by_incident(other.key, other.metadata.creation_timestamp),)
    return ()


def _says_so(other: Incident, context: Context, live: dt.datetime | None) -> bool:
    """Say whether an incident was filed since the fix is live and saw the same fault itself."""
    filed, own = other.metadata.creation_timestamp, context.status.diagnosis
    if other.status.duplicate_of != context.incident.key or filed is None or live is None:
        return False
    seen = other.status.verification.checks if other.status.verification else []
    reproduced = any(check.before is False for check in seen)
    found = other.status.diagnosis
    same = found is not None and own is not None and found.class_ is own.class_
    return filed >= live and same and reproduced
