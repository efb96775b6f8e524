"""Tickets whose incident is gone: told once, released, and the pull request closed; nobody else's is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from tests.scenario.ports_wrapper import Crash, Process
from tests.scenario.world import KEY, World

from selfheal.api.incident import Phase
from selfheal.api.policy import Policy
from selfheal.domain import errors, facts
from selfheal.domain.machine.mirrors import RELEASED
from selfheal.engine import orphans
from selfheal.engine.deps import Systems

UID = "9d1c6a54-0000-0000-0000-00000000c1c1"


async def live_to(phase: Phase, **settings: Any) -> World:
    world = World(**settings)
    world.deps = dataclasses.replace(world.deps, cluster_uid=UID)
    world.file_incident()
    await world.run_until(phase)
    await world.run_for(5)
    return world


async def sweep(world: World) -> int:
    deps = dataclasses.replace(world.deps, cluster_uid=UID)

    async def connect(policy: Policy) -> Systems:
        return await world._connect(policy, None)  # type: ignore[arg-type]

    return await orphans.release(deps, connect)


def mirror(world: World, **changes: Any) -> None:
    """Change the property of the only ticket, as another cluster or an older version wrote it."""
    (held,) = world.tracker.tickets.values()
    assert held.facts.mirror is not None
    held.facts = dataclasses.replace(held.facts, mirror=dataclasses.replace(held.facts.mirror, **changes))


def untouched(world: World) -> bool:
    return RELEASED not in world.ticket.labels and not any("is gone" in c.body for c in world.ticket.comments)


async def test_the_ticket_is_told_once_and_released_and_the_pull_request_closed() -> None:
    world = await live_to(Phase.PR_CREATED)
    assert await sweep(world) == 0, "its incident is there"
    del world.store.incidents[KEY]
    assert await sweep(world) == 1
    assert await sweep(world) == 0
    assert world.ticket.labels == {RELEASED}
    (said,) = [c.body for c in world.ticket.comments if "is gone" in c.body]
    assert world.pull.url in said
    assert world.pull.state is facts.PullRequestState.CLOSED
    assert not [name for name in world.code.repo().branches if name.startswith("selfheal/")]
    assert world.ticket.status == "PR Created", "the status stays a person's"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_call_it_is_done_once(after: bool) -> None:
    number = 0
    while True:
        number += 1
        world = await live_to(Phase.PR_CREATED)
        del world.store.incidents[KEY]
        world.restart(Process(crash_at=number, after=after))
        try:
            await sweep(world)
            break
        except Crash:
            world.restart()
            await sweep(world)
        assert world.ticket.labels == {RELEASED}, f"killed at call {number}"
        assert len([c for c in world.ticket.comments if "is gone" in c.body]) == 1
        assert world.pull.state is facts.PullRequestState.CLOSED
    assert number > 8


@pytest.mark.parametrize(
    "changes",
    [{"cluster_uid": "another"}, {"cluster_uid": ""}],
    ids=["another-cluster", "an-older-version"],
)
async def test_what_is_not_surely_ours_stays(changes: Mapping[str, str]) -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    del world.store.incidents[KEY]
    mirror(world, **changes)
    assert await sweep(world) == 0
    assert untouched(world)


async def test_a_ticket_that_is_done_stays() -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    del world.store.incidents[KEY]
    world.tracker.move_by_person(world.ticket.key, "Done", "ann")
    assert await sweep(world) == 0
    assert untouched(world)


async def test_the_first_uid_of_a_restored_incident_counts() -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    known = world.store.incidents.pop(KEY)
    assert known.status.identity is not None
    metadata = known.metadata.model_copy(update={"uid": "restored"})
    status = known.status.evolve(ticket=None)
    world.store.incidents[KEY] = known.evolve(metadata=metadata, status=status)
    assert await sweep(world) == 0
    assert untouched(world)


async def test_so_many_at_once_are_left_alone_and_it_is_said() -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    del world.store.incidents[KEY]
    held = next(iter(world.tracker.tickets.values()))
    for number in range(orphans.MANY):
        key = world.tracker.add_ticket(f"another {number}")
        other = next(one for one in world.tracker.tickets.values() if one.facts.key == key)
        other.facts = dataclasses.replace(other.facts, mirror=held.facts.mirror, labels=held.facts.labels)
    assert await sweep(world) == 0
    assert untouched(world)
    (condition,) = [c for c in world.store.policies["default"].status.conditions if c.type == "OrphansHeld"]
    assert condition.status == "True"
    assert condition.message.startswith(f"{orphans.MANY + 1} open tickets")
    world.tracker.tickets.popitem()
    assert await sweep(world) == orphans.MANY
    assert not [c for c in world.store.policies["default"].status.conditions if c.type == "OrphansHeld"]


@pytest.mark.parametrize("settings", [{"read_only": True}, {"dry_run": True}], ids=["read-only", "dry-run"])
async def test_who_writes_nothing_releases_nothing(settings: dict[str, bool]) -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    del world.store.incidents[KEY]
    world.deps = dataclasses.replace(world.deps, **settings)
    assert await sweep(world) == 0
    assert untouched(world)


async def test_a_suspended_policy_and_a_tracker_that_is_down_release_nothing() -> None:
    world = await live_to(Phase.ANALYSIS_COMPLETE)
    del world.store.incidents[KEY]
    world.change_policy(suspend=True)
    assert await sweep(world) == 0
    world.change_policy(suspend=False, tracker={"type": "None"})
    assert await sweep(world) == 0
    world.change_policy(tracker={"type": "Jira"})
    world.tracker_error = errors.Unreachable("jira is down", system="jira")
    assert await sweep(world) == 0
    assert untouched(world)
