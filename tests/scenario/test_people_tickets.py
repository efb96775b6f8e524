"""Tickets that vanish, move away or lie in time, and two people at once: the person wins, and it is said."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from tests.scenario.test_people import BACK, HUMAN
from tests.scenario.test_people_moves import assert_nothing_doubled, live_to
from tests.scenario.world import VirtualClock, World

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import facts, phases
from selfheal.domain.facts import PullRequestState

WORKING = phases.CHAIN[:-1]
DAY = 86_400.0


def is_missed(world: World) -> bool:
    stalled = world.condition("Stalled")
    return stalled is not None and stalled.status == "True" and stalled.reason == "TicketMissing"


@pytest.mark.parametrize("how", ["deleted", "moved away"])
@pytest.mark.parametrize("phase", WORKING, ids=str)
async def test_a_ticket_that_is_gone_is_noticed_and_said_in_every_phase(phase: Phase, how: str) -> None:
    world = await live_to("table", phase)
    key, writes = world.ticket.key, sum(world.tracker.writes.values())
    identity = world.status.ticket.id if world.status.ticket else ""
    before = (world.code.created["branch"], world.code.created["pull_request"], world.code.created["merge"])
    if how == "deleted":
        world.tracker.delete_ticket(key)
    else:
        world.tracker.move_to_project(key, "ELSE")
    world.wake()
    await world.run_for(900)
    assert is_missed(world), world.describe()
    assert world.phase is phase, "nothing goes on without the ticket"
    assert sum(world.tracker.writes.values()) == writes
    assert (
        world.code.created["branch"], world.code.created["pull_request"], world.code.created["merge"],
    ) == before  # fmt: skip
    if how == "deleted":
        return
    world.tracker.tickets[identity].facts = _back(world.tracker.tickets[identity].facts, key)
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert_nothing_doubled(world)


def _back(ticket: facts.TicketFacts, key: str) -> facts.TicketFacts:
    return dataclasses.replace(ticket, key=key, project="OPS")


@pytest.mark.parametrize("skew", [-DAY, -600.0, 600.0, DAY])
@pytest.mark.parametrize("phase", [Phase.ANALYSIS_COMPLETE, Phase.PR_CREATED, Phase.DEPLOYMENT_IN_PROGRESS], ids=str)
async def test_a_trackers_clock_that_is_wrong_delays_no_person(phase: Phase, skew: float) -> None:
    world = await live_to("table", phase)
    world.tracker.clock = _Skewed(skew, world.clock)
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    world.wake()
    await world.run_for(1500)
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN, world.describe()
    assert world.ticket.status == HUMAN
    world.tracker.move_by_person(world.ticket.key, BACK, "bob")
    await world.run_until(
        lambda w: w.status.run == 2 and w.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN)
    )
    assert [e.by for e in world.status.history if e.by != "operator"] == ["ann", "bob"]
    assert_nothing_doubled(world)


class _Skewed(VirtualClock):
    """The tracker's clock, so many seconds beside the cluster's."""

    def __init__(self, skew: float, real: VirtualClock) -> None:
        super().__init__()
        self._skew, self._real = skew, real

    def now(self) -> dt.datetime:
        return self._real.now() + dt.timedelta(seconds=self._skew)


@pytest.mark.parametrize("phase", WORKING[1:], ids=str)
async def test_two_people_move_it_within_one_poll_and_the_newest_counts(phase: Phase) -> None:
    world = await live_to("table", phase)
    run, entries = world.status.run, len(world.status.history)
    world.tracker.move_by_person(world.ticket.key, "Done", "ann")
    world.tracker.move_by_person(world.ticket.key, HUMAN, "bob")
    world.wake()
    await world.run_for(120)
    told = [(e.by, e.to) for e in world.status.history[entries:]]
    assert told == [("ann", Phase.INCIDENT_RESOLVED), ("bob", Phase.INCIDENT_REQUIRES_HUMAN)]
    assert world.ticket.status == HUMAN
    assert world.status.run in (run, run + 1)
    assert_nothing_doubled(world)


async def test_a_move_on_the_ticket_and_a_review_at_once() -> None:
    world = await live_to("table", Phase.PR_CREATED)
    world.people.clear()
    world.code.approve(world.pull.number, "rita")
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    world.wake()
    await world.run_for(600)
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN, "ann took it; the approval does not take it back"
    assert world.code.created["merge"] == 0
    view = world.code.repo().view(next(iter(world.code.repo().pulls)))
    assert view.state is PullRequestState.OPEN
    world.tracker.move_by_person(world.ticket.key, "Under Review", "ann")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert_nothing_doubled(world)


async def test_a_move_and_a_comment_at_once() -> None:
    world = await live_to("table", Phase.FIX_GENERATED)
    world.tracker.comment_by_person(world.ticket.key, "I look at it", "bob")
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    world.tracker.comment_by_person(world.ticket.key, "thank you", "bob")
    world.wake()
    await world.run_for(120)
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN
    assert [c.body for c in world.ticket.comments if not c.by.is_operator] == ["I look at it", "thank you"]
    assert_nothing_doubled(world)


async def test_a_done_ticket_that_is_reopened_is_a_new_life_of_the_same_incident() -> None:
    world = await live_to("table", Phase.INCIDENT_RESOLVED)
    await world.run_for(60)
    uid = world.incident.metadata.uid
    world.tracker.move_by_person(world.ticket.key, "To Do", "ann")
    world.wake()
    await world.run_until(Phase.ANALYSIS_IN_PROGRESS)
    assert (world.status.run, world.incident.metadata.uid) == (2, uid)
    assert world.status.resolution is None
    await world.run_for(1200)
    assert_nothing_doubled(world)
