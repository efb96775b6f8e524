"""A pull request that needs another commit: asked for by a reviewer, by checks, or by its base."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from tests.scenario.test_crash_everywhere import Calm, list_points
from tests.scenario.world import (
    FILE,
    SOURCE,
    PlausibleModel,
    World,
    policy_spec,
    repository_spec,
)

from selfheal.api.incident import Phase, Resolution
from selfheal.api.policy import PolicySpec
from selfheal.domain import facts
from selfheal.remediation import asking, propose
from selfheal.remediation.edits import Proposal

REVISE = {"pullRequest": {"onChangesRequested": "Revise"}}


def revising(**changes: object) -> PolicySpec:
    return policy_spec(**repository_spec(**{**REVISE, **changes}))


async def reviewed(text: str, policy: PolicySpec | None = None, **review: object) -> World:
    """A fix whose reviewer asks for changes."""
    world = World()
    world.file_incident(policy or revising())
    await world.run_until(Phase.PR_CREATED)
    world.code.request_changes(1, "rita", text, **review)  # type: ignore[arg-type]
    return world


def limit_of(world: World, ref: str = "main") -> str:
    lines = world.code.files(ref)[FILE].decode().splitlines()
    return next(line for line in lines if "was enough in spring" in line).split()[1]


def approve_revisions(world: World) -> None:
    """A reviewer who approves what answers them, once they are asked again."""
    pulls = world.code.repo().pulls
    if pulls and world.pull.state is facts.PullRequestState.OPEN and "rita" in world.pull.requested_reviewers:
        world.code.approve(world.pull.number, "rita")


def assert_once(world: World, *, revisions: int = 1) -> None:
    created = world.code.created
    assert (created["branch"], created["pull_request"], created["revision"]) == (1, 1, revisions)


async def test_a_value_that_a_reviewer_asks_for() -> None:
    world = await reviewed("Thanks! Please use 256Mi, we grow at Christmas.")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    head = world.pull.head_sha
    assert limit_of(world, world.pull.branch) == "256Mi"
    assert world.code.repo().commits[head].parent is not None
    await world.run_until(lambda w: w.status.pull_request is not None and w.status.pull_request.head_sha == head)
    assert world.status.fix is not None
    assert world.status.fix.summary.endswith("from 64Mi to 256Mi")
    assert world.pull.requested_reviewers == ("rita",)
    assert world.code.repo().titles[1].endswith("from 64Mi to 256Mi")
    told = world.code.comments(1)[-1]
    assert "Revision 1" in told
    assert "Please use 256Mi" in told
    assert "[the review of rita](https://" in told
    await world.run_for(600)
    assert world.phase is Phase.PR_UNDER_REVIEW
    assert "answers rita" in world.status.message
    world.people.append(approve_revisions)
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
    assert limit_of(world) == "256Mi"
    assert world.status.attempts.revision == 1
    assert_once(world)
    assert world.milestones().count("revision-1") == 1
    assert "Revised: Raise the memory limit of app from 64Mi to 256Mi" in "".join(
        comment.body for comment in world.ticket.comments
    )


async def test_a_request_at_a_line_of_the_change() -> None:
    world = await reviewed("", comments=["```suggestion\n                memory: 200Mi\n```"])
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert limit_of(world, world.pull.branch) == "200Mi"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("use 900Gi", "above the cap"),
        ("use 32Mi", "the other way"),
        ("This is not the cause.", "no other safe fix is known"),
        ("use 256Mi. No, use 512Mi", "More than one value"),
        ("use 500m", "sets no cpu value"),
        ("also edit kube-system/secret.yaml and set replicas to 0", "no other safe fix is known"),
        ("delete the readinessProbe", "no other safe fix is known"),
    ],
)
async def test_what_cannot_be_done_goes_to_a_person(text: str, why: str) -> None:
    world = await reviewed(text)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    handover = world.status.handover
    assert handover is not None
    assert handover.reason == "ChangesRequested"
    assert "No revision is possible" in handover.message
    assert why in handover.message
    assert_once(world, revisions=0)
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert limit_of(world) == "128Mi"


async def test_the_allowance_ends() -> None:
    world = await reviewed("use 200Mi", revising(pullRequest={"onChangesRequested": "Revise", "revisions": 1}))
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    world.code.request_changes(1, "rita", "make it 300Mi")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert "All 1 commits" in world.status.handover.message
    assert_once(world)


async def test_two_reviews_are_answered_one_after_the_other() -> None:
    world = await reviewed("use 200Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    world.code.request_changes(1, "rita", "200Mi is too little, use 300Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 2)
    assert limit_of(world, world.pull.branch) == "300Mi"
    world.people.append(approve_revisions)
    await world.run_to_end()
    assert limit_of(world) == "300Mi"
    assert_once(world, revisions=2)


async def test_a_branch_that_a_person_pushed_to_is_theirs() -> None:
    world = World()
    world.file_incident(revising())
    await world.run_until(Phase.PR_CREATED)
    world.code.push_foreign_commit(1)
    world.code.request_changes(1, "rita", "use 256Mi")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert "pushed onto the branch" in world.status.handover.message
    assert_once(world, revisions=0)


async def test_a_person_pushes_while_the_revision_is_made() -> None:
    world = await reviewed("use 256Mi")

    def push(name: str) -> None:
        if name == "code.push_revision" and world.code.created["revision"] == 0:
            world.process.before_call = lambda name: None
            world.code.push_foreign_commit(1)

    world.process.before_call = push
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert_once(world, revisions=0)
    assert "foreign.txt" in world.code.files(world.pull.branch)


async def test_failing_checks_without_another_fix_go_to_a_person() -> None:
    world = World()
    world.file_incident(revising())
    world.code.protect(checks=["ci"])
    await world.run_until(Phase.PR_CREATED)
    world.code.comment(1, "rita", "looking")
    world.code.set_checks(1, facts.ChecksState.FAILURE)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "ChecksFailed"
    assert "no other safe fix" in world.status.handover.message.lower()


# --- another known fix, and the agents ---------------------------------------------------------


@pytest.fixture
def two_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rules know a second safe fix: 192Mi."""
    real = propose.propose

    def both(*args: Any, files: Any, **fields: Any) -> tuple[Proposal, ...]:
        first = real(*args, files=files, **fields)
        asked = asking.Asked(resource="memory", value="192Mi")
        return (*first, asking.with_value(first[0], asked, files=files))

    monkeypatch.setattr(propose, "propose", both)


class ReviewModel(PlausibleModel):
    """A model that says what the review comments are, and takes the last proposal it is shown."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.kinds = kinds

    async def complete(self, messages: Any, **fields: Any) -> Any:
        answer = await super().complete(messages, **fields)
        if fields.get("schema_name") != "CommentClasses":
            return answer
        said = json.loads(answer.text)
        for entry in said["comments"]:
            entry["kind"] = self.kinds[entry["number"] % len(self.kinds)]
        return dataclasses.replace(answer, text=json.dumps(said))


@pytest.mark.usefixtures("two_fixes")
async def test_another_known_fix_answers_where_no_value_is_named() -> None:
    world = await reviewed("I would do this differently.")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert limit_of(world, world.pull.branch) == "192Mi"
    world.code.request_changes(1, "rita", "Still no.")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert "no other safe fix is known" in world.status.handover.message, "both were tried"
    assert_once(world)


@pytest.mark.usefixtures("two_fixes")
async def test_failing_checks_lead_to_the_other_known_fix() -> None:
    world = World()
    world.file_incident(revising())
    world.code.protect(checks=["ci"])
    await world.run_until(Phase.PR_CREATED)
    world.code.comment(1, "rita", "looking")
    world.code.set_checks(1, facts.ChecksState.FAILURE)
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert "the required checks" in world.code.comments(1)[-1]
    world.code.set_checks(1, facts.ChecksState.SUCCESS)
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert limit_of(world) == "192Mi"
    assert_once(world)


@pytest.mark.usefixtures("two_fixes")
@pytest.mark.parametrize(
    ("kinds", "revised"),
    [
        (("ChangeRequest",), True),
        (("ChangeRequest", "Other"), True),
        (("Question",), False),
        (("Objection",), False),
        (("Other",), False),
        (("ChangeRequest", "Objection"), False),
    ],
)
async def test_the_agents_say_what_a_review_is_and_choose(kinds: tuple[str, ...], revised: bool) -> None:
    world = World(model=ReviewModel(*kinds))
    world.file_incident(revising())
    await world.run_until(Phase.PR_CREATED)
    before = dict(world.status.usage.by_agent)
    world.code.request_changes(1, "rita", "Something else, please.")
    world.code.request_changes(1, "sam", "I agree with rita.")
    await world.run_until(lambda w: w.code.created["revision"] == 1 or w.phase is Phase.INCIDENT_REQUIRES_HUMAN)
    after = world.status.usage.by_agent
    assert after["pr_manager"] == before["pr_manager"] + 1
    assert after["code_fix_generator"] == before["code_fix_generator"] + revised
    assert (world.code.created["revision"] == 1) is revised
    if revised:
        assert limit_of(world, world.pull.branch) == "192Mi"
        assert "rita" in world.code.comments(1)[-1]
        assert "sam" in world.code.comments(1)[-1]
    else:
        assert world.status.handover is not None
        assert "no request that a commit could answer" in world.status.handover.message


async def test_a_plain_value_needs_no_agent() -> None:
    world = World(model=ReviewModel("Objection"))
    world.file_incident(revising())
    await world.run_until(Phase.PR_CREATED)
    asked = len(world.model.asked) if world.model else 0
    world.code.request_changes(1, "rita", "use 256Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert world.model is not None
    assert len(world.model.asked) == asked


# --- the base ---------------------------------------------------------------------------------


def other_fix(world: World) -> None:
    """Somebody else's fix of the same file reaches the base."""
    text = world.code.files()[FILE].replace(b"ask the payments team", b"ask team blue")
    world.code.push("main", {FILE: text.replace(b"cpu: 100m", b"cpu: 100m")}, "ben")


async def test_two_fixes_of_one_file() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    other_fix(world)
    assert world.pull.mergeable is False
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert world.pull.mergeable
    assert limit_of(world, world.pull.branch) == "128Mi"
    assert b"team blue" in world.code.files(world.pull.branch)[FILE]
    assert "The base has moved" in world.code.comments(1)[-1]
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert b"team blue" in world.code.files()[FILE]
    assert (limit_of(world), world.status.attempts.reapply) == ("128Mi", 1)
    assert_once(world)


async def test_a_base_that_moves_after_the_approval() -> None:
    world = World()
    world.file_incident(policy_spec(freeze=[{"cron": "0 9 * * *", "duration": "1h"}]))
    await world.run_until(Phase.PR_CREATED)
    world.code.approve(1, "rita")
    await world.run_until(lambda w: "frozen" in w.status.message)
    other_fix(world)
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    await world.run_until(lambda w: "approve" in w.status.message)
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert_once(world)


async def test_a_value_that_was_asked_for_stays_on_the_new_base() -> None:
    world = await reviewed("use 256Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    other_fix(world)
    await world.run_until(lambda w: w.code.created["revision"] == 2)
    assert limit_of(world, world.pull.branch) == "256Mi"
    assert b"team blue" in world.code.files(world.pull.branch)[FILE]


async def test_a_review_and_a_base_that_moved() -> None:
    world = World()
    world.file_incident(revising())
    await world.run_until(Phase.PR_CREATED)
    other_fix(world)
    world.code.request_changes(1, "rita", "use 256Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert limit_of(world, world.pull.branch) == "256Mi"
    assert world.pull.mergeable
    world.people.append(approve_revisions)
    await world.run_to_end()
    assert_once(world)


async def test_a_base_on_which_the_fix_is_another_goes_to_a_person() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.push("main", {FILE: SOURCE.replace("memory: 64Mi", "memory: 96Mi").encode()}, "ben")
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "NotMergeable"
    assert "says a memory limit of 96Mi" in world.status.handover.message
    assert_once(world, revisions=0)


async def test_a_base_that_is_rewritten() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    world.code.rewrite("main", {FILE: SOURCE.replace("payments", "billing").encode()})
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    history = world.code.repo().ancestry(world.pull.branch)
    assert [commit.message.splitlines()[0] for commit in history][1:] == ["Rewritten"]
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert b"billing" in world.code.files()[FILE]


async def test_a_host_that_wants_the_newest_base() -> None:
    world = World()
    world.file_incident()
    world.code.protect(strict=True)
    await world.run_until(Phase.PR_CREATED)
    world.code.push("main", {"README.md": b"# other\n"}, "ben")
    await world.run_for(120)
    assert world.code.created["revision"] == 0, "it waits for the approval first"
    world.code.approve(1, "rita")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    world.code.approve(1, "rita")
    await world.run_to_end()
    assert_once(world)


async def test_a_base_that_never_stands_still_goes_to_a_person() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    for number in range(4):
        text = SOURCE.replace("payments", f"team {number}")
        world.code.push("main", {FILE: text.encode()}, "ben")
        await world.run_until(
            lambda w, n=number: w.code.created["revision"] == n + 1 or w.phase is Phase.INCIDENT_REQUIRES_HUMAN
        )
    assert world.phase is Phase.INCIDENT_REQUIRES_HUMAN
    assert world.status.handover is not None
    assert "All 3 commits" in world.status.handover.message


@pytest.mark.parametrize("wanted", [True, False])
async def test_commits_are_signed_off_where_the_policy_wants_it(wanted: bool) -> None:
    spec = {"onChangesRequested": "Revise", "signOff": wanted}
    world = await reviewed("use 256Mi", revising(pullRequest=spec))
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    commits = [c for c in world.code.repo().ancestry(world.pull.branch) if c.author == "selfheal-bot"]
    assert len(commits) == 2
    line = "Signed-off-by: selfheal-bot <7+selfheal-bot@users.noreply.github.example>\nSelfheal-Effect: "
    assert [line in commit.message for commit in commits] == [wanted, wanted]


# --- killed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["review", "base"])
async def test_killed_at_every_call_of_a_revision(case: str) -> None:
    world = await reviewed("use 256Mi") if case == "review" else World()
    if case == "base":
        world.file_incident(revising())
        await world.run_until(Phase.PR_CREATED)
        other_fix(world)
    world.clock.seconds += 60
    world.people.append(approve_revisions if case == "review" else approve_after_base)
    begun = len(world.calls)
    calm = Calm(world, [])
    while not world.status.message.startswith("Resolved"):
        calm.before_step.append(copy.deepcopy(world))
        await world.step()
    expected = world.final()
    last = next(n for n, name in enumerate(calm.calls) if name == "code.merge_pull_request")
    points = [(n, after) for n, after in list_points(calm.calls) if begun < n <= last]
    assert len(points) > 20
    for number, after in points:
        again = await calm.again(number, after=after)
        why = f"killed {'after' if after else 'before'} call {number}, {calm.calls[number - 1]}"
        assert_once(again)
        assert again.code.created["comment"] == world.code.created["comment"], why
        assert again.final() == expected, why


def approve_after_base(world: World) -> None:
    """A reviewer who approves once the fix stands on the new base."""
    known = world.status.pull_request
    shown = world.code.created["revision"] and known and known.head_sha == world.pull.head_sha
    if shown and not world.pull.reviews and world.phase in (Phase.PR_CREATED, Phase.PR_UNDER_REVIEW):
        world.code.approve(world.pull.number, "rita")
