"""Everything at once: two processes for one incident, people and crashes at random."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.scenario.ports_wrapper import Process
from tests.scenario.test_crash_everywhere import assert_made_once, fresh
from tests.scenario.world import KEY, World, approve_when_asked, incident_spec, policy_spec

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import phases
from selfheal.domain.facts import PullRequestState
from selfheal.engine.deps import Deps
from selfheal.engine.step import step

HUMAN = "Needs Human Intervention"
STATUSES = [names[0] for names in phases.DEFAULT_STATUSES.values()]


def start(world: World, chance: random.Random) -> Deps:
    """Start one more process beside those that run."""
    world.process = Process(dawdle=lambda: chance.randint(0, 3))
    return world.start()


@pytest.mark.parametrize("seed", range(6))
async def test_two_processes_for_one_incident(seed: int) -> None:
    """The Lease failed: both work on it, and still nothing outside is made twice."""
    chance = random.Random(seed)
    world = fresh()
    one, other = start(world, chance), start(world, chance)
    for _ in range(400):
        answers = await asyncio.gather(step(KEY, one), step(KEY, other))
        waits = [answer.after for answer in answers if answer.after is not None]
        await world.let_pass(max(min(waits), 0.05))
        if world.status.message.startswith("Resolved"):
            break
    assert world.phase is Phase.INCIDENT_RESOLVED, world.describe()
    assert_made_once(world, f"seed {seed}")
    assert world.phases() == list(phases.CHAIN)


@pytest.mark.parametrize("seed", range(10))
async def test_people_and_crashes_at_random(seed: int) -> None:
    """Whatever happened: once people keep still, it comes to its end and leaves nothing behind."""
    chance = random.Random(seed)
    world = fresh()
    moves = 0

    def meddle(name: str) -> None:
        nonlocal moves
        if world.tracker.tickets and moves < 6 and chance.random() < 0.01:
            moves += 1
            world.tracker.move_by_person(world.ticket.key, chance.choice(STATUSES), f"p{moves}")

    def doomed() -> Process:
        if chance.random() < 0.3:
            return Process(before_call=meddle)
        return Process(
            crash_at=chance.randint(1, 120), after=chance.random() < 0.5, before_call=meddle
        )

    world.restart(doomed())
    world.on_crash = doomed
    for _ in range(250):
        await world.step()
    moves = 99
    world.on_crash = Process
    world.restart()
    await world.run_for(60)
    run = world.status.run
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    await world.run_for(700)
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN, world.describe()
    world.tracker.move_by_person(world.ticket.key, "In Progress", "ann")
    await world.run_for(30)
    assert world.status.run > run, world.describe()
    await world.run_to_end()
    assert world.status.resolution in (Resolution.FIXED, Resolution.RECOVERED), world.describe()
    repo = world.code.repo()
    assert [n for n in repo.pulls if repo.view(n).state is PullRequestState.OPEN] == []
    assert len(world.tracker.tickets) == 1
    bodies = [c.body for c in world.ticket.comments]
    assert len(bodies) == len(set(bodies))
    assert world.ticket.mirror is not None
    assert world.ticket.mirror.phase is Phase.INCIDENT_RESOLVED


@pytest.mark.parametrize("seed", range(10))
async def test_one_ticket_for_two_incidents(seed: int) -> None:
    """Both name the same ticket at the same time: one adopts it, the other is told."""
    chance = random.Random(seed)
    world = World()
    world.people.append(approve_when_asked)
    world.tracker.add_ticket("checkout is down")
    world.file_incident(policy_spec(), ticketKey="OPS-1")
    other = "production/checkout-too"
    world.store.apply_incident(other, incident_spec(summary="too", ticketKey="OPS-1"))
    one, two = start(world, chance), start(world, chance)
    for _ in range(60):
        await asyncio.gather(step(KEY, one), step(other, two))
        await world.let_pass(1.0)
    held = [key for key in (KEY, other) if world.store.incidents[key].status.ticket is not None]
    assert len(held) == 1, f"seed {seed}"
    (loser,) = {KEY, other} - set(held)
    stalled = [c for c in world.store.incidents[loser].status.conditions if c.type == "Stalled"]
    assert [c.reason for c in stalled] == ["TicketNotAdopted"]
    winner = world.store.incidents[held[0]]
    owners = [label for label in world.ticket.labels if "-phase-" not in label]
    assert owners == [f"selfheal-{winner.metadata.uid}"]
    assert world.ticket.mirror is not None
    assert world.ticket.mirror.uid == winner.metadata.uid
