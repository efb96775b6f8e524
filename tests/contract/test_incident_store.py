"""One suite for the port IncidentStore: the fake, and the API server of the local cluster."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import pathlib
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import yaml
from tests.contract import cluster_access
from tests.fakes.store import FakeStore

from selfheal import ports
from selfheal.adapters.kube import connection, credentials, store
from selfheal.api import classes, evidence, incident, meta, policy
from selfheal.domain import errors

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 11, 23, 6, 0, 0, 250000, tzinfo=dt.UTC)


class World:
    """A store and what a person does beside it."""

    def __init__(
        self,
        port: ports.IncidentStore,
        namespace: str,
        put_policy: Callable[[str, policy.PolicySpec], Awaitable[None]],
        put_credential: Callable[[str, dict[str, str]], Awaitable[None]],
        count_events: Callable[[str], Awaitable[int]],
    ) -> None:
        self.port, self.namespace = port, namespace
        self.put_policy, self.put_credential = put_policy, put_credential
        self.count_events = count_events

    async def create(self, name: str = "checkout", **spec: Any) -> incident.Incident:
        metadata = meta.ObjectMeta(name=name, namespace=self.namespace, labels={"team": "a"})
        body = incident.IncidentSpec(**({"summary": "checkout is restarting"} | spec))
        return await self.port.create_incident(incident.Incident(metadata=metadata, spec=body))

    def document(self, owner: incident.Incident, **changes: Any) -> ports.Document:
        values: dict[str, Any] = {
            "namespace": self.namespace,
            "name": "checkout-r1a1-evidence",
            "incident": owner.metadata.name,
            "incident_uid": owner.metadata.uid,
            "type": evidence.DocumentType.EVIDENCE,
            "run": 1,
            "attempt": 1,
            "content": {"items": [{"id": "pod/a", "value": "naïve"}]},
        }
        return ports.Document(**(values | changes))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.e2e)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield _fake_world()
        return
    api = await cluster_access.connect_or_none()
    if api is None:
        pytest.skip("no cluster answers: neither SELFHEAL_E2E_KUBECONFIG nor .cluster/kubeconfig")
    async for made in _real_world(api):
        yield made
    await api.close()


def _fake_world() -> World:
    fake = FakeStore(now=lambda: NOW)

    async def put_policy(name: str, spec: policy.PolicySpec) -> None:
        fake.apply_policy(name, spec)

    async def put_credential(name: str, values: dict[str, str]) -> None:
        fake.credentials[name] = values | {"hosts": "example.com"}

    async def count_events(reason: str) -> int:
        return len([event for event in fake.events if event.reason == reason])

    return World(fake, "team-a", put_policy, put_credential, count_events)


async def _real_world(api: connection.Connection) -> AsyncIterator[World]:
    await install_crds(api)
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    made: list[str] = []
    await api.write("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    async def put_policy(name: str, spec: policy.PolicySpec) -> None:
        body = {
            "apiVersion": "selfheal.dev/v1alpha1",
            "kind": policy.KIND,
            "metadata": {"name": name},
            "spec": spec.to_wire(),
        }
        await api.write("POST", POLICIES, body)
        made.append(name)

    async def put_credential(name: str, values: dict[str, str]) -> None:
        body = {
            "metadata": {
                "name": name,
                "labels": {credentials.LABEL: "true"},
                "annotations": {credentials.HOSTS_ANNOTATION: "example.com"},
            },
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
        }
        await api.write("POST", f"/api/v1/namespaces/{namespace}/secrets", body)

    async def count_events(reason: str) -> int:
        found = await api.take(f"/api/v1/namespaces/{namespace}/events", 50)
        return sum(one["count"] for one in found if one["reason"] == reason)

    api.namespace = namespace
    try:
        yield World(
            store.KubeIncidentStore(api),
            namespace,
            put_policy,
            put_credential,
            count_events,
        )
    finally:
        for name in made:
            await api.write("DELETE", f"{POLICIES}/{name}", None)
        await api.write("DELETE", f"/api/v1/namespaces/{namespace}", None)


POLICIES = "/apis/selfheal.dev/v1alpha1/selfhealingpolicies"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def install_crds(api: connection.Connection) -> None:
    for path in sorted((ROOT / "crds").glob("selfheal*.yaml")):
        body = yaml.safe_load(path.read_text("utf-8"))
        target = f"{CRDS}/{body['metadata']['name']}"
        await api.send(
            "PATCH",
            target,
            query={"fieldManager": "contract", "force": True},
            body=body,
            content_type="application/apply-patch+yaml",
        )
        while not await _is_established(api, target):  # noqa: ASYNC110 - the API has no event
            await asyncio.sleep(0.05)


async def _is_established(api: connection.Connection, target: str) -> bool:
    status = (await api.get(target)).get("status") or {}
    conditions = status.get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


async def test_a_created_incident_is_read_back_with_its_identity(world: World) -> None:
    made = await world.create(priority=incident.Priority.CRITICAL)
    found = await world.port.get_incident(f"{world.namespace}/checkout")
    assert found == made.evolve(metadata=found.metadata)
    assert found.metadata.uid == made.metadata.uid != ""
    assert found.metadata.generation == 1
    assert found.metadata.labels == {"team": "a"}
    assert found.spec.priority is incident.Priority.CRITICAL
    assert found.status == incident.IncidentStatus()


async def test_a_name_is_taken_once(world: World) -> None:
    await world.create()
    with pytest.raises(errors.Conflict):
        await world.create()


async def test_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(errors.NotFound):
        await world.port.get_incident(f"{world.namespace}/nobody")
    with pytest.raises(errors.NotFound):
        await world.port.get_policy(f"no-policy-{uuid.uuid4().hex[:6]}")
    with pytest.raises(errors.NotFound):
        await world.port.poke_incident(f"{world.namespace}/nobody", "1")


async def test_list_shows_the_incidents_of_a_namespace(world: World) -> None:
    for name in ("b", "a"):
        await world.create(name)
    found = await world.port.list_incidents(world.namespace)
    assert [one.metadata.name for one in found] == ["a", "b"]
    everywhere = {one.key for one in await world.port.list_incidents()}
    assert {f"{world.namespace}/a", f"{world.namespace}/b"} <= everywhere


async def test_status_survives_the_wire(world: World) -> None:
    made = await world.create()
    status = incident.IncidentStatus(
        phase=incident.Phase.ANALYSIS_COMPLETE,
        phase_since=NOW,
        run=3,
        target=incident.TargetRef(kind="Deployment", name="checkout"),
        diagnosis=incident.DiagnosisStatus(
            class_=classes.IncidentClass.OOM_KILLED,
            cause="limit",
            confidence=0.95,
            by=incident.DiagnosedBy.RULES,
        ),
        usage=incident.Usage(cost=0.25, by_agent={"Analyzer": 2}),
        history=[incident.HistoryEntry(to=incident.Phase.INCIDENT_DETECTED, by="operator", at=NOW)],
        conditions=[
            meta.Condition(type="Ready", status="False", reason="X", last_transition_time=NOW)
        ],
    )
    saved = await world.port.save_status(made, status)
    assert saved.status == status
    assert (await world.port.get_incident(made.key)).status == status
    assert saved.metadata.resource_version != made.metadata.resource_version
    assert saved.metadata.generation == 1


async def test_what_a_later_status_lacks_is_removed(world: World) -> None:
    made = await world.create()
    full = incident.IncidentStatus(
        phase=incident.Phase.INCIDENT_DETECTED,
        intent=incident.Intent(key="k", kind="CreateTicket", at=NOW),
        usage=incident.Usage(by_agent={"a": 1, "b": 2}),
        receipts=[incident.Receipt(key="k", kind="x", at=NOW)],
    )
    saved = await world.port.save_status(made, full)
    less = full.evolve(intent=None, usage=incident.Usage(by_agent={"b": 3}), receipts=[])
    await world.port.save_status(saved, less)
    assert (await world.port.get_incident(made.key)).status == less


async def test_a_stale_status_is_a_conflict(world: World) -> None:
    made = await world.create()
    status = incident.IncidentStatus(phase=incident.Phase.INCIDENT_DETECTED)
    await world.port.save_status(made, status)
    with pytest.raises(errors.Conflict):
        await world.port.save_status(made, status.evolve(message="from a stale reader"))
    assert (await world.port.get_incident(made.key)).status.message == ""


async def test_the_status_of_a_deleted_incident_is_not_found(world: World) -> None:
    made = await world.create()
    await world.port.delete_incident(made)
    with pytest.raises(errors.NotFound):
        await world.port.save_status(made, incident.IncidentStatus(message="x"))


async def test_an_equal_status_is_not_written(world: World) -> None:
    made = await world.create()
    saved = await world.port.save_status(made, incident.IncidentStatus(message="waits"))
    again = await world.port.save_status(saved, incident.IncidentStatus(message="waits"))
    assert again.metadata.resource_version == saved.metadata.resource_version
    now = await world.port.get_incident(made.key)
    assert now.metadata.resource_version == saved.metadata.resource_version


async def test_delete_takes_only_this_very_incident(world: World) -> None:
    first = await world.create()
    await world.port.delete_incident(first)
    await world.port.delete_incident(first)
    second = await world.create()
    await world.port.delete_incident(first)
    assert (await world.port.get_incident(second.key)).metadata.uid == second.metadata.uid


async def test_a_move_that_is_asked_for_stands_in_its_annotation(world: World) -> None:
    made = await world.create()
    await world.port.request_move(made.key, "INCIDENT_REQUIRES_HUMAN/7")
    found = await world.port.get_incident(made.key)
    assert found.metadata.annotations["selfheal.dev/transition-to"] == "INCIDENT_REQUIRES_HUMAN/7"
    with pytest.raises(errors.NotFound):
        await world.port.request_move(f"{world.namespace}/nobody", "INCIDENT_RESOLVED/1")


async def test_a_poke_stands_in_the_annotation_and_keeps_the_generation(world: World) -> None:
    made = await world.create()
    await world.port.poke_incident(made.key, "7")
    found = await world.port.get_incident(made.key)
    assert found.metadata.annotations["selfheal.dev/poke"] == "7"
    assert found.metadata.generation == made.metadata.generation


async def test_policies_are_read_and_count_by_fenced_status(world: World) -> None:
    name = f"policy-{uuid.uuid4().hex[:8]}"
    spec = policy.PolicySpec(
        mode=policy.Mode.SUGGEST,
        verification=policy.VerificationSpec(stable_for=dt.timedelta(seconds=90)),
        tracker=policy.TrackerSpec(
            statuses={
                incident.Phase.INCIDENT_DETECTED: ["To Do"],
                incident.Phase.INCIDENT_RESOLVED: ["Done"],
            }
        ),
    )
    await world.put_policy(name, spec)
    found = await world.port.get_policy(name)
    assert found.spec == spec
    assert name in {one.metadata.name for one in await world.port.list_policies()}
    counted = policy.PolicyStatus(
        merges=[NOW], usage=policy.DayUsage(day="2026-11-23", tokens=7), failures={"OOMKilled": 1}
    )
    saved = await world.port.save_policy_status(found, counted)
    assert saved.status == counted
    with pytest.raises(errors.Conflict):
        await world.port.save_policy_status(found, counted.evolve(merges=[]))
    assert (await world.port.get_policy(name)).status == counted


async def test_a_document_is_stored_found_listed_and_deleted(world: World) -> None:
    owner = await world.create()
    document = world.document(owner)
    await world.port.ensure_document(document)
    assert await world.port.find_document(world.namespace, document.name) == document
    assert await world.port.list_documents(world.namespace, "checkout") == [document]
    assert await world.port.list_documents(world.namespace, "other") == []
    await world.port.delete_document(world.namespace, document.name)
    await world.port.delete_document(world.namespace, document.name)
    assert await world.port.find_document(world.namespace, document.name) is None


async def test_a_document_is_adopted_by_its_own_incident_only(world: World) -> None:
    owner = await world.create()
    await world.port.ensure_document(world.document(owner))
    await world.port.ensure_document(world.document(owner, content={"items": ["later"]}))
    stored = await world.port.find_document(world.namespace, "checkout-r1a1-evidence")
    assert stored is not None
    assert stored.content == world.document(owner).content
    stranger = world.document(owner, incident_uid=str(uuid.uuid4()))
    with pytest.raises(errors.Conflict):
        await world.port.ensure_document(stranger)


async def test_what_an_incident_keeps_beyond_its_cap_goes_but_nothing_of_the_present_run(world: World) -> None:
    owner = await world.create()
    for number in range(6):
        noise = random.Random(number).randbytes(40_000).hex()  # 40 kB compressed
        type_ = evidence.DocumentType.TRANSCRIPT if number == 3 else evidence.DocumentType.EVIDENCE
        await world.port.ensure_document(world.document(owner, name=f"old-{number}", type=type_, content={"x": noise}))
    for number in (1, 2):
        noise = random.Random(-number).randbytes(40_000).hex()
        await world.port.ensure_document(world.document(owner, name=f"new-{number}", run=2, content={"x": noise}))
    left = {one.name for one in await world.port.list_documents(world.namespace, "checkout")}
    assert left == {"new-1", "new-2", "old-2", "old-4", "old-5"}


async def test_a_long_document_is_shortened_but_a_proposal_is_refused(world: World) -> None:
    owner = await world.create()
    noise = [uuid.uuid5(uuid.NAMESPACE_OID, str(n)).hex * 40 for n in range(4)]
    logs = "".join(uuid.uuid5(uuid.NAMESPACE_OID, str(n)).hex for n in range(8000))
    content = {"items": [{"id": "log/1", "text": logs}, *noise]}
    await world.port.ensure_document(world.document(owner, content=content))
    stored = await world.port.find_document(world.namespace, "checkout-r1a1-evidence")
    assert stored is not None
    assert "characters left out" in stored.content["items"][0]["text"]
    proposal = world.document(owner, name="p", type=evidence.DocumentType.PROPOSAL, content=content)
    with pytest.raises(errors.HandOver):
        await world.port.ensure_document(proposal)


async def test_events_are_posted_and_may_be_repeated(world: World) -> None:
    made = await world.create()
    for _ in range(2):
        await world.port.emit_event(made, type="Normal", reason="Diagnosed", message="OOMKilled")
    assert await world.count_events("Diagnosed") == 2


async def test_credentials_carry_their_hosts_and_missing_ones_stall(world: World) -> None:
    await world.put_credential("jira", {"token": "s3cret"})
    assert await world.port.get_credential("jira") == {"token": "s3cret", "hosts": "example.com"}
    with pytest.raises(errors.Stalled) as caught:
        await world.port.get_credential("github")
    assert caught.value.reason == "CredentialsMissing"
    assert "github" in caught.value.message


async def test_cluster_and_namespace_are_identified(world: World) -> None:
    first = await world.port.get_cluster_id()
    assert first == await world.port.get_cluster_id() != ""
    labels = await world.port.get_namespace_labels(world.namespace)
    assert labels["kubernetes.io/metadata.name"] == world.namespace


async def test_documents_are_measured_without_their_contents_only_where_they_may_be_too_much(world: World) -> None:
    owner = await world.create()
    noise = random.Random(7).randbytes(20_000).hex()
    await world.port.ensure_document(world.document(owner, content={"x": noise}))
    assert await world.port.measure_documents(above=1 << 40) == []
    mine = [one for one in await world.port.measure_documents(above=0) if one.incident_uid == owner.metadata.uid]
    [found] = mine
    assert (found.namespace, found.name, found.run) == (world.namespace, "checkout-r1a1-evidence", 1)
    assert 20_000 < found.size < 40_000
