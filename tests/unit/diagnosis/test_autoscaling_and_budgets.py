"""Autoscalers that cannot scale, and budgets that no eviction can keep."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

NO_API = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to "
    "fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
)
UTILISATION = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}


def found(class_: IncidentClass, *items: Item, kind: str = "Deployment") -> list[Finding]:
    return [one for one in registry.diagnose(around.bundle(*items, kind=kind)) if one.class_ is class_]


def autoscaler(name: str = "web", *, of: str = "web", metrics: list[dict[str, Any]] | None = None, **conditions: tuple[str, str]) -> Item:
    listed = [{"type": type_, "status": "False", "reason": reason, "message": message} for type_, (reason, message) in conditions.items()]
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": of}, "metrics": [UTILISATION] if metrics is None else metrics}
    return around.thing(ItemKind.AUTOSCALER, name, spec, status={"conditions": [*listed, {"type": "X", "status": "True"}]})


def api(*, served: bool) -> Item:
    return Item(id="api/metrics.k8s.io", kind=ItemKind.API_GROUP, value={"group": "metrics.k8s.io", "served": served})


INACTIVE = ("FailedGetResourceMetric", NO_API)


def scaling(*items: Item, kind: str = "HorizontalPodAutoscaler") -> list[Finding]:
    return found(IncidentClass.AUTOSCALER_FAILED, *items, kind=kind)


def test_a_workload_is_none_the_worse_for_what_its_autoscaler_lacks() -> None:
    without = around.ready_pod(containers=[make.container()])
    (one,) = scaling(
        without, autoscaler(ScalingActive=INACTIVE), api(served=False), kind="Deployment"
    )
    assert (one.parameters["fault"], one.confidence) == ("NoRequests", 0.95), (
        "it is the one that requests nothing"
    )
    (one,) = scaling(autoscaler(ScalingActive=INACTIVE), api(served=False), kind="Deployment")
    assert (one.parameters["fault"], one.confidence) == ("NoMetrics", 0.55)
    unmeasured = around.bundle(around.workload(), autoscaler(ScalingActive=INACTIVE), api(served=False))
    assert not registry.is_failing(unmeasured)


def foreign(type_: str, name: str | None, **more: Any) -> dict[str, Any]:
    return {"type": type_, type_.lower(): {"metric": {"name": name} if name else {}, **more}}


NO_ADAPTER = (
    "the HPA was unable to compute the replica count: unable to get external metric shop/queue_depth/nil: unable to fetch metrics from "
    "external metrics API: the server could not find the requested resource (get queue_depth.external.metrics.k8s.io)"
)


@pytest.mark.parametrize(
    ("metric", "message", "served", "sure", "words"),
    [
        (
            foreign("External", "queue_depth"),
            NO_ADAPTER,
            None,
            0.95,
            "external metric queue_depth: the cluster serves no external.metrics.k8s.io",
        ),
        (
            foreign("External", "queue_depth"),
            "no queue_depth for now",
            False,
            0.95,
            "serves no external.metrics.k8s.io",
        ),
        (
            foreign("External", "queue_depth"),
            "no values for queue_depth",
            True,
            0.8,
            "no value of the external metric queue_depth: no values",
        ),
        (
            foreign("External", "queue_depth"),
            "no values for queue_depth",
            None,
            0.8,
            "no values for queue_depth",
        ),
        (
            foreign("Pods", "hits"),
            "unable to get metric hits: no custom metrics API (get pods.custom.metrics.k8s.io)",
            None,
            0.8,
            "pods metric hits",
        ),
        (foreign("External", "other"), NO_ADAPTER, None, 0.95, "no metrics.k8s.io"),
        (foreign("External", None), NO_ADAPTER, None, 0.95, "no metrics.k8s.io"),
    ],
)
def test_a_metric_of_something_else_is_named(
    metric: dict[str, Any], message: str, served: bool | None, sure: float, words: str
) -> None:
    group = {"group": "external.metrics.k8s.io", "served": served}
    groups = (
        []
        if served is None
        else [Item(id="api/external.metrics.k8s.io", kind=ItemKind.API_GROUP, value=group)]
    )
    (one,) = scaling(
        *groups,
        autoscaler(metrics=[metric], ScalingActive=("FailedGetExternalMetric", message)),
        api(served=False),
    )
    assert (one.confidence, one.parameters["fault"]) == (sure, "NoMetrics")
    assert words in one.cause
    assert ("api/external.metrics.k8s.io" in one.evidence) is (served is False)


def test_containers_without_requests() -> None:
    pod = around.ready_pod(containers=[make.container("side", resources={"requests": {"cpu": "1"}}), make.container()])
    (one,) = scaling(pod, autoscaler(ScalingActive=INACTIVE), api(served=False))
    assert (one.container, one.evidence, one.confidence) == ("app", ("autoscaler/web", "pod/web-1"), 0.95)
    assert one.parameters == {"fault": "NoRequests", "autoscaler": "web", "resource": "cpu", "containers": ["app"], "kind": "Deployment", "workload": "web"}


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [
        ([{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "app", "target": {"type": "Utilization"}}}], "NoRequests"),
        ([{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "side", "target": {"type": "Utilization"}}}], "NoMetrics"),
        ([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue"}}}], "NoMetrics"),
        ([{"type": "External"}], "NoMetrics"),
        ([], "NoMetrics"),
    ],
)
def test_only_utilisation_needs_requests(metrics: list[dict[str, Any]], fault: str) -> None:
    pod = around.ready_pod(containers=[make.container("side", resources={"requests": {"cpu": "1"}}), make.container()])
    (one,) = scaling(pod, autoscaler(metrics=metrics, ScalingActive=INACTIVE), api(served=False))
    assert one.parameters["fault"] == fault


def test_no_metrics_server_or_no_metrics() -> None:
    (one,) = scaling(autoscaler(ScalingActive=INACTIVE), api(served=False))
    assert (one.confidence, one.evidence) == (0.95, ("autoscaler/web", "api/metrics.k8s.io"))
    (one,) = scaling(autoscaler(ScalingActive=INACTIVE), api(served=True))
    assert (one.confidence, one.parameters["fault"]) == (0.8, "NoMetrics")
    (one,) = scaling(autoscaler(ScalingActive=("Other", "no")), api(served=False))
    assert one.confidence == 0.8


@pytest.mark.parametrize(("of", "name", "near"), [("wbe", "x", "web"), ("zzz", "api", "api"), ("zzz", "x", None)])
def test_a_target_that_does_not_exist(of: str, name: str, near: str | None) -> None:
    item = autoscaler(name, of=of, AbleToScale=("FailedGetScale", f'deployments.apps "{of}" not found'))
    (one,) = scaling(around.workload(), around.sibling("api"), around.sibling("db", kind="StatefulSet"), item)
    assert one.parameters == {"fault": "TargetMissing", "autoscaler": name, "kind": "Deployment", "old": of} | ({"new": near} if near else {})


def test_other_troubles_and_none() -> None:
    (one,) = scaling(autoscaler(AbleToScale=("FailedUpdateScale", "conflict")))
    assert one.parameters["fault"] == "Unable"
    assert scaling(autoscaler()) == []
    assert scaling(autoscaler(ScalingActive=("ScalingDisabled", "scaling is disabled since the replica count is zero"))) == []


def budget(*, allowed: int = 0, expected: int = 1, healthy: int = 1, **spec: Any) -> Item:
    status = {"disruptionsAllowed": allowed, "expectedPods": expected, "currentHealthy": healthy}
    return around.thing(ItemKind.BUDGET, "web", spec, status=status)


def blocked(*items: Item) -> list[Finding]:
    return found(IncidentClass.DISRUPTION_BUDGET_BLOCKED, *items)


def test_a_budget_that_allows_no_eviction_of_healthy_pods() -> None:
    (one,) = blocked(around.ready_pod(), around.workload(), budget(minAvailable=1), around.node())
    assert (one.confidence, one.evidence) == (0.8, ("disruptionbudget/web", "object/Deployment/web"))
    assert one.parameters == {"budget": "web", "field": "minAvailable", "value": 1, "expected": 1}
    (one,) = blocked(budget(maxUnavailable=0), around.node(unschedulable=True))
    assert (one.confidence, one.evidence, one.parameters["field"]) == (0.95, ("disruptionbudget/web", "node/node-1"), "maxUnavailable")


@pytest.mark.parametrize("status", [{"allowed": 1, "expected": 2, "healthy": 2}, {"expected": 0, "healthy": 0}, {"expected": 2, "healthy": 1}])
def test_budgets_that_allow_or_are_right_to_block(status: dict[str, int]) -> None:
    assert blocked(budget(minAvailable=1, **status)) == []


def named(name: str, **spec: Any) -> Item:
    status = {"disruptionsAllowed": 1, "expectedPods": 2, "currentHealthy": 2}
    return around.thing(ItemKind.BUDGET, name, spec, status=status)


def test_two_budgets_of_one_pod_forbid_what_each_allows() -> None:
    items = [around.workload(), named("web", maxUnavailable=1), named("platform", minAvailable=1)]
    (one,) = blocked(around.ready_pod(), *items)
    assert (one.confidence, one.evidence) == (
        0.8,
        ("disruptionbudget/web", "disruptionbudget/platform", "pod/web-1"),
    )
    assert one.parameters == {"fault": "Several", "budgets": ["web", "platform"]}
    said = make.event(
        "MultiplePodDisruptionBudgets",
        'Pod "shop"/"web-1" matches multiple PodDisruptionBudgets.  Chose "web" arbitrarily.',
    )
    (one,) = blocked(around.ready_pod(), *items, said)
    assert (one.confidence, one.evidence[-1]) == (0.95, said.id)
    assert blocked(*items) == [], "nothing runs that could be evicted"
