"""Every case of ``pull_request_cases`` on the fakes: it ends in the right phase, and nothing is made twice."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.scenario import pull_request_cases as cases
from tests.scenario.ports_wrapper import WRITES, Process
from tests.scenario.world import World, incident_spec, policy_spec, repository_spec

from selfheal.api.incident import IncidentStatus, Phase, Resolution
from selfheal.domain import facts
from selfheal.engine.step import step

CHECKS = {"success": facts.ChecksState.SUCCESS, "failure": facts.ChecksState.FAILURE}


class Wire(Process):
    """A process whose calls of the code host fail, or reach it twice, as a case says."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: cases.Trouble | None = None
        self.times, self.after, self.replays = 0, False, False
        self.only = ""
        self.failed: collections.Counter[str] = collections.Counter()

    async def call(self, name: str, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not name.startswith("code."):
            return await super().call(name, method, *args, **kwargs)
        writes = name.partition(".")[2] in WRITES
        trouble = self.trouble
        concerned = trouble is not None and (writes or not trouble.writes_only) and self.only in name
        if trouble is not None and concerned and self.failed[name] < self.times:
            self.failed[name] += 1
            if self.after:
                await super().call(name, method, *args, **kwargs)
            raise trouble.error()
        if writes and self.replays:
            await super().call(name, method, *args, **kwargs)
        return await super().call(name, method, *args, **kwargs)


class People:
    """What people do on the fake, by the names that the sandbox's people have."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.code, name)

    def set_checks(self, number: int, states: Mapping[str, str]) -> None:
        for state in states.values():
            self._world.code.set_checks(number, CHECKS[state])


class FakeLife:
    """A life on the fakes."""

    def __init__(self) -> None:
        self.world = World()
        self.wire = Wire()
        self.world.restart(self.wire)
        self.side = People(self.world)
        self.number = 1
        self.approved_by: list[str] = []

    async def break_calls(self, trouble: cases.Trouble, *, times: int, after: bool = False) -> None:
        self.wire.trouble, self.wire.times, self.wire.after = trouble, times, after

    async def mend(self) -> None:
        self.wire.trouble = None

    async def replay_writes(self) -> None:
        self.wire.replays = True

    def rewrite_base(self, files: Mapping[str, bytes]) -> None:
        self.world.code.rewrite("main", files)

    def delete_branch(self) -> None:
        repo = self.world.code.repo()
        repo.close(self.number)
        del repo.branches[self.world.pull.branch]

    def close(self) -> None:
        self.world.code.close(self.number)

    def set_queue(self) -> None:
        self.world.code.repo().merges_by_queue = True

    def land_queue(self) -> None:
        repo = self.world.code.repo()
        if self.number in repo.queued:
            repo.queued.clear()
            self.world.code.merge(repo, self.number, "github-merge-queue[bot]")


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
async def test_it_ends_where_it_must_and_nothing_is_made_twice(case: cases.Case) -> None:
    life = FakeLife()
    await cases.live(life, case, policy_spec(**repository_spec(**case.mapping)))
    world = life.world
    assert world.phase is case.end
    if case.end is cases.HUMAN:
        assert world.status.handover is not None
        assert world.status.handover.reason == case.reason
    else:
        assert world.status.resolution is Resolution.FIXED
    created = world.code.created
    assert (created["branch"], created["pull_request"], created["revision"]) == (1, 1, case.revisions)
    assert created["merge"] == int(case.end is cases.RESOLVED and case.merged_by_us)
    said = world.code.comments(1)
    assert len(said) == len(set(said))
    assert len(world.tracker.tickets) == 1


@pytest.mark.parametrize(
    ("trouble", "stalled"), [(cases.UNAVAILABLE, True), (cases.SECONDARY, False)], ids=["down", "limited"]
)
async def test_an_outage_of_hours_is_waited_for_and_not_handed_over(trouble: cases.Trouble, stalled: bool) -> None:
    life = FakeLife()
    life.world.people.append(lambda world: cases._approve(life))
    life.world.file_incident()
    await life.world.run_until(Phase.PR_CREATION_IN_PROGRESS)
    await life.break_calls(trouble, times=10_000)
    await life.world.run_for(3 * 3600)
    assert life.world.phase is Phase.PR_CREATION_IN_PROGRESS
    condition = life.world.condition("Stalled")
    assert (condition is not None and condition.reason == "Unreachable") is stalled
    await life.mend()
    await life.world.run_to_end()
    assert life.world.code.created["pull_request"] == 1


async def test_merges_that_are_refused_do_not_use_up_the_hour() -> None:
    life = FakeLife()
    life.world.people.append(lambda world: cases._approve(life))
    life.world.file_incident(policy_spec(code={"limits": {"mergesPerHour": 2}}))
    life.wire.only = "merge_pull_request"
    await life.break_calls(cases.FORBIDDEN, times=10_000)
    await life.world.run_until(lambda world: cases._is_stalled(world, "PermissionDenied"))
    await life.world.run_for(1800)
    assert life.wire.failed["code.merge_pull_request"] > 10
    assert life.world.store.policies["default"].status.merges == []
    await life.mend()
    await life.world.run_to_end()
    assert life.world.code.created["merge"] == 1
    assert len(life.world.store.policies["default"].status.merges) == 1


async def test_a_person_takes_the_pull_request_out_of_the_queue() -> None:
    life = FakeLife()
    life.set_queue()
    life.world.people.append(lambda world: cases._approve(life))
    life.world.file_incident()
    repo = life.world.code.repo()
    await life.world.run_until(lambda world: bool(repo.queued))
    await life.world.run_for(300)
    assert life.world.code.created["queue"] == 1
    life.world.tracker.move_by_person(life.world.ticket.key, "Needs Human Intervention", "ann")
    await life.world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    await life.world.run_until(lambda world: not repo.queued)
    await life.world.run_for(300)
    assert life.world.code.created["merge"] == 0


async def test_a_persons_own_place_in_the_queue_stays_theirs() -> None:
    life = FakeLife()
    life.set_queue()
    life.world.file_incident()
    await life.world.run_until(Phase.PR_CREATED)
    life.world.code.comment(1, "bob", "I queue it myself")
    life.world.code.repo().queued.add(1)
    await life.world.run_for(600)
    assert life.world.code.repo().queued == {1}


async def test_a_duplicate_follows_the_primarys_pull_request_and_opens_none() -> None:
    life = FakeLife()
    world, other = life.world, "production/checkout-again"
    world.file_incident()
    await world.run_until(lambda w: bool(w.store.cause_leases))
    world.store.apply_incident(other, incident_spec(summary="checkout again"))
    await world.run_until(Phase.PR_CREATED)
    world.people.append(lambda w: cases._approve(life))

    async def follow(seconds: float, *, times: int) -> IncidentStatus:
        for _ in range(times):
            world.clock.seconds += seconds
            await step(other, world.deps)
        return world.store.incidents[other].status

    found = await follow(1, times=60)
    assert found.phase is Phase.ANALYSIS_COMPLETE
    assert f"is being worked on by {world.pull.url}" in found.message
    world.code.request_changes(1, "rita", "no")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    found = await follow(10, times=3)
    assert "was handed to a person" in found.message
    assert found.phase is Phase.ANALYSIS_COMPLETE
    world.code.approve(1, "rita")
    await world.run_to_end()
    ended = await follow(5, times=60)
    assert (ended.phase, ended.resolution) == (Phase.INCIDENT_RESOLVED, Resolution.DUPLICATE)
    assert (world.code.created["pull_request"], world.code.created["branch"]) == (1, 1)
    assert ended.attempts.fix == 0
