"""Every command through click's runner: flags, output, exit codes, errors in one line."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.fakes.store import FakeStore
from tests.scenario.world import policy_spec
from tests.unit.cli.runtime import KEY, Adapters, Step, install

from selfheal.api.incident import Phase
from selfheal.cli import main
from selfheal.domain import errors
from selfheal.handlers import runner
from selfheal.settings import Settings

COMMANDS = [
    ["operator"],
    ["once"],
    ["doctor"],
    ["try"],
    ["incident"],
    ["incident", "list"],
    ["incident", "show"],
    ["incident", "poke"],
    ["incident", "watch"],
    ["incident", "move"],
    ["incident", "diff"],
    ["incident", "evidence"],
    ["policy", "check"],
    ["crd"],
    ["completion"],
]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: list[str]) -> None:
    found = run(*words, "--help")
    assert found.exit_code == 0
    assert found.output.startswith("Usage:")


@pytest.mark.parametrize("words", [["operator"], ["once"], ["doctor"], ["incident", "list"]])
def test_wrong_settings_are_one_line(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_CONCURRENCY", "0")
    found = run(*words)
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: settings: SELFHEAL_CONCURRENCY: ")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["operator", "once"])
def test_unknown_log_level_is_refused(command: str) -> None:
    found = run(command, "--log-level", "LOUD")
    assert found.exit_code == 2
    assert "DEBUG" in found.stderr


def test_operator_passes_its_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    started: list[Settings] = []

    async def run_operator(settings: Settings) -> None:
        started.append(settings)

    monkeypatch.setattr(runner, "run_operator", run_operator)
    words = ["--log-level", "DEBUG", "--read-only", "--dry-run", "--log-dir", str(tmp_path / "l")]
    assert run("operator", *words, "--config-path", str(tmp_path)).exit_code == 0
    (settings,) = started
    assert (settings.log_level, settings.read_only, settings.dry_run) == ("DEBUG", True, True)
    assert (settings.log_dir, settings.config_path) == (tmp_path / "l", tmp_path)


def test_operator_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_operator(settings: Settings) -> None:
        raise errors.Unreachable("no usable cluster access; set KUBECONFIG")

    monkeypatch.setattr(runner, "run_operator", run_operator)
    found = run("operator")
    assert found.exit_code == 1
    assert found.stderr == "Error: no usable cluster access; set KUBECONFIG\n"


def test_once_writes_the_documented_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    install(monkeypatch, FakeStore())
    found = run("once", "--output-file", str(tmp_path / "result.json"))
    assert found.exit_code == 0
    written = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(found.stdout) == written
    assert written.pop("duration") >= 0
    assert written == {
        "success": True,
        "incidents": [
            {
                "name": KEY,
                "phase": "INCIDENT_RESOLVED",
                "message": "",
                "class": None,
                "ticket": None,
                "pullRequest": None,
            }
        ],
        "counts": {"INCIDENT_RESOLVED": 1},
        "errors": [],
        "usage": {"modelCalls": 0, "inputTokens": 0, "outputTokens": 0, "cost": 0.0},
    }


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.INCIDENT_RESOLVED, 0),
        (Phase.DEPLOYMENT_IN_PROGRESS, 0),
        (Phase.PR_CREATED, 2),
        (Phase.PR_UNDER_REVIEW, 2),
        (Phase.INCIDENT_REQUIRES_HUMAN, 2),
    ],
)
def test_once_exit_codes(phase: Phase, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeStore(), step=Step(phase))
    assert run("once").exit_code == code


def test_once_steps_until_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    step = install(monkeypatch, FakeStore(), step=Step(Phase.PR_CREATED, turns=5))
    assert run("once").exit_code == 2
    assert step.taken == 5
    assert run("once").exit_code == 2
    assert step.taken == 6, "run again, it looks once and waits again"


def test_once_that_does_not_come_to_rest_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeStore(), step=Step(Phase.PR_CREATED, turns=10_000))
    found = run("once")
    assert found.exit_code == 1
    assert "did not come to rest" in json.loads(found.stdout)["errors"][0]


def test_once_refuses_an_unknown_priority() -> None:
    found = run("once", "--priority", "high")
    assert found.exit_code == 2
    assert "Critical" in found.stderr


def test_once_without_a_cluster_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr("selfheal.adapters.kube.connection.KUBECONFIG", str(tmp_path / "none"))
    found = run("once")
    assert found.exit_code == 1
    assert found.stderr.splitlines()[-1].startswith("Error: no usable cluster access")
    assert "Traceback" not in found.stderr


def test_incidents_are_listed_shown_and_poked(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    install(monkeypatch, store)
    assert run("incident", "list").stdout.split()[0] == KEY
    assert run("incident", "list", "-n", "staging").stdout == ""
    assert json.loads(run("incident", "show", "checkout-oom", "-n", "production").stdout) == (
        store.incidents[KEY].status.to_wire()
    )
    assert run("incident", "poke", "checkout-oom", "-n", "production").exit_code == 0
    assert "selfheal.dev/poke" in store.incidents[KEY].metadata.annotations


@pytest.mark.parametrize("command", ["show", "poke"])
def test_an_incident_that_is_not_there(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeStore())
    found = run("incident", command, "nothing")
    assert found.exit_code == 1
    assert "not found" in found.stderr


class Tracker:
    """A tracker whose project lacks something."""

    async def check(self, statuses: dict[str, Any]) -> list[str]:
        return ["No way to Generating Fix."]


class Code:
    """A code host that lets nobody push."""

    async def get_repository(self, name: str) -> Any:
        raise errors.Unauthorized(f"the token is refused for {name}")


def test_doctor_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp-very-secret")
    store = FakeStore()
    store.apply_policy("default", policy_spec())
    install(monkeypatch, store, adapters=Adapters(tracker=Tracker(), code=Code()))
    found = run("doctor")
    assert found.exit_code == 1
    assert "GITHUB_TOKEN set, ATLASSIAN_TOKEN not set" in found.stdout
    assert "FAIL  policies: the token is refused for acme/gitops" in found.stdout
    assert "very-secret" not in found.output


def test_doctor_examines_policy_tracker_and_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.apply_policy("default", policy_spec())
    install(monkeypatch, store, adapters=Adapters(tracker=Tracker()))
    found = {row["check"]: row for row in json.loads(run("doctor", "--json").stdout)}
    assert found["policy default"]["ok"] is True
    assert found["tracker of default"] == {
        "check": "tracker of default",
        "ok": False,
        "message": "No way to Generating Fix.",
    }


def test_doctor_checks_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    install(monkeypatch, FakeStore())
    assert "ok    agents and tasks: valid" in run("doctor").stdout
    (tmp_path / "self_heal_agents.yaml").write_text("- wrong")
    monkeypatch.setenv("SELFHEAL_CONFIG_PATH", str(tmp_path))
    found = run("doctor")
    assert found.exit_code == 1
    assert "FAIL  agents and tasks: " in found.stdout


def test_doctor_writes_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    install(monkeypatch, FakeStore())
    monkeypatch.setenv("SELFHEAL_LOG_DIR", str(tmp_path / "logs"))
    assert run("doctor").exit_code == 0
    assert (tmp_path / "logs/test_self_heal.log").exists()


def test_try_without_a_sandbox_says_what_to_run(tmp_path: pathlib.Path) -> None:
    found = run("try", str(tmp_path), "--sandbox", str(tmp_path / "none.json"))
    assert found.exit_code == 2
    assert "none.json" in found.stderr


def test_try_with_an_empty_folder_is_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = tmp_path / "sandbox.json"
    sandbox.write_text(json.dumps({"kubeconfig": str(tmp_path / "kubeconfig")}))
    found = run("try", str(tmp_path), "--sandbox", str(sandbox))
    assert found.exit_code == 1
    assert "holds no .yaml files" in found.stderr
