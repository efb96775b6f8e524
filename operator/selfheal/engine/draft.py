"""The draft of the status: what was observed is taken in, and it is saved with its conditions."""

from __future__ import annotations

from selfheal.domain import absorb, conditions, derive
from selfheal.engine import counters
from selfheal.engine.context import Context
from selfheal.engine.save import Saved, save


def take_in(context: Context) -> None:
    """Derive the phase from the ticket, then write down what was observed."""
    ticket = context.facts.ticket
    context.unknown_status = None
    if ticket is not None and context.view().tracked and not context.facts.ticket_missing:
        derived = derive.derive(context.status, ticket, context.now)
        if derived.status.run != context.status.run:
            context.forget_run()
        context.status = derived.status
        context.unknown_status = derived.unknown_status
    target = context.status.target
    context.status = absorb.absorb(
        context.status,
        context.facts,
        repository=context.repository,
        minimum_confidence=context.spec.agents.minimum_confidence,
        now=context.now,
    )
    if context.status.target != target:
        context.forget("workload")  # what was read was of no target, or of another one


async def save_draft(
    context: Context,
    *,
    message: str | None,
    stalled: tuple[str, str] | None = None,
    asleep: bool = False,
) -> None:
    """Save the draft with its conditions, if it differs; Conflict when somebody was faster.

    ``message`` None keeps what stands, until the phase changes. ``stalled``: reason and message.
    """
    view = context.view()
    status = context.status
    if message is not None:
        status = status.evolve(message=message[:1024])
    elif status.phase is not context.incident.status.phase:
        status = status.evolve(message="")
    standing = conditions.Standing(
        tracked=view.tracked, dry=view.dry, stalled=stalled,
        unknown_status=context.unknown_status, degraded=context.degraded, asleep=asleep,
    )  # fmt: skip
    status = status.evolve(
        conditions=conditions.compute(
            context.incident.status.conditions, status, standing,
            generation=context.incident.metadata.generation, now=context.now,
        )
    )  # fmt: skip
    await counters.count_verdict(context, status)
    saved: Saved = await save(context.deps, context.incident, status)
    context.incident, context.status = saved.incident, status


def find_stall(context: Context) -> tuple[str, str] | None:
    """Return the stall that stands: trying once more does not end it, only succeeding does."""
    for condition in context.incident.status.conditions:
        if condition.type == "Stalled":
            return condition.reason, condition.message
    return None
