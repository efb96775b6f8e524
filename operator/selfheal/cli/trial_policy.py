"""A trial's namespace in the default policy: some mapping of the sandbox's repository serves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfheal.cli.kubectl import Kubectl
from selfheal.cli.trial_manifests import TrialError

ROOM = 16
"""Namespaces of one mapping at the most, as the kind says."""

TRIES = 5
"""Looks at the policy at the most: trials at once change it under one another."""

PLACE = "/spec/code/repositories"

Patch = list[dict[str, Any]]


def serve_namespace(kubectl: Kubectl, namespace: str) -> None:
    """Add the namespace to a mapping, unless one names it already."""
    _change(kubectl, lambda mappings: compute_addition(mappings, namespace))


def release_namespace(kubectl: Kubectl, namespace: str) -> None:
    """Take the namespace out of the mappings; a policy without mappings names none."""
    _change(kubectl, lambda mappings: compute_removal(mappings, namespace))


def compute_addition(mappings: Sequence[Mapping[str, Any]], namespace: str) -> Patch:
    """Return what adds the namespace where there is room, else to one more mapping."""
    if not mappings:
        raise TrialError("the policy default maps no repository: install the sandbox by make demo")
    named = [entry["match"]["namespaces"] for entry in mappings]
    if any(namespace in names for names in named):
        return []
    for number, names in enumerate(named):
        if len(names) < ROOM:
            place = f"{PLACE}/{number}/match/namespaces/-"
            return [{"op": "add", "path": place, "value": namespace}]
    more = {**mappings[0], "match": {**mappings[0]["match"], "namespaces": [namespace]}}
    return [{"op": "add", "path": f"{PLACE}/-", "value": more}]


def compute_removal(mappings: Sequence[Mapping[str, Any]], namespace: str) -> Patch:
    """Return what removes the namespace, or its mapping where it stands alone; the first stays."""
    for number, entry in enumerate(mappings):
        names = entry["match"]["namespaces"]
        if namespace not in names or (number == 0 and len(names) == 1):
            continue
        alone = f"{PLACE}/{number}"
        one = f"{alone}/match/namespaces/{names.index(namespace)}"
        still = {"op": "test", "path": one, "value": namespace}
        return [still, {"op": "remove", "path": alone if len(names) == 1 else one}]
    return []


def _change(kubectl: Kubectl, compute: Callable[[Sequence[Mapping[str, Any]]], Patch]) -> None:
    for left in reversed(range(TRIES)):
        policy = json.loads(kubectl.run("get", "shp", "default", "-o", "json"))
        patch = compute(policy["spec"].get("code", {}).get("repositories", []))
        if not patch:
            return
        try:
            kubectl.run("patch", "shp", "default", "--type=json", "-p", json.dumps(patch))
        except TrialError:
            if not left:
                raise
        else:
            return
