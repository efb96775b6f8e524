"""`selfheal jira check` against the sandbox Jira: what it prints, and that it mends nothing itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from tests.contract import issue_tracker_worlds as worlds
from tests.fakes.store import FakeStore
from tests.scenario.world import policy_spec
from tests.unit.cli.runtime import Adapters, install

from selfheal.adapters import jira
from selfheal.api.policy import TrackerSpec
from selfheal.cli import main

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    server = worlds.start_sandbox(tmp_path_factory.mktemp("sandbox"))
    yield server
    server.close()


def run(
    monkeypatch: pytest.MonkeyPatch, server: worlds.Server, *, token: str = worlds.TOKEN, **tracker: str
) -> Result:
    wire = {"baseURL": server.url, "cloudId": worlds.CLOUD_ID, "issueType": "Task", **tracker}
    spec = policy_spec(tracker=wire)
    store = FakeStore()
    store.apply_policy("default", spec)
    connected = jira.connect(TrackerSpec.model_validate(spec.tracker.to_wire()), {"token": token})
    install(monkeypatch, store, adapters=Adapters(tracker=connected))
    return CliRunner().invoke(main, ["jira", "check", "--policy", "default"])


def test_a_project_that_fits_lacks_nothing(
    monkeypatch: pytest.MonkeyPatch, sandbox: worlds.Server
) -> None:
    done = run(monkeypatch, sandbox)
    assert (done.output, done.exit_code) == ("policy default: everything is there\n", 0)


def test_each_missing_status_is_named_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, sandbox: worlds.Server
) -> None:
    done = run(monkeypatch, sandbox, project="PLAIN")
    lines = done.output.splitlines()
    assert done.exit_code == 1
    assert lines[0] == "policy default: to be mended"
    assert (
        "  1. tracker.statuses.ANALYSIS_COMPLETE: the workflow of project PLAIN has no status Analysis "
        "Complete; add it, or map the phase to one of Done, In Progress, To Do"
    ) in lines
    assert len(lines) > 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token": "wrong"}, "token"),
        ({"project": "NOPE"}, "tracker.project: NOPE does not exist"),
        ({"issueType": "Epic"}, "tracker.issueType: project OPS has no Epic; set one of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, sandbox: worlds.Server, wrong: dict[str, str], said: str
) -> None:
    done = run(monkeypatch, sandbox, **wrong)  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert said in done.output
    assert len(done.output.splitlines()) == 2


def test_without_a_tracker_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.apply_policy("default", policy_spec(tracker={"type": "None"}))
    install(monkeypatch, store, adapters=Adapters())
    done = CliRunner().invoke(main, ["jira", "check"])
    assert done.exit_code == 1
    assert "no policy has a tracker" in done.output
