"""Permissions that a workload lacks; messages as kube-apiserver 1.34 writes them into a 403 body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

LIST = 'configmaps is forbidden: User "system:serviceaccount:shop:reader" cannot list resource "configmaps" in API group "" in the namespace "shop"'
GET = 'deployments.apps "x" is forbidden: User "system:serviceaccount:shop:reader" cannot get resource "deployments" in API group "apps" in the namespace "shop"'
NODES = 'nodes is forbidden: User "system:serviceaccount:shop:reader" cannot list resource "nodes" in API group "" at the cluster scope'


def denied(*items: Item) -> list[Finding]:
    return [one for one in registry.diagnose(around.bundle(*items)) if one.class_ is IncidentClass.PERMISSION_DENIED]


def role(name: str, *rules: dict[str, Any]) -> Item:
    return around.thing(ItemKind.ROLE, name, rules=list(rules))


def binding(name: str, kind: str = "Role", account: str = "reader") -> Item:
    subjects = [{"kind": "ServiceAccount", "name": account}]
    return around.thing(ItemKind.ROLE_BINDING, name, roleRef={"kind": kind, "name": name}, subjects=subjects)


def rule(*verbs: str, resource: str = "configmaps", **more: Any) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": [resource], "verbs": list(verbs), **more}


@pytest.mark.parametrize("text", [LIST, json.dumps({"message": LIST}), json.dumps(json.dumps({"message": LIST}))])
def test_the_missing_rule_is_read_from_the_log(text: str) -> None:
    (found,) = denied(make.pod(), make.log(text), role("reader", rule("get")), role("spare"), binding("reader"), binding("view", "ClusterRole"))
    assert (found.confidence, found.evidence, found.container) == (0.95, ("log/web-1/app/previous", "role/reader"), "app")
    assert found.parameters == {
        "account": "reader", "namespace": "shop", "roles": ["reader"], "unbound": ["spare"],
        "permissions": [{"group": "", "resource": "configmaps", "verb": "list", "namespace": "shop"}],
    }  # fmt: skip


def test_one_finding_for_all_that_an_account_lacks() -> None:
    (found,) = denied(make.pod(), make.log(f"{LIST}\n{GET}\n{GET}\n{NODES}"))
    assert [(one["verb"], one["resource"], one["group"], one["namespace"]) for one in found.parameters["permissions"]] == [
        ("list", "configmaps", "", "shop"), ("get", "deployments", "apps", "shop"), ("list", "nodes", "", ""),
    ]  # fmt: skip
    assert "get deployments of API group apps in namespace shop" in found.cause
    assert "list nodes in the whole cluster" in found.cause


@pytest.mark.parametrize(
    ("rules", "granted"),
    [([rule("get", "list")], True), ([rule("*", resource="*")], True), ([rule("get")], False), ([rule("list", resourceNames=["a"])], False), ([], False)],
)
def test_what_is_granted_by_now_is_not_missing(rules: list[dict[str, Any]], granted: bool) -> None:
    items = [make.pod(), make.log(LIST), role("reader", *rules), binding("reader"), binding("other", account="other")]
    assert bool(denied(*items)) is not granted


def test_of_a_container_that_is_well_only_the_newest_lines_count() -> None:
    well = around.ready_pod()
    assert len(denied(well, make.log(LIST, previous=False))) == 1
    assert denied(well, make.log(LIST + "\nfine" * 60, previous=False)) == []
    assert denied(well, make.log(LIST)) == []
    assert registry.is_failing(around.bundle(well, make.log(LIST, previous=False)))


def test_a_log_of_a_pod_that_is_gone_counts() -> None:
    assert len(denied(around.ready_pod(), make.log(LIST, of="web-0"))) == 1
    assert denied(make.pod(), make.log("all is well")) == []


def stray(name: str, *, of: str = "reader", kind: str = "Role", space: str | None = None, more: int = 0) -> Item:
    subject = {"kind": "ServiceAccount", "name": name} | ({"namespace": space} if space else {})
    return around.thing(ItemKind.ROLE_BINDING, f"b-{name}", roleRef={"kind": kind, "name": of}, subjects=[subject] * (1 + more))


GRANTS = rule("get", "list")


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([stray("raeder")], {"item": "rolebinding/b-raeder", "binding": "b-raeder", "name": "raeder", "namespace": None}),
        ([stray("reader", space="other")], {"item": "rolebinding/b-reader", "binding": "b-reader", "name": "reader", "namespace": "other"}),
        ([stray("raeder"), stray("readers")], None),
        ([stray("else")], None),
        ([stray("raeder", of="unknown")], None),
        ([stray("raeder", kind="ClusterRole")], None),
        ([stray("raeder", more=1)], None),
        ([], None),
    ],
)
def test_a_binding_that_was_meant_for_the_account(others: list[Item], expected: Any) -> None:
    (found,) = denied(make.pod(), make.log(LIST), role("reader", GRANTS), *others)
    assert found.parameters.get("stray") == expected
    assert ("rolebinding/b-raeder" in found.evidence) is (expected is not None and expected["name"] == "raeder")


def test_rights_in_the_whole_cluster_are_in_no_role() -> None:
    (found,) = denied(make.pod(), make.log(NODES), role("reader", rule("list", resource="nodes")), stray("raeder"))
    assert "stray" not in found.parameters
