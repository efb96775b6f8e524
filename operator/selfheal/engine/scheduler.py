"""One keyed scheduler: at most one step a key, a bounded number at once, one heap of due times."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable

from selfheal import ports
from selfheal.engine.requeue import Requeue

log = logging.getLogger("selfheal.scheduler")

FAULT_PAUSE = 30.0
"""Seconds until a key whose step raised (a bug) is looked at again."""

STOP_GRACE = 10.0
"""Seconds that running steps have to end at a stop: the deadline of an outside write."""

Step = Callable[[str], Awaitable[Requeue]]


class Scheduler:
    """Runs steps of keys when they are due or woken."""

    def __init__(
        self, step: Step, clock: ports.Clock, *, concurrency: int = 8, grace: float = STOP_GRACE
    ) -> None:
        """Keep the step function, the clock and how many steps may run at once."""
        self._grace = grace
        self._step, self._clock = step, clock
        self._free = asyncio.Semaphore(concurrency)
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken: set[str] = set()
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self.last_step = clock.monotonic()

    def wake(self, key: str) -> None:
        """Ask for a step as soon as possible; during a running step: once more after it."""
        if key in self._running:
            self._woken.add(key)
        else:
            self._arm(key, self._clock.monotonic())

    def forget(self, key: str) -> None:
        """Drop a key that is gone."""
        self._due.pop(key, None)

    def overdue(self, seconds: float) -> bool:
        """Say whether a key has been due that long while no step ended."""
        now = self._clock.monotonic()
        late = any(at < now - seconds for at in self._due.values())
        return late and now - self.last_step > seconds

    def __len__(self) -> int:
        """Return the number of keys that are due at some time or running."""
        return len(self._due.keys() | self._running.keys())

    def _arm(self, key: str, at: float) -> None:
        known = self._due.get(key)
        if known is not None and known <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, next(self._order), key))
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled; then let running steps end, and cut off those that do not."""
        try:
            while True:
                await self._dispatch()
        finally:
            tasks = list(self._running.values())
            if tasks:
                await asyncio.wait(tasks, timeout=self._grace)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _dispatch(self) -> None:
        self._changed.clear()
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != at:
                continue  # re-armed earlier, or forgotten
            await self._free.acquire()
            if self._due.pop(key, None) is None:
                self._free.release()
                continue
            self._running[key] = asyncio.create_task(self._run_one(key), name=f"step {key}")
        timeout = max(self._heap[0][0] - self._clock.monotonic(), 0) if self._heap else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _run_one(self, key: str) -> None:
        requeue = Requeue(after=FAULT_PAUSE)
        try:
            requeue = await self._step(key)
        except Exception:
            log.exception("step failed", extra={"incident": key})
        finally:
            self._free.release()
            self._running.pop(key, None)
            self.last_step = self._clock.monotonic()
        woken = key in self._woken
        self._woken.discard(key)
        if woken:
            self._arm(key, self._clock.monotonic())
        elif requeue.forget:
            self.forget(key)
        elif requeue.after is not None:
            self._arm(key, self._clock.monotonic() + requeue.after)
