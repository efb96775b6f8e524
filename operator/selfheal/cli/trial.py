"""One trial of a folder on the sandbox: commit, apply, file incidents, review, follow, report."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from selfheal.adapters.kube import kinds
from selfheal.cli import (
    sandbox_repository,
    trial_manifests,
    trial_policy,
    trial_report,
    trial_scan,
    trial_symptoms,
)
from selfheal.cli.kubectl import Kubectl
from selfheal.cli.trial_manifests import WORKLOADS, TrialError

Say = Callable[[str], Any]
CLEARED = (
    "horizontalpodautoscalers", "poddisruptionbudgets", "deployments", "statefulsets", "daemonsets",
    "jobs", "cronjobs", "pods", "persistentvolumeclaims", "services", "ingresses",
    "networkpolicies", "resourcequotas", "limitranges", "roles", "rolebindings",
)  # fmt: skip
ENDS = ("INCIDENT_RESOLVED", "INCIDENT_REQUIRES_HUMAN")
SYMPTOM_PATIENCE = 60.0
"""Seconds in which a fault shows itself: probes, back-offs and OOM kills need less here."""
HEALTHY_FOR = 12.0
"""Seconds of health after which a workload counts as having no fault."""
SETTLES = 15.0
"""Seconds after the first symptom in which a second workload of the folder may show its own."""
POLL = 0.5


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """Where the sandbox is."""

    values: dict[str, str]

    @classmethod
    def load(cls, path: pathlib.Path) -> Sandbox:
        """Read what ``make sandbox-up`` wrote."""
        if not path.exists():
            raise TrialError(f"{path} is missing: run make sandbox-up (or make demo) first")
        return cls(json.loads(path.read_text()))

    def repository(self) -> sandbox_repository.Repository:
        """Return the sandbox repository."""
        return sandbox_repository.Repository(
            base_url=self.values["github"],
            name=self.values["repository"],
            branch=self.values["branch"],
            token=self.values["githubToken"],
            reviewer_token=self.values["reviewerToken"],
        )


def run(
    sandbox: Sandbox,
    folder: pathlib.Path,
    *,
    namespace: str | None,
    approve: bool,
    timeout: float,
    say: Say,
) -> dict[str, Any]:
    """Make the trial; return the documented result."""
    kubectl = Kubectl(sandbox.values["kubeconfig"])
    files = trial_manifests.read_files(folder)
    wanted = trial_manifests.list_wanted(files)
    space = namespace or trial_manifests.name_namespace(folder)
    prepare(kubectl, space)
    placed = trial_manifests.place_in_namespace(files, space)
    if not trial_manifests.is_rendered(files):
        check_accepted(kubectl, placed)
    trial_policy.serve_namespace(kubectl, space)
    say(f"commits {len(files)} files to {sandbox.values['repository']} and waits for delivery")
    repository = sandbox.repository()
    place = f"{sandbox.values['path']}/{space}"
    repository.replace_folder(place, placed, f"Trial of {folder.name}")
    workloads = wait_for_workloads(kubectl, space, wanted)
    failing = find_failing(kubectl, space, workloads, say)
    failing = failing or trial_scan.find_quiet(sandbox.values["kubeconfig"], space)
    if not failing:
        seen = ", ".join(f"{kind} {name}" for kind, name in workloads)
        message = f"Everything is healthy ({seen}); no incident was filed."
        return {"namespace": space, "incidents": [], "message": message}
    names = [
        file_incident(kubectl, space, kind, name, why) for (kind, name), why in failing.items()
    ]
    rows = follow(kubectl, repository, space, names, approve=approve, timeout=timeout, say=say)
    return {"namespace": space, "incidents": rows, "message": ""}


def clear(sandbox: Sandbox, namespace: str) -> None:
    """Take a trial out of the repository, its namespace out of the cluster and the policy."""
    repository = sandbox.repository()
    repository.replace_folder(f"{sandbox.values['path']}/{namespace}", {}, f"Remove {namespace}")
    kubectl = Kubectl(sandbox.values["kubeconfig"])
    trial_policy.release_namespace(kubectl, namespace)
    kubectl.run("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def prepare(kubectl: Kubectl, namespace: str) -> None:
    """Make the namespace, and take away the incidents of an earlier trial."""
    kubectl.run("create", "namespace", namespace, check=False)
    kubectl.run("-n", namespace, "delete", "shi", "--all", "--wait=true", check=False)
    for kind in CLEARED:
        kubectl.run(
            "-n", namespace, "delete", kind, "--all", "--wait=true", "--grace-period=1", check=False
        )


def check_accepted(kubectl: Kubectl, files: Mapping[str, bytes]) -> None:
    """Ask the API server whether it takes the files, before they are committed for delivery."""
    objects = trial_manifests.list_objects(files)
    if any(entry["kind"] == "CustomResourceDefinition" for entry in objects):
        return  # objects of a kind that is not there yet cannot be asked about
    for name, content in files.items():
        if not trial_manifests.list_objects({name: content}):
            continue  # nothing but comments
        try:
            kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=content.decode())
        except TrialError as error:
            said = str(error).partition(": ")[2].replace("\n", " ")
            raise TrialError(f"the cluster does not take {name}: {said}") from error


def wait_for_workloads(
    kubectl: Kubectl, namespace: str, wanted: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Wait until delivery has applied every wanted workload; of what it renders, all."""
    if not wanted:
        return wait_for_delivery(kubectl, namespace)
    deadline = time.monotonic() + SYMPTOM_PATIENCE
    for kind, name in wanted:
        while kubectl.get(namespace, kind.lower(), name) is None:
            if time.monotonic() > deadline:
                raise TrialError(f"delivery did not apply {kind} {name} within 60 s")
            time.sleep(POLL)
    return wanted


def wait_for_delivery(kubectl: Kubectl, namespace: str) -> list[tuple[str, str]]:
    """Wait until delivery has rendered and applied workloads; return them once no more appear."""
    deadline = time.monotonic() + SYMPTOM_PATIENCE
    seen: list[tuple[str, str]] = []
    while time.monotonic() < deadline:
        found = list_workloads(kubectl, namespace)
        if found and found == seen:
            return found
        seen = found
        time.sleep(2 * POLL)
    raise TrialError("delivery applied no workload within 60 s: does the folder render?")


def list_workloads(kubectl: Kubectl, namespace: str) -> list[tuple[str, str]]:
    """Return the workloads of a namespace that nothing else has made."""
    answer = kubectl.get(namespace, ",".join(WORKLOADS)) or {"items": []}
    return [
        (entry["kind"], entry["metadata"]["name"])
        for entry in answer["items"]
        if not entry["metadata"].get("ownerReferences")
    ]


def find_failing(
    kubectl: Kubectl, namespace: str, workloads: list[tuple[str, str]], say: Say
) -> dict[tuple[str, str], str]:
    """Wait for symptoms: what is unhealthy, with a word about it; empty: all stayed healthy."""
    started = time.monotonic()
    healthy_since = certain_since = None
    while time.monotonic() - started < SYMPTOM_PATIENCE:
        found = {
            workload: why
            for workload in workloads
            if (why := trial_symptoms.symptom(kubectl, namespace, *workload)) is not None
        }
        certain = {workload: why for workload, why in found.items() if why != "not ready"}
        now = time.monotonic()
        certain_since = (certain_since or now) if certain else None
        settled = certain_since is not None and now - certain_since > SETTLES
        if certain and (settled or len(certain) == len(found)):
            return certain
        if found and now - started > SYMPTOM_PATIENCE / 2:
            return certain or found
        healthy_since = None if found else (healthy_since or now)
        if healthy_since is not None and now - healthy_since > HEALTHY_FOR:
            return {}
        time.sleep(POLL)
    say("nothing failed for certain within 60 s; files what is not ready")
    return {
        w: why
        for w in workloads
        if (why := trial_symptoms.symptom(kubectl, namespace, *w)) is not None
    }


def file_incident(kubectl: Kubectl, namespace: str, kind: str, name: str, why: str) -> str:
    """File an incident for a workload; return its name."""
    stem = name if kind in WORKLOADS else f"{name}-{kind.lower()}"
    incident = f"{stem}-{dt.datetime.now(dt.UTC):%H%M%S}"
    spec = {
        "summary": f"{kind} {name} is unhealthy: {why}",
        "targetRef": {"apiVersion": kinds.KNOWN[kind][0], "kind": kind, "name": name},
    }
    body = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingIncident",
        "metadata": {"name": incident, "namespace": namespace},
        "spec": spec,
    }
    kubectl.run("apply", "-f", "-", stdin=json.dumps(body))
    return incident


def follow(
    kubectl: Kubectl,
    repository: sandbox_repository.Repository,
    namespace: str,
    names: list[str],
    *,
    approve: bool,
    timeout: float,
    say: Say,
) -> list[dict[str, Any]]:
    """Follow incidents to their end, play the reviewer if told so; return a row each."""
    deadline = time.monotonic() + timeout
    shown: dict[str, int] = {}
    approved: set[int] = set()
    while time.monotonic() < deadline:
        found = [kubectl.get(namespace, "shi", name) for name in names]
        for incident in found:
            _show_progress(incident, shown, say)
            pull = incident.get("status", {}).get("pullRequest")
            open_ = pull is not None and pull["state"] == "Open"
            if approve and open_ and pull["number"] not in approved:
                repository.approve(pull["number"])
                approved.add(pull["number"])
                say(f"  alice approves {pull['url']}")
        if all(_rests(incident, approve=approve) for incident in found):
            break
        time.sleep(POLL)
    return [
        trial_report.report(kubectl, repository, namespace, kubectl.get(namespace, "shi", name))
        for name in names
    ]


def _rests(incident: dict[str, Any], *, approve: bool) -> bool:
    phase = incident.get("status", {}).get("phase")
    return phase in ENDS or (not approve and phase in ("PR_CREATED", "PR_UNDER_REVIEW"))


def _show_progress(incident: dict[str, Any], shown: dict[str, int], say: Say) -> None:
    name = incident["metadata"]["name"]
    history = incident.get("status", {}).get("history", [])
    for entry in history[shown.get(name, 0) :]:
        say(f"  {entry['at'][11:19]}  {name}  {entry['to']}  {entry.get('why', '')}")
    shown[name] = len(history)
