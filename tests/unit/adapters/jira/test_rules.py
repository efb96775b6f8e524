"""Which transition, resolution and priority are chosen, and how a changelog is read."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from selfheal.adapters.jira import creation, parse, transitions
from selfheal.api.incident import Phase, Priority
from selfheal.domain import errors, facts


def make_way(to: str, *, required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    demanded = {name: {"name": name, "required": True} for name in required}
    return {
        "id": f"{to}/{len(required)}",
        "to": {"name": to, "id": "7"},
        "fields": {**demanded, **fields},
    }


RESOLUTION = {"required": True, "allowedValues": [{"name": "Won't Do"}, {"name": "Done"}]}


def test_least_demanding_way_to_the_first_status_is_taken() -> None:
    ways = [make_way("B"), make_way("A", required=("Root cause",)), make_way("A")]
    chosen = transitions.choose(ways, ["Nowhere", "a", "B"])
    assert chosen is ways[2]
    assert transitions.choose(ways, ["Nowhere"]) is None
    assert transitions.choose([{**make_way("A"), "isAvailable": False}], ["A"]) is None


def test_resolution_is_set_where_the_screen_has_one() -> None:
    assert transitions.compute_fields(make_way("Done", resolution=RESOLUTION)) == {
        "resolution": {"name": "Done"}
    }
    assert transitions.compute_fields(make_way("Done")) == {}
    with_default = make_way("Done", other={"required": True, "hasDefaultValue": True})
    assert transitions.compute_fields(with_default) == {}


def test_field_that_we_cannot_fill_is_named() -> None:
    with pytest.raises(errors.TransitionNotOffered, match=r"to Done demands Root cause"):
        transitions.compute_fields(make_way("Done", required=("Root cause",)))


@pytest.mark.parametrize(
    ("allowed", "chosen"),
    [
        (["Won't Do", "Fixed", "Done"], "Fixed"),
        (["Duplicate", "Erledigt", "Won't Fix"], "Erledigt"),
        (["Duplicate"], "Duplicate"),
        ([], None),
    ],
)
def test_resolution_that_says_fixed_is_preferred(allowed: list[str], chosen: str | None) -> None:
    assert transitions.choose_resolution(allowed) == chosen


@pytest.mark.parametrize(
    ("wanted", "allowed", "configured", "chosen"),
    [
        (Priority.CRITICAL, ["Highest", "High"], {}, "Highest"),
        (Priority.CRITICAL, ["Blocker", "Critical"], {}, "Critical"),
        (Priority.HIGH, ["P1", "P2"], {"P2": Priority.HIGH}, "P2"),
        (Priority.HIGH, ["P1", "P2"], {}, None),
        (
            Priority.HIGH,
            ["High", "Urgent"],
            {"High": Priority.LOW, "urgent": Priority.HIGH},
            "Urgent",
        ),
        (Priority.CRITICAL, None, {}, "Highest"),
        (Priority.LOW, None, {}, "Low"),
        (Priority.LOW, None, {"P4": Priority.LOW}, "P4"),
    ],
)
def test_priority_is_chosen(
    wanted: Priority, allowed: list[str] | None, configured: dict[str, Priority], chosen: str | None
) -> None:
    assert creation.choose_priority(wanted, allowed, configured) == chosen


ME = frozenset({"bot"})


def make_entry(number: int, author: str | None, *items: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(number),
        "created": f"2026-11-23T05:00:{number:02d}.000+0100",
        **({"author": {"accountId": author, "displayName": author.title()}} if author else {}),
        "items": list(items),
    }


def move(before: str, after: str, **more: str) -> dict[str, Any]:
    return {"field": "status", "fieldId": "status", "fromString": before, "toString": after, **more}


def labels(before: str, after: str) -> dict[str, Any]:
    return {"field": "labels", "fromString": before, "toString": after}


def make_ticket(*entries: dict[str, Any], **fields: Any) -> facts.TicketFacts:
    issue = {"id": "1", "key": "OPS-1", "fields": {"status": {"name": "To Do"}, **fields}}
    return parse.parse_ticket(issue, entries, (), me=ME, base_url="https://a.b")


def test_moves_are_ordered_and_know_their_author() -> None:
    ticket = make_ticket(
        make_entry(12, "bot", move("B", "C")),
        make_entry(9, None, {"field": "summary"}, move("A", "B")),
        make_entry(13, "ann", move("x", "y", fieldId="customfield_1")),
    )
    assert [(m.id, m.from_status, m.to_status) for m in ticket.moves] == [
        ("9", "A", "B"),
        ("12", "B", "C"),
    ]
    assert ticket.moves[0].by == facts.Actor(id="", name="unknown")
    assert ticket.moves[1].by == facts.Actor(id="bot", name="Bot", is_operator=True)
    assert ticket.moves[0].at == dt.datetime(2026, 11, 23, 4, 0, 9, tzinfo=dt.UTC)


def test_moves_of_one_moment_are_ordered_by_their_ids() -> None:
    entries = [
        {**make_entry(n, "ann", move("A", str(n))), "created": "2026-11-23T05:00:00.000Z"}
        for n in (10, 9)
    ]
    assert [m.id for m in make_ticket(*entries).moves] == ["9", "10"]


@pytest.mark.parametrize(
    ("entries", "present", "history"),
    [
        ([], ["selfheal-b", "selfheal-a", "x"], ("selfheal-a", "selfheal-b")),
        ([labels("", "selfheal-b"), labels("selfheal-b", "selfheal-a selfheal-b")],
         ["selfheal-a", "selfheal-b"], ("selfheal-b", "selfheal-a")),
        ([labels("selfheal-a", "selfheal-a selfheal-b"), labels("selfheal-a selfheal-b", "selfheal-b"),
          labels("selfheal-b", "selfheal-a selfheal-b")],
         ["selfheal-a", "selfheal-b"], ("selfheal-b", "selfheal-a")),
        ([labels("", "selfheal-b")], [], ()),
        ([labels("x", "selfheal-phase-A selfheal-b selfheal-released")],
         ["selfheal-phase-A", "selfheal-b", "selfheal-released"], ("selfheal-b",)),
    ],
)  # fmt: skip
def test_label_history_is_what_still_stands_in_order(
    entries: list[dict[str, Any]], present: list[str], history: tuple[str, ...]
) -> None:
    dated = [make_entry(number, "ann", item) for number, item in enumerate(entries, 1)]
    assert make_ticket(*dated, labels=present).label_history == history


def test_mirror_is_read_as_it_was_written() -> None:
    mirror = facts.TicketMirror(uid="u", phase=Phase.PR_CREATED, run=3, cluster="")
    assert parse.parse_mirror(parse.render_mirror(mirror)) == mirror


@pytest.mark.parametrize(
    "value", [None, {}, "text", {"uid": "u", "phase": "NONE", "run": 1, "cluster": ""}]
)
def test_property_that_is_not_ours_is_no_mirror(value: Any) -> None:
    assert parse.parse_mirror(value) is None


def test_fields_that_jira_leaves_out_are_empty() -> None:
    ticket = make_ticket(priority=None, description=None, assignee=None)
    assert (ticket.project, ticket.priority, ticket.description) == ("OPS", "", "")
    assert (ticket.assignee, ticket.updated, ticket.mirror) == (None, None, None)
    with pytest.raises(KeyError):
        make_ticket(status={})


def test_time_without_a_zone_is_utc() -> None:
    assert parse.parse_time("2026-11-23") == dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
