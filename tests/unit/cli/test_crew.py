"""The original's programmatic call."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.fakes.store import FakeStore
from tests.unit.cli.runtime import KEY, install

import selfheal
from selfheal import self_heal_crew

INPUTS = {
    "namespace": "production",
    "priority_threshold": "High",
    "incident_keywords": ["OutOfMemory", "CrashLoopBackOff"],
}


def test_the_call_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeStore())
    crew = selfheal.create_self_healing_crew()
    result = crew.execute_self_healing_workflow(INPUTS)
    assert type(result) is dict
    assert result["success"] is True
    assert set(result) == {"success", "incidents", "counts", "errors", "usage", "duration"}
    assert [row["name"] for row in result["incidents"]] == [KEY]
    assert result["errors"] == []
    assert result["duration"] >= 0


def test_only_the_named_namespace_is_processed(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeStore())
    result = selfheal.create_self_healing_crew().execute_self_healing_workflow(
        {"namespace": "staging"}
    )
    assert result["incidents"] == []
    assert result["success"] is True


def test_an_unreachable_cluster_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("selfheal.adapters.kube.connection.KUBECONFIG", str(tmp_path / "none"))
    result = selfheal.create_self_healing_crew().execute_self_healing_workflow()
    assert result["success"] is False
    assert "set KUBECONFIG" in result["errors"][0]


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"namspace": "production"}, "unknown inputs namspace"),
        ({"priority_threshold": "high"}, "Low, Medium, High, Critical"),
        ({"incident_keywords": "OutOfMemory"}, "list of texts"),
        ({"incident_keywords": [1]}, "list of texts"),
        ({"namespace": ""}, "namespace must be a name"),
    ],
)
def test_inputs_that_cannot_be_understood(inputs: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        selfheal.create_self_healing_crew().execute_self_healing_workflow(inputs)


def test_a_folder_of_configuration_may_be_named(tmp_path: Any) -> None:
    assert selfheal.create_self_healing_crew(tmp_path).settings.config_path == tmp_path
    assert self_heal_crew.create_self_healing_crew().settings.config_path is None


def test_the_module_is_once() -> None:
    command = [sys.executable, "-m", "selfheal.self_heal_crew", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--output-file" in done.stdout


def test_importing_the_package_brings_no_client() -> None:
    code = "import selfheal, sys; print({'kopf', 'openai', 'jira', 'github'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
