"""The contract of IssueTracker: the fake, and the adapter against two counterparts over the wire.

The sandbox Jira stands for Cloud (gateway with a token, site with e-mail and token) and Data Center;
jira820, an independent counterpart, runs the Data Center subset and prints what it cannot show.
"""

from __future__ import annotations

import datetime as dt
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from tests.contract import issue_tracker_worlds as worlds

from selfheal import ports
from selfheal.api.incident import Phase, Priority
from selfheal.domain import errors, facts

pytestmark = pytest.mark.sandbox

Test = TypeVar("Test", bound=Callable[..., object])

FLAVOURS = ["fake", "gateway", "site", "data-center", "jira820"]


@pytest.fixture(scope="session")
def jira820(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    server = worlds.start_jira820(tmp_path_factory.mktemp("jira820"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    server = worlds.start_sandbox(tmp_path_factory.mktemp("sandbox"))
    yield server
    server.close()


def make_world(flavour: str, request: pytest.FixtureRequest) -> worlds.World:
    if flavour == "fake":
        return worlds.FakeWorld()
    if flavour == "jira820":
        return worlds.Jira820World(request.getfixturevalue("jira820"))
    return worlds.make_sandbox_world(request.getfixturevalue("sandbox"), flavour)


@pytest.fixture(params=FLAVOURS)
def world(request: pytest.FixtureRequest) -> Iterator[worlds.World]:
    made = make_world(request.param, request)
    needed: frozenset[str] = getattr(request.function, "needed", frozenset())
    if lacking := sorted(needed - made.can):
        pytest.skip(f"{request.param} cannot show: {', '.join(lacking)}")
    yield made
    if "lag" in made.can:
        made.lag(0)


def make_draft(uid: str = "", **changes: object) -> ports.TicketDraft:
    uid = uid or str(uuid.uuid4())
    values: dict[str, object] = {
        "summary": "checkout is restarting",
        "description": "# Incident\n\n**checkout** is `OOMKilled`.\n\n- one\n- two\n\n```yaml\na: 1\n```",
        "priority": Priority.HIGH,
        "labels": (f"selfheal-{uid}", "selfheal-phase-INCIDENT_DETECTED"),
        "mirror": make_mirror(uid),
    }
    return ports.TicketDraft(**{**values, **changes})  # type: ignore[arg-type]


def make_mirror(
    uid: str, phase: Phase = Phase.INCIDENT_DETECTED, run: int = 1
) -> facts.TicketMirror:
    return facts.TicketMirror(uid=uid, phase=phase, run=run, cluster="prod-eu")


def needs(*names: str) -> Callable[[Test], Test]:
    """Say what a world must be able to show for a test; see ``worlds.ALL``."""
    assert set(names) <= worlds.ALL

    def mark(test: Test) -> Test:
        test.needed = frozenset(names)  # type: ignore[attr-defined]
        return test

    return mark


async def test_created_ticket_is_read_as_it_was_asked_for(world: worlds.World) -> None:
    draft = make_draft()
    made = await world.tracker.create_ticket(draft)
    read = await world.tracker.get_ticket(made.key)
    assert read == made
    assert (read.summary, read.status) == (draft.summary, "To Do")
    assert read.labels == frozenset(draft.labels)
    assert read.priority == "High"
    assert read.url.endswith(f"/browse/{read.key}")
    assert read.project == read.key.rpartition("-")[0]
    assert "OOMKilled" in read.description
    assert read.updated is not None
    assert (read.moves, read.comments, read.assignee) == ((), (), None)


@needs("properties")
async def test_creation_carries_claim_and_mirror(world: worlds.World) -> None:
    draft = make_draft()
    made = await world.tracker.create_ticket(draft)
    assert made.mirror == draft.mirror
    assert made.label_history == (draft.labels[0],)


async def test_awkward_texts_reach_the_ticket(world: worlds.World) -> None:
    awkward = 'a "quoted" summary\nwith a {brace} [bracket] ' + "x" * 300
    body = "```\n{code} `` {noformat}\n```\n" + "line with **bold** and {{wiki}}\n" * 3000
    made = await world.tracker.create_ticket(make_draft(summary=awkward, description=body))
    assert len(made.summary) <= 255
    assert "\n" not in made.summary
    assert "line with" in made.description
    assert len(made.description) < 32_767
    first = await world.tracker.ensure_comment(made.key, marker="k/long", body=body)
    assert await world.tracker.ensure_comment(made.key, marker="k/long", body=body) == first


async def test_unknown_ticket_is_not_found(world: worlds.World) -> None:
    with pytest.raises(errors.NotFound):
        await world.tracker.get_ticket("OPS-99999")


@needs("ids")
async def test_ticket_is_read_by_id(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    assert await world.tracker.get_ticket(made.id) == made


async def test_many_tickets_are_read_and_missing_ones_absent(world: worlds.World) -> None:
    made = [await world.tracker.create_ticket(make_draft()) for _ in range(3)]
    keys = [ticket.key for ticket in made]
    found = await world.tracker.get_tickets([*keys, "OPS-99999"])
    assert {key: ticket.id for key, ticket in found.items()} == {t.key: t.id for t in made}
    assert await world.tracker.get_tickets([]) == {}


@needs("ids", "people")
async def test_many_tickets_by_id_bring_moves_and_mirror(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.move(made.key, "In Progress", "alice")
    found = await world.tracker.get_tickets([made.id])
    assert [move.to_status for move in found[made.id].moves] == ["In Progress"]
    assert found[made.id].mirror == made.mirror


async def test_ticket_is_found_by_its_label(world: worlds.World) -> None:
    draft = make_draft()
    made = await world.tracker.create_ticket(draft)
    await world.tracker.create_ticket(make_draft())
    assert [t.key for t in await world.tracker.find_tickets_by_label(draft.labels[0])] == [made.key]
    assert await world.tracker.find_tickets_by_label("selfheal-nobody") == []


@needs("lag")
async def test_search_lags_and_get_does_not(world: worlds.World) -> None:
    world.lag(3600)
    draft = make_draft()
    made = await world.tracker.create_ticket(draft)
    assert await world.tracker.find_tickets_by_label(draft.labels[0]) == []
    assert (await world.tracker.get_ticket(made.key)).key == made.key
    world.lag(0)
    assert len(await world.tracker.find_tickets_by_label(draft.labels[0])) == 1


async def test_search_is_bounded(world: worlds.World) -> None:
    made = [await world.tracker.create_ticket(make_draft()) for _ in range(3)]
    project = made[0].project
    assert len(await world.tracker.search_tickets(f'project = "{project}"', limit=2)) == 2


@needs("people")
async def test_search_tells_whether_a_ticket_matches(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    label = sorted(made.labels)[0]
    matching = f"(project = {made.project} AND labels in ({label}, other)) AND key = {made.key}"
    assert await world.tracker.search_tickets(matching, limit=1) == [made.key]
    assert await world.tracker.search_tickets(f"(labels = none) AND key = {made.key}") == []


async def test_what_changed_of_late_is_found_with_its_time(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    read = await world.tracker.get_ticket(made.key)
    found = await world.tracker.find_updates(dt.timedelta(minutes=5))
    assert found[made.id] == read.updated


@needs("bad-jql")
async def test_bad_query_is_a_fault_of_the_policy(world: worlds.World) -> None:
    with pytest.raises(errors.PolicyInvalid):
        await world.tracker.search_tickets("project === nonsense(")


async def test_transition_is_seen_as_our_move(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    await world.tracker.transition_ticket(made, ["In Progress"])
    moved = await world.tracker.get_ticket(made.key)
    assert moved.status == "In Progress"
    assert [(m.from_status, m.to_status, m.by.is_operator) for m in moved.moves] == [
        ("To Do", "In Progress", True)
    ]
    await world.tracker.transition_ticket(moved, ["Done"])
    done = await world.tracker.get_ticket(made.key)
    assert [move.to_status for move in done.moves] == ["In Progress", "Done"]
    assert len({move.id for move in done.moves}) == 2


async def test_transition_to_where_it_is_does_nothing(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    await world.tracker.transition_ticket(made, ["to do"])
    assert (await world.tracker.get_ticket(made.key)).moves == ()


async def test_transition_takes_the_first_status_that_is_offered(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    await world.tracker.transition_ticket(made, ["Nowhere", "Under Review", "In Progress"])
    assert (await world.tracker.get_ticket(made.key)).status == "Under Review"


async def test_unknown_status_is_refused_with_what_is_offered(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    with pytest.raises(errors.TransitionNotOffered, match=r"In Progress.*not Nowhere"):
        await world.tracker.transition_ticket(made, ["Nowhere"])


@needs("workflow")
async def test_transition_that_the_workflow_lacks_is_refused(world: worlds.World) -> None:
    tracker = world.narrow()
    made = await tracker.create_ticket(make_draft())
    with pytest.raises(errors.TransitionNotOffered, match=r"offers In Progress, but not Done"):
        await tracker.transition_ticket(made, ["Done"])
    assert (await tracker.get_ticket(made.key)).moves == ()


@needs("workflow", "people")
async def test_move_from_a_status_that_was_left_is_a_conflict(world: worlds.World) -> None:
    tracker = world.narrow()
    made = await tracker.create_ticket(make_draft())
    world.move(made.key, "In Progress", "alice")
    with pytest.raises(errors.Conflict):
        await tracker.transition_ticket(made, ["In Progress"])


@needs("people")
async def test_people_and_operator_are_told_apart_in_order(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.move(made.key, "Needs Human Intervention", "alice")
    await world.tracker.transition_ticket(await world.tracker.get_ticket(made.key), ["In Progress"])
    world.move(made.key, "Done", "bob")
    moves = (await world.tracker.get_ticket(made.key)).moves
    assert [move.to_status for move in moves] == ["Needs Human Intervention", "In Progress", "Done"]
    assert [move.by.is_operator for move in moves] == [False, True, False]
    assert moves[0].by.name.lower().startswith("alice")
    assert moves[0].by.id != moves[2].by.id
    assert moves[0].at <= moves[1].at <= moves[2].at


@needs("people")
async def test_whole_changelog_is_read_however_long(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    for number in range(115):
        world.move(made.key, "To Do" if number % 2 else "In Progress", "alice")
    read = await world.tracker.get_ticket(made.key)
    assert len(read.moves) == 115
    assert read.moves[0].from_status == "To Do"
    assert read.moves[-1].to_status == "In Progress"
    many = await world.tracker.get_tickets([made.key])
    assert many[made.key].moves == read.moves


@needs("properties", "labels")
async def test_mirror_replaces_our_labels_only(world: worlds.World) -> None:
    draft = make_draft()
    made = await world.tracker.create_ticket(draft)
    world.label(made.key, "team-payments")
    made = await world.tracker.get_ticket(made.key)
    mirror = make_mirror("u", Phase.ANALYSIS_IN_PROGRESS, run=2)
    labels = frozenset({draft.labels[0], "selfheal-phase-ANALYSIS_IN_PROGRESS"})
    for _ in range(2):
        await world.tracker.save_mirror(made, mirror, labels)
        read = await world.tracker.get_ticket(made.key)
        assert read.labels == labels | {"team-payments"}
        assert read.mirror == mirror
        assert read.label_history == (draft.labels[0],)
        made = read


@needs("properties", "labels")
async def test_first_of_two_claims_is_known(world: worlds.World) -> None:
    key = world.add_ticket("disk is full")
    before = await world.tracker.get_ticket(key)
    assert before.mirror is None
    await world.tracker.save_mirror(before, make_mirror("b"), frozenset({"selfheal-b"}))
    await world.tracker.save_mirror(before, make_mirror("a"), frozenset({"selfheal-a"}))
    both = await world.tracker.get_ticket(key)
    assert both.label_history == ("selfheal-b", "selfheal-a")
    await world.tracker.save_mirror(both, make_mirror("a"), frozenset({"selfheal-a"}))
    assert (await world.tracker.get_ticket(key)).label_history == ("selfheal-a",)


async def test_comment_is_posted_once_and_edited_in_place(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    body = "**Cause** found: `OOMKilled`\nsee [log](https://example.com/log)\n\n- one\n- two"
    first = await world.tracker.ensure_comment(made.key, marker="u/1/A/1/comment", body=body)
    assert (
        await world.tracker.ensure_comment(made.key, marker="u/1/A/1/comment", body=body) == first
    )
    other = await world.tracker.ensure_comment(made.key, marker="u/1/A/11/comment", body=body)
    assert other != first
    changed = await world.tracker.ensure_comment(
        made.key, marker="u/1/A/1/comment", body="another cause"
    )
    assert changed == first
    found = (await world.tracker.get_ticket(made.key)).comments
    assert [comment.id for comment in found] == [first, other]
    assert "another cause" in found[0].body
    assert "Cause" in found[1].body
    assert all(comment.by.is_operator for comment in found)


@needs("people")
async def test_equal_comment_is_not_written_again(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    body = "# Title\n\n1. one\n2. **two**\n\n```diff\n-a\n+b\n```"
    await world.tracker.ensure_comment(made.key, marker="k", body=body)
    before = (await world.tracker.get_ticket(made.key)).updated
    await world.tracker.ensure_comment(made.key, marker="k", body=body)
    assert (await world.tracker.get_ticket(made.key)).updated == before


@needs("people")
async def test_person_who_quotes_our_marker_is_not_us(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.comment(made.key, "quoted\nselfheal: u/1/A/1/comment", "alice")
    ours = await world.tracker.ensure_comment(made.key, marker="u/1/A/1/comment", body="ours")
    found = (await world.tracker.get_ticket(made.key)).comments
    assert [comment.by.is_operator for comment in found] == [False, True]
    assert found[1].id == ours
    assert found[0].body == "quoted\nselfheal: u/1/A/1/comment"
    assert found[0].by.name.lower().startswith("alice")


@needs("people")
async def test_newest_comments_are_read_and_ours_is_found_behind_them(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    ours = await world.tracker.ensure_comment(made.key, marker="k", body="ours")
    for number in range(104):
        world.comment(made.key, f"number {number}", "alice")
    found = (await world.tracker.get_ticket(made.key)).comments
    assert len(found) == 100
    assert found[-1].body == "number 103"
    assert found[0].body == "number 4"
    assert await world.tracker.ensure_comment(made.key, marker="k", body="ours") == ours


async def test_links_are_made_once(world: worlds.World) -> None:
    one = await world.tracker.create_ticket(make_draft())
    other = await world.tracker.create_ticket(make_draft())
    for title in ("Pull request 1", "Pull request 1 (merged)"):
        await world.tracker.ensure_remote_link(
            one.key, global_id="u/pr/1", url="https://example.com/pr/1", title=title
        )
        await world.tracker.ensure_ticket_link(one.key, other.key)
    assert world.count_links(one.key) == (1, 1)


@needs("people")
async def test_groups_of_who_comments_are_known(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.comment(made.key, "@selfheal stop", "alice")
    said = (await world.tracker.get_ticket(made.key)).comments[-1]
    assert "sre" in await world.tracker.get_groups(said.by.id)


async def test_who_is_unknown_is_in_no_group(world: worlds.World) -> None:
    assert await world.tracker.get_groups("nobody-here") == frozenset()


async def test_ticket_is_assigned(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    await world.tracker.assign_ticket(made.key, world.person)
    assert (await world.tracker.get_ticket(made.key)).assignee == world.person


@needs("delete")
async def test_deleted_ticket_is_not_found_and_writes_conflict(world: worlds.World) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.delete(made.key)
    with pytest.raises(errors.NotFound):
        await world.tracker.get_ticket(made.key)
    with pytest.raises(errors.Conflict):
        await world.tracker.transition_ticket(made, ["In Progress"])
    with pytest.raises(errors.Conflict):
        await world.tracker.ensure_comment(made.key, marker="k", body="text")
    with pytest.raises(errors.Conflict):
        await world.tracker.save_mirror(made, make_mirror("u"), frozenset({"selfheal-u"}))
    assert await world.tracker.get_tickets([made.key]) == {}


async def test_check_is_content_with_a_workflow_that_fits(world: worlds.World) -> None:
    statuses = {"INCIDENT_DETECTED": ["Open", "To Do"], "INCIDENT_RESOLVED": ["done"]}
    assert await world.tracker.check(statuses) == []


async def test_check_names_the_phase_whose_status_is_missing(world: worlds.World) -> None:
    problems = await world.tracker.check(
        {"PR_CREATED": ["Shipping"], "INCIDENT_RESOLVED": ["Done"]}
    )
    assert len(problems) == 1
    assert problems[0].startswith("tracker.statuses.PR_CREATED: ")
    assert "Shipping" in problems[0]
    assert "PR Created" in problems[0]


def test_what_jira820_cannot_show_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lacking = sorted(worlds.ALL - worlds.Jira820World.can)
    with capsys.disabled():
        print(f"\njira820 cannot show: {', '.join(lacking)}")
    assert {"people", "properties", "labels"} <= set(lacking)


def test_modules_of_the_counterpart_stay_out_of_the_product() -> None:
    folder = pathlib.Path(worlds.ROOT / "operator/selfheal/adapters/jira")
    assert not [path for path in folder.glob("*.py") if "hack." in path.read_text()]
