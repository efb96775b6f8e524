"""One incident's life on the real cluster, told step by step: people act between the steps."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
from collections.abc import Callable
from typing import Any

from hack import world
from hack.sandbox.github import client as github
from hack.sandbox.jira import client as jira

from selfheal.cli import trial, trial_manifests, trial_policy
from selfheal.cli.kubectl import Kubectl

OOM = pathlib.Path(__file__).resolve().parents[2] / "examples" / "oom"
NAME = "checkout"


def quiet(text: str) -> None:
    """Say nothing."""


class Story:
    """A namespace with a faulty workload that delivery applied, and the incident about it."""

    def __init__(self, namespace: str) -> None:
        self.namespace, self.box = namespace, world.sandbox()
        self.sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
        self.kubectl = Kubectl(self.sandbox.values["kubeconfig"])
        self.name = f"{NAME}-{namespace}"

    def set_up(self, folder: pathlib.Path = OOM, *, commit: bool = True) -> None:
        """Let delivery apply the folder, and wait until its fault shows."""
        files = trial_manifests.read_files(folder)
        trial.prepare(self.kubectl, self.namespace)
        trial_policy.serve_namespace(self.kubectl, self.namespace)
        placed = trial_manifests.place_in_namespace(files, self.namespace)
        if commit:
            place = f"{self.sandbox.values['path']}/{self.namespace}"
            self.sandbox.repository().replace_folder(place, placed, f"Trial of {folder.name}")
        else:
            for text in placed.values():
                world.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=text.decode())
        wanted = trial_manifests.list_wanted(files)
        workloads = trial.wait_for_workloads(self.kubectl, self.namespace, wanted)
        assert trial.find_failing(self.kubectl, self.namespace, workloads, quiet)

    def file(self, **spec: Any) -> None:
        """Apply the incident."""
        wanted = {
            "summary": "checkout is killed again and again",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            **spec,
        }
        body = {
            "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {key: value for key, value in wanted.items() if value is not None},
        }  # fmt: skip
        world.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    @property
    def status(self) -> dict[str, Any]:
        found = world.incident(self.namespace, self.name) or {}
        return dict(found.get("status", {}))

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def phases(self) -> list[str]:
        return [entry["to"] for entry in self.status["history"]]

    @property
    def ticket(self) -> str:
        return str(self.status["ticket"]["key"])

    def wait(self, what: str, probe: Callable[[], Any], *, timeout: float = 180) -> Any:
        """Wait for something; the phase and message are said where it does not come."""
        try:
            return world.wait_until(what, probe, timeout=timeout, every=0.2)
        except world.WorldError as error:
            status = self.status
            raise AssertionError(f"{error}; {status.get('phase')}: {status.get('message')}") from error

    def wait_for(self, *phases: str, timeout: float = 180) -> None:
        self.wait(" or ".join(phases), lambda: self.phase in phases, timeout=timeout)

    def move(self, person: str, status: str) -> None:
        """Let a person move the ticket."""
        jira.move(self.box["jira"], person, self.ticket, status)

    def approve(self) -> None:
        """Let alice approve the open pull request."""
        number = self.status["pullRequest"]["number"]
        self.sandbox.repository().approve(number)

    def approve_to_the_end(self) -> None:
        """Approve the pull request of the present run once it waits, and follow it to the end."""
        self.wait_for("PR_CREATED", "PR_UNDER_REVIEW")
        self.approve()
        self.wait_for("INCIDENT_RESOLVED", "INCIDENT_REQUIRES_HUMAN", timeout=300)
        assert self.phase == "INCIDENT_RESOLVED", self.status.get("message")

    def pulls(self) -> list[dict[str, Any]]:
        """All pull requests of this incident, oldest first."""
        found = world.incident(self.namespace, self.name) or {}
        mark = found["metadata"]["uid"][:8]
        every = github.pulls(self.box["github"], self.box["githubToken"], self.box["repository"])
        return sorted((p for p in every if mark in p["head"]["ref"]), key=lambda p: p["number"])

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the incident, empty where there is none."""
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), {})

    def entered(self, phase: str, nth: int = 0) -> dt.datetime:
        """When the incident entered a phase for the nth time."""
        times = [entry["at"] for entry in self.status["history"] if entry["to"] == phase]
        return dt.datetime.fromisoformat(times[nth])
