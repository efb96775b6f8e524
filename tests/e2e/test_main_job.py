"""The main job on the real cluster: applied incident to INCIDENT_RESOLVED, the same phases everywhere."""

from __future__ import annotations

import json
import pathlib
import threading

import pytest
from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira

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
    seen: list[str] = []
    stop = threading.Event()
    recorder = threading.Thread(target=_record, args=(namespace, seen, stop))
    recorder.start()
    try:
        result = trial.run(sandbox, OOM, namespace=namespace, approve=True, timeout=240, say=lambda text: None)
    finally:
        stop.set()
        recorder.join()
    (row,) = result["incidents"]
    assert [entry["phase"] for entry in row["phases"]] == CHAIN, row
    assert (row["class"], row["resolved"], row["healthy"]) == ("OOMKilled", True, True)
    assert [phase for phase in seen if phase] == [phase for phase in CHAIN if phase in seen]

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
    key = incident["status"]["ticket"]["key"]
    assert [status for status, _ in jira.statuses(box["jira"], key)][-len(STATUSES) :] == STATUSES
    pull = incident["status"]["pullRequest"]["number"]
    mine = incident["metadata"]["uid"][:8]
    pulls = github.pulls(box["github"], box["githubToken"], box["repository"])
    assert [p["number"] for p in pulls if mine in p["head"]["ref"]] == [pull]
    assert "selfheal/INCIDENT_RESOLVED" in github.labels(box["github"], box["githubToken"], box["repository"], pull)


def _record(namespace: str, seen: list[str], stop: threading.Event) -> None:
    """What a person who looks again and again sees; never a step back."""
    while not stop.is_set():
        text = world.kubectl(
            "-n", namespace, "get", "shi", "-o", "jsonpath={.items[*].status.phase}", check=False
        ).strip()
        if text and (not seen or seen[-1] != text):
            seen.append(text)
        stop.wait(0.1)


def test_a_bad_incident_is_refused_with_the_field_named(installed: None) -> None:
    bad = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingIncident",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"summary": "x", "priority": "Urgent"},
    }
    with pytest.raises(world.WorldError, match=r"spec\.priority"):
        world.kubectl("apply", "-f", "-", stdin=json.dumps(bad))


def test_an_unknown_policy_stalls_and_goes_on_once_mended(installed: None, namespace: str) -> None:
    world.kubectl("create", "namespace", namespace)
    name = f"late-{namespace}"
    incident = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingIncident",
        "metadata": {"name": "lost", "namespace": namespace},
        "spec": {"summary": "api is down", "policyRef": name},
    }
    world.kubectl("apply", "-f", "-", stdin=json.dumps(incident))

    def stalled() -> str | None:
        found = world.incident(namespace, "lost") or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Stalled"), None)

    assert name in world.wait_until("a Stalled condition", stalled, timeout=30)
    world.apply(world.policy(name, namespaces=[namespace]))
    try:
        world.wait_until("the stall to end", lambda: stalled() is None, timeout=90)
    finally:
        world.kubectl("delete", "shp", name)
