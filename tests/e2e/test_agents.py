"""With a model set, an incident shows calls of all five agents, and tool calls through the real Kubernetes MCP server.

The model is scripted (`tests/fakes/model_server.py`); the MCP server is npm's `kubernetes-mcp-server` with our
read-only configuration, as a ServiceAccount that may only view the incident's namespace. Both run beside the cluster.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hack import world
from tests.contract.test_tool_host import find_kubernetes_binary

from selfheal.adapters.mcp import kubernetes
from selfheal.cli import trial
from selfheal.cli.kubectl import Kubectl

pytestmark = pytest.mark.e2e

BRIDGE = "172.30.0.1"  # where pods reach what runs beside the cluster
OOM = world.ROOT / "examples" / "oom"
ANSWERS = {  # who must have given which answer; taking an agent away fails its line
    "jira_monitor": "TriageAnswer",
    "root_cause_analyzer": "Analysis",
    "code_fix_generator": "FixAnswer",
    "pr_manager": "PullRequestText",
    "deployment_monitor": "DeploymentReport",
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((BRIDGE, 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    def open_now() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((BRIDGE, port)) == 0

    world.wait_until(f"port {port}", open_now, timeout=20, every=0.05)


@contextlib.contextmanager
def running(argv: list[str], log: pathlib.Path, port: int) -> Iterator[None]:
    """A program beside the cluster, ended with all that it started."""
    with log.open("w") as out:
        child = subprocess.Popen(
            argv, stdout=out, stderr=subprocess.STDOUT, cwd=world.ROOT, start_new_session=True
        )
    try:
        wait_for_port(port)
        yield
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> Iterator[str]:
    port = free_port()
    argv = [sys.executable, "-m", "tests.fakes.model_server", "--host", BRIDGE, "--port", str(port), "--key", "k-e2e"]
    with running(argv, tmp_path / "model.log", port):
        yield f"http://{BRIDGE}:{port}"


def view_only(namespace: str, folder: pathlib.Path) -> pathlib.Path:
    """A kubeconfig of a ServiceAccount that may view this namespace and nothing else."""
    world.kubectl("-n", namespace, "create", "serviceaccount", "mcp")
    world.kubectl(
        "-n", namespace, "create", "rolebinding", "mcp", "--clusterrole=view", f"--serviceaccount={namespace}:mcp"
    )
    token = world.kubectl("-n", namespace, "create", "token", "mcp").strip()
    config = yaml.safe_load((world.CLUSTER / "kubeconfig").read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def tool_server(namespace: str, tmp_path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    binary = find_kubernetes_binary()
    assert binary is not None, "kubernetes-mcp-server is missing: run `python -m hack.sandbox.github.install`"
    world.kubectl("create", "namespace", namespace)
    port, log = free_port(), tmp_path / "mcp.log"
    argv = [
        binary, "--config", str(kubernetes.write_config(tmp_path)), "--log-level", "5", "--port", str(port),
        "--bind-address", BRIDGE, "--kubeconfig", str(view_only(namespace, tmp_path)), "--disable-multi-cluster",
    ]  # fmt: skip
    with running(argv, log, port):
        yield f"http://{BRIDGE}:{port}/mcp", log


@pytest.fixture
def policy(installed: None, namespace: str, model: str, tool_server: tuple[str, pathlib.Path]) -> Iterator[str]:
    """A policy of the test's own that has a model and an MCP server."""
    name = f"agents-{namespace}"
    agents = {
        "model": {
            "name": "plausible-1", "baseURL": f"{model}/v1", "credentialsRef": {"name": name},
            "inputPrice": 1.0, "outputPrice": 2.0,
        },
        "mcpServers": [{"name": "kubernetes", "url": tool_server[0]}],
    }  # fmt: skip
    world.apply(
        world.secret(name, world.host_of(model), {"apiKey": "k-e2e"}),
        world.policy(name, namespaces=[namespace], agents=agents),
    )
    yield name
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    folder = f"{sandbox.values['path']}/{namespace}"
    sandbox.repository().replace_folder(folder, {}, "End of the incident of five agents")
    world.kubectl("delete", "shp", name, check=False)
    world.kubectl("-n", world.SYSTEM, "delete", "secret", name, check=False)
    world.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def heal(namespace: str, policy: str) -> dict[str, Any]:
    """Break a workload, report it in plain words without naming a target, follow the incident to its end."""
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    kubectl, repository = Kubectl(sandbox.values["kubeconfig"]), sandbox.repository()
    files = trial.trial_manifests.read_files(OOM)
    placed = trial.trial_manifests.place_in_namespace(files, namespace)
    repository.replace_folder(f"{sandbox.values['path']}/{namespace}", placed, "All five agents")
    wanted = trial.trial_manifests.list_wanted(files)
    workloads = trial.wait_for_workloads(kubectl, namespace, wanted)
    failing = trial.find_failing(kubectl, namespace, workloads, lambda text: None)
    assert failing, "the example does not fail"
    body = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingIncident",
        "metadata": {"name": "reported", "namespace": namespace},
        "spec": {"summary": "Customers cannot pay: checkout restarts again and again", "policyRef": policy},
    }
    kubectl.run("apply", "-f", "-", stdin=json.dumps(body))
    trial.follow(
        kubectl, repository, namespace, ["reported"], approve=True, timeout=240, say=lambda text: None
    )
    found = world.incident(namespace, "reported")
    assert found is not None
    return dict(found["status"])


def read_transcripts(namespace: str) -> list[dict[str, Any]]:
    stored = json.loads(world.kubectl("-n", namespace, "get", "selfhealingevidences", "-o", "json"))["items"]
    documents = [json.loads(gzip.decompress(base64.b64decode(each["spec"]["content"]))) for each in stored]
    return [entry for content in documents for entry in content.get("messages", [])]


def test_all_five_agents_work_and_look_through_the_kubernetes_server(
    policy: str, namespace: str, model: str, tool_server: tuple[str, pathlib.Path]
) -> None:
    status = heal(namespace, policy)
    assert status["phase"] == "INCIDENT_RESOLVED", status.get("message")
    assert status["target"]["name"] == "checkout"
    assert (status["diagnosis"]["class"], status["diagnosis"]["by"]) == ("OOMKilled", "Both")
    assert "ModelDegraded" not in {condition["type"] for condition in status["conditions"]}

    with urllib.request.urlopen(f"{model}/requests") as answer:
        asked = json.load(answer)
    called = status["usage"]["byAgent"]
    for agent, kind in ANSWERS.items():
        assert called.get(agent, 0) >= 1, f"{agent} was never called: {called}"
        assert asked["types"].get(kind, 0) >= 1, f"{agent} gave no {kind}: {asked['types']}"
    assert status["usage"]["modelCalls"] == asked["count"] == sum(called.values())
    assert status["usage"]["cost"] > 0

    said = read_transcripts(namespace)
    results = [entry["content"] for entry in said if entry["role"] == "tool"]
    assert asked["tool_calls"] >= 1
    assert any("checkout-" in text for text in results), "no tool result shows the pods of the namespace"
    assert "pods_list_in_namespace" in tool_server[1].read_text(), "the MCP server saw no call"
