"""manifests/mcp on a real API server: accepted field by field, restricted, and the Kubernetes server runs there as shipped."""

from __future__ import annotations

import copy
import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hack import world
from tests.contract.test_tool_host import find_kubernetes_binary

from selfheal.adapters.mcp import host, servers

pytestmark = pytest.mark.e2e

FOLDER = world.ROOT / "manifests" / "mcp"
NAMESPACED = ("ServiceAccount", "ConfigMap", "Deployment", "Service", "NetworkPolicy", "Secret")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that takes restricted pods only."""
    name = f"mcp-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        world.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(world.ROOT / "crds"))
        world.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/selfhealingpolicies.selfheal.dev")
        yield name
    finally:
        world.kubectl("delete", "clusterrole,clusterrolebinding", name, "--ignore-not-found", check=False)
        world.kubectl("delete", "namespace", name, "--wait=false", check=False)


def read(name: str, namespace: str) -> list[dict[str, Any]]:
    """The objects of a file, placed in the namespace; what is cluster-wide bears its name."""
    found = [each for each in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()) if each]
    for each in found:
        if each["kind"] in NAMESPACED:
            each["metadata"]["namespace"] = namespace
        else:
            each["metadata"]["name"] = namespace
    for each in found:
        if each["kind"] == "ClusterRoleBinding":
            each["roleRef"]["name"] = namespace
            each["subjects"][0]["namespace"] = namespace
    return found


def dry_run(*objects: dict[str, Any]) -> str:
    text = "\n---\n".join(json.dumps(each) for each in objects)
    return world.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


@pytest.mark.parametrize("name", ["kubernetes", "jira-datacenter", "credentials-cloud", "credentials-datacenter"])
def test_every_object_is_accepted_field_by_field(name: str, namespace: str) -> None:
    objects = read(name, namespace)
    assert dry_run(*objects).count("server dry run") == len(objects)


@pytest.mark.parametrize("name", ["kubernetes", "jira-datacenter"])
def test_the_pods_pass_the_restricted_standard(name: str, namespace: str) -> None:
    objects = {each["kind"]: each for each in read(name, namespace)}
    world.apply(objects["ServiceAccount"])
    template = objects["Deployment"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
    pod["metadata"] = {"name": f"dry-{name}", "namespace": namespace}
    dry_run(pod)
    lax = copy.deepcopy(pod)
    del lax["spec"]["securityContext"]["runAsNonRoot"]
    with pytest.raises(world.WorldError, match="restricted"):
        dry_run(lax)


@pytest.mark.parametrize("place", ["cloud", "datacenter"])
def test_the_policy_snippets_are_accepted(place: str) -> None:
    (snippet,) = (each for each in yaml.safe_load_all((FOLDER / f"policy-{place}.yaml").read_text()))
    whole = {"apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingPolicy", "metadata": {"name": "snippet"}}
    assert "server dry run" in dry_run({**whole, **snippet})
    wrong = copy.deepcopy(snippet)
    wrong["spec"]["agents"]["mcpServers"][0]["command"] = "kubernetes"
    with pytest.raises(world.WorldError, match="url and command exclude each other"):
        dry_run({**whole, **wrong})


@pytest.fixture(scope="module")
def address(namespace: str) -> str:
    """The shipped server in a pod; for want of its image the same program, mounted from the machine."""
    binary = find_kubernetes_binary()
    assert binary, "kubernetes-mcp-server is missing: run `python -m hack.sandbox.github.install`"
    # the mount is what the restricted standard forbids; all else is as shipped
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    objects = read("kubernetes", namespace)
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0] |= {"image": "debian:bookworm", "command": ["/opt/server"], "imagePullPolicy": "IfNotPresent"}
    pod["containers"][0]["volumeMounts"].append({"name": "program", "mountPath": "/opt/server", "readOnly": True})
    api = json.loads(world.kubectl("-n", "default", "get", "service", "kubernetes", "-o", "json"))["spec"]["clusterIP"]
    pod["hostAliases"] = [{"ip": api, "hostnames": ["kubernetes.default.svc"]}]  # the local cluster has no DNS
    pod["volumes"].append({"name": "program", "hostPath": {"path": binary, "type": "File"}})
    world.apply(*objects)
    world.kubectl("-n", namespace, "rollout", "status", "deployment/selfheal-mcp-kubernetes", "--timeout=120s")
    service = json.loads(world.kubectl("-n", namespace, "get", "service", "selfheal-mcp-kubernetes", "-o", "json"))
    place = (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])

    def is_served() -> bool:
        with socket.socket() as sock:
            sock.settimeout(2)
            return sock.connect_ex(place) == 0

    world.wait_until("the Service's rules", is_served, timeout=60, every=0.2)  # kube-proxy is behind the rollout
    return f"http://{place[0]}:{place[1]}/mcp"


async def test_the_kubernetes_server_runs_as_shipped_and_reads_no_secret(address: str, namespace: str) -> None:
    world.kubectl("-n", namespace, "create", "secret", "generic", "db", "--from-literal=blob=plain-value-of-a-secret")
    allowed = servers.PACKAGED_TOOLS["kubernetes"]
    real = host.McpToolHost([servers.Server(name="kubernetes", allowed_tools=allowed, url=address)])
    try:
        assert {tool.name for tool in await real.list_tools("kubernetes")} == allowed
        pods = await real.call_tool("kubernetes", "pods_list_in_namespace", {"namespace": namespace})
        assert "selfheal-mcp-kubernetes" in pods
        for kind in ("Secret", "ConfigMap", "Role"):
            version = "rbac.authorization.k8s.io/v1" if kind == "Role" else "v1"
            arguments = {"apiVersion": version, "kind": kind, "namespace": namespace}
            text = await real.call_tool("kubernetes", "resources_list", arguments)
            assert text.startswith("error: "), kind
            assert "blob" not in text
    finally:
        await real.close()
