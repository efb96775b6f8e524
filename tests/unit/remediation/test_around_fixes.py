"""Fixes of what stands around a workload: Services, Roles, autoscalers, budgets, ingresses, mounts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make
from tests.unit.remediation import around_factory as repo

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.remediation.role_fix import is_harmless

SERVICE, DENIED, SCALER = IncidentClass.SERVICE_ENDPOINTS, IncidentClass.PERMISSION_DENIED, IncidentClass.AUTOSCALER_FAILED
BUDGET, INGRESS, MOUNT = IncidentClass.DISRUPTION_BUDGET_BLOCKED, IncidentClass.INGRESS_BACKEND, IncidentClass.VOLUME_MOUNT_FAILED
WRONG = {"key": "app", "old": "wbe", "newKey": "app", "new": "web"}
SELECTOR: dict[str, Any] = {"fault": "Selector", "service": "web", "differences": [WRONG], "kind": "Deployment", "workload": "web"}


@pytest.mark.parametrize("target", [("Deployment", "web"), ("Service", "web")])
def test_a_selector_is_corrected_in_the_service(target: tuple[str, str]) -> None:
    (found,) = repo.fix(SERVICE, target=target, container=None, **SELECTOR)
    assert (repo.changed(found), found.risk) == (["-    app: wbe", "+    app: web"], "Low")


def test_a_key_of_a_selector_is_renamed() -> None:
    files = _around("    app: wbe", "    apps: web\n    tier: front")
    wrong = [{"key": "apps", "old": "web", "newKey": "app", "new": "web"}]
    (found,) = repo.fix(SERVICE, files=files, **(SELECTOR | {"differences": wrong}))
    assert repo.parsed(found, "Service")["spec"]["selector"] == {"app": "web", "tier": "front"}


def _around(old: str, new: str) -> dict[str, bytes]:
    return {**repo.FILES, "apps/shop/around.yaml": repo.AROUND.replace(old, new, 1).encode()}


def test_selectors_that_a_person_has_to_judge() -> None:
    assert repo.refusal(SERVICE, **(SELECTOR | {"differences": []})).reason == "SelectorUnclear"
    assert repo.refusal(SERVICE, **(SELECTOR | {"differences": [{"key": "app", "old": "wbe"}]})).reason == "SelectorUnclear"
    assert repo.refusal(SERVICE, **(SELECTOR | {"differences": [WRONG | {"old": "x"}]})).reason == "Drifted"
    assert repo.refusal(SERVICE, files=_around("  selector:\n    app: wbe\n", ""), **SELECTOR).reason == "Drifted"


TIER = {"key": "tier", "old": "back", "newKey": "tier", "new": "front"}


@pytest.mark.parametrize(
    "other",
    [
        around.thing(ItemKind.BUDGET, "b", {"selector": {"matchLabels": {"tier": "back"}}}),
        around.thing(ItemKind.NETWORK_POLICY, "n", {"podSelector": {"matchLabels": {"tier": "back"}}}),
        around.service("second", {"tier": "back"}),
    ],
)
def test_the_label_is_corrected_where_others_select_what_the_service_selects(other: Item) -> None:
    files = _around("    app: wbe", "    app: web\n    tier: back")
    own, after = repo.fix(SERVICE, other, around.service("web", {"tier": "back"}), files=files, **(SELECTOR | {"differences": [TIER]}))
    assert repo.parsed(own, "Deployment")["spec"]["template"]["metadata"]["labels"]["tier"] == "back"
    assert f"{other.id} selects tier=back too." in own.edits[0].reason
    assert repo.parsed(after, "Service")["spec"]["selector"]["tier"] == "front"


def test_labels_of_the_workloads_own_selector_stay() -> None:
    files = _around("    app: wbe", "    app: wbe")
    other = around.thing(ItemKind.BUDGET, "b", {"selector": {"matchLabels": {"app": "wbe"}}})
    (found,) = repo.fix(SERVICE, other, files=files, **SELECTOR)
    assert "Service" in found.summary
    two = [WRONG, {"key": "tier", "old": "bcak", "newKey": "tier", "new": "back"}]
    (found,) = repo.fix(SERVICE, files=_around("    app: wbe", "    app: wbe\n    tier: bcak"), **(SELECTOR | {"differences": two}))
    assert found.risk == "Medium"


@pytest.mark.parametrize(("index", "old", "expected"), [(0, 8080, "targetPort: 80}"), (1, 81, "targetPort: 80")])
def test_a_target_port_is_corrected(index: int, old: int, expected: str) -> None:
    port = {"fault": "TargetPort", "service": "web", "index": index, "old": old, "port": 80, "new": 80}
    assert repo.diff(SERVICE, confidence=0.8, **port)[-1].endswith(expected)


def test_ports_that_a_person_has_to_judge() -> None:
    port: dict[str, Any] = {"fault": "TargetPort", "service": "web", "index": 0, "old": 8080, "port": 80}
    assert repo.refusal(SERVICE, **port).reason == "PortUnclear"
    assert repo.refusal(SERVICE, **(port | {"old": 1, "new": 80})).reason == "Drifted"
    assert repo.refusal(SERVICE, **(port | {"index": 7, "new": 80})).reason == "Drifted"


def test_a_selector_of_two_workloads_is_made_narrower() -> None:
    wide: dict[str, Any] = {"fault": "TooWide", "service": "web", "selector": {"app": "wbe"}, "add": {"tier": "front"}}
    (found,) = repo.fix(SERVICE, **wide)
    assert repo.parsed(found, "Service")["spec"]["selector"] == {"app": "wbe", "tier": "front"}
    assert repo.refusal(SERVICE, **(wide | {"add": {}})).reason == "SelectorUnclear"
    assert repo.refusal(SERVICE, **(wide | {"selector": {"app": "x"}})).reason == "Drifted"


def lacking(*wanted: tuple[str, str, str], namespace: str = "shop", roles: tuple[str, ...] = ("reader",)) -> dict[str, Any]:
    permissions = [{"group": group, "resource": resource, "verb": verb, "namespace": namespace} for group, resource, verb in wanted]
    return {"account": "reader", "namespace": "shop", "permissions": permissions, "roles": list(roles), "unbound": []}


def test_a_verb_is_added_to_the_rule_of_its_resource() -> None:
    (found,) = repo.fix(DENIED, **lacking(("", "configmaps", "list"), ("", "configmaps", "get"), ("", "configmaps", "list")))
    assert repo.changed(found) == ["-  verbs: [get]", "+  verbs: [get, list]"]
    assert found.risk == "Medium"


def test_a_rule_is_added_for_another_resource() -> None:
    (found,) = repo.fix(DENIED, **lacking(("apps", "deployments", "get"), ("", "configmaps", "watch"), ("apps", "deployments", "list")))
    rules = repo.parsed(found, "Role")["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
    ]
    assert sum(line.startswith("-") for line in repo.changed(found)) == 1


def test_a_rule_of_named_objects_is_not_widened() -> None:
    files = _around("  verbs: [get]", "  resourceNames: [a]\n  verbs: [get]")
    (found,) = repo.fix(DENIED, files=files, **lacking(("", "configmaps", "list")))
    assert len(repo.parsed(found, "Role")["rules"]) == 2


@pytest.mark.parametrize(
    "parameters",
    [
        lacking(("", "secrets", "get")),
        lacking(("", "configmaps", "*")),
        lacking(("", "nodes", "list"), namespace=""),
        lacking(("", "configmaps", "list"), roles=()),
        lacking(("", "configmaps", "list"), roles=("a", "b")),
    ],
)
def test_rights_that_only_a_person_may_grant(parameters: dict[str, Any]) -> None:
    refused = repo.refusal(DENIED, **parameters)
    assert (refused.reason, "system:serviceaccount:shop:reader" in refused.message) == ("NeedsPerson", True)


STRAY: dict[str, Any] = {"item": "rolebinding/readers", "binding": "readers", "name": "raeder", "namespace": "other"}


def test_a_binding_that_means_nobody_is_corrected() -> None:
    wanted = lacking(("", "secrets", "get"))  # the Role grants it already: nothing is widened but the name
    assert repo.refusal(DENIED, **wanted, stray=STRAY).reason == "NeedsPerson"
    (found,) = repo.fix(DENIED, **lacking(("", "configmaps", "get"), roles=()), stray=STRAY)
    assert repo.changed(found)[1] == "+- {kind: ServiceAccount, name: reader, namespace: shop}"
    files = _around("name: raeder, namespace: other", "name: raeder")
    (found,) = repo.fix(DENIED, files=files, **lacking(("", "configmaps", "get"), roles=()), stray=STRAY)
    assert repo.changed(found)[1] == "+- {kind: ServiceAccount, name: reader}"
    refused = repo.refusal(DENIED, **lacking(("", "configmaps", "get"), roles=()), stray=STRAY | {"name": "x"})
    assert refused.reason == "Drifted"
    files = _around("name: raeder, namespace: other", "name: reader")
    refused = repo.refusal(DENIED, files=files, **lacking(("", "configmaps", "get"), roles=()), stray=STRAY | {"name": "reader"})
    assert refused.reason == "Drifted"


def test_what_is_harmless() -> None:
    assert is_harmless({"group": "", "resource": "pods", "verb": "get"})
    assert not is_harmless({"group": "", "resource": "pods/exec", "verb": "create"})
    assert not is_harmless({"group": "*", "resource": "pods", "verb": "get"})


def test_an_autoscaler_gets_the_target_that_is_meant() -> None:
    missing: dict[str, Any] = {"fault": "TargetMissing", "autoscaler": "web", "kind": "Deployment", "old": "wbe"}
    assert repo.diff(SCALER, **missing, new="web")[1].endswith("name: web}")
    assert repo.refusal(SCALER, **missing).reason == "NeedsPerson"
    assert "v1beta1.metrics.k8s.io" in repo.refusal(SCALER, fault="NoMetrics", autoscaler="web").message
    foreign = repo.refusal(SCALER, fault="NoMetrics", autoscaler="web", api="external.metrics.k8s.io")
    assert "v1beta1.external.metrics.k8s.io" in foreign.message


@pytest.mark.parametrize("target", [("Deployment", "web"), ("HorizontalPodAutoscaler", "web")])
def test_requests_are_stated_for_an_autoscaler(target: tuple[str, str]) -> None:
    missing = {"fault": "NoRequests", "autoscaler": "web", "resource": "cpu", "containers": ["bare"], "kind": "Deployment", "workload": "web"}
    (found,) = repo.fix(SCALER, make.replica_set(2, []), make.replica_set(1, [make.container("bare", resources={"requests": {"cpu": "20m"}})]), target=target, **missing)
    assert repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["containers"][1]["resources"] == {"requests": {"cpu": "20m"}}


@pytest.mark.parametrize(("field", "value", "new"), [("minAvailable", 2, "{minAvailable: 1}"), ("maxUnavailable", 0, "{minAvailable: 2, maxUnavailable: 1}")])
def test_a_budget_spares_one_pod(field: str, value: int, new: str) -> None:
    assert repo.diff(BUDGET, budget="web", field=field, value=value, expected=2)[1].endswith(new)
    assert repo.refusal(BUDGET, budget="web", field=field, value=value, expected=1).reason == "NeedsPerson"
    assert "Which of them is to stay" in repo.refusal(BUDGET, fault="Several", budgets=["web", "platform"]).message


BACKEND = ["spec", "rules", 0, "http", "paths", 0, "backend", "service"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"fault": "ServiceMissing", "path": [*BACKEND, "name"], "service": "wbe", "new": "web"}, "{name: web, port: {number: 80}}}"),
        ({"fault": "PortMissing", "path": [*BACKEND, "port", "number"], "service": "wbe", "old": 80, "new": 8080}, "port: {number: 8080}}}"),
        ({"fault": "ClassMissing", "path": ["spec", "ingressClassName"], "old": "ngnix", "new": "nginx"}, "ingressClassName: nginx"),
    ],
)
def test_what_an_ingress_names_is_corrected(parameters: dict[str, Any], expected: str) -> None:
    assert repo.diff(INGRESS, confidence=0.8, ingress="front", **parameters)[1].endswith(expected)
    assert repo.refusal(INGRESS, ingress="front", **(parameters | {"old": "x"})).reason == "Drifted"
    assert repo.refusal(INGRESS, ingress="front", **{key: value for key, value in parameters.items() if key != "new"}).reason == "BackendUnclear"


def test_a_sub_path_is_corrected() -> None:
    wrong: dict[str, Any] = {"fault": "SubPath", "volume": "conf", "path": "/etc/app.ini", "subPath": "app.inii"}
    assert "subPath: app.ini}" in repo.diff(MOUNT, **wrong, new="app.ini")[1]
    assert repo.refusal(MOUNT, **wrong).reason == "NeedsPerson"
    assert repo.refusal(MOUNT, **(wrong | {"subPath": "x"}), new="app.ini").reason == "Drifted"
    assert repo.refusal(MOUNT, fault="HostPath", volume="d").reason == "NeedsPerson"


def test_one_key_is_mounted_where_a_whole_config_map_was() -> None:
    files = {**repo.FILES, repo.FILE: repo.FILES[repo.FILE].replace(b", subPath: app.inii", b"")}
    whole: dict[str, Any] = {"fault": "MountPath", "volume": "conf", "path": "/etc/app.ini", "new": "app.ini"}
    assert "subPath: app.ini" in repo.diff(MOUNT, files=files, **whole)[1]
    assert repo.refusal(MOUNT, **whole).reason == "Drifted"


@pytest.mark.parametrize(("fault", "word"), [("DNS", "port 53"), ("Port", "port 5432 of 10.0.0.9"), ("Peer", "guard db"), ("PeerSelector", "means db")])
def test_network_policies_are_for_people(fault: str, word: str) -> None:
    refused = repo.refusal(IncidentClass.NETWORK_BLOCKED, fault=fault, policies=["deny"], peer="db", host="10.0.0.9", port=5432)
    assert (refused.reason, word in refused.message) == ("NeedsPerson", True)


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"fault": "Denied", "said": "use our registry"}, "use our registry"),
        ({"fault": "Unreachable", "service": "sys/guard", "configuration": "guard"}, "bring sys/guard back"),
        ({"fault": "Unreachable"}, "what it calls"),
    ],
)
def test_webhooks_are_for_people(parameters: dict[str, Any], word: str) -> None:
    refused = repo.refusal(IncidentClass.ADMISSION_WEBHOOK_FAILED, name="guard.example", **parameters)
    assert (refused.reason, word in refused.message) == ("NeedsPerson", True)


def test_an_object_that_two_files_declare_is_for_a_person() -> None:
    files = {**repo.FILES, "apps/shop/copy.yaml": repo.AROUND.encode()}
    refused = repo.refusal(BUDGET, files=files, budget="web", field="minAvailable", value=2, expected=2)
    assert (refused.reason, "2 times" in refused.message) == ("OtherNotFound", True)
