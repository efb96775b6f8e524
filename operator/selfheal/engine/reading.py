"""How often ticket and pull request are read: again before what counts, seldom while resting."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from selfheal.api.incident import Phase
from selfheal.domain import errors
from selfheal.domain.effects import OUTSIDE_WRITES, Effect, EffectKind
from selfheal.domain.machine.delivery import LOOK
from selfheal.engine import observe
from selfheal.engine.context import Context
from selfheal.engine.deps import require_tracker

FOLLOWS_PHASE = frozenset(
    {
        EffectKind.SAVE_TICKET_MIRROR,
        EffectKind.SAVE_PULL_REQUEST_MIRROR,
        EffectKind.COMMENT_TICKET,
        EffectKind.COMMENT_PULL_REQUEST,
    }
)
"""Writes that only say where the incident stands: the step's own reading of the ticket does."""

JUST_READ = dt.timedelta(seconds=1)
"""Age of a step up to which its reading of the ticket counts as the one before a planned move."""

JITTER = dt.timedelta(milliseconds=500)
"""How early a step may be that makes the search of its interval."""

LOOKS_AT_CLUSTER = frozenset(
    {Phase.PR_MERGED, Phase.DEPLOYMENT_IN_PROGRESS, Phase.VERIFICATION_IN_PROGRESS}
)
"""Phases that look at our own cluster more often than the policy polls ticket and code host."""


async def look_again(context: Context, effect: Effect) -> None:
    """Read the ticket once more before an outside write: a person always wins."""
    if effect.kind not in OUTSIDE_WRITES or effect.kind in FOLLOWS_PHASE:
        return
    if context.status.ticket is None or not context.view().tracked:
        return
    if _read_since_planned(context, effect):
        return
    seen = context.facts.ticket
    await observe.observe(context, {"ticket"})
    fresh = context.facts.ticket
    if fresh is None or seen is None or fresh.moves != seen.moves:
        raise errors.Conflict("the ticket was moved while the step was under way")


def _read_since_planned(context: Context, effect: Effect) -> bool:
    """Say whether this step's reading already is the one after the intent, right before the move.

    It is where an earlier step decided on the move and saved its intent.
    """
    planned = effect.kind is EffectKind.MOVE_TICKET and context.fresh_intent is None
    age = context.deps.clock.now() - context.now
    return planned and context.facts.ticket is not None and age < JUST_READ


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """What a step read before it rested, and under which circumstances that still holds."""

    at: dt.datetime
    circumstances: tuple[object, ...]
    facts: dict[str, Any]


def take_kept(context: Context) -> bool:
    """Learn what the last step read, where the policy's poll interval allows it; say whether.

    Good for resting only: whoever wants to do anything reads first.
    """
    uid = context.incident.metadata.uid
    kept: Kept | None = context.deps.readings.pop(uid, None)
    if uid in context.deps.tickets.changed:
        return False
    if kept is None or kept.circumstances != _circumstances(context):
        return False
    if context.now - kept.at + LOOK > context.view().poll_code:
        return False
    context.learn(**kept.facts)
    context.read_at = kept.at
    return True


def keep(context: Context) -> None:
    """Keep ticket and pull request for the next step of a phase that looks at the cluster."""
    if context.status.phase in LOOKS_AT_CLUSTER and {"ticket", "pull_request"} <= (
        context.facts.observed
    ):
        facts = {
            "ticket": context.facts.ticket,
            "ticket_missing": context.facts.ticket_missing,
            "pull_request": context.facts.pull_request,
        }
        context.deps.readings[context.incident.metadata.uid] = Kept(
            at=context.read_at or context.now, circumstances=_circumstances(context), facts=facts
        )


async def take_watched(context: Context) -> bool:
    """Learn what the last step read of the ticket, where it has not changed since; say whether."""
    if context.status.ticket is None or not context.view().tracked or not _is_watched(context):
        return False
    early = LOOK if context.status.phase in LOOKS_AT_CLUSTER else JITTER
    taken = await context.deps.tickets.take(
        context.policy.metadata.name, context.incident.metadata.uid,
        circumstances=_circumstances(context), tracker=require_tracker(context.systems),
        interval=context.view().poll_ticket - early, now=context.now,
    )  # fmt: skip
    if taken is None:
        return False
    ticket, context.read_at = taken
    context.learn(ticket=ticket, ticket_missing=False)
    return True


def _is_watched(context: Context) -> bool:
    """Say whether searches of the policy's project see the ticket."""
    identity = context.status.identity
    project = context.spec.tracker.project
    return project is not None and identity is not None and identity.project == project


def keep_watched(context: Context) -> None:
    """Keep the ticket for the next step of a resting incident."""
    ticket = context.facts.ticket
    if ticket is None or context.facts.ticket_missing or not _is_watched(context):
        return
    context.deps.tickets.keep(
        context.policy.metadata.name, context.incident.metadata.uid, key=context.incident.key,
        ticket=ticket, circumstances=_circumstances(context), now=context.now,
    )  # fmt: skip


def _circumstances(context: Context) -> tuple[object, ...]:
    status, meta = context.status, context.policy.metadata
    return (status.phase, status.run, status.observed_poke, status.observed_generation,
            meta.name, meta.generation)  # fmt: skip
