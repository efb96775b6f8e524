"""What a trial does with files: the namespace is set by lines, and every other byte stays."""

from __future__ import annotations

import pytest
import yaml

from selfheal.cli import trial_manifests

BLOCK = """\
# a comment
apiVersion: v1
kind: Service
metadata:
  name: web   # the shop
  labels:
    app: web
spec: {ports: [{port: 80}]}
"""


def test_a_namespace_is_added_to_a_block() -> None:
    changed = trial_manifests.set_namespace(BLOCK, "try-web")
    assert changed == BLOCK.replace("metadata:\n", "metadata:\n  namespace: try-web\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "metadata:\n    name: a\n    namespace: old  # why\nspec: {}\n",
            "metadata:\n    name: a\n    namespace: new\nspec: {}\n",
        ),
        ("metadata: {name: a}\n", "metadata: {namespace: new, name: a}\n"),
        (
            "metadata: {name: a, namespace: old, labels: {x: y}}\n",
            "metadata: {name: a, namespace: new, labels: {x: y}}\n",
        ),
        ("kind: List\nitems: []\n", "kind: List\nitems: []\n"),
    ],
    ids=["block replaced", "flow added", "flow replaced", "without metadata"],
)
def test_set_namespace(before: str, after: str) -> None:
    assert trial_manifests.set_namespace(before, "new") == after


def test_every_document_of_a_file_gets_it_once() -> None:
    text = f"{BLOCK}--- # second\n{BLOCK}---\nmetadata: {{name: c}}\n"
    changed = trial_manifests.set_namespace(text, "new")
    found = list(yaml.safe_load_all(changed))
    assert [entry["metadata"]["namespace"] for entry in found] == ["new"] * 3
    assert changed.count("namespace: new") == 3
    assert "--- # second\n" in changed


def test_a_template_below_keeps_its_own_metadata() -> None:
    text = BLOCK + "template:\n  metadata:\n    labels: {app: web}\n"
    found = yaml.safe_load(trial_manifests.set_namespace(text, "new"))
    assert found["template"]["metadata"] == {"labels": {"app": "web"}}


def test_the_end_is_told_to_a_person() -> None:
    row = {
        "incident": "web-1",
        "phases": [{"phase": "INCIDENT_DETECTED", "seconds": 0.25}],
        "class": "OOMKilled",
        "confidence": 0.95,
        "by": "Rules",
        "cause": "limit too small",
        "ticket": "http://jira/OPS-1",
        "pullRequest": "http://git/1",
        "modelCalls": 0,
        "cost": 0.0,
        "healthy": True,
        "message": "",
        "diff": "-  memory: 64Mi\n+  memory: 128Mi",
    }
    text = trial_manifests.render({"namespace": "try-web", "incidents": [row], "message": ""})
    for words in ("try-web/web-1", "INCIDENT_DETECTED", "0.25 s", "limit too small", "+  memory"):
        assert words in text
    assert "healthy       yes" in text
    healthy = {"namespace": "n", "incidents": [], "message": "Everything is healthy."}
    assert trial_manifests.render(healthy) == "Everything is healthy."
