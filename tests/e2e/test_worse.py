"""A fix that does not mend it is taken back on the real cluster, and a person by one command takes a good one back."""

from __future__ import annotations

import json
import pathlib
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira
from tests.e2e.story import NAME, OOM, Story

pytestmark = pytest.mark.e2e


@pytest.fixture
def greedy(tmp_path: pathlib.Path) -> pathlib.Path:
    """The example, whose cache needs more than one step of the limit gives it."""
    for file in OOM.iterdir():
        if file.suffix in (".yaml", ".yml"):
            text = file.read_text()
            (tmp_path / file.name).write_text(text.replace("90 * 1024 * 1024", "200 * 1024 * 1024"))
    return tmp_path


@pytest.fixture
def mode(installed: None) -> Iterator[None]:
    """Let the default policy revert by itself for a while."""

    def patch(value: str) -> None:
        body = json.dumps({"spec": {"verification": {"onFailure": value}}})
        world.kubectl("patch", "shp", "default", "--type=merge", "-p", body)

    patch("Revert")
    yield
    patch("RevertPullRequest")


def limit(namespace: str) -> str:
    path = "jsonpath={.spec.template.spec.containers[0].resources.limits.memory}"
    return world.kubectl("-n", namespace, "get", "deployment", NAME, "-o", path)


def told(story: Story) -> str:
    """Everything that the ticket's comments say."""
    return json.dumps(jira.comments(story.box["jira"], story.ticket))


def clear(story: Story) -> None:
    place = f"{story.box['path']}/{story.namespace}"
    story.sandbox.repository().replace_folder(place, {}, f"End of {story.namespace}")
    world.kubectl("delete", "namespace", story.namespace, "--wait=false", check=False)


def test_a_fix_that_leaves_it_dying_is_reverted_and_the_ticket_says_so(mode: None, namespace: str, greedy: pathlib.Path) -> None:
    story = Story(namespace)
    story.set_up(greedy)
    before = limit(namespace)
    story.file()
    story.wait_for("PR_CREATED", "PR_UNDER_REVIEW")
    story.approve()
    story.wait_for("INCIDENT_REQUIRES_HUMAN", timeout=240)
    status = story.status
    assert status["handover"]["reason"] == "VerificationFailed"
    assert status["revert"]["state"] == "Merged"
    assert [pull["state"] for pull in story.pulls()] == ["closed", "closed"], "one fix, one revert"
    story.wait("the earlier template", lambda: limit(namespace) == before, timeout=60)
    story.wait("the ticket's last word", lambda: status["revert"]["url"] in told(story), timeout=30)
    said = told(story)
    assert "A person is needed: VerificationFailed" in said
    assert "killed for lack of memory" in said
    assert "It was taken back" in said
    assert jira.statuses(story.box["jira"], story.ticket)[-1][0] == "Needs Human Intervention"
    clear(story)


def test_the_command_of_the_pull_request_takes_a_fix_back(installed: None, namespace: str) -> None:
    story = Story(namespace)
    story.set_up()
    before = limit(namespace)
    story.file()
    story.approve_to_the_end()
    assert limit(namespace) != before
    number = story.status["pullRequest"]["number"]
    body = github.pull(story.box["github"], story.box["githubToken"], story.box["repository"], number)["body"]
    (command,) = [part for part in body.split("`") if part.startswith("kubectl ")]
    words = shlex.split(command)
    assert words[0] == "kubectl"
    done = subprocess.run(
        [world.kubectl_binary(), *words[1:]], capture_output=True, text=True, env=world.environment(), check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Taken back: ")
    story.wait("the earlier template", lambda: limit(namespace) == before, timeout=60)
    assert story.status["revert"]["state"] == "Merged"
    clear(story)
