"""What an incident costs others: reads of ticket and pull request, and status patches."""

from __future__ import annotations

import collections

from tests.scenario.world import World, approve_when_asked, policy_spec

from selfheal.api.incident import Phase

HUMAN = "Needs Human Intervention"
POLL = 30.0
MINUTES = 10


def slow_world() -> World:
    """Polls as the policy's defaults have them, and a window that is long against them."""
    world = World()
    polled = {"pollInterval": f"{POLL:.0f}s"}
    world.people.append(approve_when_asked)
    window = {"stableFor": f"{MINUTES}m"}
    world.file_incident(policy_spec(tracker=polled, code=polled, verification=window))
    return world


async def test_a_whole_life_reads_the_ticket_once_a_step_and_before_what_counts() -> None:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_to_end()
    calls = collections.Counter(world.calls)
    moves = calls["tracker.transition_ticket"]
    writes = ("code.ensure_branch", "code.ensure_pull_request", "code.merge_pull_request")
    again = sum(calls[name] for name in writes)
    assert moves == 13
    assert calls["tracker.get_ticket"] <= world.steps + moves + again, "a step, its move, its write"
    assert calls["code.get_pull_request"] <= world.steps


async def test_up_to_the_diagnosis_a_status_is_patched_at_most_six_times() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    assert len(world.patches) <= 6, world.patches


async def test_a_long_window_searches_tickets_and_reads_the_pull_request_once_a_poll() -> None:
    world = slow_world()
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    before = collections.Counter(world.calls)
    await world.run_until(Phase.VERIFICATION_COMPLETE)
    made = collections.Counter(world.calls) - before
    polls = MINUTES * 60 / POLL
    assert made["cluster.observe_workload"] > 3 * polls, "our own cluster is looked at more often"
    for name in ("tracker.find_updates", "code.get_pull_request"):
        assert polls * 0.8 <= made[name] <= polls * 1.2 + 6, (name, made[name])
    assert made["tracker.get_ticket"] <= 6, "what has not changed is not read again"
    assert made["tracker.get_tickets"] <= MINUTES / 10


async def test_a_person_is_obeyed_within_one_poll_of_a_long_window() -> None:
    world = slow_world()
    await world.run_until(Phase.VERIFICATION_IN_PROGRESS)
    await world.run_for(61)
    world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
    begun = world.clock.seconds
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.clock.seconds - begun <= POLL
