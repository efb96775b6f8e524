"""Alerts as Alertmanager posts them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.scenario.world import START
from tests.unit.intake.test_tickets import World

from selfheal.api import meta
from selfheal.api.incident import Priority, TargetRef
from selfheal.api.policy import Policy
from selfheal.domain.signals import Signal
from selfheal.intake import alerts


def body(*entries: dict[str, Any]) -> bytes:
    shaped = [{"status": "firing", "labels": {"alertname": "Down", **entry}} for entry in entries]
    return json.dumps({"version": "4", "status": "firing", "receiver": "x", "alerts": shaped}).encode()


async def build(world: World, *entries: dict[str, Any]) -> tuple[list[Signal], list[str]]:
    group = alerts.parse(body(*entries))
    return await alerts.build_signals(
        group.alerts, policies=[world.policy], cluster=world.cluster, now=START
    )


def pod_of(cluster: FakeCluster, name: str) -> str:
    return str(cluster.pods[("production", "Deployment", name)][0]["metadata"]["name"])


@pytest.mark.parametrize(
    "labels",
    [
        {"deployment": "checkout"},
        {"pod": "POD", "container": "app"},
        {"pod": "checkout-7d5f9c-x1y2z"},
        {"exported_namespace": "production", "namespace": "monitoring", "deployment": "checkout"},
        {"deployment": "checkout", "pod": "checkout-1"},
    ],
)
async def test_an_alert_names_the_workload_that_owns_what_it_names(labels: dict[str, str]) -> None:
    world = World()
    labels = {k: pod_of(world.cluster, "checkout") if v == "POD" else v for k, v in labels.items()}
    (found,), left = await build(world, {"namespace": "production", **labels})
    assert not left
    assert found.target is not None
    assert (found.namespace, found.target.kind, found.target.name) == ("production", "Deployment", "checkout")
    assert found.cause == "Deployment/checkout"


async def test_what_cannot_be_placed_is_said() -> None:
    found, left = await build(
        World(),
        {"namespace": "kube-system", "deployment": "dns"},
        {"namespace": "production"},
        {"namespace": "production", "deployment": "gone"},
        {"namespace": "production", "deployment": "", "pod": "x" * 300},
    )
    assert not found
    assert left == [
        "Down: its labels name no namespace that a policy maps",
        "Down: its labels name no object",
        "Down: Deployment production/gone does not exist",
        "Down: its labels name no object",
    ]


@pytest.mark.parametrize(
    ("severity", "wanted"), [("critical", Priority.CRITICAL), ("Warning", Priority.MEDIUM), ("", Priority.HIGH)]
)
async def test_severity_and_texts(severity: str, wanted: Priority) -> None:
    world = World()
    group = alerts.parse(body({"namespace": "production", "deployment": "checkout", "severity": severity}))
    group.alerts[0].annotations = {"summary": "is down", "description": "since noon"}
    (found,), _ = await alerts.build_signals(
        group.alerts, policies=[world.policy], cluster=world.cluster, now=START
    )
    assert found.priority is wanted
    assert found.summary == "is down (Deployment checkout)"
    assert found.description == "since noon\n\nAlert: Down"
    assert found.firing


async def test_an_alert_that_resolved_is_no_longer_firing() -> None:
    world = World()
    group = alerts.parse(body({"namespace": "production", "deployment": "checkout"}))
    group.alerts[0].status = "resolved"
    (found,), _ = await alerts.build_signals(
        group.alerts, policies=[world.policy], cluster=world.cluster, now=START
    )
    assert not found.firing


@pytest.mark.parametrize(
    ("text", "field"),
    [(b"no json", "body"), (b"{}", "alerts"), (b'{"alerts": [{"labels": {"a": 1}}]}', "alerts.0.labels.a")],
)
def test_a_request_that_cannot_be_read_names_the_field(text: bytes, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: "):
        alerts.parse(text)


def test_the_default_policy_goes_first() -> None:
    spec = World().policy.spec
    policies = [Policy(metadata=meta.ObjectMeta(name=name), spec=spec) for name in ("a", "default")]
    found = alerts.find_policy(policies, "production")
    assert found is not None
    assert found.metadata.name == "default"
    assert alerts.find_policy(policies, "nowhere") is None
    assert TargetRef(kind="Pod", name="x").kind == "Pod"
