"""The keyed scheduler: one step a key, a bounded number at once, nothing lost, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from selfheal.engine.requeue import ASLEEP, GONE, NOW, Requeue
from selfheal.engine.scheduler import FAULT_PAUSE, Scheduler

Step = Callable[[str], Awaitable[Requeue]]


class MachineClock:
    """The machine's monotonic clock; these tests wait for events, never for time."""

    def now(self) -> object:
        raise NotImplementedError

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def running(step: Step, **options: float) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(step, MachineClock(), **options)  # type: ignore[arg-type]
    task = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


async def test_woken_during_its_step_runs_once_more() -> None:
    begun: list[str] = []
    gate = asyncio.Event()

    async def step(key: str) -> Requeue:
        begun.append(key)
        await gate.wait()
        return ASLEEP

    async with running(step) as scheduler:
        scheduler.wake("a")
        await settle(lambda: begun == ["a"])
        scheduler.wake("a")
        scheduler.wake("a")
        await asyncio.sleep(0)
        assert begun == ["a"], "never two steps of one key at once"
        gate.set()
        await settle(lambda: len(begun) == 2 and len(scheduler) == 0)
    assert begun == ["a", "a"]


async def test_bounded_number_at_once() -> None:
    at_once = most = 0
    done: list[str] = []

    async def step(key: str) -> Requeue:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        at_once -= 1
        done.append(key)
        return ASLEEP

    async with running(step, concurrency=3) as scheduler:
        for number in range(20):
            scheduler.wake(str(number))
        await settle(lambda: len(done) == 20)
    assert most == 3
    assert sorted(done, key=int) == [str(number) for number in range(20)]


async def test_goes_on_until_it_rests() -> None:
    answers = [NOW, Requeue(after=0.001), NOW, ASLEEP]
    taken = 0

    async def step(key: str) -> Requeue:
        nonlocal taken
        taken += 1
        return answers[taken - 1]

    async with running(step) as scheduler:
        scheduler.wake("a")
        await settle(lambda: taken == 4 and len(scheduler) == 0)


async def test_a_step_that_raises_is_looked_at_later(caplog: pytest.LogCaptureFixture) -> None:
    async def step(key: str) -> Requeue:
        if key == "bad":
            raise RuntimeError("a bug")
        return ASLEEP

    async with running(step) as scheduler:
        scheduler.wake("bad")
        await settle(lambda: "step failed" in caplog.text)
        await settle(lambda: len(scheduler) == 1)
        assert not scheduler.overdue(FAULT_PAUSE)
        scheduler.wake("good")
        await settle(lambda: len(scheduler) == 1)


async def test_what_is_gone_is_forgotten() -> None:
    seen = asyncio.Event()

    async def step(key: str) -> Requeue:
        seen.set()
        return GONE

    async with running(step) as scheduler:
        scheduler.wake("a")
        await seen.wait()
        await settle(lambda: len(scheduler) == 0)
        scheduler.wake("b")
        scheduler.forget("b")
        assert len(scheduler) == 0


async def test_a_stop_lets_running_steps_end_and_cuts_off_the_rest() -> None:
    ended: list[str] = []
    begun: list[str] = []
    gate = asyncio.Event()

    async def step(key: str) -> Requeue:
        begun.append(key)
        try:
            if key == "stuck":
                await asyncio.Event().wait()
            await gate.wait()
            ended.append(key)
        except asyncio.CancelledError:
            ended.append(f"{key} cut off")
            raise
        return ASLEEP

    async with running(step, grace=0.05) as scheduler:
        scheduler.wake("quick")
        scheduler.wake("stuck")
        await settle(lambda: len(begun) == 2)
        gate.set()
    assert ended == ["quick", "stuck cut off"]
