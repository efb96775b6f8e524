"""The first classes beside OOMKilled, through the whole loop on the real cluster: one line mends each."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from hack import world

from selfheal.cli import trial

pytestmark = pytest.mark.e2e

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 240.0


@dataclasses.dataclass(frozen=True)
class Case:
    """An example, and the only right end of it."""

    example: str
    class_: str
    removed: str
    added: str


CASES = (
    Case("bad-tag", "InvalidImageTag", "          image: nginx:1.27.99", "          image: nginx:1.27.0"),
    Case("wrong-repository", "ImagePullBackOff", "          image: ngnix:1.27", "          image: nginx:1.27"),
    Case(
        "wrong-probe",
        "FailedHealthCheck",
        "            httpGet: {path: /, port: 8081}",
        "            httpGet: {path: /, port: 80}",
    ),
)


@pytest.fixture
def space(namespace: str) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    yield namespace
    trial.clear(trial.Sandbox.load(world.CLUSTER / "sandbox.json"), namespace)


def changed_lines(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def container_of(namespace: str) -> dict[str, Any]:
    found = json.loads(world.kubectl("-n", namespace, "get", "deployment", "web", "-o", "json"))
    return dict(found["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.example)
def test_one_line_mends_it(installed: None, space: str, namespace: str, case: Case) -> None:
    result = trial.run(
        trial.Sandbox.load(world.CLUSTER / "sandbox.json"),
        EXAMPLES / case.example,
        namespace=space,
        approve=True,
        timeout=PATIENCE,
        say=lambda text: None,
    )
    (row,) = result["incidents"]
    assert row["phase"] == "INCIDENT_RESOLVED", row
    assert (row["class"], row["resolved"], row["healthy"]) == (case.class_, True, True), row
    assert row["by"] == "Rules"
    assert changed_lines(row["diff"]) == [f"-{case.removed}", f"+{case.added}"]

    container = container_of(space)
    assert container["readinessProbe"]["httpGet"] == {"path": "/", "port": 80, "scheme": "HTTP"}
    assert container["resources"] == {
        "requests": {"cpu": "10m", "memory": "16Mi"},
        "limits": {"memory": "64Mi"},
    }
