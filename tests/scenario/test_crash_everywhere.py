"""The process is killed at every port call, before it and after it took effect, and goes on.

Whatever the call, the final world is the one of a life without a crash, and everything outside was
made once. The same for a wire that breaks at every call, whether the other side got it or not.

A crash before a read that follows another read of the same step leaves the world as a crash before
the first of them does, so only that one is tried; ``SELFHEAL_EVERY_CALL=1`` tries them all.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import os
import random
from typing import Any

import pytest
import yaml
from tests.scenario.ports_wrapper import WRITES, Process
from tests.scenario.world import FILE, NAMESPACE, PlausibleModel, World, approve_when_asked

from selfheal.api.incident import Phase
from selfheal.domain import errors

PARTS = 4
"""The calls are dealt out to so many tests, so that each is short."""
EVERY_NTH_READ = 8
Point = tuple[int, bool]  # the n-th call; after it took effect
OUTSIDE = ("tracker.", "code.")
MILESTONES = ["diagnosis", "fix", "pull-request", "approval", "deployment", "verification"]


def fresh(**fields: Any) -> World:
    world = World(delivery_delay=2.0, **fields)
    world.people.append(approve_when_asked)
    # the last kill is out of every window, so that a life that waits does not see another past
    world.clock.seconds += 60
    world.file_incident()
    return world


async def live(**fields: Any) -> World:
    world = fresh(**fields)
    await world.run_to_end()
    return world


@dataclasses.dataclass
class Calm:
    """A life without a fault, and the world as it was before each of its steps."""

    world: World
    before_step: list[World]

    @property
    def calls(self) -> list[str]:
        return self.world.calls

    async def again(self, number: int, *, after: bool, fault: Exception | None = None) -> World:
        """Live once more, from the step of the n-th call on, which is the last or fails."""
        start = next(one for one in reversed(self.before_step) if len(one.calls) < number)
        world = copy.deepcopy(start)
        world.process.crash_at, world.process.after, world.process.fault = number, after, fault
        await world.run_to_end()
        assert fault is not None or world.starts == start.starts + 1, "it was not killed"
        return world


async def live_calmly(**fields: Any) -> Calm:
    world = fresh(**fields)
    calm = Calm(world, [])
    while not world.status.message.startswith("Resolved"):
        calm.before_step.append(copy.deepcopy(world))
        await world.step()
    return calm


def is_write(name: str) -> bool:
    return name.partition(".")[2] in WRITES


def list_points(calls: list[str]) -> list[Point]:
    every = bool(os.environ.get("SELFHEAL_EVERY_CALL"))
    points: list[Point] = []
    for number, name in enumerate(calls, start=1):
        first = number == 1 or name == "store.get_incident" or is_write(calls[number - 2])
        if every or first or is_write(name):
            points.append((number, False))
        if every or is_write(name):
            points.append((number, True))
    return points


def assert_made_once(world: World, why: str) -> None:
    created = {**world.tracker.created, **{f"code {k}": n for k, n in world.code.created.items()}}
    created.pop("code mirror", None)
    assert created == {
        "ticket": 1, "comment": len(MILESTONES), "remote_link": 1,
        "code branch": 1, "code pull_request": 1, "code comment": 1, "code merge": 1,
    }, why  # fmt: skip
    assert world.milestones() == MILESTONES, why


@pytest.mark.parametrize("part", range(PARTS))
async def test_killed_at_every_call(part: int) -> None:
    calm = await live_calmly()
    expected = calm.world.final()
    for number, after in list_points(calm.calls)[part::PARTS]:
        why = f"killed {'after' if after else 'before'} call {number}, {calm.calls[number - 1]}"
        world = await calm.again(number, after=after)
        assert_made_once(world, why)
        assert world.final() == expected, why


def follows_write(calls: list[str], number: int) -> bool:
    return number > 1 and is_write(calls[number - 2]) and calls[number - 2].startswith(OUTSIDE)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (errors.UnknownOutcome("cut off", system="wire"), False),
        (errors.UnknownOutcome("cut off", system="wire"), True),
        (errors.Unreachable("connection refused", system="wire"), False),  # never sent
    ],
    ids=["lost", "received", "refused"],
)
async def test_wire_breaks_at_every_call(error: errors.SelfHealError, after: bool) -> None:
    calm = await live_calmly()
    expected = comparable(calm.world)
    for number, name in enumerate(calm.calls, start=1):
        sampled = is_write(name) or (
            not after and (number % EVERY_NTH_READ == 0 or follows_write(calm.calls, number))
        )
        if not name.startswith(OUTSIDE) or not sampled:
            continue
        world = await calm.again(number, after=after, fault=error)
        why = f"call {number}, {name}, broke with {error!r}"
        assert_made_once(world, why)
        assert comparable(world) == expected, why


def comparable(world: World) -> dict[str, Any]:
    final = world.final()
    del final["documents"], final["status"]["attempts"]  # an attempt may have been spent
    return final


async def test_killed_after_creating_while_search_lags() -> None:
    """The ticket exists, but search does not show it for a while: no second one is opened."""
    calm = await live_calmly()
    number = calm.calls.index("tracker.create_ticket") + 1
    start = next(one for one in reversed(calm.before_step) if len(one.calls) < number)
    world = copy.deepcopy(start)
    world.tracker.search_lag = dt.timedelta(seconds=100)
    world.process.crash_at, world.process.after = number, True
    await world.run_until(lambda w: "search index" in w.status.message)
    await world.run_to_end()
    assert_made_once(world, "search lags")
    assert world.final() == calm.world.final()


async def test_killed_while_adopting_a_ticket() -> None:
    def begun() -> World:
        world = World()
        world.people.append(approve_when_asked)
        world.clock.seconds += 60
        world.tracker.add_ticket("checkout is down")
        world.file_incident(ticketKey="OPS-1")
        return world

    calm = begun()
    await calm.run_until(Phase.ANALYSIS_IN_PROGRESS)
    points = list_points(calm.calls)
    await calm.run_to_end()
    for number, after in points:
        world = begun()
        world.restart(Process(crash_at=number, after=after))
        await world.run_to_end()
        why = f"killed {'after' if after else 'before'} call {number}, {calm.calls[number - 1]}"
        assert world.final() == calm.final(), why
        assert len(world.tracker.tickets) == 1, why


def grow_after_merge(world: World) -> None:
    """The container needs more than the fix gave it, but only a while after it went live."""
    since = world.status.verification.started_at if world.status.verification else None
    if since is None or world.phase is not Phase.VERIFICATION_IN_PROGRESS:
        return
    if world.cluster.needs["app"] == "100Mi" and (world.clock.now() - since).total_seconds() > 6:
        world.cluster.needs["app"] = "1Gi"
        world.cluster.remove(NAMESPACE, "Deployment", "checkout")
        world.cluster.apply(yaml.safe_load(world.code.files()[FILE]))


@pytest.mark.parametrize("mode", ["RevertPullRequest", "Revert"])
async def test_killed_on_the_way_to_a_revert(mode: str) -> None:
    """A fix that fails its proof: one revert, one hand-over, whatever call was the last."""

    def over(world: World) -> bool:
        return world.status.message.startswith("VerificationFailed") and bool(world.requeue.after)

    world = fresh()
    world.change_policy(verification={"onFailure": mode})
    world.people.append(grow_after_merge)
    calm = Calm(world, [])
    while not over(world):
        calm.before_step.append(copy.deepcopy(world))
        await world.step()
    expected = comparable(world)
    assert len(expected["pulls"]) == 2
    merged = calm.calls.index("code.merge_pull_request")
    points = [(number, after) for number, after in list_points(calm.calls) if number > merged]
    assert len(points) > 50
    for number, after in points:
        start = next(one for one in reversed(calm.before_step) if len(one.calls) < number)
        again = copy.deepcopy(start)
        again.process.crash_at, again.process.after = number, after
        await again.run_until(over)
        why = f"killed {'after' if after else 'before'} call {number}, {calm.calls[number - 1]}"
        assert comparable(again) == expected, why
        assert again.milestones().count("handover") == 1, why


@pytest.mark.parametrize("seed", range(8))
async def test_killed_many_times(seed: int) -> None:
    chance = random.Random(seed)
    world = fresh()

    def doomed() -> Process:
        return Process(crash_at=chance.randint(1, 40), after=chance.random() < 0.5)

    world.restart(doomed())
    world.on_crash = doomed
    await world.run_to_end()
    assert world.starts > 5
    assert_made_once(world, f"seed {seed}, killed {world.starts - 2} times")
    assert world.final() == (await live()).final()


async def test_killed_around_every_model_call() -> None:
    calm = await live_calmly(model=PlausibleModel())
    asked = [n for n, name in enumerate(calm.calls, start=1) if name == "model.complete"]
    assert len(asked) == 5
    for number in sorted({n + more for n in asked for more in range(4)}):
        for after in (False, True):
            world = await calm.again(number, after=after)
            why = f"killed {'after' if after else 'before'} call {number}, {calm.calls[number - 1]}"
            assert_made_once(world, why)
            assert world.model is not None
            assert len(world.model.asked) <= len(asked) + 1, why
            assert world.status.usage.model_calls <= len(world.model.asked), why
            assert world.code.files()[FILE] == calm.world.code.files()[FILE], why
