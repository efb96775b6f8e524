"""Takes out of Kubernetes objects what says nothing about a cause, before a model reads them; pure.

A pod as the API server gives it is half made of defaults and bookkeeping. Each of these costs
tokens in each call, and small models lose the thread in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Identity and bookkeeping of the API server; names, labels and owners stay.
_BOOKKEEPING = frozenset(
    {
        "apiVersion",
        "containerID",
        "controller-uid",
        "generation",
        "hostIP",
        "hostIPs",
        "imageID",
        "kubectl.kubernetes.io/last-applied-configuration",
        "managedFields",
        "observedGeneration",
        "pod-template-hash",
        "podIP",
        "podIPs",
        "preemptionPolicy",
        "priority",
        "qosClass",
        "resourceVersion",
        "selfLink",
        "terminationMessagePath",
        "uid",
    }
)
_API_ACCESS = "kube-api-access-"  # the volume of the ServiceAccount's token
# Values that the API server fills in: https://kubernetes.io/docs/reference/kubernetes-api/
_DEFAULTS: Mapping[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "progressDeadlineSeconds": 600,
    "protocol": "TCP",
    "restartPolicy": "Always",
    "revisionHistoryLimit": 10,
    "schedulerName": "default-scheduler",
    "successThreshold": 1,
    "terminationGracePeriodSeconds": 30,
    "terminationMessagePolicy": "File",
}
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def compact(value: Any) -> Any:
    """Return a copy without defaults, bookkeeping, empty values and conditions that hold."""
    if isinstance(value, Mapping):
        kept = {
            str(key): compact(child) for key, child in value.items() if not _is_noise(key, child)
        }
        return {key: child for key, child in kept.items() if child not in ({}, [], "", None)}
    if isinstance(value, list | tuple):
        return [compact(child) for child in value if not _is_standard(child)]
    return value


def _is_noise(key: str, child: Any) -> bool:
    if key in _BOOKKEEPING or key.endswith(("/controller-uid", "/progress")):
        return True
    return key in _DEFAULTS and child == _DEFAULTS[key]


def _is_standard(entry: Any) -> bool:
    """Say whether a list's entry is in every pod: token volume, tolerations, held conditions."""
    if not isinstance(entry, Mapping):
        return False
    if str(entry.get("name", "")).startswith(_API_ACCESS) or entry.get("key") in _TOLERATED:
        return True
    holds = entry.get("status") == "True" and "message" not in entry
    return holds and "lastTransitionTime" in entry
