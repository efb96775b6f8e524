"""The gate for commands, variables, references and probes, whoever proposes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.remediation.test_propose import refusal

from selfheal.remediation import field_rules, run_rules
from selfheal.remediation.changes import DocumentChange, Leaf
from selfheal.remediation.edits import Refusal

CONTAINER = ("spec", "template", "spec", "containers", "app")
POD = ("spec", "template", "spec")


def why(path: tuple[Any, ...], before: Any, after: Any) -> str | None:
    try:
        field_rules.check_leaf(Leaf(path=path, before=before, after=after), "Deployment web", "Deployment")
    except Refusal as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (["run", "--prot"], ["run", "--port"], None),
        (["slep", "60"], ["sleep", "60"], None),
        (["sleep", "60"], ["sleep", "600"], None),
        (["run"], ["serve", "--all"], None),
        (["run"], ["sleep", "infinity"], "HidesFailure"),
        (["run"], ["tail", "-f", "/dev/null"], "HidesFailure"),
        (["sh", "-c", "run"], ["sh", "-c", "run || true"], "HidesFailure"),
        (["sh", "-c", "run; check"], ["sh", "-c", "while true; do run; done # and check it now"], "HidesFailure"),
        (["run"], ["/bin/true"], "HidesFailure"),
        (["run"], ["run", "--url=postgres://u:pw@db/x"], "HidesFailure"),
        (["run"], [], "HidesFailure"),
        (["run"], None, "HidesFailure"),
        (["run"], "run", "HidesFailure"),
        (None, ["run"], "HidesFailure"),
    ],
)
def test_a_command_is_corrected_never_put_to_sleep(before: Any, after: Any, reason: str | None) -> None:
    assert why((*CONTAINER, "command"), before, after) == reason


@pytest.mark.parametrize(
    ("path", "before", "after", "reason"),
    [
        (("env", "MODE", "value"), "fats", "fast", None),
        (("env", "MODE", "value"), "fats", None, None),
        (("env", "API_TOKEN", "value"), None, "x1", "TouchesSecret"),
        (("env", "URL", "value"), "a", "postgres://u:pw@db/x", "TouchesSecret"),
        (("env", "DB_PASSWORD", "name"), None, "DB_PASSWORD", None),
        (("env", "A", "valueFrom", "secretKeyRef", "key"), "passwort", "password", None),
        (("env", "A", "valueFrom", "secretKeyRef", "key"), "passwort", None, "HidesFailure"),
        (("env", "A", "valueFrom", "secretKeyRef", "optional"), None, True, "HidesFailure"),
        (("env", "A", "valueFrom", "fieldRef", "fieldPath"), "a", "b", "ChangeNotAllowed"),
        (("envFrom", 0, "configMapRef", "name"), "a", "b", None),
        (("envFrom",), [{"a": 1}], [{"a": 2}], None),
        (("envFrom",), [{"a": 1}], [], "HidesFailure"),
        (("envFrom",), [{"a": {}}], [{"a": {"optional": True}}], "HidesFailure"),
        (("envFrom",), None, [{"a": 1}], "HidesFailure"),
    ],
)
def test_variables_and_references(path: tuple[Any, ...], before: Any, after: Any, reason: str | None) -> None:
    assert why((*CONTAINER, *path), before, after) == reason


@pytest.mark.parametrize(
    ("path", "after", "reason"),
    [
        (("volumes", "v", "secret", "secretName"), "b", None),
        (("volumes", "v", "configMap", "items", 0, "key"), "b", None),
        (("volumes", "v", "projected", "sources", 0, "configMap", "name"), "b", None),
        (("volumes", "v", "configMap", "optional"), True, "HidesFailure"),
        (("volumes", "v", "hostPath", "path"), "/", "DeletesData"),
    ],
)
def test_names_in_volumes(path: tuple[Any, ...], after: Any, reason: str | None) -> None:
    assert why((*POD, *path), "a", after) == reason


@pytest.mark.parametrize(
    ("path", "before", "after", "reason"),
    [
        (("readinessProbe", "httpGet", "port"), 1, 2, None),
        (("readinessProbe", "exec", "command"), ["cat", "/tmp/redy"], ["cat", "/tmp/ready"], None),
        (("readinessProbe", "exec", "command"), ["cat", "/tmp/ready"], ["true"], "WeakensProbe"),
        (("readinessProbe", "timeoutSeconds"), None, 5, None),
        (("readinessProbe", "timeoutSeconds"), 5, 3, "WeakensProbe"),
        (("readinessProbe", "timeoutSeconds"), 1, 300, "WeakensProbe"),
        (("livenessProbe", "failureThreshold"), 3, 30, "WeakensProbe"),
        (("livenessProbe", "httpGet"), {"port": 1}, None, "WeakensProbe"),
        (("startupProbe", "failureThreshold"), None, 60, None),
        (("startupProbe", "failureThreshold"), None, 6000, "WeakensProbe"),
        (("startupProbe", "periodSeconds"), None, 0, "WeakensProbe"),
        (("startupProbe", "successThreshold"), None, 1, "WeakensProbe"),
    ],
)
def test_probes_are_corrected_and_wait_longer(path: tuple[Any, ...], before: Any, after: Any, reason: str | None) -> None:
    assert why((*CONTAINER, *path), before, after) == reason


def change(before: dict[str, Any], after: dict[str, Any]) -> DocumentChange:
    def document(container: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [{"name": "app", **container}]}}}}

    return DocumentChange(file="f", number=0, before=document(before), after=document(after))


def test_no_variable_is_lost_and_a_startup_probe_asks_what_the_liveness_probe_asks() -> None:
    two = {"env": [{"name": "A"}, {"name": "B"}]}
    assert refusal(run_rules.check_document, change(two, {"env": [{"name": "A"}]})) == "ChangeNotAllowed"
    run_rules.check_document(change(two, {"env": [{"name": "A"}, {"name": "C"}]}))
    probe = {"httpGet": {"path": "/", "port": 1}}
    live = {"livenessProbe": probe}
    run_rules.check_document(change(live, {**live, "startupProbe": {**probe, "failureThreshold": 60}}))
    assert refusal(run_rules.check_document, change(live, {**live, "startupProbe": {"exec": {"command": ["true"]}}})) == "WeakensProbe"
    assert refusal(run_rules.check_document, change({}, {"startupProbe": probe})) == "WeakensProbe"
    run_rules.check_document(change(live, {}))
    run_rules.check_document(change({**live, "startupProbe": probe}, live))
    new = Leaf(path=("spec", "containers", "app", "startupProbe", "exec", "command"), before=None, after=["cat", "/ready"])
    assert run_rules.check_probe(new) is None
    run_rules.check_document(DocumentChange(file="f", number=0, before=None, after={"kind": "Job"}))


def test_a_command_that_was_one_text_is_compared_as_one() -> None:
    leaf = Leaf(path=("spec", "containers", "app", "command"), before="serve", after=["sleep", "9"])
    assert run_rules.check_command(leaf) is not None
    kept = Leaf(path=leaf.path, before="serve now", after=["serve", "later"])
    assert run_rules.check_command(kept) is None
