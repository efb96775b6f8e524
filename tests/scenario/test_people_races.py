"""Moves that race the operator's own calls, and tickets that people may not let it edit."""

from __future__ import annotations

import pytest
from tests.scenario.ports_wrapper import Process
from tests.scenario.test_people import HUMAN, fresh
from tests.scenario.test_people_moves import assert_nothing_doubled
from tests.scenario.world import World

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import errors

TARGETS = [HUMAN, "Done", "In Progress"]
STRIDE = 29
"""Every so many calls one is raced; a prime, so that no kind of call is always left out."""


def moving_at(world: World, number: int, status: str) -> None:
    """Let Ann move the ticket right before the n-th call of the process, or the first one with a ticket after it."""
    moved = False

    def watch(name: str) -> None:
        nonlocal moved
        if not moved and len(world.process.names) >= number and world.tracker.tickets:
            moved = True
            world.tracker.move_by_person(world.ticket.key, status, "ann")

    world.process.before_call = watch


async def live_through(world: World) -> None:
    await world.run_until(
        lambda w: w.phase is Phase.INCIDENT_REQUIRES_HUMAN or w.status.message.startswith("Resolved")
    )
    await world.run_for(300)


@pytest.mark.parametrize("status", TARGETS)
async def test_a_move_before_calls_all_over_a_life_is_obeyed(status: str) -> None:
    whole = fresh()
    whole.restart(Process())
    whole.file_incident()
    await whole.run_to_end()
    calls = len(whole.calls)
    assert calls > 100
    raced = 0
    for number in range(1, calls, STRIDE):
        world = fresh()
        world.restart(Process())
        world.file_incident()
        moving_at(world, number, status)
        await live_through(world)
        told = f"call {number} of {calls}: {world.describe()}"
        theirs = [m for m in world.ticket.moves if m.by.name == "ann"]
        if not theirs:
            continue  # it stood there already, and Jira knows no such move
        raced += 1
        assert "ann" in [e.by for e in world.status.history], told
        assert_nothing_doubled(world)
        if status != "In Progress":
            assert world.ticket.status == status, told
            opened = world.code.created["pull_request"]
            assert opened <= 1
        else:
            assert world.phase in (Phase.INCIDENT_RESOLVED, Phase.INCIDENT_REQUIRES_HUMAN), told
    assert raced > calls // STRIDE // 2


async def test_a_ticket_that_may_not_be_edited_is_said_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    locked = True
    for name in ("transition_ticket", "save_mirror", "ensure_comment", "ensure_remote_link"):
        real = getattr(world.tracker, name)

        async def refuse(*args: object, _real: object = real, **values: object) -> object:
            if locked:
                raise errors.Stalled("Jira: 403, the ticket may not be edited", reason="Forbidden", system="jira")
            return await _real(*args, **values)  # type: ignore[operator]

        monkeypatch.setattr(world.tracker, name, refuse)
    await world.run_for(900)
    stalled = world.condition("Stalled")
    assert (stalled.status, stalled.reason) == ("True", "Forbidden")
    assert "may not be edited" in stalled.message
    assert world.phase is Phase.ANALYSIS_COMPLETE
    assert world.code.created["branch"] == 0
    locked = False
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert_nothing_doubled(world)
