"""Alerts and tickets become incidents of the installed operator: one a cause, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hack import storm, world
from hack.sandbox.jira import client as jira

pytestmark = pytest.mark.e2e

CAUSES, SIGNALS, KILLS = 40, 2_000, 5


@pytest.fixture
def listening(installed: None, namespace: str) -> Iterator[None]:
    """The operator takes alerts; its policy maps the namespace, whose manifests are nowhere: a person is called."""
    intake = {**world.policy(namespaces=[namespace])["spec"]["tracker"], "intake": {"enabled": True, "pollInterval": "5s"}}
    world.put(world.policy("default", namespaces=["production", namespace], tracker=intake))
    world.apply(*storm.causes(namespace, CAUSES))
    storm.take_alerts()
    yield
    world.kubectl("delete", "namespace", namespace, "--wait=false")
    world.put(world.policy("default", namespaces=["production"]))
    storm.leave_alerts()


def test_a_storm_over_forty_causes_is_forty_incidents_and_forty_tickets(listening: None, namespace: str) -> None:
    figures = storm.run(namespace, count=CAUSES, signals=SIGNALS, kills=KILLS)
    print(figures)
    assert figures["taken"] == SIGNALS
    assert (figures["incidents"], figures["tickets"]) == (CAUSES, CAUSES)
    causes = {one["spec"]["targetRef"]["name"] for one in storm.incidents(namespace)}
    assert causes == {f"app-{number}" for number in range(CAUSES)}

    box = world.sandbox()
    theirs = jira.create_ticket(
        box["jira"], "alice", box["jiraProject"], f"app-3 of {namespace} does not answer", f"namespace: {namespace}"
    )
    said = world.wait_until("a word in a person's ticket", lambda: jira.comments(box["jira"], theirs), timeout=60)
    (followed,) = [one for one in storm.incidents(namespace) if one["spec"]["targetRef"]["name"] == "app-3"]
    assert f"{followed['status']['ticket']['key']} is about this already" in said[0]["text"]
    assert len(storm.incidents(namespace)) == CAUSES
    jira.move(box["jira"], "alice", theirs, "Done")  # or the next run's intake takes it up: it names a workload
