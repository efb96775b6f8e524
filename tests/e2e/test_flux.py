"""Delivered by the real Flux: its kustomize-controller applies the merged commit, and the operator follows its objects.

The sandbox's own delivery does not see the folder. Published is the branch by a stand-in for the source-controller.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from hack import world
from hack.sandbox import flux
from tests.e2e.story import NAME, OOM

from selfheal.cli import trial, trial_manifests
from selfheal.cli.kubectl import Kubectl

pytestmark = pytest.mark.e2e


class Fluxed:
    """A namespace whose workload Flux delivers, and an incident about it."""

    def __init__(self, namespace: str) -> None:
        self.namespace, self.folder, self.policy = namespace, f"flux/{namespace}", f"flux-{namespace}"
        self.box = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
        self.repository = self.box.repository()

    def set_up(self) -> None:
        self.commit({})
        metadata = {"name": "shop", "namespace": self.namespace}
        mapped = world.policy(self.policy, namespaces=[self.namespace])
        mapped["spec"]["code"]["repositories"][0] |= {"path": self.folder, "deployment": {"strategy": "Flux"}}
        world.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": metadata,
                "spec": {"interval": "1m", "url": "https://example.invalid/acme/gitops", "ref": {"branch": "main"}},
            },
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata,
                "spec": {
                    "interval": "10s", "retryInterval": "2s", "timeout": "1m", "prune": True, "path": f"./{self.folder}",
                    "targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": "shop"},
                },
            },
            mapped,
        )  # fmt: skip

    def commit(self, more: dict[str, bytes]) -> None:
        files = trial_manifests.place_in_namespace(trial_manifests.read_files(OOM), self.namespace)
        self.repository.replace_folder(self.folder, {**files, **more}, "A shop, delivered by Flux")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return dict(json.loads(world.kubectl("-n", self.namespace, "get", kind, name, "-o", "json", check=False) or "{}"))

    def fails(self) -> bool:
        pods = json.loads(world.kubectl("-n", self.namespace, "get", "pods", "-o", "json"))["items"]
        found = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
        return any(one.get("lastState", {}).get("terminated", {}).get("reason") == "OOMKilled" for one in found)

    def file(self) -> None:
        body = {
            "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
            "metadata": {"name": "reported", "namespace": self.namespace},
            "spec": {
                "summary": "checkout is killed again and again", "policyRef": self.policy,
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            },
        }  # fmt: skip
        world.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def follow(self) -> dict[str, Any]:
        trial.follow(
            Kubectl(self.box.values["kubeconfig"]), self.repository, self.namespace, ["reported"], approve=True,
            timeout=240, say=lambda text: None,
        )  # fmt: skip
        return dict(self.get("shi", "reported")["status"])


@pytest.fixture
def shop(installed: None, namespace: str, tmp_path: pathlib.Path) -> Iterator[Fluxed]:
    """Flux for one namespace, with the shop delivered and failing."""
    flux.install_kinds()
    world.kubectl("create", "namespace", namespace)
    shop = Fluxed(namespace)
    shop.set_up()
    with flux.controller(namespace, tmp_path / "flux.log"), flux.Source(namespace, "shop", shop.folder).publishing():
        try:
            world.wait_until("the workload, delivered by Flux, to fail", shop.fails, timeout=120)
            yield shop
        except Exception:
            print((tmp_path / "flux.log").read_text()[-4000:])
            raise
        finally:
            world.kubectl("-n", namespace, "delete", "kustomization", "shop", "--wait=false", check=False)
            shop.repository.replace_folder(shop.folder, {}, "End of the shop")
            world.kubectl("delete", "shp", shop.policy, check=False)
            world.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def test_a_fix_is_delivered_by_flux_and_followed_in_its_objects(shop: Fluxed) -> None:
    shop.file()
    status = shop.follow()
    assert status["phase"] == "INCIDENT_RESOLVED", status.get("message")
    made = shop.get("deployment", NAME)
    assert made["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "shop"
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "128Mi"
    applied = shop.get("kustomization", "shop")["status"]["lastAppliedRevision"]
    assert applied == f"main@sha1:{status['pullRequest']['mergeSHA']}"
    assert status["deployment"]["revision"] == status["pullRequest"]["mergeSHA"]


def test_what_flux_cannot_build_goes_to_a_person_in_its_own_words(shop: Fluxed) -> None:
    shop.file()
    world.wait_until("the pull request", lambda: shop.get("shi", "reported")["status"].get("pullRequest"), timeout=90)
    shop.commit({"broken.yaml": b"kind: [unclosed\n"})  # somebody else's commit, merged into the same delivery
    status = shop.follow()
    assert status["phase"] == "INCIDENT_REQUIRES_HUMAN", status.get("message")
    assert status["handover"]["reason"] == "DeploymentFailed"
    assert "broken.yaml" in status["handover"]["message"] or "kustomize build failed" in status["handover"]["message"]
