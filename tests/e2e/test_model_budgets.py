"""The operator is killed in the middle of calls of a slow model: what is asked in all stays inside the budget.

Calls are counted where they arrive, at the model's own server, not by the operator.
"""

from __future__ import annotations

import json
import pathlib
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hack import world
from tests.e2e.test_agents import BRIDGE, OOM, free_port, running
from tests.e2e.test_operator_killed import _is_ready, _pods

from selfheal.cli import trial
from selfheal.cli.kubectl import Kubectl

pytestmark = pytest.mark.e2e

CALLS = 4  # of the incident's budget: fewer than its five agents want
KILLS = 3
DELAY = 4.0  # s that each answer takes


def seen(model: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{model}/requests", timeout=5) as answer:
        return dict(json.load(answer))


class KillerInCalls(threading.Thread):
    """Kills the operator's pod, without grace, whenever a call is under way."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model, self.kills = model, 0
        self.over = threading.Event()

    def run(self) -> None:
        while self.kills < KILLS and not self.over.is_set():
            if seen(self.model)["in_flight"] and _is_ready():
                for pod in _pods():
                    name = pod["metadata"]["name"]
                    world.kubectl("-n", world.SYSTEM, "delete", "pod", name, "--grace-period=0", "--force", check=False)
                self.kills += 1
            self.over.wait(0.2)


@pytest.fixture
def slow_model(tmp_path: pathlib.Path) -> Iterator[str]:
    port = free_port()
    argv = [sys.executable, "-m", "tests.fakes.model_server", "--host", BRIDGE, "--port", str(port),
            "--key", "k-e2e", "--delay", str(DELAY)]  # fmt: skip
    with running(argv, tmp_path / "model.log", port):
        yield f"http://{BRIDGE}:{port}"


@pytest.fixture
def policy(installed: None, namespace: str, slow_model: str) -> Iterator[str]:
    name = f"budget-{namespace}"
    agents = {
        "model": {"name": "plausible-1", "baseURL": f"{slow_model}/v1", "credentialsRef": {"name": name}},
        "budget": {"perIncident": {"calls": CALLS}},
    }
    world.kubectl("create", "namespace", namespace)
    world.apply(
        world.secret(name, world.host_of(slow_model), {"apiKey": "k-e2e"}),
        world.policy(name, namespaces=[namespace], agents=agents),
    )
    yield name
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    sandbox.repository().replace_folder(f"{sandbox.values['path']}/{namespace}", {}, "End of the budget's incident")
    world.kubectl("delete", "shp", name, check=False)
    world.kubectl("-n", world.SYSTEM, "delete", "secret", name, check=False)
    world.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def test_kills_in_the_middle_of_calls_spend_no_more_than_the_budget(
    policy: str, namespace: str, slow_model: str
) -> None:
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    kubectl, repository = Kubectl(sandbox.values["kubeconfig"]), sandbox.repository()
    files = trial.trial_manifests.read_files(OOM)
    placed = trial.trial_manifests.place_in_namespace(files, namespace)
    repository.replace_folder(f"{sandbox.values['path']}/{namespace}", placed, "A budget under kills")
    workloads = trial.wait_for_workloads(kubectl, namespace, trial.trial_manifests.list_wanted(files))
    assert trial.find_failing(kubectl, namespace, workloads, lambda text: None), "the example does not fail"
    killer = KillerInCalls(slow_model)
    killer.start()
    body = {
        "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
        "metadata": {"name": "reported", "namespace": namespace},
        "spec": {
            "summary": "checkout restarts again and again", "policyRef": policy,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        },
    }  # fmt: skip
    try:
        kubectl.run("apply", "-f", "-", stdin=json.dumps(body))
        trial.follow(kubectl, repository, namespace, ["reported"], approve=True, timeout=400, say=lambda text: None)
    finally:
        killer.over.set()
        killer.join()
    incident = world.incident(namespace, "reported")
    assert incident is not None
    status, asked = incident["status"], seen(slow_model)
    assert status["phase"] == "INCIDENT_RESOLVED", status.get("message")
    assert killer.kills == KILLS
    assert 1 <= asked["arrived"] <= CALLS, "what arrived at the model is more than the budget"
    assert status["usage"]["modelCalls"] <= CALLS
    spent = json.loads(world.kubectl("get", "shp", policy, "-o", "json"))["status"]["usage"]
    assert spent["tokens"] >= asked["answered_tokens"], "the day's account knows less than the model answered"
