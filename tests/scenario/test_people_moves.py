"""Obeying each of the 16 x 16 moves: from every phase into the status of every other one, on both kinds of status map.

Each starting phase is lived once and copied, so that every move begins in the same world.
"""

from __future__ import annotations

import collections
import copy
import functools

import pytest
from tests.scenario.test_people import HUMAN, PLAIN, PLAIN_MAP, fresh
from tests.scenario.world import World, policy_spec

from selfheal.api.incident import Phase
from selfheal.domain import phases
from selfheal.domain.effects import Milestone
from selfheal.domain.facts import PullRequestState

PHASES = list(Phase)
MAPS = {"table": {}, "plain": PLAIN_MAP}
REST = 300.0
"""Seconds in which whatever can go on has gone on; no time-out of a phase runs in them."""
SHORT = 60.0
"""Seconds in which a phase that can be left is left."""


def statuses_of(kind: str) -> dict[Phase, tuple[str, ...]]:
    return phases.resolve_statuses({Phase(name): row for name, row in MAPS[kind].items()})


@functools.cache
def begun(kind: str) -> World:
    """A world of one kind of status map, before the first step."""
    world = fresh(**({"statuses": PLAIN} if kind == "plain" else {}))
    tracker = {"statuses": MAPS[kind]} if MAPS[kind] else {}
    world.file_incident(policy_spec(tracker=tracker))
    return world


_lived: dict[tuple[str, Phase], World] = {}


async def live_to(kind: str, phase: Phase) -> World:
    """Return a copy of the world in which the incident stands in a phase."""
    if (kind, phase) not in _lived:
        human = phase is Phase.INCIDENT_REQUIRES_HUMAN
        world = copy.deepcopy(begun(kind)) if not human else await live_to(kind, Phase.FIX_GENERATED)
        if human:
            world.tracker.move_by_person(world.ticket.key, statuses_of(kind)[phase][0], "zoe")
            world.wake()
        await world.run_until(lambda w: w.phase is phase and w.status.ticket is not None)
        _lived[kind, phase] = world
    return copy.deepcopy(_lived[kind, phase])


def move(world: World, kind: str, to: Phase, name: str = "ann") -> Phase | None:
    """Let a person move the ticket; where it stands there already, away and back. Return what it enters."""
    statuses, now = statuses_of(kind), world.phase
    wanted = statuses[to][0]
    if world.ticket.status == wanted:
        away = next(row[0] for row in statuses.values() if row[0] not in (wanted, "Done"))
        now = phases.entered_by_person(away, statuses, coming_from=now)
        world.tracker.move_by_person(world.ticket.key, away, name)
    world.tracker.move_by_person(world.ticket.key, wanted, name)
    world.wake()
    return phases.entered_by_person(wanted, statuses, coming_from=now)


def assert_nothing_doubled(world: World) -> None:
    """One ticket, one branch an attempt, one open pull request, each comment once, no illegal move."""
    assert len(world.tracker.tickets) == 1
    pulls = [world.code.repo().view(pull) for pull in world.code.repo().pulls]
    assert sum(pull.state is PullRequestState.OPEN for pull in pulls) <= 1
    assert len({pull.branch for pull in pulls}) == len(pulls)
    said = collections.Counter(
        c.body.rpartition("\n")[2] for c in world.ticket.comments if c.by.is_operator
    )
    assert set(said.values()) <= {1}, said
    assert world.tracker.created["ticket"] == 1
    for entry in world.status.history:
        if entry.by == "operator" and entry.from_ is not None and entry.from_ is not entry.to:
            assert phases.is_legal_for_operator(entry.from_, entry.to), entry


async def go_on(world: World, entries: int, *, far: bool) -> None:
    """Let the operator go on: to its rest, or until it has moved on by itself, or for a while."""
    if far:
        await world.run_for(REST)
        return
    until = world.clock.seconds + SHORT
    while world.requeue.after is not None and world.clock.seconds + world.requeue.after < until:
        await world.step()
        if world.status.history[-1].by == "operator" and len(world.status.history) > entries + 1:
            return


def rests_without_precondition(world: World) -> bool:
    stalled = world.condition("Stalled")
    return stalled is not None and stalled.status == "True" and stalled.reason == "PreconditionMissing"


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("start", PHASES, ids=str)
async def test_a_person_moves_it_into_every_status(kind: str, start: Phase) -> None:
    rows = statuses_of(kind)
    for to in {rows[phase][0]: phase for phase in reversed(PHASES)}.values():  # one a status
        world = await live_to(kind, start)
        run, entries = world.status.run, len(world.status.history)
        entered = move(world, kind, to)
        await world.step()
        new = world.status.history[entries:]
        followed = [entry.to for entry in new if entry.by == "ann"]
        told = f"{start} to {to}: {world.describe()}"
        assert followed[-1:] == [entered], told
        moved = [one for one in world.ticket.moves if one.by.name == "ann"]
        assert len(followed) == len(moved), told
        await go_on(world, entries, far=to is Phase.ANALYSIS_IN_PROGRESS)
        told = f"{start} to {to}: {world.describe()}"
        assert_nothing_doubled(world)
        assert world.status.run in (run, run + 1), told
        after = [e for e in world.status.history[entries:] if e.by != "ann"]
        if entered in (Phase.INCIDENT_REQUIRES_HUMAN, Phase.INCIDENT_RESOLVED):
            assert world.phase is entered, told
            assert after == [], "a person took it, and the operator rests"
        elif rests_without_precondition(world):
            assert world.phase is entered, told
            assert after == [], "it rests where the person put it"
            assert sum(name == Milestone.PRECONDITION for name in world.milestones()) == 1, told
        elif to is Phase.ANALYSIS_IN_PROGRESS:
            assert world.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN), told
        else:
            assert after, f"it neither rests nor goes on: {told}"
            assert after[0].from_ is entered, told
        if world.phase is not None and world.condition("TicketSynced").status == "True":
            assert world.phase in phases.phases_of(world.ticket.status, statuses_of(kind)), told


@pytest.mark.parametrize("start", phases.CHAIN, ids=str)
async def test_the_operator_was_down_while_it_was_moved(start: Phase) -> None:
    world = await live_to("table", start)
    world.tracker.move_by_person(world.ticket.key, HUMAN, "bob")
    await world.let_pass(7200)
    entered = move(world, "table", Phase.ANALYSIS_IN_PROGRESS)
    world.restart()
    run, entries = world.status.run, len(world.status.history)
    await world.step()
    new = [e for e in world.status.history[entries:] if e.by != "operator"]
    assert [(e.by, e.to) for e in new][-2:] == [("bob", Phase.INCIDENT_REQUIRES_HUMAN), ("ann", entered)]
    assert world.status.run == run + 1
    await world.run_for(REST)
    assert_nothing_doubled(world)
    assert world.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN), world.describe()
