"""People move the ticket while the operator works: it obeys within a poll, resumes, and names them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira
from tests.e2e import recorders
from tests.e2e.story import Story
from tests.e2e.test_main_job import CHAIN

from selfheal.cli import trial

pytestmark = pytest.mark.e2e

HUMAN, BACK = "Needs Human Intervention", "In Progress"
POLL = 2.0
"""Seconds between two looks at a ticket, in the policy of these tests."""
SLACK = 8.0
"""Seconds for the step itself on a machine that is busy with other tests."""


@pytest.fixture
def story(installed: None, namespace: str) -> Iterator[Story]:
    made = Story(namespace)
    made.set_up()
    yield made
    github.clear_faults(made.box["github"])
    trial.clear(made.sandbox, namespace)


def take_over(story: Story, status: str = HUMAN) -> None:
    """Alice takes the ticket; the operator stops within one poll and stays stopped."""
    story.move("alice", status)
    story.wait_for("INCIDENT_REQUIRES_HUMAN", timeout=POLL + SLACK)
    writes = _writes(story)
    time.sleep(2 * POLL)  # nothing to wait for: the point is that nothing comes
    assert story.phase == "INCIDENT_REQUIRES_HUMAN"
    assert _writes(story) - writes <= 1  # the label that says so


def _writes(story: Story) -> int:
    return sum(
        1
        for seen in recorders.journal(story.box["github"])
        if seen["method"] != "GET" and seen["path"] != "/graphql" and seen["actor"] == "selfheal-bot"
        and story.namespace in seen.get("body", "")
    )  # fmt: skip


def assert_resumed_and_resolved(story: Story) -> None:
    status = story.status
    assert status.get("run", 1) == 2
    taken = next(entry for entry in status["history"] if entry["to"] == "INCIDENT_REQUIRES_HUMAN")
    assert "Alice" in taken["by"]
    handed = status["history"][story.phases.index("INCIDENT_REQUIRES_HUMAN") + 1]
    assert ("Bob" in handed["by"], handed["to"]) == (True, "ANALYSIS_IN_PROGRESS")
    assert story.phases[-14:] == CHAIN[1:], "the second run goes through every phase"
    pulls = story.pulls()
    assert [bool(pull["merged_at"]) for pull in pulls] == [False] * (len(pulls) - 1) + [True]
    assert all(pull["state"] == "closed" for pull in pulls)
    for pull in pulls[:-1]:
        said = github.comments(story.box["github"], story.box["githubToken"], story.box["repository"], pull["number"])
        assert any("a newer run replaces it" in text for text in said), said


def test_taken_over_under_review_and_handed_back(story: Story) -> None:
    story.file()
    story.wait_for("PR_CREATED")
    take_over(story)
    story.move("bob", BACK)
    story.wait("the second run", lambda: story.status.get("run", 1) == 2, timeout=POLL + SLACK)
    story.approve_to_the_end()
    assert_resumed_and_resolved(story)
    assert len(story.pulls()) == 2


def test_taken_over_in_the_middle_of_the_creation_of_a_pull_request(story: Story) -> None:
    path = f"/repos/{story.box['repository']}/pulls"
    github.fault(
        story.box["github"], method="POST", path=f"{path}$", times=1, when="before", kind="delay", seconds=5,
    )  # fmt: skip
    story.file()
    story.wait(
        "the request that opens the pull request",
        lambda: any(
            seen["method"] == "POST" and seen["path"] == path and story.namespace in seen.get("body", "")
            for seen in recorders.journal(story.box["github"])
        ),
    )
    take_over(story)
    assert story.entered("INCIDENT_REQUIRES_HUMAN") is not None
    story.move("bob", BACK)
    story.wait("the second run", lambda: story.status.get("run", 1) == 2, timeout=POLL + SLACK)
    story.approve_to_the_end()
    assert_resumed_and_resolved(story)


def test_the_same_with_a_plain_workflow(installed: None, namespace: str) -> None:
    story = Story(namespace)
    name = f"plain-{namespace}"
    policy = world.policy(name, namespaces=[namespace])
    policy["spec"]["tracker"] |= {
        "project": "PLAIN", "issueType": "Task",
        "statuses": {"INCIDENT_DETECTED": ["To Do"], "ANALYSIS_IN_PROGRESS": ["In Progress"], "INCIDENT_RESOLVED": ["Done"]},
    }  # fmt: skip
    story.set_up()
    world.apply(policy)
    try:
        story.file(policyRef=name)
        story.wait_for("PR_CREATED")
        assert jira.status(story.box["jira"], story.ticket) == "In Progress"
        take_over(story, "To Do")
        story.move("bob", BACK)
        story.wait("the second run", lambda: story.status.get("run", 1) == 2, timeout=POLL + SLACK)
        story.approve_to_the_end()
        assert_resumed_and_resolved(story)
        assert jira.status(story.box["jira"], story.ticket) == "Done"
    finally:
        world.kubectl("-n", namespace, "delete", "shi", "--all", check=False)
        world.kubectl("delete", "shp", name)
