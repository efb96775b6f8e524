"""Collection against an API server in memory: what is asked, what is found, what becomes a gap."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from selfheal.adapters.kube import cluster, connection, evidence
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, ItemKind
from selfheal.domain import errors

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
NS = "/api/v1/namespaces/ns"
APPS = "/apis/apps/v1/namespaces/ns"


class Api(connection.Connection):
    """Objects and lists by path; what is not there is not found, or an empty list."""

    def __init__(self, objects: dict[str, Any]) -> None:
        super().__init__(Configuration(host="http://127.0.0.1:1"))
        self.objects, self.asked = objects, []
        self.stuck: set[str] = set()

    async def exchange(self, method: str, path: str, **options: Any) -> connection.Answer:
        self.asked.append(path)
        assert method == "GET"
        if path in self.stuck:
            await asyncio.Event().wait()
        found = self.objects.get(path)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, str):
            return connection.Answer(status=200, text=found)
        raise errors.NotFound(path)

    async def get(self, path: str, query: Any = None, *, deadline: float = 10.0) -> Any:
        self.asked.append(path)
        if path in self.stuck:
            await asyncio.Event().wait()
        found = self.objects.get(path)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, list) or (found is None and path.rpartition("/")[2].endswith("s")):
            return {"items": found or []}
        if found is None:
            raise errors.NotFound(path)
        return found


def owned(uid: str) -> dict[str, Any]:
    reference = {"uid": uid, "controller": True, "apiVersion": "apps/v1", "kind": "X", "name": "x"}
    return {"ownerReferences": [reference]}


def build_api() -> Api:
    containers = [
        {
            "name": "app",
            "image": "nginx:1",
            "env": [{"name": "M", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "m"}}}],
            "envFrom": [{"configMapRef": {"name": "gone"}}, {"secretRef": {"name": "s3cr3t"}}],
        }
    ]
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "cfg", "configMap": {"name": "files"}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "root"}}, {}]}},
        {"name": "sec", "secret": {"secretName": "s3cr3t"}},
    ]
    pod_spec = {"containers": containers, "volumes": volumes}
    template = {"metadata": {"labels": {"app": "web", "v": "1"}}, "spec": pod_spec}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    running = {
        "name": "app",
        "restartCount": 1,
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    pod = {
        "metadata": {"name": "web-1", "uid": "p", "creationTimestamp": "2026-11-23T06:00:00Z"}
        | owned("r"),
        "spec": pod_spec | {"nodeName": "node-1"},
        "status": {"containerStatuses": [running]},
    }
    about = {"kind": "Pod", "name": "web-1"}
    event = {
        "metadata": {"creationTimestamp": "2026-11-23T06:00:00Z"},
        "reason": "BackOff",
        "message": "x",
        "type": "Warning",
        "involvedObject": about,
    }
    stranger = event | {"involvedObject": {"kind": "Pod", "name": "other"}}
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}}
    other = {"metadata": {"name": "other"}, "spec": {"selector": {"app": "other"}}}
    idle = {"metadata": {"name": "idle"}, "spec": {"selector": {"app": "nobody"}}}
    slices = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
    sibling_spec = {"containers": [{"image": "b:1"}], "imagePullSecrets": [{"name": "reg"}]}
    return Api(
        {
            f"{APPS}/deployments/web": {"metadata": {"name": "web", "uid": "d"}, "spec": spec},
            f"{APPS}/deployments": [
                {"metadata": {"name": "web"}},
                {"metadata": {"name": "api"}, "spec": {"template": {"spec": sibling_spec}}},
            ],
            f"{APPS}/replicasets": [
                {"metadata": {"name": "web-a", "uid": "r"} | owned("d")},
                {"metadata": {"name": "foreign", "uid": "f"} | owned("z")},
            ],
            f"{NS}/pods": [pod, pod | {"metadata": {"name": "stray"} | owned("f")}],
            f"{NS}/pods/web-1/log": "token=abcd1234\nready\n",
            f"{NS}/events": [event, stranger],
            f"{NS}/services": [service, other, idle],
            slices: [
                {
                    "metadata": {"labels": {"kubernetes.io/service-name": "other"}},
                    "endpoints": [{"addresses": ["10.0.0.9"]}],
                },
                {
                    "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
                    "endpoints": [
                        {"addresses": ["10.0.0.1"]},
                        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
                    ],
                    "ports": [{"port": 80}, {"port": None}],
                }
            ],
            f"{NS}/configmaps/env": {"data": {"m": "the-value"}, "binaryData": {"b": "AA=="}},
            f"{NS}/configmaps/files": {},
            f"{NS}/persistentvolumeclaims/data": {"metadata": {"name": "data"}},
            "/apis/storage.k8s.io/v1/storageclasses": [{"metadata": {"name": "standard"}}],
            "/api/v1/nodes/node-1": {
                "metadata": {"name": "node-1"},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            },
            f"{NS}/resourcequotas": [{"metadata": {"name": "q"}}],
        }
    )


REF = TargetRef(kind="Deployment", name="web")


async def collect(api: Api) -> Bundle:
    return await cluster.KubeCluster(api).collect_evidence("ns", REF, NOW)


async def test_everything_about_a_target_is_collected() -> None:
    bundle = await collect(build_api())
    values = {item.id: item.value for item in bundle.items}
    assert {"object/Deployment/web", "replicaset/web-a", "pod/web-1", "node/node-1"} <= set(values)
    assert "replicaset/foreign" not in values
    assert "pod/stray" not in values
    assert [item.id for item in bundle.of(ItemKind.EVENT)] == ["event/1"]
    assert values["log/web-1/app"]["text"] == "token=[redacted]\nready\n"
    assert values["log/web-1/app/previous"]["previous"] is True
    assert values["endpoints/web"] == {"service": "web", "addresses": ["10.0.0.1"], "ports": [80]}
    assert values["endpoints/other"]["addresses"] == ["10.0.0.9"]
    assert values["endpoints/idle"]["addresses"] == []
    assert values["configmap/env"] == {"name": "env", "exists": True, "keys": ["b", "m"]}
    assert values["configmap/gone"] == {"name": "gone", "exists": False, "keys": []}
    assert {"configmap/files", "configmap/root", "claim/data", "storageclass/standard"} <= set(
        values
    )
    assert values["sibling/Deployment/api"]["pullSecrets"] == ["reg"]
    assert "sibling/Deployment/web" not in values
    assert "quota/q" in values


async def test_secrets_and_values_are_never_read() -> None:
    api = build_api()
    bundle = await collect(api)
    assert not [path for path in api.asked if "/secrets" in path]
    assert "the-value" not in str(bundle)


async def test_a_piece_that_is_refused_is_a_gap_and_the_rest_stays() -> None:
    api = build_api()
    api.objects[f"{NS}/resourcequotas"] = errors.Forbidden("no right to list quotas")
    bundle = await collect(api)
    assert "quotas: no right to list quotas" in bundle.gaps
    assert any(item.id == "pod/web-1" for item in bundle.items)


async def test_a_piece_that_hangs_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PIECE_SECONDS", 0.2)
    api = build_api()
    api.stuck = {f"{NS}/services", f"{NS}/pods/web-1/log"}
    bundle = await collect(api)
    assert [gap.partition(":")[0] for gap in bundle.gaps if "no answer within" in gap] == [
        "logs", "services",
    ]  # fmt: skip
    assert any(item.id == "node/node-1" for item in bundle.items)


async def test_a_log_that_cannot_be_read_is_a_gap() -> None:
    api = build_api()
    api.objects[f"{NS}/pods/web-1/log"] = errors.Transient("the node is gone")
    bundle = await collect(api)
    assert "log/web-1/app: the node is gone" in bundle.gaps


async def test_without_the_target_itself_there_is_no_bundle() -> None:
    api = build_api()
    api.objects[f"{APPS}/deployments/web"] = errors.Unauthorized("expired")
    with pytest.raises(errors.Unauthorized):
        await collect(api)


async def test_facts_need_no_events() -> None:
    api = build_api()
    api.objects[f"{NS}/events"] = errors.Forbidden("no events")
    seen = await cluster.KubeCluster(api).observe_workload("ns", REF)
    assert seen.warnings == ()
    assert [pod.name for pod in seen.pods] == ["web-1"]


@pytest.mark.parametrize(
    ("kind", "objects", "pods"),
    [
        ("Pod", {f"{NS}/pods/x": {"metadata": {"name": "x", "uid": "x"}}}, ["x"]),
        (
            "Service",
            {
                f"{NS}/services/x": {"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}}},
                f"{NS}/pods": [{"metadata": {"name": "p"}}],
            },
            ["p"],
        ),
        (
            "Service",
            {
                f"{NS}/services/x": {"metadata": {"name": "x"}, "spec": {}},
                f"{NS}/pods": [{"metadata": {"name": "p"}}],
            },
            [],
        ),
        (
            "PersistentVolumeClaim",
            {
                f"{NS}/persistentvolumeclaims/x": {"metadata": {"name": "x"}},
                f"{NS}/pods": [
                    {"metadata": {"name": "p"}, "spec": {"volumes": [
                        {"persistentVolumeClaim": {"claimName": "x"}}]}},
                    {"metadata": {"name": "q"}},
                ],
            },
            ["p"],
        ),
        (
            "StatefulSet",
            {
                f"{APPS}/statefulsets/x": {
                    "metadata": {"name": "x", "uid": "u"},
                    "spec": {"selector": {"matchLabels": {"a": "b"}}},
                },
                f"{NS}/pods": [{"metadata": {"name": "p"} | owned("u")},
                               {"metadata": {"name": "q"} | owned("v")}],
            },
            ["p"],
        ),
        (
            "CronJob",
            {
                "/apis/batch/v1/namespaces/ns/cronjobs/x": {"metadata": {"name": "x", "uid": "u"}},
                "/apis/batch/v1/namespaces/ns/jobs": [
                    {"metadata": {"name": "old", "creationTimestamp": "1"} | owned("u")},
                    {
                        "metadata": {"name": "new", "creationTimestamp": "2"} | owned("u"),
                        "spec": {"selector": {"matchLabels": {"job": "new"}}},
                    },
                ],
                f"{NS}/pods": [{"metadata": {"name": "p"}}],
            },
            ["p"],
        ),
        (
            "HorizontalPodAutoscaler",
            {
                "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers/x": {
                    "metadata": {"name": "x"},
                    "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "y"}},
                },
                f"{APPS}/statefulsets/y": {
                    "metadata": {"name": "y", "uid": "u"},
                    "spec": {"selector": {"matchLabels": {"a": "b"}}},
                },
                f"{NS}/pods": [{"metadata": {"name": "p"} | owned("u")}],
            },
            ["p"],
        ),
        (
            "HorizontalPodAutoscaler",
            {
                "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers/x": {
                    "metadata": {"name": "x"},
                    "spec": {"scaleTargetRef": {"kind": "Rollout", "name": "y"}},
                },
            },
            [],
        ),
    ],
)  # fmt: skip
async def test_pods_of_each_kind(kind: str, objects: dict[str, Any], pods: list[str]) -> None:
    seen = await cluster.KubeCluster(Api(objects)).observe_workload(
        "ns", TargetRef(kind=kind, name="x")
    )
    assert seen.exists
    assert [pod.name for pod in seen.pods] == pods


async def test_the_chain_of_owners_is_followed_to_its_end() -> None:
    top = {
        "uid": "t",
        "controller": True,
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "t",
    }
    middle = top | {"uid": "m", "kind": "ReplicaSet", "name": "m"}
    api = Api(
        {
            f"{NS}/pods/x": {"metadata": {"name": "x", "ownerReferences": [middle]}},
            f"{APPS}/replicasets/m": {"metadata": {"name": "m", "ownerReferences": [top]}},
            f"{APPS}/deployments/t": {"metadata": {"name": "t"}},
        }
    )
    bundle = await cluster.KubeCluster(api).collect_evidence(
        "ns", TargetRef(kind="Pod", name="x"), NOW
    )
    assert [item.id for item in bundle.of(ItemKind.OWNER)] == [
        "owner/ReplicaSet/m", "owner/Deployment/t",
    ]  # fmt: skip


async def test_an_owner_that_may_not_be_read_ends_the_chain() -> None:
    top = {
        "uid": "t",
        "controller": True,
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "t",
    }
    middle = top | {"uid": "m", "kind": "ReplicaSet", "name": "m"}
    api = Api(
        {
            f"{NS}/pods/x": {"metadata": {"name": "x", "ownerReferences": [middle]}},
            f"{APPS}/replicasets/m": {"metadata": {"name": "m", "ownerReferences": [top]}},
            f"{APPS}/deployments/t": errors.Forbidden("no right"),
        }
    )
    bundle = await cluster.KubeCluster(api).collect_evidence(
        "ns", TargetRef(kind="Pod", name="x"), NOW
    )
    assert [item.id for item in bundle.of(ItemKind.OWNER)] == ["owner/ReplicaSet/m"]
    assert "owner Deployment/t: no right" in bundle.gaps


async def test_what_a_container_serves_is_asked_where_its_probe_fails() -> None:
    api = build_api()
    container = {
        "name": "app",
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/wrong", "port": "web"}},
    }
    status = {"containerStatuses": [{"name": "app", "ready": False, "state": {"running": {}}}]}
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [container]}, "status": status}
    about = {"kind": "Pod", "name": "x"}
    event = {"metadata": {}, "reason": "Unhealthy", "involvedObject": about, "type": "Warning"}
    api = Served({f"{NS}/pods/x": pod, f"{NS}/events": [event]})
    bundle = await cluster.KubeCluster(api).collect_evidence(
        "ns", TargetRef(kind="Pod", name="x"), NOW
    )
    found = {(one.value["port"], one.value["path"]): one.value for one in bundle.of(ItemKind.PROBE)}
    assert found[8080, "/wrong"]["status"] == 404
    assert found[8080, "/healthz"]["status"] == 200
    assert all(value["listening"] == [8080] for value in found.values())
    assert set(found) == {(8080, "/wrong"), (8080, "/healthz")}


async def test_without_the_right_to_the_proxy_there_is_a_gap() -> None:
    container = {"name": "app", "livenessProbe": {"tcpSocket": {"port": 80}}}
    status = {"containerStatuses": [{"name": "app", "ready": False, "state": {"running": {}}}]}
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [container]}, "status": status}
    event = {
        "metadata": {},
        "reason": "Unhealthy",
        "involvedObject": {"kind": "Pod", "name": "x"},
    }
    api = Served({f"{NS}/pods/x": pod, f"{NS}/events": [event]}, forbidden=True)
    bundle = await cluster.KubeCluster(api).collect_evidence(
        "ns", TargetRef(kind="Pod", name="x"), NOW
    )
    assert any("pods/proxy is missing" in gap for gap in bundle.gaps)


class Served(Api):
    """A pod that serves ``/healthz`` on 8080 and nothing else."""

    def __init__(self, objects: dict[str, Any], *, forbidden: bool = False) -> None:
        super().__init__(objects)
        self.forbidden = forbidden

    async def exchange(self, method: str, path: str, **options: Any) -> connection.Answer:
        if "/proxy/" not in path:
            return await super().exchange(method, path, **options)
        if self.forbidden:
            return connection.Answer(status=403, text='{"kind":"Status"}')
        if ":8080/" not in path:
            text = "error trying to reach service: dial tcp 10.0.0.1:1: connect: connection refused"
            return connection.Answer(status=503, text=text)
        return connection.Answer(status=200 if path.endswith("/healthz") else 404, text="")


async def test_targets_are_owners_only() -> None:
    api = build_api()
    found = await cluster.KubeCluster(api).list_targets("ns")
    assert [(one.kind, one.name) for one in found] == [("Deployment", "web"), ("Deployment", "api")]


async def test_an_object_is_found_with_its_kind() -> None:
    found = await cluster.KubeCluster(build_api()).find_object("ns", REF)
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    missing = TargetRef(kind="Job", name="none")
    assert await cluster.KubeCluster(build_api()).find_object("ns", missing) is None


async def test_an_object_of_any_kind_is_found_but_no_secret() -> None:
    role = "/apis/rbac.authorization.k8s.io/v1"
    api = build_api()
    api.objects[role] = {"resources": [{"kind": "Role", "name": "roles", "namespaced": True}]}
    api.objects[f"{role}/namespaces/ns/roles/reader"] = {"metadata": {"name": "reader"}}
    api.objects[f"{NS}/secrets/reader"] = {"metadata": {"name": "reader"}}
    seen = cluster.KubeCluster(api)
    version = "rbac.authorization.k8s.io/v1"
    found = await seen.find_manifest("ns", version, "Role", "reader")
    assert found == {"apiVersion": version, "kind": "Role", "metadata": {"name": "reader"}}
    assert await seen.find_manifest("ns", version, "Role", "other") is None
    assert await seen.find_manifest("ns", version, "Unknown", "reader") is None
    assert await seen.find_manifest("ns", "v1", "Secret", "reader") is None
    assert not [path for path in api.asked if "secrets" in path]
