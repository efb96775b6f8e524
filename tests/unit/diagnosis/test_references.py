from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import references, registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind


def config_map(name: str, *keys: str, exists: bool = True) -> Item:
    return Item(id=f"configmap/{name}", kind=ItemKind.CONFIG_MAP, value={"name": name, "exists": exists, "keys": list(keys)})


def sibling(workload: str, *, ready: int = 1, **secret: str) -> Item:
    return Item(id=f"sibling/Deployment/{workload}", kind=ItemKind.SIBLING, value={"kind": "Deployment", "name": workload, "images": [], "ready": ready, "secrets": [secret]})


def waiting(message: str, *items: Item, spec: dict[str, Any] | None = None, reason: str = "CreateContainerConfigError") -> Finding:
    status = make.status(waiting=reason, message=message)
    pods = [make.pod(name, containers=[make.container(**(spec or {}))], statuses=[status]) for name in ("web-1", "web-2")]
    (found,) = registry.diagnose(make.bundle(*pods, *items))
    return found


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ('configmap "settings" not found', "ConfigMap settings"),
        ('secret "shop/token" not found', "Secret token"),
        ("couldn't find key url in ConfigMap shop/settings", "key url of ConfigMap settings"),
        ("couldn't find key tls.crt in Secret shop/tls", "key tls.crt of Secret tls"),
    ],
)
def test_a_missing_object_or_key_is_one_finding_for_all_pods(message: str, missing: str) -> None:
    found = waiting(message)
    assert (found.class_, found.confidence, found.parameters["object"]) == (IncidentClass.MISSING_REFERENCE, 0.95, missing)
    assert found.evidence == ("pod/web-1",)


def test_secrets_are_known_only_by_what_ready_workloads_use() -> None:
    message = "couldn't find key passwort in Secret shop/login"
    used = [sibling("api", name="login", key="password"), sibling("old", name="other", key="passwort"), sibling("bad", ready=0, name="login", key="passworta"), sibling("x", name="login")]
    found = waiting(message, *used)
    assert found.parameters["missing"][0]["near"] == "password"
    assert "Secret login has a key password" in found.cause
    assert "sibling/Deployment/api" in found.evidence
    assert waiting('secret "logn" not found', *used).parameters["missing"][0]["near"] == "login"


def test_what_else_is_missing_is_added() -> None:
    spec = {
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "extra", "key": "a"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "extra", "key": "b", "optional": True}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "there", "key": "c"}}},
        ],
    }
    items = [config_map("settings", exists=False), config_map("extra", "z"), config_map("there", "c"), config_map("setings", "x")]
    found = waiting('configmap "settings" not found', *items, spec=spec)
    assert [(one["name"], one["key"]) for one in found.parameters["missing"]] == [("settings", None), ("extra", "a")]
    assert "ConfigMap settings, key a of ConfigMap extra are missing" in found.cause
    assert "There is a ConfigMap setings" in found.cause


def pending(*volumes: dict[str, Any]) -> Item:
    pod = make.pod(statuses=[make.status(waiting="ContainerCreating")], phase="Pending")
    pod.value["spec"]["volumes"] = list(volumes)
    return pod


def test_a_missing_volume_is_read_from_the_event() -> None:
    event = make.event("FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "settings" not found')
    (found,) = registry.diagnose(make.bundle(pending(), event))
    assert (found.evidence, found.container) == ((event.id,), None)
    assert registry.diagnose(make.bundle(make.pod(), event)) == [], "the container runs"
    other = make.event("FailedMount", "timed out waiting for the condition")
    assert registry.diagnose(make.bundle(pending(), other)) == []


@pytest.mark.parametrize(
    ("volume", "kind", "missing"),
    [
        ({"name": "v", "configMap": {"name": "settings", "items": [{"key": "k", "path": "p"}]}}, "config", "key k of ConfigMap settings"),
        ({"name": "v", "projected": {"sources": [{"secret": {"name": "login", "items": [{"key": "k", "path": "p"}]}}]}}, "secret", "key k of Secret login"),
        ({"name": "v", "secret": {"secretName": "login", "items": [{"key": "k", "path": "p"}]}}, "secret", "key k of Secret login"),
        ({"name": "other", "configMap": {"name": "settings", "items": [{"key": "k", "path": "p"}]}}, "config", None),
    ],
)
def test_a_missing_key_of_a_volume_is_looked_up_in_the_pod(volume: dict[str, Any], kind: str, missing: str | None) -> None:
    event = make.event("FailedMount", f'MountVolume.SetUp failed for volume "v" : references non-existent {kind} key: k')
    found = registry.diagnose(make.bundle(pending(volume), event))
    assert [one.parameters["object"] for one in found] == ([missing] if missing else [])


def test_a_missing_account_is_read_from_the_controllers_event() -> None:
    message = 'Error creating: pods "web-" is forbidden: error looking up service account shop/runer: serviceaccount "runer" not found'
    accounts = Item(id="serviceaccount/runer", kind=ItemKind.SERVICE_ACCOUNT, value={"name": "runer", "exists": False, "others": ["runner", "default"], "pullSecrets": []})
    found = registry.diagnose(make.bundle(make.event("FailedCreate", message, "ReplicaSet/web-r1"), accounts))
    assert [(one.parameters["object"], one.parameters["missing"][0]["near"]) for one in found] == [("ServiceAccount runer", "runner")]
    assert registry.diagnose(make.bundle(make.event("FailedCreate", "quota", "ReplicaSet/web-r1"))) == []


def test_references_of_a_pod_spec_leave_optional_ones_out() -> None:
    spec = {"volumes": [{"name": "v", "configMap": {"name": "a", "optional": True}}, {"name": "w", "emptyDir": {}}]}
    assert list(references.pod_references(spec)) == []


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ('pods "web-0" is forbidden: no PriorityClass with name business-critical was found', "PriorityClass business-critical"),
        ('pods "web-0" is forbidden: pod rejected: RuntimeClass "gvisor" not found', "RuntimeClass gvisor"),
    ],
)
def test_a_class_of_the_cluster_that_is_missing(said: str, missing: str) -> None:
    refused = make.event("FailedCreate", f"create Pod web-0 in StatefulSet web failed error: {said}", "StatefulSet/web")
    (found,) = registry.diagnose(make.bundle(refused))
    assert (found.parameters["object"], found.confidence, found.evidence) == (missing, 0.95, (refused.id,))
    assert missing in found.cause
    assert found.parameters["missing"][0]["near"] is None
