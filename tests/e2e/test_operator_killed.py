"""The operator's process is killed again and again; the incident ends as if it never had been."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import threading
import time
from typing import Any

import pytest
from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira
from tests.e2e.test_main_job import CHAIN, OOM

from selfheal.cli import trial

pytestmark = pytest.mark.e2e

KILLS = 20
MOST_BETWEEN = 1.5
"""Seconds between an operator that is up and its next end, at the most."""
MARKER = re.compile(r"selfheal: (\S+)$", re.MULTILINE)
POD = ("-n", world.SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=selfheal-operator", "-o", "json")


class Killer(threading.Thread):
    """Kills the operator's pod, without grace, at random moments of an incident's life.

    Each kill comes a random while after the operator is up again, so that it hits whatever the
    operator is at; the incident moves on between two kills, and so do they through its life.
    """

    def __init__(self, namespace: str, seed: int) -> None:
        super().__init__()
        self.namespace, self.random = namespace, random.Random(seed)
        self.killed_in: list[str] = []
        self.over = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            world.wait_until("the incident", self.phase, timeout=120, every=0.1)
            while len(self.killed_in) < KILLS and not self.over.is_set():
                world.wait_until("the operator to be up", _is_ready, timeout=120, every=0.1)
                time.sleep(self.random.uniform(0.0, MOST_BETWEEN))
                self.killed_in.append(self.phase())
                self._kill()
        except world.WorldError as error:
            self.fault = error

    def phase(self) -> str:
        text = world.kubectl("-n", self.namespace, "get", "shi", "-o", "jsonpath={.items[*].status.phase}", check=False)
        return text.strip()

    def _kill(self) -> None:
        for pod in _pods():
            name = pod["metadata"]["name"]
            world.kubectl("-n", world.SYSTEM, "delete", "pod", name, "--grace-period=0", "--force", check=False)


def _pods() -> list[dict[str, Any]]:
    return list(json.loads(world.kubectl(*POD))["items"])


def _is_ready() -> bool:
    """Say whether an operator runs that is not being deleted."""
    return any(
        not pod["metadata"].get("deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))
        for pod in _pods()
    )


def approve_late(sandbox: trial.Sandbox, namespace: str, killer: Killer) -> None:
    """Alice approves once the pull request waits and half of the kills are done."""
    while not killer.over.is_set():
        if killer.phase() in ("PR_CREATED", "PR_UNDER_REVIEW") and len(killer.killed_in) >= KILLS // 2:
            number = world.kubectl("-n", namespace, "get", "shi", "-o", "jsonpath={.items[0].status.pullRequest.number}")
            sandbox.repository().approve(int(number))
            return
        killer.over.wait(0.5)


@pytest.fixture
def slow_proof(installed: None, namespace: str) -> None:
    """A policy of the namespace's own mapping, with time enough in the last phases for kills."""
    world.put(world.policy("default", namespaces=["production", namespace], stable_for="75s"))


def test_twenty_kills_leave_one_of_everything(slow_proof: None, namespace: str) -> None:
    box = world.sandbox()
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    seed = int(os.environ.get("SELFHEAL_SEED", time.time()))
    print(f"seed {seed}")
    killer = Killer(namespace, seed)
    killer.start()
    review = threading.Thread(target=approve_late, args=(sandbox, namespace, killer))
    review.start()
    try:
        result = trial.run(sandbox, pathlib.Path(OOM), namespace=namespace, approve=False, timeout=600, say=print)
        world.wait_until("the end", lambda: killer.phase() in ("INCIDENT_RESOLVED", "INCIDENT_REQUIRES_HUMAN"), timeout=400)
    finally:
        killer.over.set()
        killer.join()
        review.join()
    assert killer.fault is None
    print(f"killed {len(killer.killed_in)} times: {killer.killed_in}")
    incident = world.incident(namespace, result["incidents"][0]["incident"])
    assert incident is not None
    assert [entry["to"] for entry in incident["status"]["history"]] == CHAIN, incident["status"].get("message")
    assert len(killer.killed_in) == KILLS
    uid, status = incident["metadata"]["uid"], incident["status"]
    assert status.get("run", 1) == 1
    found = jira.call(box["jira"], "alice", "GET", "/search/jql", params={"jql": f'labels = "selfheal-{uid}"', "fields": "summary"})
    assert [issue["key"] for issue in found["issues"]] == [status["ticket"]["key"]]
    said = [MARKER.findall(comment["text"]) for comment in jira.comments(box["jira"], status["ticket"]["key"])]
    markers = [marker for found in said for marker in found]
    milestones = [marker.rpartition("/")[2] for marker in markers]
    assert sorted(milestones) == sorted(["diagnosis", "fix", "pull-request", "approval", "deployment", "verification"])

    token, repository = box["githubToken"], box["repository"]
    pulls = [p for p in github.pulls(box["github"], token, repository) if uid[:8] in p["head"]["ref"]]
    assert [p["number"] for p in pulls] == [status["pullRequest"]["number"]]
    assert pulls[0]["merged_at"]
    pushed = [
        entry for entry in github.requests_seen(box["github"])
        if entry["method"] == "POST" and entry["path"].endswith("/git/refs") and uid[:8] in entry.get("body", "") and entry["status"] < 300
    ]  # fmt: skip
    assert len(pushed) == 1
    ours = [body for body in github.comments(box["github"], token, repository, pulls[0]["number"]) if "selfheal" in body]
    assert len(ours) == 1
