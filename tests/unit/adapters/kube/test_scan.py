"""A scan against an API server in memory: what is asked how often, what is a suspect, what is one cause."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from selfheal.adapters.kube import connection, kubelet, rollout, scan, silent, snapshot
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.domain import errors

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
OLD = "2026-11-23T05:00:00Z"


class Api(connection.Connection):
    """Lists by path, cluster-wide; an object is found in its list. Counts what is asked."""

    def __init__(self, lists: Mapping[str, list[dict[str, Any]]]) -> None:
        super().__init__(Configuration(host="http://127.0.0.1:1"))
        self.lists, self.asked = lists, []
        self.forbidden: set[str] = set()

    async def pages(self, path: str, query: Any = None) -> AsyncIterator[Any]:
        self.asked.append(path)
        plural = path.rpartition("/")[2]
        if plural in self.forbidden:
            raise errors.Forbidden("no", system="kubernetes")
        space = path.partition("/namespaces/")[2].partition("/")[0]
        for one in self.lists.get(plural, ()):
            if not space or one["metadata"].get("namespace") == space:
                yield one

    async def find(self, path: str, query: Any = None) -> Any | None:
        self.asked.append(path)
        return None

    async def take(self, path: str, limit: int, query: Any = None) -> list[Any]:
        return [one async for one in self.pages(path)][:limit]

    async def exchange(self, method: str, path: str, **rest: Any) -> connection.Answer:
        self.asked.append(path)
        raise errors.NotFound(path)


def make(name: str, namespace: str = "shop", *, labels: Mapping[str, str] | None = None, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": f"u-{name}", "creationTimestamp": OLD}
    return {"metadata": metadata | {"labels": dict(labels or {})}, **rest}


def own(stored: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    reference = {"kind": kind, "name": name, "uid": f"u-{name}", "controller": True, "apiVersion": "apps/v1"}
    stored["metadata"]["ownerReferences"] = [reference]
    return stored


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


async def test_a_list_is_asked_for_once_and_selected_from() -> None:
    pods = [make("a", labels={"app": "x"}), make("b", labels={"app": "y"}), make("c", "other", labels={"app": "x"})]
    api = Api({"pods": pods})
    copy = snapshot.Snapshot(api, frozenset({"shop", "other", "third"}))
    path = "/api/v1/namespaces/shop/pods"
    assert [one["metadata"]["name"] for one in await copy.take(path, 9, {"labelSelector": "app=x"})] == ["a"]
    assert [one["metadata"]["name"] for one in await copy.take(path, 1)] == ["a"]
    assert (await copy.find(f"{path}/b"))["kind"] == "Pod"
    assert await copy.find(f"{path}/zz") is None
    with pytest.raises(errors.NotFound):
        await copy.get(f"{path}/zz")
    assert (await copy.get(f"{path}/b"))["apiVersion"] == "v1"
    assert api.asked == ["/api/v1/pods"]


async def test_few_namespaces_are_asked_for_one_by_one() -> None:
    api = Api({"pods": [make("a"), make("c", "other")]})
    copy = snapshot.Snapshot(api, frozenset({"shop"}))
    assert len(await copy.take("/api/v1/namespaces/shop/pods", 9)) == 1
    assert len(await copy.take("/api/v1/namespaces/other/pods", 9)) == 1
    assert api.asked == ["/api/v1/namespaces/shop/pods", "/api/v1/namespaces/other/pods"]


async def test_who_may_not_list_the_cluster_is_asked_namespace_by_namespace() -> None:
    class Narrow(Api):
        async def pages(self, path: str, query: Any = None) -> AsyncIterator[Any]:
            if "/namespaces/" not in path:
                raise errors.Forbidden("not in the whole cluster", system="kubernetes")
            async for one in super().pages(path, query):
                yield one

    copy = snapshot.Snapshot(Narrow({"pods": [make("a")]}), frozenset({"shop", "other", "third"}))
    assert len(await copy.take("/api/v1/namespaces/shop/pods", 9)) == 1
    with pytest.raises(errors.Forbidden):
        await copy.take("/api/v1/nodes", 9)
    await copy.close()


async def test_what_is_still_asked_for_ends_with_the_snapshot() -> None:
    class Stuck(Api):
        async def find(self, path: str, query: Any = None) -> Any | None:
            await asyncio.Event().wait()

    copy = snapshot.Snapshot(Stuck({}), frozenset({"shop"}))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await copy.find("/api/v1/namespaces/shop/configmaps/settings")
    await copy.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_object_of_another_kind_is_asked_for_once() -> None:
    api = Api({})
    copy = snapshot.Snapshot(api, frozenset({"shop"}))
    path = "/api/v1/namespaces/shop/configmaps/settings"
    assert await copy.find(path) is None
    assert await copy.find(path) is None
    assert api.asked == [path]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", ["a", "c"]), ("app==x,tier=front", ["a"]), ("app!=x", ["b"]), ("tier", ["a"]), ("!tier", ["b", "c"]),
        ("app in (x, y)", ["a", "b", "c"]), ("app notin (x)", ["b"]), ("app in (x),!tier", ["c"]), ("", ["a", "b", "c"]),
    ],
)  # fmt: skip
async def test_label_selectors(selector: str, names: list[str]) -> None:
    pods = [
        make("a", labels={"app": "x", "tier": "front"}), make("b", labels={"app": "y"}), make("c", labels={"app": "x"}),
    ]  # fmt: skip
    copy = snapshot.Snapshot(Api({"pods": pods}), frozenset({"shop"}))
    found = await copy.take("/api/v1/namespaces/shop/pods", 9, {"labelSelector": selector})
    assert [one["metadata"]["name"] for one in found] == names


async def test_field_selectors() -> None:
    events = [make("a", type="Warning"), make("b", type="Normal")]
    copy = snapshot.Snapshot(Api({"events": events}), frozenset({"shop"}))
    found = await copy.take("/api/v1/namespaces/shop/events", 9, {"fieldSelector": "type=Warning"})
    assert [one["metadata"]["name"] for one in found] == ["a"]


async def test_kubelets_are_read_once_a_namespace() -> None:
    class Inner:
        reads = 0

        async def read(self, pods: Any) -> Any:
            self.reads += 1
            counters = {(pod["metadata"]["name"], "app"): rollout.Counters(working_set=1.0) for pod in pods}
            return counters, [{"pod": "a", "claim": "x"}, {"pod": "b", "claim": "y"}], ["gap"]

    inner = Inner()
    shared = snapshot.SharedKubelets(inner)  # type: ignore[arg-type]
    await shared.read_all("shop", [make("a"), make("b")])
    counters, volumes, gaps = await shared.read([make("a")])
    assert (list(counters), volumes, gaps) == ([("a", "app")], [{"pod": "a", "claim": "x"}], ["gap"])
    assert inner.reads == 1
    await shared.read([make("c", "other")])
    assert inner.reads == 2


def listed(**kinds: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    names = ("Service", "Pod", "Ingress", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "EndpointSlice")
    return {name: kinds.get(name, []) for name in (*names, "PodDisruptionBudget")}


def suspects(classes: frozenset[str] | None = None, **kinds: list[dict[str, Any]]) -> list[str]:
    return [f"{ref.kind}/{ref.name}" for ref in silent.build(listed(**kinds), classes)]


def ready_pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return make(name, labels={"app": "web"}, spec={"containers": [{"name": "c"}], **spec}, status=READY)


def service(selector: Mapping[str, str] | None, **spec: Any) -> dict[str, Any]:
    return make("s", spec={"selector": selector, "ports": [{"port": 80}], **spec})


def endpoints(*numbers: int | None) -> dict[str, Any]:
    return make("e", labels={"kubernetes.io/service-name": "s"}, ports=[{"port": number} for number in numbers])


DECLARES = {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}
OTHER = {"containers": [{"name": "c", "ports": [{"containerPort": 9100}]}]}


@pytest.mark.parametrize(
    ("one", "pods", "slices", "suspect"),
    [
        (service({"app": "web"}), [ready_pod()], [endpoints(80)], False),
        (service({"app": "web"}), [ready_pod(**DECLARES)], [endpoints(80)], False),
        (service({"app": "web"}), [ready_pod(**DECLARES)], [endpoints(8081)], True),
        (service({"app": "web"}), [ready_pod(**DECLARES)], [endpoints()], True),
        (service({"app": "web"}), [ready_pod(**DECLARES), ready_pod("q", **OTHER)], [endpoints(80)], True),
        (service({"app": "web"}), [ready_pod(**DECLARES), ready_pod("q")], [endpoints(80)], False),
        (service({"app": "wep"}), [ready_pod()], [], True),
        (service({"app": "web"}), [], [], False),  # nothing runs here at all
        (service(None), [ready_pod()], [], False),
        (service({"app": "wep"}, type="ExternalName"), [ready_pod()], [], False),
        (service({"app": "web"}), [ready_pod() | {"status": {"phase": "Pending"}}], [endpoints()], False),
    ],
)
def test_services(one: dict[str, Any], pods: list[Any], slices: list[Any], suspect: bool) -> None:
    assert suspects(Service=[one], Pod=pods, EndpointSlice=slices) == (["Service/s"] if suspect else [])


def ingress(name: str, class_: str | None = None, /, **port: Any) -> dict[str, Any]:
    backend = {"service": {"name": name, **({"port": port} if port else {})}}
    spec: dict[str, Any] = {"rules": [{"http": {"paths": [{"backend": backend}]}}, {}], "defaultBackend": backend}
    return make("i", spec=spec | ({"ingressClassName": class_} if class_ else {}))


@pytest.mark.parametrize(
    ("one", "classes", "suspect"),
    [
        (ingress("s"), None, False),
        (ingress("gone"), None, True),
        (ingress("s", number=80), None, False),
        (ingress("s", number=8080), None, True),
        (ingress("s", name="http"), None, True),
        (ingress("s", "edge"), frozenset({"edge"}), False),
        (ingress("s", "edge"), frozenset(), True),
        (ingress("s", "edge"), None, False),  # classes may not be listed: no word of them
    ],
)
def test_ingresses(one: dict[str, Any], classes: frozenset[str] | None, suspect: bool) -> None:
    found = suspects(classes, Ingress=[one], Service=[service(None)])
    assert found == (["Ingress/i"] if suspect else [])


@pytest.mark.parametrize(("status", "suspect"), [("True", False), ("False", True)])
def test_autoscalers(status: str, suspect: bool) -> None:
    one = make("h", status={"conditions": [{"type": "ScalingActive", "status": status}]})
    assert suspects(HorizontalPodAutoscaler=[one]) == (["HorizontalPodAutoscaler/h"] if suspect else [])


def test_a_claim_is_a_suspect_only_where_no_pod_waits_for_it() -> None:
    claims = [make(name, status={"phase": phase}) for name, phase in (("a", "Pending"), ("b", "Pending"), ("c", "Bound"))]
    pod = ready_pod(volumes=[{"persistentVolumeClaim": {"claimName": "a"}}])
    assert suspects(PersistentVolumeClaim=claims, Pod=[pod]) == ["PersistentVolumeClaim/b"]


@pytest.mark.parametrize(
    ("status", "suspect"),
    [
        ({"expectedPods": 2, "currentHealthy": 2, "disruptionsAllowed": 0}, True),
        ({"expectedPods": 2, "currentHealthy": 1, "disruptionsAllowed": 0}, False),  # a pod is unwell: that is the fault
        ({"expectedPods": 2, "currentHealthy": 2, "disruptionsAllowed": 1}, False),
        ({"expectedPods": 0, "currentHealthy": 0, "disruptionsAllowed": 0}, False),
    ],
)
def test_budgets_lead_to_the_workload(status: dict[str, int], suspect: bool) -> None:
    budget = make("b", spec={"selector": {"matchLabels": {"app": "web"}}}, status=status)
    found = suspects(PodDisruptionBudget=[budget], Pod=[ready_pod("p"), ready_pod("q")])
    assert found == (["Pod/p"] if suspect else [])


def test_two_budgets_of_one_pod_lead_to_the_workload() -> None:
    status = {"expectedPods": 2, "currentHealthy": 2, "disruptionsAllowed": 1}
    budgets = [make(name, spec={"selector": {"matchLabels": {"app": app}}}, status=status) for name, app in (("a", "web"), ("b", "web"), ("c", "api"))]
    assert suspects(PodDisruptionBudget=budgets, Pod=[ready_pod("p")]) == ["Pod/p", "Pod/p"]
    assert suspects(PodDisruptionBudget=budgets[1:], Pod=[ready_pod("p")]) == []


async def test_a_kind_that_may_not_be_listed_has_no_suspects() -> None:
    api = Api({"ingresses": [ingress("gone")], "services": [service({"app": "wep"})], "pods": [ready_pod()]})
    api.forbidden = {"ingresses", "ingressclasses"}
    assert [ref.kind for ref in await silent.find(api, "shop")] == ["Service"]


def test_throttled_containers() -> None:
    counters = {
        ("a", "c"): rollout.Counters(periods=100, throttled=60), ("b", "c"): rollout.Counters(periods=100, throttled=2),
        ("d", "c"): rollout.Counters(),
    }  # fmt: skip
    pods = [make(name) for name in "abd"]
    assert [ref.name for ref in silent.find_throttled(pods, counters)] == ["a"]


def row(name: str, *, cause: str | None, confidence: float = 0.9, namespace: str = "shop", **parameters: Any) -> scan.Scanned:
    ref = TargetRef(kind="Deployment", name=name)
    finding = cause and Finding(
        class_=IncidentClass.MISSING_REFERENCE, cause=cause, confidence=confidence, evidence=("x",), parameters=parameters
    )
    bundle = Bundle(target=ref, namespace=namespace, now=NOW)
    return scan.Scanned(namespace=namespace, target=ref, finding=finding or None, bundle=bundle)


def test_one_entry_a_cause() -> None:
    rows = [
        row("a", cause="no Secret db, for a", object="Secret db"), row("b", cause="no Secret db, for b", object="Secret db"),
        row("c", cause="no Secret db", object="Secret db", namespace="other"), row("d", cause="else", confidence=0.95),
        row("e", cause=None), row("f", cause=None),
    ]  # fmt: skip
    merged = [(one.target.name, [ref.name for ref in one.also]) for one in scan.merge(rows)]
    assert merged == [("d", []), ("a", ["b"]), ("c", []), ("e", []), ("f", [])]


async def test_a_scan_diagnoses_each_unhealthy_workload_once_at_its_owner() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}
    status = {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "app", "state": {"waiting": waiting}, "ready": False, "restartCount": 0}],
    }
    reference = [{"configMapRef": {"name": "settings"}}]
    spec = {"containers": [{"name": "app", "image": "nginx", "envFrom": reference}], "nodeName": ""}
    labels = {"app": "web"}
    pods = [
        own(make(name, labels=labels, spec=spec, status=status), "ReplicaSet", "web-1") for name in ("web-1-a", "web-1-b")
    ]
    template = {"metadata": {"labels": labels}, "spec": spec}
    deployment = make("web", spec={"selector": {"matchLabels": labels}, "template": template, "replicas": 2}, status={})
    replica_set = own(make("web-1", labels=labels, spec={"template": template}), "Deployment", "web")
    well = make("well", labels={"app": "w"}, spec={"containers": [{"name": "c"}]}, status=READY)
    api = Api({"pods": [*pods, well], "deployments": [deployment], "replicasets": [replica_set]})
    seen: list[str] = []

    async def extend(bundle: Bundle) -> Bundle:
        seen.append(bundle.target.name)
        return bundle.extend(Item(id="commit/1", kind=ItemKind.COMMIT, value={}))

    rows = await scan.scan(api, kubelet.Kubelets(api), ["shop"], NOW, extend=extend)
    assert seen == ["web"]
    (found,) = rows
    assert (found.target.kind, found.target.name) == ("Deployment", "web")
    assert found.finding is not None
    assert "settings" in found.finding.cause
    assert api.asked.count("/api/v1/namespaces/shop/pods") == 1
