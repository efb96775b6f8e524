"""The local cluster is a real one: containers run, limits kill, registries refuse, claims bind."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hack.cluster import config, registry

pytestmark = pytest.mark.e2e

_REPOSITORY = "team/web"


class Kubectl:
    """kubectl on the local cluster, in a namespace of its own."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        command = [str(config.STATE / "kubectl"), f"--kubeconfig={config.KUBECONFIG}"]
        done = subprocess.run(
            [*command, "-n", self.namespace, *words],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=180,
        )
        if check and done.returncode != 0:
            pytest.fail(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        self("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))

    def wait(self, what: str, path: str, value: str) -> None:
        self("wait", what, f"--for=jsonpath={{{path}}}={value}", "--timeout=120s")

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", what, "-o", "json"))
        return found


def pod(
    name: str, image: str, *, labels: dict[str, str] | None = None, **container: Any
) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image, **container}]}
    meta = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@pytest.fixture(scope="module")
def cluster() -> None:
    command = [sys.executable, "-m", "hack.cluster", "up"]
    done = subprocess.run(command, cwd=config.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def kubectl(cluster: None) -> Iterator[Kubectl]:
    call = Kubectl(f"local-{uuid.uuid4().hex[:8]}")
    call("create", "namespace", call.namespace)
    yield call
    call("delete", "namespace", call.namespace, "--wait=false")


@pytest.fixture
def private_image(cluster: None) -> str:
    """An image that only the authenticated registry has under this name."""
    word = config.PASSWORD_FILE.read_text()
    target = registry.Client(config.NODE_IP, config.AUTH_REGISTRY_PORT, config.REGISTRY_USER, word)
    source = registry.Client(config.NODE_IP, config.REGISTRY_PORT)
    manifest = source.manifest("library/busybox", "1.36")
    for blob in [manifest["config"], *manifest["layers"]]:
        digest = blob["digest"]
        target.push_blob(_REPOSITORY, source.blob("library/busybox", digest), digest)
    target.push_manifest(_REPOSITORY, "1.0", json.dumps(manifest).encode())
    return f"registry.local:{config.AUTH_REGISTRY_PORT}/{_REPOSITORY}:1.0"


def test_an_unmodified_nginx_serves_through_its_service(kubectl: Kubectl) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    kubectl.apply(pod("web", "nginx", labels={"app": "web"}, readinessProbe=probe), service)
    kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=120s")
    fetch = "import sys,urllib.request;print(urllib.request.urlopen(sys.argv[1],timeout=30).read())"
    address = kubectl.get("service/web")["spec"]["clusterIP"]
    client = pod("client", "python:3.11-slim", command=["python", "-c", fetch, f"http://{address}"])
    client["spec"]["restartPolicy"] = "Never"
    kubectl.apply(client)
    kubectl.wait("pod/client", ".status.phase", "Succeeded")
    assert "Welcome to nginx!" in kubectl("logs", "client")


def test_a_container_over_its_memory_limit_is_oom_killed(kubectl: Kubectl) -> None:
    hungry = "x = []\nwhile True: x.append('a' * 10_000_000)"
    limits = {"limits": {"memory": "64Mi"}}
    kubectl.apply(
        pod("hungry", "python:3.11-slim", command=["python", "-c", hungry], resources=limits)
    )
    kubectl.wait(
        "pod/hungry", ".status.containerStatuses[0].lastState.terminated.reason", "OOMKilled"
    )
    status = kubectl.get("pod/hungry")["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 137


def test_a_wrong_tag_gets_the_registrys_not_found(kubectl: Kubectl) -> None:
    kubectl.apply(pod("wrong", "nginx:1.999"))
    kubectl.wait("pod/wrong", ".status.containerStatuses[0].state.waiting.reason", "ErrImagePull")
    messages = [e["message"] for e in kubectl.get("events")["items"]]
    assert any("nginx:1.999" in m and "not found" in m for m in messages), messages


def test_the_private_registry_wants_the_pull_secret(kubectl: Kubectl, private_image: str) -> None:
    kubectl.apply(pod("without", private_image, imagePullPolicy="Always", command=["sleep", "600"]))
    kubectl.wait("pod/without", ".status.containerStatuses[0].state.waiting.reason", "ErrImagePull")
    messages = [e["message"] for e in kubectl.get("events")["items"]]
    assert any("401 Unauthorized" in m for m in messages), messages

    kubectl(
        "create", "secret", "docker-registry", "pull",
        f"--docker-server=registry.local:{config.AUTH_REGISTRY_PORT}",
        f"--docker-username={config.REGISTRY_USER}",
        f"--docker-password={config.PASSWORD_FILE.read_text()}",
    )  # fmt: skip
    admitted = pod("with", private_image, imagePullPolicy="Always", command=["sleep", "600"])
    admitted["spec"]["imagePullSecrets"] = [{"name": "pull"}]
    kubectl.apply(admitted)
    kubectl("wait", "pod/with", "--for=condition=Ready", "--timeout=120s")


def test_a_claim_of_the_default_class_binds(kubectl: Kubectl) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    meta = {"name": "data"}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
    )
    kubectl.wait("pvc/data", ".status.phase", "Bound")


def test_what_a_service_account_does_is_audited_without_bodies(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "watched")
    token = kubectl("create", "token", "watched").strip()
    context = ssl.create_default_context(cafile=str(config.PKI / "ca.crt"))
    address = f"https://127.0.0.1:{config.API_PORT}/api/v1/namespaces/{kubectl.namespace}/pods"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, context=context, timeout=10)
    name = f"system:serviceaccount:{kubectl.namespace}:watched"
    events = [json.loads(line) for line in config.AUDIT_LOG.read_text().splitlines()]
    (event,) = [e for e in events if e["user"]["username"] == name]
    assert (event["level"], event["verb"], event["responseStatus"]["code"]) == (
        "Metadata",
        "list",
        403,
    )


def test_the_open_registry_lists_tags(cluster: None) -> None:
    address = f"http://{config.NODE_IP}:{config.REGISTRY_PORT}/v2/library/nginx/tags/list"
    with urllib.request.urlopen(address, timeout=10) as answer:
        tags = json.load(answer)["tags"]
    assert {"1.25", "1.27", "latest"} <= set(tags)
