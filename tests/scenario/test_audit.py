"""`selfheal audit`: incident, ticket, reviews, merge and delivery in one timeline."""

from __future__ import annotations

import copy
import datetime as dt
import json

import pytest
from click.testing import CliRunner
from tests.scenario.world import KEY, World, approve_when_asked

from selfheal.api.incident import Phase
from selfheal.cli import audit as command
from selfheal.cli import main
from selfheal.domain import errors
from selfheal.engine import audit


async def healed() -> World:
    world = World()
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_until(Phase.FIX_GENERATED)
    world.tracker.comment_by_person(world.ticket.key, "password=hunter2", "ann")
    await world.run_to_end()
    return world


async def test_all_systems_stand_in_one_timeline_in_order() -> None:
    world = await healed()
    before = copy.deepcopy(world.final())
    found = await audit.read_timeline(KEY, world.deps)
    assert world.final() == before, "it only reads"
    assert found.missing == ()
    assert [e.at for e in found.entries] == sorted(e.at for e in found.entries)
    by_system = {s: [e for e in found.entries if e.system == s]
                 for s in ("incident", "ticket", "pull request", "delivery")}  # fmt: skip
    assert [e.what.split(":")[0] for e in by_system["incident"]] == [p.value for p in world.phases()]
    moves = [e for e in by_system["ticket"] if " to " in e.what]
    assert len(moves) == len(world.ticket.moves)
    review, merge = by_system["pull request"]
    assert review.what.endswith(": Approved")
    assert merge.what == f"merged as {world.pull.merge_sha}"
    assert merge.by == world.pull.merged_by
    assert by_system["delivery"][0].what.startswith(f"Rollout of {world.pull.merge_sha}")
    analysed = next(e for e in by_system["incident"] if e.what.startswith("ANALYSIS_COMPLETE"))
    assert analysed.where.startswith("shev/")
    commented = [e for e in by_system["ticket"] if e.what == "commented"]
    assert [e.by for e in commented] == ["ann"]
    assert "hunter2" not in str(found)


async def test_a_system_that_is_down_is_named_and_the_rest_is_told() -> None:
    world = await healed()
    world.tracker.outage = errors.Unreachable("Jira does not answer", system="jira")
    world.code.outage = errors.Unreachable("GitHub does not answer", system="github")
    found = await audit.read_timeline(KEY, world.deps)
    assert {e.system for e in found.entries} == {"incident", "delivery"}
    assert [text.split(":")[0] for text in found.missing] == ["ticket", "pull request 1"]


ENTRY = audit.Entry(
    at=dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC), system="ticket", by="ann",
    what="To Do to Done", where="OPS-1 change 7",
)  # fmt: skip


@pytest.fixture
def timeline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    missing: list[str] = []
    monkeypatch.setattr(
        command, "with_runtime",
        lambda work: audit.Timeline(entries=(ENTRY,), missing=tuple(missing)),
    )  # fmt: skip
    return missing


def test_what_is_printed(timeline: list[str]) -> None:
    done = CliRunner().invoke(main, ["audit", "shop/oom"])
    assert done.output == (
        "2026-11-23 09:00:00  ticket        ann               To Do to Done  [OPS-1 change 7]\n"
    )
    assert done.exit_code == 0
    lines = CliRunner().invoke(main, ["audit", "shop/oom", "--json"]).output
    assert json.loads(lines)["at"] == "2026-11-23T09:00:00+00:00"
    timeline.append("ticket: down")
    assert CliRunner().invoke(main, ["audit", "shop/oom"]).exit_code == 1
