"""Where pod templates and containers stand in a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal.remediation.edits import PathStep, Refusal

_TEMPLATE: tuple[PathStep, ...] = ("spec", "template", "spec")
_POD_SPECS: Mapping[str, tuple[PathStep, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
    "Deployment": _TEMPLATE,
    "StatefulSet": _TEMPLATE,
    "DaemonSet": _TEMPLATE,
    "ReplicaSet": _TEMPLATE,
    "Job": _TEMPLATE,
}
CONTAINER_LISTS = ("containers", "initContainers")


def pod_spec_path(kind: str) -> tuple[PathStep, ...]:
    """Return the path of the pod spec; Refusal ``KindNotSupported`` where there is none."""
    if kind not in _POD_SPECS:
        raise Refusal("KindNotSupported", f"{kind} has no pod template to edit.")
    return _POD_SPECS[kind]


def container_path(manifest: Mapping[str, Any], name: str | None) -> tuple[PathStep, ...]:
    """Return the path of a container; Refusal ``SourceNotFound`` where the source lacks it."""
    base = pod_spec_path(str(manifest.get("kind")))
    pod_spec = look(manifest, base)
    for group in CONTAINER_LISTS:
        for index, entry in enumerate((pod_spec or {}).get(group) or ()):
            if entry.get("name") == name:
                return (*base, group, index)
    raise Refusal(
        "SourceNotFound",
        f"The source of {describe(manifest)} has no container {name}; it is added elsewhere.",
    )


def look(value: Any, path: tuple[PathStep, ...]) -> Any:
    """Return the value at a path; None where there is none."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def describe(manifest: Mapping[str, Any]) -> str:
    """Return kind and name of a manifest for people."""
    return f"{manifest.get('kind')} {(manifest.get('metadata') or {}).get('name')}"
