"""Pods that no node takes; messages as kube-scheduler 1.34 writes them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item

TAIL = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NO_MATCH = f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {TAIL}"
NO_CPU = f"0/1 nodes are available: 1 Insufficient cpu. {TAIL}"


def pending(message: str, **pod_spec: Any) -> Item:
    item = make.pod(statuses=[], phase="Pending", scheduled=message)
    item.value["spec"] |= pod_spec
    return item


def one(*items: Item) -> Finding:
    found = registry.diagnose(around.bundle(*items))
    assert len(found) == 1
    return found[0]


def requesting(**requests: str) -> list[dict[str, Any]]:
    return [make.container("side"), make.container(resources={"requests": requests})]


def test_a_request_that_no_node_could_hold_is_oversized() -> None:
    found = one(pending(NO_CPU, containers=requesting(cpu="64")), around.node(cpu="2"), around.node("node-2", cpu="1"))
    assert (found.class_, found.container, found.confidence) == (IncidentClass.NODE_EXHAUSTION, "app", 0.95)
    assert found.parameters == {"fault": "Oversized", "resources": ["cpu"], "resource": "cpu", "request": "64", "allocatable": "2"}
    assert found.evidence == ("pod/web-1", "node/node-1", "node/node-2")


@pytest.mark.parametrize("requests", [{"cpu": "1"}, {}, {"cpu": "what"}])
def test_a_request_that_would_fit_an_empty_node_is_not_oversized(requests: dict[str, str]) -> None:
    found = one(pending(NO_CPU, containers=requesting(**requests)), around.node(cpu="2"))
    assert (found.class_, found.parameters["fault"]) == (IncidentClass.NODE_EXHAUSTION, "Full")


def test_without_nodes_nothing_is_oversized() -> None:
    assert one(pending(NO_CPU, containers=requesting(cpu="64"))).parameters["fault"] == "Full"


def test_pressure_of_nodes() -> None:
    found = one(pending("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/memory-pressure: }."))
    assert (found.class_, found.parameters["fault"]) == (IncidentClass.NODE_EXHAUSTION, "NodePressure")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"nodeSelector": {"kubernetes.io/os": "linx"}}, {"fault": "NodeSelector", "key": "kubernetes.io/os", "value": "linx", "values": ["linux"], "new": "linux"}),
        ({"nodeSelector": {"disktype": "ssd"}}, {"fault": "NodeSelector", "key": "disktype", "value": "ssd", "values": []}),
        ({"nodeSelector": {"kubernetes.io/so": "linux"}}, {"fault": "NodeSelector", "key": "kubernetes.io/so", "value": "linux", "values": [], "newKey": "kubernetes.io/os"}),
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, {"fault": "NodeAffinity"}),
        ({}, {"fault": "NodeAffinity"}),
    ],
)
def test_node_selectors_that_nothing_satisfies(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    found = one(pending(NO_MATCH, **spec), around.node())
    assert (found.class_, dict(found.parameters)) == (IncidentClass.UNSCHEDULABLE, expected)


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        ([{"matchExpressions": [{"key": "arch", "operator": "In", "values": ["amd46"]}]}], "amd46"),
        ([{"matchExpressions": [{"key": "arch", "operator": "Exists"}, {"key": "arch", "operator": "In", "values": ["a", "b"]}]}], None),
        ([{"matchExpressions": [{"key": "arch", "operator": "In", "values": ["x"]}]}, {}], None),
    ],
)
def test_required_node_affinity(terms: list[Any], value: str | None) -> None:
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    found = one(pending(NO_MATCH, affinity=affinity), around.node(labels={"arch": "amd64"}))
    assert found.parameters.get("value") == value
    assert found.parameters.get("new") == ("amd64" if value else None)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("1 node(s) had untolerated taint {dedicated: gpu}", "Taint"),
        ("1 node(s) didn't match pod anti-affinity rules", "AntiAffinity"),
        ("1 node(s) didn't match pod affinity rules", "PodAffinity"),
        ("1 node(s) didn't match pod topology spread constraints (missing required label)", "TopologySpread"),
        ("1 node(s) didn't have free ports for the requested pod ports", "HostPort"),
        ("1 node(s) were unschedulable", "Cordoned"),
    ],
)
def test_other_demands(message: str, fault: str) -> None:
    found = one(pending(f"0/1 nodes are available: {message}. {TAIL}"))
    assert (found.class_, found.parameters["fault"]) == (IncidentClass.UNSCHEDULABLE, fault)


def test_what_is_not_understood_is_left_to_others() -> None:
    assert registry.diagnose(around.bundle(pending("0/1 nodes are available: something new"))) == []


def test_scheduling_events_of_pods_that_run_do_not_count() -> None:
    old = make.event("FailedScheduling", NO_CPU)
    assert registry.diagnose(around.bundle(around.ready_pod(), old)) == []
    waiting = make.pod(statuses=[], phase="Pending", scheduled="")
    waiting.value["status"]["conditions"].append({"type": "PodScheduled", "status": "True"})
    assert one(waiting, old).evidence == ("pod/web-1", old.id)


def test_one_finding_for_all_pods_of_one_cause() -> None:
    second = pending(NO_CPU)
    second.value["metadata"]["name"] = "web-2"
    one(pending(NO_CPU), second)


def unseen(*, age: float = 60, phase: str = "Pending", told: bool = False, **pod_spec: Any) -> Item:
    item = make.pod(phase=phase, age=age, scheduled="no" if told else None)
    del item.value["status"]["containerStatuses"]
    item.value["spec"] |= pod_spec
    return item


def test_a_pod_that_no_scheduler_looks_at() -> None:
    found = one(unseen(schedulerName="volcano"))
    assert (found.class_, found.confidence, found.evidence) == (IncidentClass.UNSCHEDULABLE, 0.8, ("pod/web-1",))
    assert found.parameters == {"fault": "NoScheduler", "scheduler": "volcano"}
    assert "volcano (schedulerName)" in found.cause
    assert one(unseen()).parameters["scheduler"] == "default-scheduler"


@pytest.mark.parametrize(
    "pod", [unseen(age=10), unseen(phase="Running"), unseen(told=True), unseen(nodeName="node-1"), make.pod(phase="Pending")]
)
def test_pods_that_somebody_looked_at_or_will(pod: Item) -> None:
    assert registry.diagnose(around.bundle(pod)) == []
