"""One suite for the port Cluster: the fake, and real pods on the local cluster."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.contract import cluster_access
from tests.fakes.cluster import FakeCluster

from selfheal import ports
from selfheal.adapters import kube
from selfheal.adapters.kube import connection
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import ItemKind
from selfheal.domain import facts

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
PATIENCE = 90.0  # seconds a real pod may take to show what it is meant to show


def deployment(namespace: str, **changes: Any) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "nginx",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "DB_PASSWORD", "value": "hunter22"}],
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
    } | changes
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


REF = TargetRef(kind="Deployment", name="web")


class World:
    """A cluster, and what people do in it."""

    def __init__(
        self,
        port: ports.Cluster,
        namespace: str,
        apply: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.port, self.namespace, self.apply = port, namespace, apply

    async def observe_until(
        self, wanted: Callable[[facts.WorkloadFacts], bool]
    ) -> facts.WorkloadFacts:
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = await self.port.observe_workload(self.namespace, REF)
                if wanted(seen):
                    return seen
                await asyncio.sleep(0.2)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.e2e)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        fake = FakeCluster(
            now=lambda: NOW, images={"nginx"}, needs={"app": "32Mi"}, listens={"app": 80}
        )

        async def apply(manifest: dict[str, Any]) -> None:
            fake.apply(manifest)

        yield World(fake, "team-a", apply)
        return
    api = await cluster_access.connect_or_none()
    if api is None:
        pytest.skip("no cluster answers: neither SELFHEAL_E2E_KUBECONFIG nor .cluster/kubeconfig")
    async for made in _real_world(api):
        yield made
    await api.close()


async def _real_world(api: connection.Connection) -> AsyncIterator[World]:
    if not await api.take("/api/v1/nodes", 1):
        pytest.skip("the cluster has no node that could run pods")
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    await api.write("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    async def apply(manifest: dict[str, Any]) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{manifest['metadata']['name']}"
        await api.write(
            "PATCH",
            path,
            manifest,
            query={"force": True},
            content_type="application/apply-patch+yaml",
        )

    subject = kube.KubeCluster(api)
    try:
        yield World(subject, namespace, apply)
    finally:
        await subject.close()
        await api.write("DELETE", f"/api/v1/namespaces/{namespace}", None)


def is_complete(seen: facts.WorkloadFacts) -> bool:
    return seen.rollout_complete


async def test_a_target_that_is_not_there_does_not_exist(world: World) -> None:
    assert await world.port.find_object(world.namespace, REF) is None
    assert await world.port.observe_workload(world.namespace, REF) == facts.WorkloadFacts(
        exists=False
    )
    bundle = await world.port.collect_evidence(world.namespace, REF, NOW)
    assert bundle.items == ()
    assert "does not exist" in bundle.gaps[0]


async def test_a_healthy_workload_is_complete_and_ready(world: World) -> None:
    await world.apply(deployment(world.namespace))
    seen = await world.observe_until(is_complete)
    assert (seen.desired, seen.ready, seen.updated) == (1, 1, 1)
    assert seen.rollout_failed is None
    (pod,) = seen.pods
    assert pod.ready
    assert pod.owned_by_current
    (container,) = pod.containers
    assert container.ready
    assert container.image == "nginx"
    assert container.probes == {"readiness"}
    assert container.memory_limit == 64 * 2**20
    found = await world.port.find_object(world.namespace, REF)
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    assert REF in await world.port.list_targets(world.namespace)


async def test_only_owners_are_targets(world: World) -> None:
    await world.apply(deployment(world.namespace))
    await world.observe_until(lambda seen: bool(seen.pods))
    assert list(await world.port.list_targets(world.namespace)) == [REF]


async def test_a_missing_image_shows_its_reason_and_its_evidence(world: World) -> None:
    await world.apply(deployment(world.namespace, image="nginx:9.99-none"))
    seen = await world.observe_until(
        lambda seen: any(
            one.waiting_reason == "ImagePullBackOff" for pod in seen.pods for one in pod.containers
        )
    )
    assert not seen.rollout_complete
    assert any(event.reason == "Failed" for event in seen.warnings)
    bundle = await world.port.collect_evidence(world.namespace, REF, NOW)
    assert any("not found" in one.value["message"] for one in bundle.of(ItemKind.EVENT))
    classes = {finding.class_ for finding in registry.diagnose(bundle)}
    assert classes & {IncidentClass.IMAGE_PULL_BACK_OFF, IncidentClass.INVALID_IMAGE_TAG}


async def test_a_probe_on_the_wrong_port_shows_what_is_served(world: World) -> None:
    probe = {"httpGet": {"path": "/", "port": 8081}, "periodSeconds": 1}
    await world.apply(deployment(world.namespace, readinessProbe=probe))
    await world.observe_until(
        lambda seen: any(event.reason == "Unhealthy" for event in seen.warnings)
    )
    bundle = await world.port.collect_evidence(world.namespace, REF, NOW)
    served = {one.value["port"]: one.value for one in bundle.of(ItemKind.PROBE)}
    assert served[80]["status"] == 200
    assert served[8081]["listening"] == [80]
    (finding,) = registry.diagnose(bundle)
    assert finding.class_ is IncidentClass.FAILED_HEALTH_CHECK
    assert finding.parameters["new"] == 80


async def test_evidence_has_stable_ids_and_no_secrets(world: World) -> None:
    await world.apply(deployment(world.namespace))
    await world.observe_until(is_complete)
    bundle = await world.port.collect_evidence(world.namespace, REF, NOW)
    ids = [item.id for item in bundle.items]
    assert len(ids) == len(set(ids))
    assert "object/Deployment/web" in ids
    assert "hunter22" not in str(bundle.items)
    assert bundle.now == NOW


async def test_a_change_rolls_out_and_keeps_the_earlier_template(world: World) -> None:
    await world.apply(deployment(world.namespace))
    await world.observe_until(is_complete)
    await world.apply(deployment(world.namespace, env=[{"name": "MODE", "value": "b"}]))
    seen = await world.observe_until(
        lambda seen: (
            seen.rollout_complete
            and [one for one in seen.pods if not one.deleting]
            == [one for one in seen.pods if one.owned_by_current]
            and seen.manifest is not None
            and "MODE" in str(seen.manifest["spec"])
        )
    )
    assert seen.updated == 1
    bundle = await world.port.collect_evidence(world.namespace, REF, NOW)
    sets = list(bundle.of(ItemKind.REPLICA_SET))
    assert len(sets) == 2
    assert "MODE" in str(sets[0].value)


async def test_a_dry_run_accepts_an_edit_and_changes_nothing(world: World) -> None:
    await world.apply(deployment(world.namespace))
    await world.observe_until(is_complete)
    found = await world.port.find_object(world.namespace, REF)
    assert found is not None
    edited = copy.deepcopy(dict(found))
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:other"
    assert (await world.port.dry_run_update(edited)).accepted
    after = await world.port.find_object(world.namespace, REF)
    assert after is not None
    assert after["spec"] == found["spec"]


async def test_a_dry_run_of_what_does_not_run_is_refused(world: World) -> None:
    answer = await world.port.dry_run_update(deployment(world.namespace))
    assert not answer.accepted
    assert "not found" in answer.message
