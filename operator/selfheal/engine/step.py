"""One step: observe, decide, at most one effect, conditions, save. May be cut off anywhere."""

from __future__ import annotations

import datetime as dt
import logging

from selfheal.api.incident import (
    Attempts,
    Backoff,
    Handover,
    IncidentStatus,
    Intent,
    Phase,
    Receipt,
)
from selfheal.domain import absorb, clock, conditions, derive, errors, lifecycle, phases
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, NeedFacts, Stall, Wait
from selfheal.domain.effects import (
    NEEDS_INTENT,
    OUTSIDE_WRITES,
    Effect,
    EffectKind,
    compute_key,
)
from selfheal.domain.machine import decide
from selfheal.engine import observe, setup
from selfheal.engine.context import Context
from selfheal.engine.deps import Deps
from selfheal.engine.outcome import Outcome, add_usage
from selfheal.engine.perform import perform
from selfheal.engine.requeue import ASLEEP, GONE, NOW, Requeue
from selfheal.engine.save import Saved, save

log = logging.getLogger("selfheal.step")

CONFLICT_PAUSE = 0.2
STALL_CAP = dt.timedelta(seconds=60)
BACKOFF_BASE = dt.timedelta(seconds=1)
BACKOFF_CAP = dt.timedelta(minutes=5)
ROUNDS = 6
"""Bound on questions for more facts within one step; the plan answers nearly all at once."""

CLOSES_INTENT = (errors.Stalled, errors.RateLimited, errors.HandOver)
"""Errors after which it is known that nothing was made, so that the intent may be closed."""

CLOCK_RUNS = frozenset({"SourceNotFound", "SourceAmbiguous", "TargetNotFound"})
"""Stalls that a person mends in the incident's own world, until the time-out (api.md)."""

PLANNED_AHEAD = NEEDS_INTENT - {EffectKind.CREATE_TICKET}
"""A creation saves its own intent, so that one found open means that it may have been tried."""

MIRROR_KINDS = frozenset({EffectKind.SAVE_TICKET_MIRROR, EffectKind.SAVE_PULL_REQUEST_MIRROR})


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
        await observe.observe_phase(context)
        _take_in(context)
        setup.renew_identity(context, run)
        decision = await _decide(context)
        return await _carry_out(context, decision)
    except errors.HandOver as error:
        escalation = Escalate(reason=error.reason, message=error.message)
        return await _carry_out(context, escalation)
    except errors.Waiting as error:
        wait = Wait(reason=error.reason, message=error.message, after=error.after)
        return await _rest(context, wait)
    except errors.Stalled as error:
        pauses = error.reason not in CLOCK_RUNS
        stall = Stall(reason=error.reason, message=error.message, pauses_clock=pauses)
        return await _rest(context, stall)
    except errors.Transient as error:
        return await _back_off(context, error)


def _take_in(context: Context) -> None:
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


async def _decide(context: Context) -> Decision:
    for _ in range(ROUNDS):
        if context.unknown_status is not None:
            return _unknown(context.unknown_status)
        try:
            return decide(context.view())
        except NeedFacts as need:
            await observe.observe(context, need.names)
            _take_in(context)
    raise errors.Transient("the facts of a decision kept changing", system="engine")


def _unknown(status: str) -> Stall:
    return Stall(
        reason="UnknownStatus",
        message=f"Ticket status {status!r} is in no entry of tracker.statuses of the policy. Add "
        "it there, or move the ticket to a status that is.",
    )


async def _carry_out(context: Context, decision: Decision) -> Requeue:
    decision = _as_move(context, decision)
    if isinstance(decision, Act):
        return await _act(context, decision.effect)
    if isinstance(decision, Advance):
        _enter(context, decision)
        _plan_ahead(context)
        await _save(context, message=None)
        return NOW
    return await _rest(context, decision)


def _as_move(context: Context, decision: Decision) -> Decision:
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


def _hand_over(context: Context, decision: Escalate) -> Decision:
    status = context.status
    phase = status.phase or Phase.INCIDENT_DETECTED
    if not phases.is_legal_for_operator(phase, Phase.INCIDENT_REQUIRES_HUMAN):
        return Wait(reason=decision.reason, message=decision.message)
    before = status.handover
    again = before is not None and before.reason == decision.reason and before.phase is phase
    message = f"{decision.message} Nothing changed since." if again else decision.message
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
    _run_clock(context, running=True)
    if effect.kind in NEEDS_INTENT:
        await _save_intent(context, effect)
    if effect.kind in OUTSIDE_WRITES and effect.kind not in MIRROR_KINDS:
        await _look_again(context, effect)
    try:
        outcome = await perform(context, effect)
    except CLOSES_INTENT:
        context.status = _give_back(context.status, effect)
        raise
    _settle(context, effect, outcome)
    _take_in(context)
    _plan_ahead(context)
    await _save(context, message=None)
    return NOW


async def _save_intent(context: Context, effect: Effect) -> None:
    """Spend the attempt and save the intent, unless the step before has saved this very one."""
    saved = context.incident.status.intent
    if saved is not None and context.status.intent == saved:
        same_move = saved.kind == effect.kind == EffectKind.MOVE_TICKET and saved.to is effect.to
        if same_move or saved.key == effect.key:
            return
    context.status = with_intent(context, effect)
    await _save(context, message=None, stalled=_standing_stall(context))
    context.fresh_intent = effect.key


def _standing_stall(context: Context) -> tuple[str, str] | None:
    """Return the stall that stands: trying once more does not end it, only succeeding does."""
    for condition in context.incident.status.conditions:
        if condition.type == "Stalled":
            return condition.reason, condition.message
    return None


def with_intent(context: Context, effect: Effect) -> IncidentStatus:
    """Return the status with the intent of an effect, its attempt spent."""
    intent = Intent(
        key=effect.key, kind=effect.kind, at=context.now, to=effect.to, why=effect.why,
        holder=context.deps.holder,
    )  # fmt: skip
    attempt = _attempt_of(effect)
    return context.status.evolve(
        intent=intent, attempts=_spend(context.status.attempts, effect.kind, attempt)
    )


def _attempt_of(effect: Effect) -> int:
    return int(effect.key.split("/")[3])


def _spend(attempts: Attempts, kind: EffectKind, attempt: int) -> Attempts:
    fields = {
        EffectKind.TRIAGE: "triage",
        EffectKind.ANALYSE: "analysis",
        EffectKind.GENERATE_FIX: "fix",
    }
    return attempts.evolve(**{fields[kind]: attempt}) if kind in fields else attempts


def _give_back(status: IncidentStatus, effect: Effect) -> IncidentStatus:
    """Close an intent whose effect is known not to have happened; its attempt is not spent."""
    if status.intent is None or status.intent.key != effect.key:
        return status
    attempts = _spend(status.attempts, effect.kind, max(_attempt_of(effect) - 1, 0))
    return status.evolve(intent=None, attempts=attempts)


async def _look_again(context: Context, effect: Effect) -> None:
    """Read the ticket once more before an outside write: a person always wins."""
    if context.status.ticket is None or not context.view().tracked:
        return
    seen = context.facts.ticket
    await observe.observe(context, {"ticket"})
    fresh = context.facts.ticket
    if fresh is None or seen is None or fresh.moves != seen.moves:
        raise errors.Conflict("the ticket was moved while the step was under way")


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
    if effect.milestone is not None:
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
        context.status = with_intent(context, decision.effect)
    else:
        context.status = before


async def _rest(context: Context, decision: Wait | Stall | Escalate) -> Requeue:
    """Nothing to do now: say what it waits for, and when it looks again."""
    if isinstance(decision, Wait):
        context.status = context.status.evolve(backoff=Backoff())
        _run_clock(context, running=not decision.pauses_clock)
        await _save(context, message=decision.message, asleep=decision.reason == "Suspended")
        after = decision.after
        return Requeue(after=after.total_seconds() if after is not None else None)
    pauses = decision.pauses_clock if isinstance(decision, Stall) else False
    _run_clock(context, running=not pauses)
    delay = _delay(context, STALL_CAP)
    await _save(context, message=decision.message, stalled=(decision.reason, decision.message))
    return Requeue(after=delay.total_seconds())


def _run_clock(context: Context, *, running: bool) -> None:
    phase_clock = clock.run(context.status.clock, context.now, running=running)
    context.status = context.status.evolve(clock=phase_clock)


def _delay(context: Context, cap: dt.timedelta) -> dt.timedelta:
    """Count one more failure and return the jittered pause; it survives a restart in status."""
    count = min(context.status.backoff.count + 1, 16)
    share: float = 0.5 + context.deps.jitter() / 2
    seconds = min(BACKOFF_BASE.total_seconds() * 2 ** (count - 1), cap.total_seconds())
    pause = dt.timedelta(seconds=seconds * share)
    context.status = context.status.evolve(backoff=Backoff(count=count, until=context.now + pause))
    return pause


async def _back_off(context: Context, error: errors.Transient) -> Requeue:
    delay = _delay(context, BACKOFF_CAP)
    if error.retry_after is not None and error.retry_after > delay:
        delay = error.retry_after
        count = context.status.backoff.count
        context.status = context.status.evolve(
            backoff=Backoff(count=count, until=context.now + delay)
        )
    message = f"{error.message} Tries again by itself."
    await _save(context, message=message)
    return Requeue(after=delay.total_seconds())


async def _save(
    context: Context,
    *,
    message: str | None,
    stalled: tuple[str, str] | None = None,
    asleep: bool = False,
) -> None:
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
    saved: Saved = await save(context.deps, context.incident, status)
    context.incident, context.status = saved.incident, status
