"""Objects that act on a target: which are kept, and what of them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.adapters.kube.test_collection import APPS, NOW, NS, Api

from selfheal.adapters.kube import cluster, relations
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, ItemKind

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns"
NET = "/apis/networking.k8s.io/v1"
HPA = "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers"


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


def build_api(**more: Any) -> Api:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"serviceAccountName": "reader", "containers": []}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return Api({f"{APPS}/deployments/web": {"metadata": {"name": "web", "uid": "d"}, "spec": spec}, **more})


async def collect(api: Api, kind: str = "Deployment", name: str = "web") -> Bundle:
    ref = TargetRef(kind=kind, name=name)
    return await cluster.KubeCluster(api).collect_evidence("ns", ref, NOW)


def scaled(name: str, kind: str, of: str) -> dict[str, Any]:
    return named(name, spec={"scaleTargetRef": {"kind": kind, "name": of}})


@pytest.mark.parametrize(("groups", "served"), [([{"name": "metrics.k8s.io"}], True), ([], False)])
async def test_the_autoscalers_of_the_target_and_whether_metrics_are_served(groups: list[Any], served: bool) -> None:
    found = [scaled("web", "Deployment", "web"), scaled("other", "Deployment", "api")]
    bundle = await collect(build_api(**{HPA: found, "/apis": {"groups": groups}}))
    assert [one.id for one in bundle.of(ItemKind.AUTOSCALER)] == ["autoscaler/web"]
    assert [one.value for one in bundle.of(ItemKind.API_GROUP)] == [{"group": "metrics.k8s.io", "served": served}]


async def test_the_apis_of_other_metrics_are_looked_for_where_one_is_wanted() -> None:
    own = scaled("web", "Deployment", "web")
    own["spec"]["metrics"] = [{"type": "Resource"}, {"type": "External"}, {"type": "Pods"}, {"type": "Object"}]
    bundle = await collect(build_api(**{HPA: [own], "/apis": {"groups": [{"name": "custom.metrics.k8s.io"}]}}))
    found = {one.value["group"]: one.value["served"] for one in bundle.of(ItemKind.API_GROUP)}
    assert found == {"metrics.k8s.io": False, "external.metrics.k8s.io": False, "custom.metrics.k8s.io": True}


async def test_an_autoscaler_that_is_the_target_itself() -> None:
    own = scaled("ghost", "Deployment", "nobody")
    api = build_api(**{HPA: [own], f"{HPA}/ghost": own, "/apis": {"groups": []}})
    bundle = await collect(api, "HorizontalPodAutoscaler", "ghost")
    assert [one.id for one in bundle.of(ItemKind.AUTOSCALER)] == ["autoscaler/ghost"]


async def test_budgets_that_select_the_pods() -> None:
    found = [named("web", spec={"selector": {"matchLabels": {"app": "web"}}}), named("api", spec={"selector": {"matchLabels": {"app": "api"}}}), named("none", spec={})]
    bundle = await collect(build_api(**{"/apis/policy/v1/namespaces/ns/poddisruptionbudgets": found}))
    assert [one.id for one in bundle.of(ItemKind.BUDGET)] == ["disruptionbudget/web"]


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "api"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "tier", "operator": "Exists"}, False),
        ({"key": "tier", "operator": "DoesNotExist"}, True),
    ],
)
def test_selectors_with_expressions(expression: dict[str, Any], holds: bool) -> None:
    assert relations.selects({"matchExpressions": [expression]}, {"app": "web"}) is holds


async def test_ingresses_and_their_classes() -> None:
    classes = [named("nginx"), {"metadata": {"name": "default", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}}]
    found = [named("front"), named("back")]
    api = build_api(**{f"{NET}/namespaces/ns/ingresses": found, f"{NET}/namespaces/ns/ingresses/front": named("front"), f"{NET}/ingressclasses": classes})
    bundle = await collect(api)
    assert [one.id for one in bundle.of(ItemKind.INGRESS)] == ["ingress/front", "ingress/back"]
    assert [one.value for one in bundle.of(ItemKind.INGRESS_CLASS)] == [{"name": "nginx", "default": False}, {"name": "default", "default": True}]
    bundle = await collect(api, "Ingress", "front")
    assert [one.id for one in bundle.of(ItemKind.INGRESS)] == ["ingress/front"]
    assert list((await collect(build_api(**{f"{NET}/ingressclasses": classes}))).of(ItemKind.INGRESS_CLASS)) == []


async def test_an_ingress_gets_all_services() -> None:
    front = named("front")
    services = [named("a", spec={"selector": {"app": "a"}}), named("b", spec={})]
    api = build_api(**{f"{NET}/namespaces/ns/ingresses/front": front, f"{NS}/services": services})
    bundle = await collect(api, "Ingress", "front")
    assert [one.id for one in bundle.of(ItemKind.SERVICE)] == ["service/a", "service/b"]


async def test_the_identity_of_the_pods_and_its_roles() -> None:
    account = {"kind": "ServiceAccount", "name": "reader"}
    bindings = [
        named("r", roleRef={"kind": "Role", "name": "reads"}, subjects=[account]),
        named("c", roleRef={"kind": "ClusterRole", "name": "view"}, subjects=[account | {"namespace": "ns"}]),
        named("o", roleRef={"kind": "Role", "name": "other"}, subjects=[account | {"namespace": "other"}, {"kind": "User", "name": "reader"}]),
        named("n", roleRef={"kind": "Role", "name": "other"}),
        named("s", roleRef={"kind": "Role", "name": "spare"}, subjects=[account | {"name": "raeder"}]),
        named("d", roleRef={"kind": "Role", "name": "other"}, subjects=[account | {"name": "default"}]),
    ]
    accounts = [named("reader", imagePullSecrets=[{"name": "reg"}]), named("default")]
    roles = [named("reads"), named("other"), named("reader"), named("spare")]
    api = build_api(**{f"{RBAC}/rolebindings": bindings, f"{RBAC}/roles": roles, f"{NS}/serviceaccounts": accounts})
    bundle = await collect(api)
    assert [one.id for one in bundle.of(ItemKind.ROLE_BINDING)] == ["rolebinding/r", "rolebinding/c", "rolebinding/s"]
    assert [one.id for one in bundle.of(ItemKind.ROLE)] == ["role/reads", "role/reader", "role/spare"]
    assert [one.value for one in bundle.of(ItemKind.SERVICE_ACCOUNT)] == [
        {"name": "reader", "exists": True, "others": ["reader", "default"], "pullSecrets": ["reg"]}
    ]
    lonely = next((await collect(build_api())).of(ItemKind.SERVICE_ACCOUNT))
    assert lonely.value["exists"] is False


def failed_create(message: str) -> list[dict[str, Any]]:
    about = {"kind": "Deployment", "name": "web"}
    return [{"metadata": {}, "reason": "FailedCreate", "message": message, "type": "Warning", "involvedObject": about}]


REFUSED = 'Internal error occurred: failed calling webhook "guard.example": failed to call webhook: no route'


@pytest.mark.parametrize(
    ("client", "objects", "expected"),
    [
        ({"url": "https://x"}, {}, {}),
        ({"service": {"namespace": "sys", "name": "guard"}}, {}, {"service": "sys/guard", "serviceExists": False}),
        (
            {"service": {"namespace": "sys", "name": "guard"}},
            {"/api/v1/namespaces/sys/services/guard": named("guard")},
            {"service": "sys/guard", "serviceExists": True, "addresses": 0},
        ),
    ],
)
async def test_webhooks_that_events_name(client: dict[str, Any], objects: dict[str, Any], expected: dict[str, Any]) -> None:
    hooks = [{"name": "guard.example", "clientConfig": client}, {"name": "other.example"}]
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    api = build_api(**{path: [named("guard", webhooks=hooks)], f"{NS}/events": failed_create(REFUSED), **objects})
    found = list((await collect(api)).of(ItemKind.WEBHOOK))
    base = {"kind": "ValidatingWebhookConfiguration", "configuration": "guard", "name": "guard.example", "failurePolicy": "Fail"}
    assert [one.value for one in found] == [base | expected]


async def test_without_a_refusal_no_webhook_is_asked_for() -> None:
    api = build_api(**{f"{NS}/events": failed_create("exceeded quota")})
    assert list((await collect(api)).of(ItemKind.WEBHOOK)) == []
    assert not [path for path in api.asked if "admissionregistration" in path]
