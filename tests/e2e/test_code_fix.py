"""A service dies of an input: code is edited, reviewed, merged, built with buildah, pushed, rolled out and proved.

The model answers from its prompt alone (`tests/fakes/plausible`); it can write one edit, a guarded division. Of what it
cannot mend the incident is handed over, with file and line.
"""

from __future__ import annotations

import json
import pathlib
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from hack import world
from hack.sandbox.github import client as github
from tests.e2e.test_agents import BRIDGE, free_port, running

from selfheal.cli import trial
from selfheal.cli.kubectl import Kubectl

pytestmark = pytest.mark.e2e

DOCKERFILE = """\
FROM docker.io/library/python:3.12-slim
COPY app /srv/app
USER 65532
CMD ["python3", "-u", "/srv/app/main.py"]
"""
MAIN = """\
import json
import pathlib
import time

import price

for cart in json.loads(pathlib.Path("/carts/carts.json").read_text()):
    print("orders: the mean price is", price.mean(cart))
print("orders: done")
time.sleep(3600)
"""
PRICE = """\
\"\"\"Prices of carts.\"\"\"


def mean(cart):
    prices = [item["price"] for item in cart]
    return sum(prices) / len(prices)
"""
MANIFESTS = textwrap.dedent("""\
    apiVersion: v1
    kind: ConfigMap
    metadata: {{name: carts}}
    data:
      carts.json: '{carts}'
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: orders}}
    spec:
      selector: {{matchLabels: {{app: orders}}}}
      template:
        metadata: {{labels: {{app: orders}}}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
            - name: orders
              image: {image}:unbuilt
              resources:
                requests: {{cpu: 10m, memory: 24Mi}}
                limits: {{memory: 96Mi}}
              volumeMounts: [{{name: carts, mountPath: /carts}}]
          volumes: [{{name: carts, configMap: {{name: carts}}}}]
    """)
EMPTY_CART = [[{"price": 3}], []]
NO_PRICE = [[{"price": 3}], [{"name": "a gift"}]]


@pytest.fixture
def policy(installed: None, namespace: str, tmp_path: pathlib.Path) -> Iterator[str]:
    """A policy of the test's own with a model, and with the folder that the service is built from."""
    name, port = f"code-{namespace}", free_port()
    argv = [sys.executable, "-m", "tests.fakes.model_server", "--host", BRIDGE, "--port", str(port), "--key", "k-e2e"]
    with running(argv, tmp_path / "model.log", port):
        url = f"http://{BRIDGE}:{port}"
        world.kubectl("create", "namespace", namespace)
        wanted = world.policy(
            name, namespaces=[namespace],
            agents={"model": {"name": "plausible-1", "baseURL": f"{url}/v1", "credentialsRef": {"name": name},
                              "namespaceSelector": {}}},
        )  # fmt: skip
        wanted["spec"]["code"]["repositories"][0]["application"] = {"path": f"services/{namespace}"}
        world.apply(world.secret(name, world.host_of(url), {"apiKey": "k-e2e"}), wanted)
        yield name
        box = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
        for folder in (f"{box.values['path']}/{namespace}", f"services/{namespace}"):
            box.repository().replace_folder(folder, {}, "End of the service")
        world.kubectl("delete", "shp", name, check=False)
        world.kubectl("-n", world.SYSTEM, "delete", "secret", name, check=False)
        world.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


class Service:
    """The service in the sandbox's repository and in the cluster."""

    def __init__(self, namespace: str, policy: str) -> None:
        self.namespace, self.policy = namespace, policy
        self.box = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
        self.repository = self.box.repository()
        self.code = f"services/{namespace}/orders"

    def run_with(self, carts: list[Any]) -> None:
        """Commit it; the pipeline builds and deploys it; wait until it dies of its input."""
        files = {"Dockerfile": DOCKERFILE, "app/main.py": MAIN, "app/price.py": PRICE}
        self.repository.replace_folder(self.code, {name: text.encode() for name, text in files.items()}, "A service")
        image = f"docker.io/sandbox/{self.namespace}-orders"
        manifests = MANIFESTS.format(image=image, carts=json.dumps(carts))
        placed = trial.trial_manifests.place_in_namespace({"orders.yaml": manifests.encode()}, self.namespace)
        self.repository.replace_folder(f"{self.box.values['path']}/{self.namespace}", placed, "Run the service")
        world.wait_until("the service's second death", self._restarts, timeout=240)

    def _restarts(self) -> bool:
        text = world.kubectl("-n", self.namespace, "get", "pods", "-l", "app=orders", "-o", "json")
        pods = json.loads(text)["items"]
        found = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
        return any(one["restartCount"] >= 2 for one in found)

    def heal(self) -> dict[str, Any]:
        """File an incident, approve what is proposed, follow it to its end."""
        body = {
            "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
            "metadata": {"name": "reported", "namespace": self.namespace},
            "spec": {
                "summary": "orders dies again and again", "policyRef": self.policy,
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"},
            },
        }  # fmt: skip
        kubectl = Kubectl(self.box.values["kubeconfig"])
        kubectl.run("apply", "-f", "-", stdin=json.dumps(body))
        trial.follow(
            kubectl, self.repository, self.namespace, ["reported"], approve=True, timeout=300, say=lambda text: None
        )
        found = world.incident(self.namespace, "reported")
        assert found is not None
        return dict(found["status"])

    def read_code(self) -> str:
        box = self.box.values
        files = github.read_tree(box["github"], box["githubToken"], box["repository"], box["branch"], self.code)
        return files[f"{self.code}/app/price.py"].decode()


@pytest.fixture
def service(namespace: str, policy: str) -> Service:
    return Service(namespace, policy)


def test_a_service_that_dies_of_an_input_is_mended_in_its_code(service: Service, namespace: str) -> None:
    service.run_with(EMPTY_CART)
    status = service.heal()
    assert status["phase"] == "INCIDENT_RESOLVED", status.get("message")
    assert service.read_code() == PRICE.replace("/ len(prices)", "/ len(prices) if len(prices) else 0")
    assert status["fix"]["code"] is True
    image = world.kubectl("-n", namespace, "get", "deployment", "orders", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image.endswith(status["pullRequest"]["mergeSHA"][:12]), "it runs what was built of the merge commit"
    log = world.kubectl("-n", namespace, "logs", "deployment/orders")
    assert "orders: done" in log


def test_what_the_model_cannot_mend_is_handed_over_with_the_line(service: Service) -> None:
    service.run_with(NO_PRICE)
    status = service.heal()
    assert status["phase"] == "INCIDENT_REQUIRES_HUMAN"
    assert "pullRequest" not in status
    said = status["history"][-1]["why"]
    assert "/srv/app/price.py, line 5" in said
    assert service.read_code() == PRICE
