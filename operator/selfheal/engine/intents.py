"""Intents: what has no natural key is written down, and its attempt spent, before it is done."""

from __future__ import annotations

from selfheal.api.incident import Attempts, IncidentStatus, Intent
from selfheal.domain.effects import Effect, EffectKind
from selfheal.engine.context import Context
from selfheal.engine.draft import find_stall, save_draft


async def save_intent(context: Context, effect: Effect) -> None:
    """Spend the attempt and save the intent, unless the step before has saved this very one."""
    saved = context.incident.status.intent
    if saved is not None and context.status.intent == saved:
        same_move = saved.kind == effect.kind == EffectKind.MOVE_TICKET and saved.to is effect.to
        if same_move or saved.key == effect.key:
            return
    context.status = with_intent(context, effect)
    await save_draft(context, message=None, stalled=find_stall(context))
    context.fresh_intent = effect.key


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


def give_back(status: IncidentStatus, effect: Effect) -> IncidentStatus:
    """Close an intent whose effect is known not to have happened; its attempt is not spent."""
    if status.intent is None or status.intent.key != effect.key:
        return status
    attempts = _spend(status.attempts, effect.kind, max(_attempt_of(effect) - 1, 0))
    return status.evolve(intent=None, attempts=attempts)


def _attempt_of(effect: Effect) -> int:
    return int(effect.key.split("/")[3])


def _spend(attempts: Attempts, kind: EffectKind, attempt: int) -> Attempts:
    fields = {
        EffectKind.TRIAGE: "triage",
        EffectKind.ANALYSE: "analysis",
        EffectKind.GENERATE_FIX: "fix",
        EffectKind.REVISE: "revision",
        EffectKind.REAPPLY: "reapply",
    }
    return attempts.evolve(**{fields[kind]: attempt}) if kind in fields else attempts
