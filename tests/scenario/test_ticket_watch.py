"""Polling of tickets: one search a policy and interval, and what a search does not tell."""

from __future__ import annotations

import collections
import datetime as dt

from tests.scenario.world import World, approve_when_asked, policy_spec

from selfheal.api.incident import Phase
from selfheal.domain import errors

HUMAN = "Needs Human Intervention"
POLL = 10.0


async def resting() -> World:
    """An incident that waits for a review, for long enough to rest on searches."""
    world = World()
    hours = {"pullRequest": {"reviewTimeout": "24h"}}
    base = policy_spec().code.repositories[0].to_wire()
    world.file_incident(policy_spec(code={"repositories": [{**base, **hours}]}))
    await world.run_until(Phase.PR_CREATED)
    await world.run_for(3 * POLL)
    return world


async def made_in(world: World, seconds: float) -> collections.Counter[str]:
    before = collections.Counter(world.calls)
    await world.run_for(seconds)
    return collections.Counter(world.calls) - before


async def obeyed_after(world: World, phase: Phase = Phase.INCIDENT_REQUIRES_HUMAN) -> float:
    begun = world.clock.seconds
    await world.run_until(phase)
    return world.clock.seconds - begun


async def test_a_resting_ticket_is_searched_for_and_not_read() -> None:
    world = await resting()
    made = await made_in(world, 300)
    assert made["tracker.get_ticket"] == 0
    assert 25 <= made["tracker.find_updates"] <= 31
    assert made["tracker.get_tickets"] == 0


async def test_a_move_is_obeyed_within_one_poll() -> None:
    world = await resting()
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    assert await obeyed_after(world) <= POLL + 1


async def test_a_search_that_lags_delays_and_loses_nothing() -> None:
    world = await resting()
    world.tracker.search_lag = dt.timedelta(seconds=60)
    await world.run_for(POLL)
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    assert 50 <= await obeyed_after(world) <= 60 + 2 * POLL


async def test_a_search_that_shows_nothing_at_all_is_made_up_for_by_a_bulk_read() -> None:
    world = await resting()
    world.tracker.search_lag = dt.timedelta(days=9)
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    assert await obeyed_after(world) <= 600 + 2 * POLL


async def test_a_deleted_ticket_is_noticed() -> None:
    world = await resting()
    world.tracker.delete_ticket(world.ticket.key)
    await world.run_for(600 + 2 * POLL)
    assert world.condition("Stalled").reason == "TicketMissing"


async def test_a_ticket_in_another_project_is_noticed() -> None:
    world = await resting()
    world.tracker.move_to_project(world.ticket.key, "ELSE")
    await world.run_for(2 * POLL)
    assert world.condition("Stalled").reason == "TicketMissing"


async def test_without_an_answer_every_ticket_is_read() -> None:
    world = await resting()

    async def fail(within: dt.timedelta) -> dict[str, dt.datetime]:
        raise errors.Transient("search is down", system="jira")

    world.tracker.find_updates = fail  # type: ignore[method-assign]
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    assert await obeyed_after(world) <= 2 * POLL


async def test_a_bulk_read_that_fails_leads_to_a_reading() -> None:
    world = await resting()

    async def fail(ids: list[str]) -> dict[str, object]:
        raise errors.Transient("bulk reads are down", system="jira")

    world.tracker.get_tickets = fail  # type: ignore[method-assign, assignment]
    made = await made_in(world, 620)
    assert 1 <= made["tracker.get_ticket"] <= 2


async def test_readings_of_incidents_that_are_gone_are_forgotten() -> None:
    world = await resting()
    (board,) = world.deps.tickets.boards.values()
    (entry,) = board.entries.values()
    board.entries["gone"] = entry
    board.asked["gone"] = world.clock.now()
    await world.run_for(5_000)
    assert list(board.entries) == list(board.asked) == [world.incident.metadata.uid]


async def test_a_whole_life_over_a_lagging_search_ends_as_ever() -> None:
    world = World()
    world.tracker.search_lag = dt.timedelta(seconds=60)
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_to_end()
    assert len(world.tracker.tickets) == 1
