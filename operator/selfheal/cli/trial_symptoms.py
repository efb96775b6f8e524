"""What a trial sees of a workload: pods, their containers, events; nothing is diagnosed."""

from __future__ import annotations

import re
from typing import Any

from selfheal.cli.kubectl import Kubectl


def symptom(kubectl: Kubectl, namespace: str, kind: str, name: str) -> str | None:
    """Return what is wrong with a workload's pods; None: nothing."""
    pods = find_pods(kubectl, namespace, kind, name)
    if not pods and _rests(kubectl.get(namespace, kind.lower(), name) or {}):
        return None
    for pod in pods:
        for status in _container_statuses(pod):
            waiting = status.get("state", {}).get("waiting", {}).get("reason", "")
            if waiting and waiting not in ("ContainerCreating", "PodInitializing"):
                return str(waiting)
            last = status.get("lastState", {}).get("terminated", {})
            ended = status.get("state", {}).get("terminated", {})
            for state in (last, ended):
                if state.get("reason") not in (None, "Completed"):
                    return str(state["reason"])
    events = (kubectl.get(namespace, "events") or {"items": []})["items"]
    for event in events:
        about = event["involvedObject"]["name"]
        certain = event["reason"] in (
            "Unhealthy",
            "FailedMount",
            "FailedScheduling",
            "FailedCreate",
        )
        if certain and (about == name or about.startswith(f"{name}-")) and not is_ready(pods):
            return str(event["reason"])
    return None if is_ready(pods) else "not ready"


def find_pods(kubectl: Kubectl, namespace: str, kind: str, name: str) -> list[dict[str, Any]]:
    """Return the pods of a workload, without those that are on their way out."""
    return [
        pod
        for pod in kubectl.get(namespace, "pods")["items"]
        if belongs(pod, kind, name) and "deletionTimestamp" not in pod["metadata"]
    ]


def belongs(pod: dict[str, Any], kind: str, name: str) -> bool:
    """Tell by its owner whether a pod is a workload's; web's pods are not those of web-api."""
    if kind == "Pod":
        return bool(pod["metadata"]["name"] == name)
    owners = [entry["name"] for entry in pod["metadata"].get("ownerReferences", [])]
    made = {"Deployment": r"-[a-z0-9]+", "CronJob": r"-\d+"}.get(kind, "")
    return any(re.fullmatch(re.escape(name) + made, owner) for owner in owners)


def _rests(workload: dict[str, Any]) -> bool:
    """Tell whether a workload wants no pods now."""
    spec = workload.get("spec", {})
    return (
        workload.get("kind") == "CronJob" or spec.get("replicas") == 0 or bool(spec.get("suspend"))
    )


def _container_statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def is_ready(pods: list[dict[str, Any]]) -> bool:
    """Tell whether there are pods and all are ready or done."""

    def ready(pod: dict[str, Any]) -> bool:
        done = pod.get("status", {}).get("phase") == "Succeeded"
        conditions = pod.get("status", {}).get("conditions", [])
        return done or any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    return bool(pods) and all(ready(pod) for pod in pods)
