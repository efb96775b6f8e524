"""Nothing to do now: say what it waits for, and when it is looked at again."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Backoff
from selfheal.domain import clock, errors
from selfheal.domain.decisions import Stall, Wait
from selfheal.engine.context import Context
from selfheal.engine.draft import save_draft
from selfheal.engine.requeue import Requeue

STALL_CAP = dt.timedelta(seconds=60)
BACKOFF_BASE = dt.timedelta(seconds=1)
BACKOFF_CAP = dt.timedelta(minutes=5)
OUTAGE = 5
"""Passing faults in a row after which a system counts as down, about half a minute."""
OWN = frozenset({"", "engine"})
"""What is no outside system."""


async def rest(context: Context, decision: Wait | Stall) -> Requeue:
    """Save what it waits for and return when it is looked at again; stalls back off up to 60 s."""
    if isinstance(decision, Wait):
        context.status = context.status.evolve(backoff=Backoff())
        run_clock(context, running=not decision.pauses_clock)
        await save_draft(context, message=decision.message, asleep=decision.reason == "Suspended")
        after = decision.after
        return Requeue(after=after.total_seconds() if after is not None else None)
    pauses = decision.pauses_clock if isinstance(decision, Stall) else False
    run_clock(context, running=not pauses)
    delay = _delay(context, STALL_CAP)
    await save_draft(context, message=decision.message, stalled=(decision.reason, decision.message))
    return Requeue(after=delay.total_seconds())


def run_clock(context: Context, *, running: bool) -> None:
    """Let the phase's clock run, or stand still, from now on."""
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


async def back_off(context: Context, error: errors.Transient) -> Requeue:
    """Save the failure and return when to try again: jittered, no earlier than the server wants.

    A system that goes on failing is down: that is said as a stall, and like a limit of its own it
    does not count against the phase's time-out (api.md, Stalled, or handed over).
    """
    limited = isinstance(error, errors.RateLimited)
    failing = context.status.backoff.count + 1 >= OUTAGE
    down = failing and not limited and error.system not in OWN
    if down or limited:
        run_clock(context, running=False)
    delay = _delay(context, STALL_CAP if down else BACKOFF_CAP)
    if error.retry_after is not None and error.retry_after > delay:
        delay = error.retry_after
        count = context.status.backoff.count
        context.status = context.status.evolve(
            backoff=Backoff(count=count, until=context.now + delay)
        )
    message = f"{error.message} Tries again by itself."
    await save_draft(context, message=message, stalled=("Unreachable", message) if down else None)
    return Requeue(after=delay.total_seconds())
