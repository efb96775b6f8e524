"""``selfheal incident watch|move|diff|evidence``, ``policy check``, ``crd``, ``completion``, ``kubectl shi``."""

from __future__ import annotations

import asyncio
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.fakes.store import FakeStore
from tests.fakes.tracker import FakeTracker
from tests.scenario.world import VirtualClock, policy_spec
from tests.unit.cli.runtime import KEY, Adapters, install

from selfheal import ports
from selfheal.api.evidence import DocumentType
from selfheal.api.incident import FixStatus, IncidentStatus, Phase, TicketStatus
from selfheal.cli import main
from selfheal.cli.incident import incident


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    found = FakeStore()
    install(monkeypatch, found)
    return found


def stand(store: FakeStore, **status: Any) -> None:
    known = store.incidents[KEY]
    store.incidents[KEY] = known.evolve(status=IncidentStatus(**status))


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.INCIDENT_RESOLVED, 0), (Phase.INCIDENT_REQUIRES_HUMAN, 2)]
)
def test_watch_tells_each_change_once_and_how_it_ended(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, phase: Phase, code: int
) -> None:
    phases = iter([Phase.PR_CREATED, Phase.PR_CREATED, Phase.PR_MERGED, phase])
    real = store.get_incident

    async def get_incident(key: str) -> Any:
        stand(store, phase=next(phases), message="as it goes")
        return await real(key)

    monkeypatch.setattr(store, "get_incident", get_incident)
    found = run("incident", "watch", KEY)
    assert found.exit_code == code
    told = [line.split()[1] for line in found.output.splitlines()]
    assert told == ["PR_CREATED", "PR_MERGED", phase]


def test_watch_gives_up_at_its_time_out(store: FakeStore) -> None:
    stand(store, phase=Phase.PR_CREATED)
    found = run("incident", "watch", "checkout-oom", "-n", "production", "--timeout", "5")
    assert found.exit_code == 1
    assert "not at its end within 5 s" in found.output


@pytest.mark.parametrize("command", ["watch", "diff", "evidence", "move"])
def test_an_incident_that_is_not_there_is_said_in_a_line(store: FakeStore, command: str) -> None:
    words = ["INCIDENT_RESOLVED"] if command == "move" else []
    found = run("incident", command, "production/nobody", *words)
    if command == "evidence":
        assert (found.exit_code, found.output) == (0, "")
        return
    assert found.exit_code == 1
    assert found.output.startswith("Error: not found: ")
    assert found.output.count("\n") == 1


def test_diff_prints_what_is_proposed(store: FakeStore) -> None:
    assert "proposes no change" in run("incident", "diff", KEY).output
    document = ports.Document(
        namespace="production", name="p-1", incident="checkout-oom", incident_uid=store.incidents[KEY].metadata.uid, run=1,
        attempt=1, type=DocumentType.PROPOSAL, content={"proposal": {"diff": "-a\n+b\n"}},
    )  # fmt: skip
    asyncio.run(store.ensure_document(document))
    stand(store, fix=FixStatus(summary="more", proposal_ref="p-1"))
    assert run("incident", "diff", KEY).output == "-a\n+b\n"
    stand(store, fix=FixStatus(summary="more", preview="-c\n+d"))
    assert run("incident", "diff", KEY).output == "-c\n+d\n"


def test_evidence_is_listed_and_printed_whole(store: FakeStore) -> None:
    document = ports.Document(
        namespace="production", name="e-1", incident="checkout-oom", incident_uid=store.incidents[KEY].metadata.uid, run=1,
        attempt=2, type=DocumentType.EVIDENCE, content={"items": [{"id": "a"}, {"id": "b"}]},
    )  # fmt: skip
    asyncio.run(store.ensure_document(document))
    line = run("incident", "evidence", KEY).output
    assert line.split() == ["e-1", "Evidence", "run", "1", "attempt", "2", "2", "items"]
    assert run("incident", "evidence", KEY, "--type", "Proposal").output == ""
    (whole,) = json.loads(run("incident", "evidence", KEY, "--json").output)
    assert whole["content"]["items"] == [{"id": "a"}, {"id": "b"}]


def test_move_moves_the_ticket_and_says_who(monkeypatch: pytest.MonkeyPatch) -> None:
    store, tracker = FakeStore(), FakeTracker(VirtualClock())
    install(monkeypatch, store, adapters=Adapters(tracker=tracker))
    store.apply_policy("default", policy_spec())
    assert "has no ticket yet" in run("incident", "move", KEY, "INCIDENT_REQUIRES_HUMAN").output
    key = tracker.add_ticket("checkout is down")
    ticket = next(one.facts for one in tracker.tickets.values() if one.facts.key == key)
    stand(store, ticket=TicketStatus(id=ticket.id, key=key))
    found = run("incident", "move", KEY, "incident_requires_human")
    assert found.output == f"{key} moved from 'To Do' to 'Needs Human Intervention'\n"
    moved = tracker.tickets[ticket.id].facts
    assert moved.status == "Needs Human Intervention"
    assert "selfheal incident move" in moved.comments[-1].body
    assert store.incidents[KEY].metadata.annotations["selfheal.dev/poke"]
    again = run("incident", "move", KEY, "INCIDENT_REQUIRES_HUMAN")
    assert "stands in 'Needs Human Intervention' already" in again.output
    assert len(tracker.tickets[ticket.id].facts.comments) == len(moved.comments)


def test_move_without_a_tracker_marks_the_incident(store: FakeStore) -> None:
    store.apply_policy("default", policy_spec())
    found = run("incident", "move", KEY, "INCIDENT_RESOLVED")
    assert "no tracker is configured" in found.output
    marked = store.incidents[KEY].metadata.annotations["selfheal.dev/transition-to"]
    assert marked.startswith("INCIDENT_RESOLVED/")


def test_policy_check_names_file_policy_and_field(tmp_path: pathlib.Path) -> None:
    spec = {"tracker": {"type": "Jira"}, "code": {"pollInterval": "soon"}}
    documents = [
        {"kind": "SelfHealingPolicy", "metadata": {"name": "a"}, "spec": spec},
        {"kind": "SelfHealingPolicy", "metadata": {"name": "b"}, "spec": {"tracker": {"type": "Jira"}}},
        {"kind": "ConfigMap"},
    ]  # fmt: skip
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    found = run("policy", "check", str(file))
    assert found.exit_code == 1
    assert f"{file}: a: wrong\n  spec.code.pollInterval: " in found.output
    assert f"{file}: b: wrong\n  spec.tracker.project: " in found.output
    file.write_text(yaml.safe_dump({"kind": "SelfHealingPolicy", "metadata": {"name": "c"}}))
    valid = run("policy", "check", str(file))
    assert valid.exit_code == 0
    assert valid.output == f"{file}: c: valid\n"


def test_policy_check_of_what_is_no_policy(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: [")
    assert "not YAML" in run("policy", "check", str(file)).output
    file.write_text("kind: ConfigMap")
    assert "no SelfHealingPolicy found" in run("policy", "check", str(file)).output


def test_policy_check_of_the_cluster(store: FakeStore) -> None:
    store.apply_policy("default", policy_spec())
    assert run("policy", "check").output.startswith("default: ")


def test_crd_prints_what_is_committed() -> None:
    printed = list(yaml.safe_load_all(run("crd").output))
    crds = pathlib.Path(__file__).resolve().parents[3] / "crds"
    files = crds.glob("selfheal*.yaml")
    committed = [yaml.safe_load(file.read_text()) for file in sorted(files)]
    assert sorted(printed, key=lambda one: one["metadata"]["name"]) == sorted(
        committed, key=lambda one: one["metadata"]["name"]
    )
    assert len(printed) == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    found = run("completion", shell)
    assert found.exit_code == 0
    assert "_SELFHEAL_COMPLETE" in found.output


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_bash_script_is_bash() -> None:
    script = run("completion", "bash").output
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_kubectl_plugin_is_the_incident_command() -> None:
    assert set(incident.commands) >= {"list", "show", "watch", "move", "poke", "diff", "evidence"}
    plugin = pathlib.Path(sys.executable).parent / "kubectl-shi"
    done = subprocess.run([str(plugin), "--help"], text=True, capture_output=True, check=False)
    assert done.returncode == 0
    assert "watch" in done.stdout
