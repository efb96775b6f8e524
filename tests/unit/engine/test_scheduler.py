"""The scheduler in virtual time: due order, pauses, never two steps of a key, what is overdue."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from selfheal.engine.requeue import ASLEEP, GONE, Requeue
from selfheal.engine.scheduler import FAULT_PAUSE, Scheduler


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.at = 0.0
        real = self._selector.select  # type: ignore[attr-defined]

        def select(timeout: float | None = None) -> Any:
            found = real(0)
            if not found and timeout:
                self.at += timeout
            return found

        self._selector.select = select  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.at


class Clock:
    """The loop's time as the scheduler's clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def simulate(
    seconds: float, answer: Callable[[str, int], Requeue], wake: list[str], **options: Any
) -> tuple[list[tuple[float, str]], Scheduler]:
    """Run a scheduler for so many virtual seconds; return when which key was stepped."""
    steps: list[tuple[float, str]] = []

    async def step(key: str) -> Requeue:
        steps.append((round(asyncio.get_running_loop().time(), 3), key))
        return answer(key, sum(1 for _, stepped in steps if stepped == key))

    async def main() -> Scheduler:
        scheduler = Scheduler(step, Clock(), **options)  # type: ignore[arg-type]
        for key in wake:
            scheduler.wake(key)
        task = asyncio.create_task(scheduler.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return scheduler

    with asyncio.Runner(loop_factory=Loop) as runner:
        return steps, runner.run(main())


def test_keys_are_stepped_when_they_are_due_in_order() -> None:
    pauses = {"a": 30.0, "b": 10.0, "c": 20.0}
    steps, _ = simulate(
        35, lambda key, count: Requeue(after=pauses[key]) if count == 1 else ASLEEP, ["a", "b", "c"]
    )
    assert steps == [(0, "a"), (0, "b"), (0, "c"), (10, "b"), (20, "c"), (30, "a")]


def test_a_step_that_raises_pauses_its_key_only() -> None:
    def answer(key: str, count: int) -> Requeue:
        if key == "bad" and count == 1:
            raise ValueError("a bug")
        return Requeue(after=20.0) if key == "good" and count == 1 else ASLEEP

    steps, _ = simulate(FAULT_PAUSE + 1, answer, ["bad", "good"])
    assert steps == [(0, "bad"), (0, "good"), (20, "good"), (FAULT_PAUSE, "bad")]


def test_what_sleeps_or_is_gone_costs_nothing() -> None:
    steps, scheduler = simulate(10_000, lambda key, _: GONE if key == "a" else ASLEEP, ["a", "b"])
    assert steps == [(0, "a"), (0, "b")]
    assert len(scheduler) == 0


def test_overdue_only_when_steps_are_due_and_none_ends() -> None:
    async def main() -> list[bool]:
        never = asyncio.Event()

        async def hang(key: str) -> Requeue:
            await never.wait()
            return ASLEEP

        scheduler = Scheduler(hang, Clock(), concurrency=1, grace=0)  # type: ignore[arg-type]
        task = asyncio.create_task(scheduler.run())
        await asyncio.sleep(400)
        seen = [scheduler.overdue(300)]  # nothing is due
        scheduler.wake("a")
        scheduler.wake("b")
        await asyncio.sleep(299)
        seen.append(scheduler.overdue(300))  # due, but not for so long
        await asyncio.sleep(2)
        seen.append(scheduler.overdue(300))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return seen

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main()) == [False, False, True]


def test_a_key_has_one_step_at_a_time_however_often_it_is_woken() -> None:
    async def main() -> tuple[int, int]:
        running, most, total = 0, 0, 0

        async def step(key: str) -> Requeue:
            nonlocal running, most, total
            running, total = running + 1, total + 1
            most = max(most, running)
            await asyncio.sleep(5)
            running -= 1
            return ASLEEP

        scheduler = Scheduler(step, Clock(), concurrency=8)  # type: ignore[arg-type]
        task = asyncio.create_task(scheduler.run())
        for _ in range(12):
            scheduler.wake("a")
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return most, total

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main()) == (1, 4)
