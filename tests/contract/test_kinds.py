"""The kinds on a real API server: bad objects are refused by field, and admission keeps its word."""

from __future__ import annotations

import asyncio
import json
import pathlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from tests.contract import cluster_access, test_incident_store

from selfheal.adapters.kube import connection
from selfheal.domain import errors

pytestmark = pytest.mark.e2e

ROOT = pathlib.Path(__file__).resolve().parents[2]
GROUP = "/apis/selfheal.dev/v1alpha1"
OPERATOR = "system:serviceaccount:selfheal-system:selfheal-operator"
PATIENCE = 30.0  # seconds until an admission policy has taken effect


@pytest.fixture
async def api() -> AsyncIterator[connection.Connection]:
    made = await cluster_access.connect_or_none()
    if made is None:
        pytest.skip("no cluster answers: neither SELFHEAL_E2E_KUBECONFIG nor .cluster/kubeconfig")
    await test_incident_store.install_crds(made)
    yield made
    await made.close()


@pytest.fixture
async def namespace(api: connection.Connection) -> AsyncIterator[str]:
    name = f"kinds-{uuid.uuid4().hex[:8]}"
    await api.write("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    await api.write("DELETE", f"/api/v1/namespaces/{name}", None)


def incident(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingIncident",
        "metadata": {"name": "checkout"},
        "spec": spec,
    }


async def refuse(api: connection.Connection, method: str, path: str, body: Any) -> str:
    answer = await api.exchange(
        method, path, query={"fieldValidation": "Strict", "dryRun": "All"}, body=body
    )
    assert answer.status in (400, 422), answer.text
    return str(json.loads(answer.text)["message"])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.summary"),
        ({"summary": "x" * 256}, "spec.summary"),
        ({"summary": "x", "priority": "Urgent"}, "spec.priority"),
        ({"summary": "x", "targetRef": {"kind": "Node", "name": "n"}}, "spec.targetRef.kind"),
        ({"summary": "x", "targetRef": {"kind": "Pod"}}, "spec.targetRef.name"),
        ({"summary": "x", "ticketKey": "ops 1"}, "spec.ticketKey"),
        ({"summary": "x", "tiketKey": "OPS-1"}, "spec.tiketKey"),
        ({"summary": "x", "policyRef": ""}, "spec.policyRef"),
    ],
)
async def test_a_bad_incident_is_refused_by_field(
    api: connection.Connection, namespace: str, spec: dict[str, Any], field: str
) -> None:
    path = f"{GROUP}/namespaces/{namespace}/selfhealingincidents"
    assert field in await refuse(api, "POST", path, incident(spec))


REPOSITORY = {"repository": "acme/gitops", "match": {"namespaces": ["a"]}}
SELECTED = {"namespaces": ["a"], "selector": {"matchLabels": {"app": "x"}}}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"tracker": {"type": "Jira"}}, "spec.tracker.project: name the Jira project"),
        ({"tracker": {"statuses": {"FIXED": ["Done"]}}}, "every key must be a phase"),
        ({"tracker": {"statuses": {"PR_MERGED": ["x"]}}}, "INCIDENT_RESOLVED must be named"),
        (
            {"tracker": {"statuses": {"INCIDENT_DETECTED": [], "INCIDENT_RESOLVED": ["x"]}}},
            "at least one ticket status",
        ),
        (
            {
                "code": {
                    "repositories": [
                        REPOSITORY | {"merge": {"by": "Person", "requireApproval": False}}
                    ]
                }
            },
            "merge.requireApproval",
        ),
        ({"code": {"repositories": [REPOSITORY, REPOSITORY]}}, "two mappings overlap"),
        (
            {"code": {"repositories": [REPOSITORY, REPOSITORY | {"match": SELECTED}]}},
            "two mappings overlap",
        ),
        ({"verification": {"stableFor": "10 minutes"}}, "spec.verification.stableFor"),
        ({"guards": {"maxMemory": "4 GB"}}, "spec.guards.maxMemory"),
        ({"guards": {"memoryStep": 1}}, "spec.guards.memoryStep"),
        ({"agents": {"mcpServers": [{"name": "k", "url": "x", "command": "y"}]}}, "exclude"),
        ({"mode": "Yolo"}, "spec.mode"),
    ],
)
async def test_a_bad_policy_is_refused_by_field(
    api: connection.Connection, spec: dict[str, Any], says: str
) -> None:
    body = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": "bad"},
        "spec": spec,
    }
    assert says in await refuse(api, "POST", f"{GROUP}/selfhealingpolicies", body)


async def test_mappings_that_labels_tell_apart_do_not_overlap(api: connection.Connection) -> None:
    other = {"namespaces": ["a"], "selector": {"matchLabels": {"app": "y"}}}
    repositories = [REPOSITORY | {"match": SELECTED}, REPOSITORY | {"match": other}]
    body = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": "good"},
        "spec": {"code": {"repositories": repositories}},
    }
    query = {"dryRun": "All"}
    assert await api.write("POST", f"{GROUP}/selfhealingpolicies", body, query=query)


async def test_target_and_ticket_are_set_once(api: connection.Connection, namespace: str) -> None:
    path = f"{GROUP}/namespaces/{namespace}/selfhealingincidents"
    await api.write("POST", path, incident({"summary": "x"}))
    one = f"{path}/checkout"
    target = {"kind": "Deployment", "name": "web"}
    first = {"spec": {"targetRef": target, "ticketKey": "OPS-1"}}
    await api.write("PATCH", one, first, content_type=connection.MERGE_PATCH)
    for field, changes in {
        "spec.targetRef": ({"targetRef": {"name": "other"}}, {"targetRef": None}),
        "spec.ticketKey": ({"ticketKey": "OPS-2"}, {"ticketKey": None}),
    }.items():
        for change in changes:
            with pytest.raises(errors.Stalled, match=f"{field} is immutable once set"):
                await api.write("PATCH", one, {"spec": change}, content_type=connection.MERGE_PATCH)
    await api.write(
        "PATCH", one, {"spec": {"priority": "Low"}}, content_type=connection.MERGE_PATCH
    )


async def test_evidence_is_immutable(api: connection.Connection, namespace: str) -> None:
    path = f"{GROUP}/namespaces/{namespace}/selfhealingevidences"
    spec = {
        "type": "Evidence", "incident": "x", "run": 1, "attempt": 1, "digest": "d", "size": 1,
        "created": "2026-11-23T06:00:00Z", "content": "AA==",
    }  # fmt: skip
    body = {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingEvidence",
        "metadata": {"name": "e"},
        "spec": spec,
    }
    await api.write("POST", path, body)
    with pytest.raises(errors.Stalled, match="spec is immutable"):
        await api.write(
            "PATCH", f"{path}/e", {"spec": {"size": 2}}, content_type=connection.MERGE_PATCH
        )


async def test_phases_can_be_selected(api: connection.Connection, namespace: str) -> None:
    path = f"{GROUP}/namespaces/{namespace}/selfhealingincidents"
    await api.write("POST", path, incident({"summary": "x"}))
    status = {"status": {"phase": "FIX_GENERATED"}}
    await api.write("PATCH", f"{path}/checkout/status", status, content_type=connection.MERGE_PATCH)
    query = {"fieldSelector": "status.phase=FIX_GENERATED"}
    assert len(await api.take(path, 10, query)) == 1
    assert await api.take(path, 10, {"fieldSelector": "status.phase=PR_MERGED"}) == []


class As:
    """A connection under another name, by impersonation."""

    def __init__(self, api: connection.Connection, user: str, *groups: str) -> None:
        self.api, self.headers = api, {"Impersonate-User": user}
        if groups:
            self.headers["Impersonate-Group"] = groups[0]

    async def __aenter__(self) -> connection.Connection:
        self.api._api.default_headers |= self.headers
        return self.api

    async def __aexit__(self, *_: object) -> None:
        for name in self.headers:
            del self.api._api.default_headers[name]


async def grant(api: connection.Connection, namespace: str, user: str, **rule: Any) -> None:
    """Bind a user to one rule in a namespace."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    name = f"r-{uuid.uuid4().hex[:8]}"
    await api.write("POST", f"{rbac}/roles", {"metadata": {"name": name}, "rules": [rule]})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    await api.write("POST", f"{rbac}/rolebindings", binding)


async def apply_admission(api: connection.Connection) -> None:
    text = (ROOT / "manifests" / "base" / "admission.yaml").read_text("utf-8")
    for body in yaml.safe_load_all(text):
        plural = {
            "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
            "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
        }[body["kind"]]
        await api.send(
            "PATCH",
            f"/apis/admissionregistration.k8s.io/v1/{plural}/{body['metadata']['name']}",
            query={"fieldManager": "contract", "force": True},
            body=body,
            content_type="application/apply-patch+yaml",
        )


async def refuse_soon(api: connection.Connection, method: str, path: str, body: Any) -> str:
    """Repeat until admission refuses: a policy takes effect seconds after its binding."""
    content_type = connection.MERGE_PATCH if method == "PATCH" else "application/json"
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await api.exchange(method, path, body=body, content_type=content_type)
            if "ValidatingAdmissionPolicy" in answer.text:
                assert answer.status == 403
                return str(json.loads(answer.text)["message"])
            await asyncio.sleep(0.2)


async def test_status_and_evidence_are_written_by_the_operator_only(
    api: connection.Connection, namespace: str
) -> None:
    await apply_admission(api)
    everything = {"apiGroups": ["selfheal.dev"], "resources": ["*"]}
    verbs = ["get", "create", "update", "patch", "delete"]
    for user in ("joe", "ops", OPERATOR):
        await grant(api, namespace, user, **everything, verbs=verbs)
    await grant(api, namespace, "ops", **everything, verbs=["operate"])
    path = f"{GROUP}/namespaces/{namespace}/selfhealingincidents"
    await api.write("POST", path, incident({"summary": "x"}))
    one = f"{path}/checkout"
    async with As(api, "joe") as joe:
        said = await refuse_soon(joe, "PATCH", f"{one}/status", {"status": {"message": "mine"}})
        assert "written by the selfheal operator only" in said
        await joe.write(
            "PATCH", one, {"spec": {"suspend": True}}, content_type=connection.MERGE_PATCH
        )
    for user in ("ops", OPERATOR):
        async with As(api, user) as allowed:
            status = {"status": {"message": f"by {user}"}}
            await allowed.write(
                "PATCH", f"{one}/status", status, content_type=connection.MERGE_PATCH
            )


async def test_the_operator_writes_nothing_but_dry_runs(
    api: connection.Connection, namespace: str
) -> None:
    await apply_admission(api)
    rule = {"apiGroups": ["", "coordination.k8s.io"], "resources": ["*"], "verbs": ["*"]}
    await grant(api, namespace, OPERATOR, **rule)
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"generateName": "x-"}}
    async with As(api, OPERATOR) as operator:
        said = await refuse_soon(operator, "POST", maps, body)
        assert "never changes the cluster itself: CREATE of configmaps" in said
        await operator.write("POST", maps, body, query={"dryRun": "All"})
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        await operator.write("POST", leases, {"metadata": {"name": "shard"}})
