"""What is configured or asked wrongly: a condition and an event that say what mends it, no crash, no
storm, and it goes on by itself once mended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hack import world
from hack.sandbox.jira import client as jira
from tests.e2e import recorders
from tests.e2e.story import OOM, Story

from selfheal.cli import trial, trial_manifests

pytestmark = pytest.mark.e2e

WATCHED = 15.0
"""Seconds in which the requests of a stalled incident are counted."""
MOST = 40
"""Requests to one outside system in that time; the test policy polls every 2 s."""
MENDED = 75.0
"""Seconds until it goes on: the longest backoff, and a step."""


@pytest.fixture
def story(installed: None, namespace: str) -> Iterator[Story]:
    before = restarts()
    made = Story(namespace)
    world.kubectl("create", "namespace", namespace)
    yield made
    assert restarts() == before, "the operator crashed"
    world.kubectl("-n", namespace, "delete", "shi", "--all", check=False)
    world.kubectl("delete", "shp", f"own-{namespace}", check=False)
    trial.clear(made.sandbox, namespace)


def restarts() -> int:
    pods = json.loads(world.kubectl("-n", world.SYSTEM, "get", "pods", "-o", "json"))["items"]
    return sum(c["restartCount"] for pod in pods for c in pod.get("status", {}).get("containerStatuses", ()))


def own_policy(story: Story, **tracker: Any) -> dict[str, Any]:
    policy = world.policy(f"own-{story.namespace}", namespaces=[story.namespace])
    policy["spec"]["tracker"] |= tracker
    return policy


def assert_stalls(story: Story, reason: str, *says: str) -> None:
    """It says what is wrong in condition and event, and asks the outside seldom."""
    story.wait("Stalled", lambda: story.condition("Stalled").get("reason") == reason, timeout=60)
    stalled = story.condition("Stalled")
    for text in says:
        assert text in stalled["message"]
    events = json.loads(
        world.kubectl("-n", story.namespace, "get", "events", "--field-selector", f"reason={reason}", "-o", "json")
    )["items"]
    assert [event["type"] for event in events] == ["Warning"]
    assert says[0] in events[0]["message"]
    before = count(story)
    story.wait("the window of counting", _after(WATCHED), timeout=WATCHED + 10)
    assert count(story) - before <= MOST


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def count(story: Story) -> int:
    return max(len(recorders.journal(story.box[name])) for name in ("jira", "github"))


def assert_goes_on(story: Story, phase: str = "ANALYSIS_IN_PROGRESS") -> None:
    story.wait("the stall to end", lambda: not story.condition("Stalled"), timeout=MENDED)
    story.wait(phase, lambda: phase in story.phases, timeout=MENDED)


def test_a_malformed_incident_is_refused_with_the_field_named(installed: None) -> None:
    bad = {
        "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
        "metadata": {"name": "bad", "namespace": "default"}, "spec": {"summary": "x", "priority": "Urgent"},
    }  # fmt: skip
    with pytest.raises(world.WorldError, match=r"spec\.priority"):
        world.kubectl("apply", "-f", "-", stdin=json.dumps(bad))


def test_an_unknown_policy(story: Story) -> None:
    story.file(policyRef=f"own-{story.namespace}", targetRef=None)
    assert_stalls(story, "PolicyInvalid", f"own-{story.namespace}", "Create it")
    world.apply(own_policy(story))
    assert_goes_on(story, "INCIDENT_DETECTED")


def test_a_missing_secret(story: Story) -> None:
    name = f"late-{story.namespace}"
    world.apply(own_policy(story, credentialsRef={"name": name}))
    story.file(policyRef=f"own-{story.namespace}", targetRef=None)
    assert_stalls(story, "CredentialsMissing", name, "selfheal.dev/credential")
    ready = json.loads(world.kubectl("get", "shp", f"own-{story.namespace}", "-o", "json"))["status"]["conditions"][0]
    assert (ready["type"], ready["status"]) == ("Ready", "False")
    assert "spec.tracker.credentialsRef" in ready["message"]
    values = {"token": story.box["jiraToken"], "cloudId": story.box["jiraCloudId"]}
    world.apply(world.secret(name, world.host_of(story.box["jira"]), values))
    try:
        story.wait("a ticket", lambda: story.status.get("ticket"), timeout=MENDED)
    finally:
        world.kubectl("-n", world.SYSTEM, "delete", "secret", name)


def test_refused_credentials(story: Story) -> None:
    name = f"wrong-{story.namespace}"
    values = {"token": "nobody-knows-this", "cloudId": story.box["jiraCloudId"]}
    world.apply(
        world.secret(name, world.host_of(story.box["jira"]), values),
        own_policy(story, credentialsRef={"name": name}),
    )
    try:
        story.file(policyRef=f"own-{story.namespace}", targetRef=None)
        assert_stalls(story, "CredentialsRefused", "401", "renew")
        right = {**values, "token": story.box["jiraToken"]}
        world.apply(world.secret(name, world.host_of(story.box["jira"]), right))
        story.wait("a ticket", lambda: story.status.get("ticket"), timeout=MENDED + 60)
    finally:
        world.kubectl("-n", world.SYSTEM, "delete", "secret", name)


def test_a_workflow_that_lacks_a_status(story: Story) -> None:
    statuses = {"INCIDENT_DETECTED": ["To Do"], "ANALYSIS_IN_PROGRESS": ["Looked Into"], "INCIDENT_RESOLVED": ["Done"]}
    world.apply(own_policy(story, project="PLAIN", issueType="Task", statuses=statuses))
    story.set_up(OOM)
    story.file(policyRef=f"own-{story.namespace}")
    assert_stalls(story, "TransitionNotOffered", "Looked Into", "In Progress")
    change = {"project": "PLAIN", "add_status": "Looked Into"}
    jira.configure(story.box["jira"], workflow=change)
    try:
        assert_goes_on(story, "PR_CREATED")
    finally:
        world.kubectl("-n", story.namespace, "delete", "shi", "--all", check=False)
        jira.configure(story.box["jira"], workflow={"project": "PLAIN", "remove_status": "Looked Into"})


def test_a_target_that_does_not_exist(story: Story) -> None:
    world.apply(own_policy(story))
    story.file(policyRef=f"own-{story.namespace}")
    assert_stalls(story, "TargetNotFound", "checkout")
    for text in trial_manifests.place_in_namespace(trial_manifests.read_files(OOM), story.namespace).values():
        world.kubectl("apply", "-n", story.namespace, "-f", "-", stdin=text.decode())
    assert_goes_on(story, "ANALYSIS_COMPLETE")


def test_a_ticket_that_may_not_be_adopted(story: Story) -> None:
    taken = "selfheal-11111111-2222-3333-4444-555555555555"
    key = jira.create_ticket(
        story.box["jira"], "alice", story.box["jiraProject"], "checkout is down",
        issue_type="[System] Incident", labels=[taken],
    )  # fmt: skip
    story.set_up(OOM)
    world.apply(own_policy(story))
    story.file(policyRef=f"own-{story.namespace}", ticketKey=key)
    assert_stalls(story, "TicketNotAdopted", key)
    jira.label(story.box["jira"], "alice", key, remove=taken)
    assert_goes_on(story)
    assert story.ticket == key


def test_a_repository_without_the_manifest(story: Story) -> None:
    world.apply(own_policy(story))
    story.set_up(OOM, commit=False)
    story.file(policyRef=f"own-{story.namespace}")
    assert_stalls(story, "SourceNotFound", "checkout", story.namespace)
    placed = trial_manifests.place_in_namespace(trial_manifests.read_files(OOM), story.namespace)
    story.sandbox.repository().replace_folder(f"{story.sandbox.values['path']}/{story.namespace}", placed, "Late")
    assert_goes_on(story, "PR_CREATED")
