"""Pods that quota, limit range or a webhook refuses; messages as kube-apiserver 1.34 writes them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import quota, registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

HEAD = 'Error creating: pods "web-797dfd5777-n85fk" is forbidden: '
EXCEEDED = f"{HEAD}exceeded quota: team, requested: requests.cpu=500m,pods=1, used: requests.cpu=5m,pods=2, limited: requests.cpu=200m,pods=2"
UNSTATED = f"{HEAD}failed quota: team: must specify requests.cpu for: app; requests.memory for: app"
ABOVE = f"{HEAD}maximum memory usage per Container is 128Mi, but limit is 512Mi"
BELOW = f"{HEAD}minimum cpu usage per Container is 10m, but request is 1m"
RATIO = f"{HEAD}cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000"


def refused(*items: Item, class_: IncidentClass = IncidentClass.QUOTA_EXCEEDED) -> list[Finding]:
    return [one for one in registry.diagnose(around.bundle(*items)) if one.class_ is class_]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (EXCEEDED, {"fault": "Exceeded", "quota": "team", "requested": {"requests.cpu": "500m", "pods": "1"}, "used": {"requests.cpu": "5m", "pods": "2"}, "hard": {"requests.cpu": "200m", "pods": "2"}}),
        (UNSTATED, {"fault": "Unstated", "quota": "team", "missing": [{"resource": "requests.cpu", "container": "app"}, {"resource": "requests.memory", "container": "app"}]}),
        (ABOVE, {"fault": "AboveMaximum", "quota": None, "resource": "memory", "bound": "128Mi", "group": "limits", "value": "512Mi", "per": "Container"}),
        (BELOW, {"fault": "BelowMinimum", "quota": None, "resource": "cpu", "bound": "10m", "group": "requests", "value": "1m", "per": "Container"}),
        (RATIO, {"fault": "Ratio", "quota": None}),
    ],
)
def test_refusals_of_quota_and_limit_range(message: str, expected: dict[str, Any]) -> None:
    event = make.event("FailedCreate", message, "ReplicaSet/web-r1")
    objects = [around.thing(ItemKind.QUOTA, "team"), around.thing(ItemKind.QUOTA, "other"), around.thing(ItemKind.LIMIT_RANGE, "bounds")]
    (found,) = refused(event, make.event("FailedCreate", message), *objects)
    own = "limitrange/bounds" if expected["quota"] is None else "quota/team"
    assert (found.parameters, found.evidence, found.confidence) == (expected, (event.id, own), 0.95)


@pytest.mark.parametrize("message", [f"{HEAD}failed quota: team: must specify limits.memory for: app", f"{HEAD}minimum memory usage per Container is 8Mi, but request is 4Mi", "something else"])
def test_what_is_only_about_too_little_memory_is_another_class(message: str) -> None:
    assert refused(make.event("FailedCreate", message)) == []


def test_an_old_server_names_no_containers() -> None:
    assert quota.only_memory("limits.memory,requests.memory")
    assert not quota.only_memory("limits.cpu,requests.memory")


@pytest.mark.parametrize(
    ("kind", "replicas", "counts"), [("Deployment", 1, False), ("Deployment", 2, True), ("StatefulSet", 1, False), ("DaemonSet", 1, False), ("Job", 1, True)]
)
def test_refusals_count_while_pods_are_missing(kind: str, replicas: int, counts: bool) -> None:
    items = [around.workload(kind=kind, replicas=replicas), around.ready_pod(), make.event("FailedCreate", EXCEEDED)]
    assert bool(refused(*items)) is counts


UNREACHABLE = 'Error creating: Internal error occurred: failed calling webhook "guard.example": failed to call webhook: Post "https://guard.sys.svc:443/v?timeout=2s": no route'
DENIED = 'Error creating: admission webhook "guard.example" denied the request: images must come from our registry'


def hook(**value: Any) -> Item:
    return Item(id="webhook/guard/guard.example", kind=ItemKind.WEBHOOK, value={"name": "guard.example", "configuration": "guard", **value})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"service": "sys/guard", "serviceExists": False}, "its Service sys/guard does not exist"),
        ({"service": "sys/guard", "serviceExists": True, "addresses": 0}, "its Service sys/guard has no ready endpoints"),
        ({}, "failed to call webhook: Post"),
    ],
)
def test_webhooks_that_cannot_be_called(value: dict[str, Any], why: str) -> None:
    event = make.event("FailedCreate", UNREACHABLE)
    (found,) = refused(event, make.event("FailedCreate", UNREACHABLE), hook(**value), class_=IncidentClass.ADMISSION_WEBHOOK_FAILED)
    assert why in found.cause
    assert found.evidence == (event.id, "webhook/guard/guard.example")
    assert found.parameters["fault"] == "Unreachable"


@pytest.mark.parametrize("items", [(), (hook(),)])
def test_webhooks_that_deny(items: tuple[Item, ...]) -> None:
    (found,) = refused(make.event("FailedCreate", DENIED), *items, class_=IncidentClass.ADMISSION_WEBHOOK_FAILED)
    assert found.parameters == {"fault": "Denied", "name": "guard.example", "said": "images must come from our registry", "configuration": "guard" if items else None}
