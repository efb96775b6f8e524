"""A trial's namespace in the default policy."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from selfheal.cli import trial_policy
from selfheal.cli.trial_manifests import TrialError


def mapping(*namespaces: str) -> dict[str, Any]:
    return {"match": {"namespaces": list(namespaces)}, "repository": "acme/gitops", "path": "apps"}


class Policy:
    """kubectl over one policy in memory; it refuses as the API server does."""

    def __init__(self, *mappings: dict[str, Any], refuses: int = 0) -> None:
        self.mappings = list(mappings)
        self.refuses = refuses

    def run(self, *words: str) -> str:
        if words[0] == "get":
            return json.dumps({"spec": {"code": {"repositories": self.mappings}}})
        if self.refuses:
            self.refuses -= 1
            raise TrialError("refused")
        for step in json.loads(words[-1]):
            self._take(step)
        return ""

    def _take(self, step: dict[str, Any]) -> None:
        *parents, last = step["path"].removeprefix(trial_policy.PLACE + "/").split("/")
        place: Any = self.mappings
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if step["op"] == "add":
            place.append(step["value"])
        elif step["op"] == "remove":
            place.pop(int(last))
        else:
            assert place[int(last)] == step["value"]


def serve(policy: Policy, namespace: str) -> list[list[str]]:
    trial_policy.serve_namespace(policy, namespace)  # type: ignore[arg-type]
    return [entry["match"]["namespaces"] for entry in policy.mappings]


def release(policy: Policy, namespace: str) -> list[list[str]]:
    trial_policy.release_namespace(policy, namespace)  # type: ignore[arg-type]
    return [entry["match"]["namespaces"] for entry in policy.mappings]


def test_it_is_added_once() -> None:
    policy = Policy(mapping("production"))
    assert serve(policy, "a") == [["production", "a"]]
    assert serve(policy, "a") == [["production", "a"]]


def test_forty_trials_find_room_and_leave_none_behind() -> None:
    policy = Policy(mapping("production"))
    for number in range(40):
        serve(policy, f"n{number}")
    assert [len(entry["match"]["namespaces"]) for entry in policy.mappings] == [16, 16, 9]
    assert all(entry["repository"] == "acme/gitops" for entry in policy.mappings)
    for number in range(40):
        release(policy, f"n{number}")
    assert policy.mappings == [mapping("production")]


def test_the_first_mapping_keeps_its_last_namespace() -> None:
    assert release(Policy(mapping("a")), "a") == [["a"]]
    assert release(Policy(mapping("a")), "b") == [["a"]]


def test_it_looks_again_when_others_were_faster() -> None:
    policy = Policy(mapping("production"), refuses=2)
    assert serve(policy, "a") == [["production", "a"]]
    before = copy.deepcopy(policy.mappings)
    policy.refuses = trial_policy.TRIES
    with pytest.raises(TrialError, match="refused"):
        serve(policy, "b")
    assert policy.mappings == before


def test_a_policy_without_mappings_is_said() -> None:
    with pytest.raises(TrialError, match="maps no repository"):
        serve(Policy(), "a")
    assert release(Policy(), "a") == []
