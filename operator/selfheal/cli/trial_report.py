"""What happened to an incident of a trial."""

from __future__ import annotations

import datetime as dt
from typing import Any

from selfheal.cli import sandbox_repository, trial_symptoms
from selfheal.cli.kubectl import Kubectl
from selfheal.cli.trial_manifests import WORKLOADS


def report(
    kubectl: Kubectl,
    repository: sandbox_repository.Repository,
    namespace: str,
    incident: dict[str, Any],
) -> dict[str, Any]:
    """Return what happened to one incident."""
    status = incident.get("status", {})
    history = status.get("history", [])
    times = [dt.datetime.fromisoformat(entry["at"]) for entry in history]
    pull, usage = status.get("pullRequest"), status.get("usage", {})
    diagnosis = status.get("diagnosis", {})
    target = status.get("target", {})
    why = trial_symptoms.symptom(
        kubectl, namespace, target.get("kind", "Pod"), target.get("name", "")
    )
    return {
        "incident": incident["metadata"]["name"],
        "resolved": status.get("phase") == "INCIDENT_RESOLVED",
        "phase": status.get("phase"),
        "message": status.get("message", ""),
        "phases": [
            {
                "phase": entry["to"],
                "at": entry["at"],
                "seconds": round((later - begun).total_seconds(), 2),
            }
            for entry, begun, later in zip(history, times, [*times[1:], *times[-1:]], strict=True)
        ],
        "class": diagnosis.get("class"),
        "cause": diagnosis.get("cause"),
        "by": diagnosis.get("by"),
        "confidence": diagnosis.get("confidence"),
        "ticket": status.get("ticket", {}).get("url"),
        "pullRequest": pull["url"] if pull else None,
        "diff": repository.diff(pull["number"]) if pull else status.get("fix", {}).get("preview"),
        "modelCalls": usage.get("modelCalls", 0),
        "cost": usage.get("cost", 0.0),
        "healthy": status.get("phase") == "INCIDENT_RESOLVED"
        and _healthy_now(kubectl, namespace, target),
        "symptom": why,
    }


def _healthy_now(kubectl: Kubectl, namespace: str, target: dict[str, Any]) -> bool:
    if target["kind"] not in WORKLOADS:
        return True  # it has no pods of its own; the verification has judged it
    kind, name = target["kind"], target["name"]
    pods = trial_symptoms.find_pods(kubectl, namespace, kind, name)
    return trial_symptoms.is_ready(pods)
