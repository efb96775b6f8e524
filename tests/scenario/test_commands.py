"""Commands by comment: hint, retry, stop, from whom they are taken, and each exactly once."""

from __future__ import annotations

import pytest
from tests.scenario.ports_wrapper import Process
from tests.scenario.world import World, approve_when_asked, policy_spec

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import errors
from selfheal.engine import perform_analysis

HUMAN = "Needs Human Intervention"
SRE = {"person-ann": frozenset({"sre"}), "person-bob": frozenset({"sre", "users"})}


def fresh(*, start: bool = True, **fields: object) -> World:
    world = World(**fields)  # type: ignore[arg-type]
    world.tracker.groups = dict(SRE)
    world.people.append(approve_when_asked)
    if start:
        world.file_incident(policy_spec(tracker={"commands": {"groups": ["sre"]}}))
    return world


def say(world: World, text: str, name: str = "ann") -> None:
    world.tracker.comment_by_person(world.ticket.key, text, name)


def answers(world: World) -> list[str]:
    return [c.body for c in world.ticket.comments if "/command/" in c.body.rpartition("\n")[2]]


async def test_stop_hands_over_to_people_and_retry_goes_on() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal stop")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    await world.run_for(120)
    assert (world.ticket.status, world.phase) == (HUMAN, Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.history[-1].by == "ann"
    assert "by comment" in world.status.history[-1].why
    assert world.tracker.writes["transition_ticket"] == len(world.ticket.moves)
    say(world, "@SelfHeal retry: the limit is too low", "bob")
    await world.run_to_end()
    assert world.status.run == 2
    assert world.status.resolution is Resolution.FIXED
    assert [e.by for e in world.status.history if e.by != "operator"] == ["ann", "bob"]
    assert [text.split("\n")[0] for text in answers(world)] == [
        "Stopped by ann: nothing is done any more. Move the ticket back, or comment @selfheal "
        "retry, to hand it to the operator again.",
        "A new attempt begins, asked for by bob.",
    ]


async def test_retry_reopens_what_is_done() -> None:
    world = fresh()
    await world.run_to_end()
    say(world, "@selfheal retry")
    await world.run_until(Phase.ANALYSIS_IN_PROGRESS)
    assert world.status.run == 2
    assert world.status.resolution is None
    await world.run_until(lambda w: w.ticket.status == "In Progress")
    assert len(world.tracker.tickets) == 1


async def test_stop_after_the_end_or_twice_changes_nothing() -> None:
    world = fresh()
    await world.run_to_end()
    say(world, "@selfheal stop")
    await world.run_until(lambda w: len(answers(w)) == 1)
    assert "nothing to stop" in answers(world)[0]
    assert (world.phase, world.ticket.status) == (Phase.INCIDENT_RESOLVED, "Done")


async def test_who_is_in_no_group_is_told_once_and_not_obeyed() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    for _ in range(3):
        say(world, "@selfheal stop", "mallory")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert world.status.run == 1
    assert len(answers(world)) == 1
    assert answers(world)[0].startswith("mallory may not give commands here: that takes a member of sre")


async def test_unknown_command_is_answered_once_with_what_is_understood() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    for text in ("@selfheal please approve", "@selfheal", "@selfheal hint"):
        say(world, text)
    await world.run_to_end()
    assert world.status.run == 1
    assert len(answers(world)) == 1
    for verb in ("hint", "retry", "stop"):
        assert f"@selfheal {verb}" in answers(world)[0]
    assert "approve" not in answers(world)[0]


async def test_what_does_not_begin_with_the_mention_is_no_command() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    for text in ("please @selfheal stop", "@selfhealing stop", "stop", "> @selfheal stop"):
        say(world, text)
    await world.run_to_end()
    assert answers(world) == []


async def test_without_groups_commands_are_off() -> None:
    world = fresh(start=False)
    world.file_incident(policy_spec())
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal stop")
    await world.run_to_end()
    assert answers(world) == []


async def test_what_was_said_before_the_ticket_was_ours_is_no_command() -> None:
    world = fresh(start=False)
    key = world.tracker.add_ticket("checkout is restarting")
    world.tracker.comment_by_person(key, "@selfheal stop", "ann")
    world.file_incident(policy_spec(tracker={"commands": {"groups": ["sre"]}}), ticketKey=key)
    await world.run_to_end()
    assert answers(world) == []


async def test_a_newer_move_counts_more_than_an_older_command() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal stop")
    world.clock.seconds += 1
    world.tracker.move_by_person(world.ticket.key, "In Progress", "bob")
    await world.run_to_end()
    assert world.status.run == 2
    assert Phase.INCIDENT_REQUIRES_HUMAN not in world.phases()
    assert "the move counts" in answers(world)[0]


async def test_two_people_at_once_and_the_operator_down() -> None:
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal retry", "ann")
    say(world, "@selfheal stop", "bob")
    world.restart()
    await world.run_until(lambda w: len(answers(w)) == 2)
    await world.run_for(120)
    assert (world.phase, world.ticket.status) == (Phase.INCIDENT_REQUIRES_HUMAN, HUMAN)
    assert [e.by for e in world.status.history if e.by != "operator"] == ["ann", "bob"]


async def test_groups_that_cannot_be_seen_are_said_and_hold_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(user_id: str) -> frozenset[str]:
        raise errors.Stalled("Jira: 403", reason="Forbidden", system="jira")

    world = fresh()
    monkeypatch.setattr(world.tracker, "get_groups", refuse)
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal stop")
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert len(answers(world)) == 1
    assert "Browse users and groups" in answers(world)[0]


async def test_a_tracker_that_is_down_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    down = True

    async def fail(user_id: str) -> frozenset[str]:
        if down:
            raise errors.Unreachable("Jira does not answer", system="jira")
        return SRE[user_id]

    world = fresh()
    monkeypatch.setattr(world.tracker, "get_groups", fail)
    await world.run_until(Phase.FIX_GENERATED)
    say(world, "@selfheal stop")
    await world.run_for(120)
    assert world.phase is Phase.FIX_GENERATED
    down = False
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert len(answers(world)) == 1


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        (["@selfheal hint look at the limit"], "look at the limit"),
        (["@selfheal hint look at the limit", "@selfheal retry"], "look at the limit"),
        (["@selfheal hint one", "@selfheal hint two"], "two"),
        (["@selfheal hint one", "it was the cache"], "it was the cache"),
        (["it was the cache", "@selfheal what"], "it was the cache"),
        (["@selfheal"], None),
    ],
)
async def test_which_hint_the_next_attempt_reads(
    texts: list[str], hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []
    real = perform_analysis._hint

    def watch(context: object) -> str | None:
        read.append(real(context))  # type: ignore[arg-type]
        return read[-1]

    monkeypatch.setattr(perform_analysis, "_hint", watch)
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    for text in texts:
        say(world, text)
    await world.run_until(lambda w: w.status.ticket.seen_comment == _newest_command(w))  # type: ignore[union-attr]
    read.clear()
    if world.status.run == 1:
        world.tracker.move_by_person(world.ticket.key, "In Progress", "bob")
    await world.run_to_end()
    assert read[-1] == hint


def _newest_command(world: World) -> str:
    said = [c.id for c in world.ticket.comments if c.body.startswith("@selfheal")]
    return said[-1]


@pytest.mark.parametrize("command", [False, True], ids=["moved", "command"])
async def test_a_workload_that_is_named_by_comment_is_found(command: bool) -> None:
    world = fresh(start=False)
    policy = policy_spec(tracker={"commands": {"groups": ["sre"]}})
    world.file_incident(policy, summary="it is slow", targetRef=None)
    await world.run_until(lambda w: "name the workload" in w.status.message)
    if command:
        say(world, "@selfheal retry it is the checkout")
    else:
        say(world, "it is the checkout")
        world.tracker.move_by_person(world.ticket.key, HUMAN, "ann")
        await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
        world.tracker.move_by_person(world.ticket.key, "In Progress", "ann")
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    assert world.status.target is not None
    assert world.status.target.name == "checkout"


async def stopped_and_tried_again(process: Process) -> World:
    """An incident that is stopped and tried again by comment, in a process that may die."""
    world = fresh()
    await world.run_until(Phase.FIX_GENERATED)
    world.restart(process)
    say(world, "@selfheal stop")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    say(world, "@selfheal retry", "bob")
    await world.run_until(lambda w: w.status.run == 2 and w.phase is Phase.ANALYSIS_COMPLETE)
    return world


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_call_a_command_counts_once(after: bool) -> None:
    calls = len((await stopped_and_tried_again(Process())).calls)
    assert calls > 20
    for number in range(1, calls + 1):
        world = await stopped_and_tried_again(Process(crash_at=number, after=after))
        assert world.starts == 3, "it died once"
        assert len(answers(world)) == 2
        assert world.status.run == 2
        assert [e.by for e in world.status.history if e.by != "operator"] == ["ann", "bob"]
        assert [m.to_status for m in world.ticket.moves if m.to_status in (HUMAN, "In Progress")] == [
            "In Progress", HUMAN, "In Progress",
        ]  # fmt: skip
