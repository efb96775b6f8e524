"""No Secret of the real cluster can be read through the real kubernetes-mcp-server, over stdio and over HTTP.

Four things keep Secrets in, and each is tried without the others: the rights of the shipped ServiceAccount, the shipped
configuration of the server, our refusal of the kind, and our cleaning of what comes back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import yaml
from hack import world
from tests.contract.test_tool_host import find_kubernetes_binary

from selfheal import redaction
from selfheal.adapters.mcp import build_servers, host, kubernetes, results, servers
from selfheal.agents import tools as agent_tools
from selfheal.api import policy

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

SHIPPED = world.ROOT / "manifests" / "mcp" / "kubernetes.yaml"
VALUE = f"plain-{uuid.uuid4().hex}"
CODED = base64.b64encode(VALUE.encode()).decode()

SECRET = {"apiVersion": "v1", "kind": "Secret"}
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resources_get", {**SECRET, "name": "db"}),
    ("resources_get", {**SECRET, "name": "db", "apiVersion": "/v1"}),
    ("resources_get", {**SECRET, "name": "db", "kind": "secret"}),
    ("resources_get", {**SECRET, "name": "db", "kind": "secrets"}),
    ("resources_get", {**SECRET, "name": "db", "kind": "SecretList"}),
    ("resources_get", {**SECRET, "name": "db", "kind": " Secret "}),
    ("resources_list", SECRET),
    ("resources_list", {**SECRET, "kind": "Secrets"}),
    ("resources_list", {**SECRET, "kind": "SecretList"}),
    ("resources_list", {**SECRET, "labelSelector": "app=db"}),
    ("resources_list", {**SECRET, "fieldSelector": "metadata.name=db"}),
    ("resources_list", {**SECRET, "namespace": ""}),
)
OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resources_get", {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}),
    ("resources_list", {"apiVersion": "apps/v1", "kind": "Deployment"}),
    ("resources_get", {"apiVersion": "v1", "kind": "Pod", "name": "app"}),
    ("pods_get", {"name": "app"}),
    ("pods_list_in_namespace", {}),
    ("events_list", {}),
    ("resources_get", {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}),
    ("resources_list", {"apiVersion": "v1", "kind": "ConfigMap"}),
)


def build_objects() -> list[dict[str, Any]]:
    """A Secret, and objects that carry the same value where kubectl and people leave it."""
    labels = {"app": "db"}
    pause = {"name": "app", "image": "registry.k8s.io/pause:3.9"}
    by_reference = {"name": "DB", "valueFrom": {"secretKeyRef": {"name": "db", "key": "blob"}}}
    by_value = {"name": "DB_PASSWORD", "value": VALUE}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{**pause, "args": ["--dsn", VALUE]}]}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}},
        {**SECRET, "metadata": {"name": "db", "labels": labels}, "stringData": {"blob": VALUE}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"DB_PASSWORD": VALUE}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
            "spec": {"serviceAccountName": "app", "automountServiceAccountToken": False, "nodeSelector": {"none": "such"},
                     "containers": [{**pause, "env": [by_reference, by_value]}]},
        },
    ]  # fmt: skip


@pytest.fixture(scope="module")
def binary() -> str:
    found = find_kubernetes_binary()
    assert found, "kubernetes-mcp-server is missing: run `python -m hack.sandbox.github.install`"
    return found


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace with the Secret; applied with kubectl, so that the last-applied annotation is the real one."""
    name = f"mcp-{uuid.uuid4().hex[:8]}"
    world.kubectl("create", "namespace", name)
    try:
        text = "\n---\n".join(json.dumps(each) for each in build_objects())
        world.kubectl("-n", name, "apply", "-f", "-", stdin=text)
        # the value goes from the Deployment, and stays in the annotation alone
        gone = [{"op": "remove", "path": "/spec/template/spec/containers/0/args"}]
        world.kubectl("-n", name, "patch", "deployment", "app", "--type=json", "-p", json.dumps(gone))
        yield name
    finally:
        world.kubectl("delete", "clusterrole", name, "--ignore-not-found", check=False)
        world.kubectl("delete", "namespace", name, "--wait=false", check=False)


def read_kubeconfig() -> dict[str, Any]:
    path = os.environ["KUBECONFIG"] if os.environ.get("CLUSTER") == "current" else str(world.CLUSTER / "kubeconfig")
    return dict(yaml.safe_load(pathlib.Path(path).read_text()))


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("admin") / "kubeconfig"
    path.write_text(yaml.safe_dump(read_kubeconfig()))
    return path


@pytest.fixture(scope="module")
def shipped(space: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The kubeconfig of a ServiceAccount with just the rights of manifests/mcp/kubernetes.yaml."""
    (role,) = (each for each in yaml.safe_load_all(SHIPPED.read_text()) if each["kind"] == "ClusterRole")
    world.kubectl("apply", "-f", "-", stdin=json.dumps({**role, "metadata": {"name": space}}))
    world.kubectl("-n", space, "create", "serviceaccount", "mcp")
    world.kubectl(
        "-n", space, "create", "rolebinding", "mcp", f"--clusterrole={space}", f"--serviceaccount={space}:mcp"
    )
    config = read_kubeconfig()
    token = world.kubectl("-n", space, "create", "token", "mcp").strip()
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    path = tmp_path_factory.mktemp("shipped") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """Which of the protections of a server are on."""

    configured: bool  # the shipped configuration, or read-only mode alone
    rights: str  # of the shipped role, or the administrator's


SETTINGS = {
    "as-shipped": Setting(configured=True, rights="shipped"),
    "admin-rights": Setting(configured=True, rights="admin"),
    "no-configuration": Setting(configured=False, rights="shipped"),
    "careless": Setting(configured=False, rights="admin"),
}


def build_argv(binary: str, setting: Setting, kubeconfig: pathlib.Path, folder: pathlib.Path) -> list[str]:
    argv = [binary, "--kubeconfig", str(kubeconfig), "--disable-multi-cluster"]
    if setting.configured:
        (config,) = (each for each in yaml.safe_load_all(SHIPPED.read_text()) if each["kind"] == "ConfigMap")
        path = folder / "config.toml"
        path.write_text(config["data"]["config.toml"])
        return [*argv, "--config", str(path)]
    path = folder / "empty.toml"
    path.write_text('read_only = true\ntoolsets = ["core"]\nlist_output = "yaml"\n')
    return [*argv, "--config", str(path)]


@contextlib.contextmanager
def serve(argv: list[str], folder: pathlib.Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as out:
        child = subprocess.Popen([*argv, "--port", str(port), "--bind-address", "127.0.0.1", "--stateless"], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert child.poll() is None, log.read_text()[-1000:]
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.terminate()
        child.wait(10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    tools: host.McpToolHost
    setting: Setting
    space: str

    async def read(self, name: str, arguments: dict[str, Any]) -> str:
        return await self.tools.call_tool("kubernetes", name, {"namespace": self.space, **arguments})


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[f"{way}-{name}" for way in ("stdio", "http") for name in SETTINGS]
)
async def line(
    request: pytest.FixtureRequest, binary: str, space: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Line]:
    way, _, name = request.param.partition("-")
    setting, folder = SETTINGS[name], tmp_path_factory.mktemp(name)
    argv = build_argv(binary, setting, request.getfixturevalue(setting.rights), folder)
    with contextlib.ExitStack() as stack:
        if way == "stdio":
            spec = policy.McpServerSpec(name="kubernetes", command="kubernetes")
            built = build_servers([spec], commands={"kubernetes": servers.Command(argv=tuple(argv))})
        else:
            spec = policy.McpServerSpec(name="kubernetes", url=stack.enter_context(serve(argv, folder)))
            built = build_servers([spec], commands={})
        tools = host.McpToolHost(built)
        yield Line(tools=tools, setting=setting, space=space)
        await tools.close()


def assert_clean(text: str, what: str) -> None:
    leaked = [form for form in (VALUE, CODED, CODED[:-4]) if form in text]
    assert not leaked, f"{what} shows the value"


async def test_no_way_of_asking_for_a_secret_shows_it(line: Line) -> None:
    refused = 0
    for name, arguments in READS:
        text = await line.read(name, arguments)
        assert_clean(text, f"{name} {arguments}")
        refused += text.startswith("error: ")
    if line.setting.configured or line.setting.rights == "shipped":
        assert refused == len(READS)


async def test_nor_does_any_other_object_that_carries_a_copy(line: Line) -> None:
    for name, arguments in OTHERS:
        assert_clean(await line.read(name, arguments), f"{name} {arguments}")


async def test_what_is_harmless_is_read(line: Line) -> None:
    pod = await line.read("pods_get", {"name": "app"})
    assert "DB_PASSWORD" in pod
    assert "secretKeyRef" in pod  # which Secret is used may be known
    deployment = await line.read("resources_get", {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"})
    assert f"{redaction.LAST_APPLIED}: {redaction.MASK}" in deployment
    assert "replicas: 0" in deployment


async def test_an_agent_is_refused_before_the_server_is_asked(line: Line) -> None:
    scope = agent_tools.Scope(namespace=line.space)
    offered, problems = await agent_tools.build_remote(
        line.tools, ["kubernetes"], configured=frozenset({"kubernetes"}), scope=scope, consent=True
    )
    assert problems == []
    by_name = {tool.name.removeprefix("kubernetes__"): tool for tool in offered}
    assert set(by_name) == servers.PACKAGED_TOOLS["kubernetes"]
    for name, arguments in READS:
        asked = {key: value for key, value in arguments.items() if key in by_name[name].schema["properties"]}
        text = await by_name[name].run(asked)
        assert_clean(text, f"{name} {asked}")
        if re.fullmatch(r"secrets?", arguments["kind"].strip().lower()):
            assert text == "error: Secrets are never read"
    elsewhere = await by_name["resources_list"].run({"apiVersion": "v1", "kind": "Pod", "namespace": "kube-system"})
    assert elsewhere.startswith("error: namespace is fixed")


async def test_the_tests_can_fail_a_careless_server_does_leak(
    binary: str, space: str, admin: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the configuration, with an administrator's rights and without our cleaning the value comes out."""
    monkeypatch.setattr(results, "clean", lambda text: text)
    argv = build_argv(binary, SETTINGS["careless"], admin, tmp_path)
    bare = servers.Server(
        name="kubernetes",
        allowed_tools=servers.PACKAGED_TOOLS["kubernetes"],
        command=servers.Command(argv=tuple(argv)),
    )
    tools = host.McpToolHost([bare])
    asked = [(name, {"namespace": space, **arguments}) for name, arguments in (*READS, *OTHERS)]
    texts = await asyncio.gather(*(tools.call_tool("kubernetes", name, arguments) for name, arguments in asked))
    await tools.close()
    plain = [name for (name, _), text in zip(asked, texts, strict=True) if VALUE in text]
    coded = [name for (name, _), text in zip(asked, texts, strict=True) if CODED in text]
    assert plain
    assert coded
    copies = [text for text in texts if redaction.LAST_APPLIED in text and VALUE in text]
    assert copies, "no last-applied-configuration showed the value"


async def test_the_packaged_configuration_is_the_shipped_one(tmp_path: pathlib.Path) -> None:
    (config,) = (each for each in yaml.safe_load_all(SHIPPED.read_text()) if each["kind"] == "ConfigMap")
    assert config["data"]["config.toml"] == kubernetes.render_config()
