"""The main job on the real cluster: applied incident to INCIDENT_RESOLVED, the same phases everywhere."""

from __future__ import annotations

import datetime as dt
import json
import pathlib

import pytest
from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira
from tests.e2e import recorders

from selfheal.cli import trial

pytestmark = pytest.mark.e2e

CHAIN = [
    "INCIDENT_DETECTED", "ANALYSIS_IN_PROGRESS", "ANALYSIS_COMPLETE", "FIX_GENERATION_IN_PROGRESS",
    "FIX_GENERATED", "PR_CREATION_IN_PROGRESS", "PR_CREATED", "PR_UNDER_REVIEW", "PR_APPROVED", "PR_MERGED",
    "DEPLOYMENT_IN_PROGRESS", "DEPLOYMENT_COMPLETE", "VERIFICATION_IN_PROGRESS", "VERIFICATION_COMPLETE",
    "INCIDENT_RESOLVED",
]  # fmt: skip
STATUSES = [
    "In Progress", "Analysis Complete", "Generating Fix", "Fix Generated", "Creating PR", "PR Created",
    "Under Review", "PR Approved", "PR Merged", "Deploying", "Deployed", "Verifying Fix", "Done",
]  # fmt: skip
OOM = pathlib.Path(__file__).resolve().parents[2] / "examples" / "oom"


def test_an_oom_killed_workload_is_healed_at_the_source(installed: None, namespace: str) -> None:
    box = world.sandbox()
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    world.kubectl("create", "namespace", namespace)
    watch = recorders.Watch(namespace)
    try:
        result = trial.run(sandbox, OOM, namespace=namespace, approve=True, timeout=240, say=lambda text: None)
    finally:
        seen = watch.close()
    (row,) = result["incidents"]
    history = [entry["phase"] for entry in row["phases"]]
    assert history == CHAIN, row
    assert (row["class"], row["resolved"], row["healthy"]) == ("OOMKilled", True, True)
    assert seen == CHAIN

    changed = [line for line in row["diff"].splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.strip() for line in changed] == [
        "-              memory: 64Mi   # too small for the cache",
        "+              memory: 128Mi   # too small for the cache",
    ]
    deployment = json.loads(world.kubectl("-n", namespace, "get", "deployment", "checkout", "-o", "json"))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["port"] == 8080
    assert container["resources"]["limits"] == {"memory": "128Mi"}

    incident = world.incident(namespace, row["incident"])
    assert incident is not None
    uid, status = incident["metadata"]["uid"], incident["status"]
    key, pull = status["ticket"]["key"], status["pullRequest"]["number"]
    assert [name for name, _ in jira.statuses(box["jira"], key)][-len(STATUSES) :] == STATUSES
    mirrored = recorders.ticket_phases(box["jira"], status["ticket"], uid)
    assert [phase for phase, _ in mirrored] == CHAIN
    entered = [entry["at"] for entry in row["phases"]]
    for (phase, at), following in zip(mirrored, entered[1:], strict=False):
        left = dt.datetime.fromisoformat(following).timestamp() * 1000
        assert at <= left + 1, f"{phase} stood on the ticket only after the next phase had begun"

    def labels() -> list[str]:
        return recorders.pull_request_phases(box["github"], box["repository"], pull)

    # within one step of the phase: the step after the one that ended it
    world.wait_until("the last phase's label", lambda: labels()[-1:] == CHAIN[-1:], timeout=30, every=0.2)
    assert labels() == CHAIN[CHAIN.index("PR_CREATED") :]
    pulls = github.pulls(box["github"], box["githubToken"], box["repository"])
    assert [p["number"] for p in pulls if uid[:8] in p["head"]["ref"]] == [pull]
