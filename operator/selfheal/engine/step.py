"""One step: observe, decide, at most one effect, conditions, save. May be cut off anywhere."""

from __future__ import annotations

import datetime as dt
import logging

from selfheal.api.incident import (
    Backoff,
    Handover,
    IncidentStatus,
    Phase,
    Receipt,
)
from selfheal.domain import derive, errors, lifecycle, phases
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, NeedFacts, Stall, Wait
from selfheal.domain.effects import (
    NEEDS_INTENT,
    ONCE,
    Effect,
    EffectKind,
    compute_key,
)
from selfheal.domain.machine import decide
from selfheal.engine import draft, intents, observe, reading, rest, setup
from selfheal.engine.context import Context
from selfheal.engine.deps import Deps
from selfheal.engine.outcome import Outcome, add_usage
from selfheal.engine.perform import perform
from selfheal.engine.requeue import ASLEEP, GONE, NOW, Requeue

Settled = Act | Advance | Wait | Stall
"""A decision in which a hand-over has become its move."""

log = logging.getLogger("selfheal.step")

UNCHANGED = " Nothing changed since it was handed over for this before."

CONFLICT_PAUSE = 0.2
ROUNDS = 6
"""Bound on questions for more facts within one step; the plan answers nearly all at once."""

CLOSES_INTENT = (errors.Stalled, errors.RateLimited, errors.HandOver)
"""Errors after which it is known that nothing was made, so that the intent may be closed."""

CLOCK_RUNS = frozenset({"SourceNotFound", "SourceAmbiguous", "TargetNotFound"})
"""Stalls that a person mends in the incident's own world, until the time-out (api.md)."""

PLANNED_AHEAD = NEEDS_INTENT - {EffectKind.CREATE_TICKET}
"""A creation saves its own intent, so that one found open means that it may have been tried."""


async def step(key: str, deps: Deps) -> Requeue:
    """Bring one incident one step further. Never raises domain errors; may be repeated."""
    try:
        incident = await deps.store.get_incident(key)
    except errors.NotFound:
        return GONE
    except errors.SelfHealError as error:
        log.warning("incident cannot be read", extra={"incident": key, "error": str(error)})
        return Requeue(after=5.0)
    if incident.metadata.deletion_timestamp is not None:
        return ASLEEP
    try:
        context = await setup.load(deps, incident)
    except errors.SelfHealError as error:
        log.warning("policy cannot be read", extra={"incident": key, "error": str(error)})
        return Requeue(after=5.0)
    waiting = _backing_off(context)
    if waiting is not None:
        return Requeue(after=waiting)
    try:
        return await _step(context)
    except errors.Conflict as error:
        log.info("looks again", extra={"incident": key, "why": str(error)})
        return Requeue(after=CONFLICT_PAUSE * (0.5 + deps.jitter()))
    except errors.NotFound:
        return NOW


def _backing_off(context: Context) -> float | None:
    until = context.incident.status.backoff.until
    poked = context.status.observed_poke != context.incident.status.observed_poke
    edited = context.incident.status.observed_generation != context.incident.metadata.generation
    if until is None or poked or edited or context.now >= until:
        return None
    return (until - context.now).total_seconds()


async def _step(context: Context) -> Requeue:
    run = context.status.run
    try:
        kept = reading.take_kept(context) or await reading.take_watched(context)
        await observe.observe_phase(context)
        draft.take_in(context)
        setup.renew_identity(context, run)
        decision = await _decide(context)
        if kept and not isinstance(decision, Wait):
            context.deps.tickets.forget(context.incident.metadata.uid)
            return NOW  # it reads ticket and pull request before it does anything
        if isinstance(decision, Wait):
            reading.keep(context)
            reading.keep_watched(context)
        return await _carry_out(context, decision)
    except errors.HandOver as error:
        escalation = Escalate(reason=error.reason, message=error.message)
        return await _carry_out(context, escalation)
    except errors.Waiting as error:
        wait = Wait(reason=error.reason, message=error.message, after=error.after)
        return await rest.rest(context, wait)
    except errors.NotFound as error:
        message = f"{error}. Restore it, or correct the policy; it is looked for again by itself."
        return await rest.rest(context, Stall(reason="NotFound", message=message))
    except errors.Stalled as error:
        pauses = error.reason not in CLOCK_RUNS
        stall = Stall(reason=error.reason, message=error.message, pauses_clock=pauses)
        return await rest.rest(context, stall)
    except errors.Transient as error:
        return await rest.back_off(context, error)


async def _decide(context: Context) -> Decision:
    for _ in range(ROUNDS):
        if context.unknown_status is not None:
            return _unknown(context.unknown_status)
        try:
            return decide(context.view())
        except NeedFacts as need:
            await observe.observe(context, need.names)
            draft.take_in(context)
    raise errors.Transient("the facts of a decision kept changing", system="engine")


def _unknown(status: str) -> Stall:
    return Stall(
        reason="UnknownStatus",
        message=f"Ticket status {status!r} is in no entry of tracker.statuses of the policy. Add "
        "it there, or move the ticket to a status that is.",
    )


async def _carry_out(context: Context, decision: Decision) -> Requeue:
    if isinstance(decision, Advance | Escalate):
        await _read_ticket(context)
    settled = _as_move(context, decision)
    if isinstance(settled, Act):
        return await _act(context, settled.effect)
    if isinstance(settled, Advance):
        _enter(context, settled)
        _plan_ahead(context)
        await draft.save_draft(context, message=None)
        return NOW
    return await rest.rest(context, settled)


async def _read_ticket(context: Context) -> None:
    """Read the ticket before a phase is left, if the step has not: a person comes first."""
    if context.status.ticket is None or not context.view().tracked or context.facts.ticket:
        return
    phase, run = context.status.phase, context.status.run
    await observe.observe(context, {"ticket"})
    draft.take_in(context)
    if context.unknown_status or (context.status.phase, context.status.run) != (phase, run):
        raise errors.Conflict("a person moved the ticket")


def _as_move(context: Context, decision: Decision) -> Settled:
    """Turn a hand-over into its move, and a move into a transition where the ticket must move."""
    if isinstance(decision, Escalate):
        decision = _hand_over(context, decision)
    if not isinstance(decision, Advance):
        return decision
    if decision.resolution is not None:
        context.status = context.status.evolve(resolution=decision.resolution)
    ticket, identity = context.facts.ticket, context.status.identity
    if not context.view().tracked or context.status.ticket is None or identity is None:
        return decision
    if ticket is None:
        raise errors.Waiting("TicketUnread", "The ticket was not read.", after=dt.timedelta(0))
    wanted = [name.casefold() for name in identity.statuses[decision.to.value]]
    if ticket.status.casefold() in wanted:
        return decision
    key = compute_key(
        context.uid, context.status, context.status.phase or Phase.INCIDENT_DETECTED,
        f"{EffectKind.MOVE_TICKET}-{decision.to}",
    )  # fmt: skip
    effect = Effect(kind=EffectKind.MOVE_TICKET, key=key, to=decision.to, why=decision.why)
    return Act(effect=effect)


def _hand_over(context: Context, decision: Escalate) -> Advance | Wait:
    status = context.status
    phase = status.phase or Phase.INCIDENT_DETECTED
    if not phases.is_legal_for_operator(phase, Phase.INCIDENT_REQUIRES_HUMAN):
        after = context.view().poll_ticket
        return Wait(reason=decision.reason, message=decision.message, after=after)
    before = status.handover
    again = (
        before is not None
        and (before.reason, before.phase) == (decision.reason, phase)
        and before.message.removesuffix(UNCHANGED) == decision.message
    )
    message = f"{decision.message}{UNCHANGED}" if again else decision.message
    context.status = status.evolve(
        handover=Handover(
            phase=phase, reason=decision.reason, message=message[:2000], at=context.now,
            run=status.run,
        )
    )  # fmt: skip
    return Advance(
        to=Phase.INCIDENT_REQUIRES_HUMAN, why=f"{decision.reason}: {decision.message}"[:500]
    )


def _enter(context: Context, decision: Advance) -> None:
    before = context.status.phase or Phase.INCIDENT_DETECTED
    if not phases.is_legal_for_operator(before, decision.to):
        raise errors.Stalled(f"internal: {before} to {decision.to} is not the operator's move")
    context.status = lifecycle.enter(
        context.status, decision.to, by=lifecycle.OPERATOR, at=context.now, why=decision.why,
        now=context.now,
    )  # fmt: skip


async def _act(context: Context, effect: Effect) -> Requeue:
    rest.run_clock(context, running=True)
    if effect.kind in NEEDS_INTENT:
        await intents.save_intent(context, effect)
    await reading.look_again(context, effect)
    try:
        outcome = await perform(context, effect)
    except CLOSES_INTENT:
        context.status = intents.give_back(context.status, effect)
        raise
    except errors.Conflict as error:  # looked at again soon, and ever later if it stays so
        raise errors.Transient(f"{error}.", system="engine") from error
    _settle(context, effect, outcome)
    draft.take_in(context)
    _plan_ahead(context)
    await draft.save_draft(context, message=None)
    return NOW


def _settle(context: Context, effect: Effect, outcome: Outcome) -> None:
    context.learn(**outcome.facts)
    if outcome.degraded or outcome.usage.model_calls:
        context.degraded = outcome.degraded
    status = context.status
    status = status.evolve(usage=add_usage(status.usage, outcome.usage), backoff=Backoff())
    if effect.kind in NEEDS_INTENT and effect.kind is not EffectKind.MOVE_TICKET:
        status = status.evolve(intent=None)
    if effect.kind is EffectKind.MOVE_TICKET:
        status = _settle_move(context, status, effect)
    if effect.milestone is not None or effect.kind in ONCE:
        receipt = Receipt(key=effect.key, kind=effect.kind, at=context.now, ref=outcome.ref)
        status = status.evolve(receipts=[*status.receipts, receipt])
    context.status = status


def _settle_move(context: Context, status: IncidentStatus, effect: Effect) -> IncidentStatus:
    """Close a move whose ticket already stood where it leads, so that no changelog entry tells."""
    ticket = context.facts.ticket
    if ticket is None or status.ticket is None or effect.to is None or status.intent is None:
        return status
    unseen = derive.moves_after(ticket.moves, status.ticket.seen_change or derive.NEVER)
    statuses = status.identity.statuses[effect.to.value] if status.identity else []
    stands = ticket.status.casefold() in [name.casefold() for name in statuses]
    if unseen or not stands:
        return status
    if effect.to is status.phase:
        return status.evolve(intent=None)
    return lifecycle.enter(
        status, effect.to, by=lifecycle.OPERATOR, at=context.now, why=effect.why, now=context.now
    )


def _plan_ahead(context: Context) -> None:
    """Let the result carry the next step's intent where the decision already follows from it."""
    if context.status.intent is not None or context.unknown_status is not None:
        return
    try:
        decision = decide(context.view())
    except NeedFacts:
        return
    before = context.status
    try:
        decision = _as_move(context, decision)
    except errors.Waiting:
        return
    if isinstance(decision, Act) and decision.effect.kind in PLANNED_AHEAD:
        context.status = intents.with_intent(context, decision.effect)
    else:
        context.status = before
