"""`selfheal rollback`: a person takes a merged fix back by one command."""

from __future__ import annotations

import copy

import pytest
from tests.scenario.test_taken_back import taken_back
from tests.scenario.world import FILE, KEY, SOURCE, World, approve_when_asked

from selfheal.api.incident import Phase
from selfheal.domain import errors
from selfheal.engine import rollback


async def healed() -> World:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_to_end()
    return world


async def test_it_says_what_it_would_do_and_writes_nothing() -> None:
    world = await healed()
    before = copy.deepcopy(world.final())
    planned = await rollback.plan(KEY, world.deps)
    assert planned.pull_request == world.pull.url
    assert [line.strip() for line in planned.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-              memory: 128Mi   # was enough in spring", "+              memory: 64Mi   # was enough in spring",
    ]  # fmt: skip
    assert planned.revert is None
    assert world.final() == before


async def test_the_revert_is_opened_merged_and_remembered_once() -> None:
    world = await healed()
    done = await rollback.roll_back(KEY, world.deps)
    assert done.revert is not None
    assert done.revert.state == "Merged"
    assert world.code.files()[FILE] == SOURCE.encode()
    assert world.status.revert == done.revert
    again = await rollback.roll_back(KEY, world.deps)
    assert again.revert == done.revert
    assert len(world.code.repo().pulls) == 2
    await world.run_for(300)
    assert world.phase is Phase.INCIDENT_RESOLVED


async def test_where_a_review_is_demanded_it_stays_proposed() -> None:
    world = await healed()
    world.code.protect(reviews=1)
    done = await rollback.roll_back(KEY, world.deps)
    assert done.revert is not None
    assert done.revert.state == "Open"
    assert world.code.files()[FILE] != SOURCE.encode()


async def test_a_revert_that_the_operator_proposed_is_taken_up() -> None:
    world = World()
    world.code.protect(reviews=1)
    await taken_back(world)
    world.code.protect(reviews=0)
    done = await rollback.roll_back(KEY, world.deps)
    assert done.revert is not None
    assert done.revert.state == "Merged"
    assert len(world.code.repo().pulls) == 2


async def test_what_cannot_be_taken_back_is_said() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    with pytest.raises(errors.HandOver, match="No fix of production/checkout-oom was merged"):
        await rollback.plan(KEY, world.deps)
    world = await healed()
    files = world.code.files()
    world.code.repo().commit("main", {**files, FILE: files[FILE] + b"# by hand\n"}, author="eva", message="x", at=world.clock.now())
    with pytest.raises(errors.HandOver, match="was changed since"):
        await rollback.roll_back(KEY, world.deps)
