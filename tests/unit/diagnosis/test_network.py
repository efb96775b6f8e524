"""Network policies that cut a workload off; decided from objects and logs (this cluster does not enforce them)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import applications, registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading


def blocked(*items: Item) -> list[Finding]:
    found = registry.diagnose(around.bundle(around.workload(), *items))
    return [one for one in found if one.class_ is IncidentClass.NETWORK_BLOCKED]


def policy(name: str = "deny", selector: dict[str, Any] | None = None, **spec: Any) -> Item:
    return around.thing(ItemKind.NETWORK_POLICY, name, {"podSelector": {"matchLabels": around.WEB} if selector is None else selector, **spec})


NO_NAMES = make.log("curl: (6) Could not resolve host: db", previous=False)
NO_ANSWER = make.log("GET http://db:5432: connection timed out", previous=False)
TO_DB: dict[str, Any] = {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 80}]}


@pytest.mark.parametrize("log", [NO_NAMES, NO_ANSWER])
def test_egress_without_names(log: Item) -> None:
    (found,) = blocked(make.pod(), log, policy(policyTypes=["Egress"], egress=[TO_DB]))
    assert (found.parameters, found.confidence, found.evidence) == ({"fault": "DNS", "policies": ["deny"]}, 0.8, ("networkpolicy/deny", log.id))


@pytest.mark.parametrize(
    "ports", [[{"port": 53, "protocol": "UDP"}], [{"port": "dns"}], [{"protocol": "UDP"}], [{"port": 1, "endPort": 100}], None]
)
def test_egress_that_allows_names(ports: Any) -> None:
    rule = {} if ports is None else {"ports": ports}
    assert blocked(make.pod(), NO_NAMES, policy(egress=[TO_DB, rule])) == []


def test_without_a_symptom_egress_is_not_judged() -> None:
    assert blocked(make.pod(), make.log("fine"), policy(policyTypes=["Egress"])) == []


DB = around.sibling("db")
ON_DB = {"matchLabels": {"app": "db"}}


@pytest.mark.parametrize(
    "ingress", [[], [{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}]}], [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}]}]]
)
def test_a_peer_that_does_not_let_the_target_in(ingress: list[Any]) -> None:
    (found,) = blocked(make.pod(), NO_ANSWER, DB, around.sibling("cache"), policy("db", ON_DB, ingress=ingress))
    assert (found.parameters["fault"], found.parameters["peer"], found.evidence) == ("Peer", "db", ("networkpolicy/db", NO_ANSWER.id))


@pytest.mark.parametrize(
    "ingress",
    [
        [{}],
        [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],
        [{"from": [{"podSelector": {"matchLabels": around.WEB}}]}],
        [{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}}]}],
    ],
)
def test_peers_that_let_the_target_in(ingress: list[Any]) -> None:
    assert blocked(make.pod(), NO_ANSWER, DB, policy("db", ON_DB, ingress=ingress)) == []


def test_peers_that_the_log_does_not_name_or_that_are_open() -> None:
    assert blocked(make.pod(), NO_ANSWER, around.sibling("cache"), policy("cache", {"matchLabels": {"app": "cache"}})) == []
    assert blocked(make.pod(), NO_ANSWER, DB, policy("db", ON_DB, policyTypes=["Egress"])) == []
    assert blocked(make.pod(), make.log("fine"), DB, policy("db", ON_DB)) == []


def peer(labels: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    return [{"from": [{"podSelector": {"matchLabels": labels}} | more]}]


def test_a_policy_that_lets_in_nobody_who_exists() -> None:
    (found,) = blocked(around.ready_pod(), around.sibling("api"), policy(ingress=peer({"app": "apii"})))
    assert (found.parameters, found.confidence) == ({"fault": "PeerSelector", "policies": ["deny"], "peer": "api"}, 0.7)


@pytest.mark.parametrize(
    "ingress", [peer({"app": "api"}), peer({"app": "zzz"}), peer({"app": "apii"}, namespaceSelector={}), peer({}), peer({"other": "x"}), [{}]]
)
def test_policies_that_are_right_or_say_nothing_clear(ingress: list[Any]) -> None:
    assert blocked(around.ready_pod(), around.sibling("api"), policy(ingress=ingress)) == []


def test_targets_without_pods_of_their_own_are_not_judged() -> None:
    found = registry.diagnose(around.bundle(policy(ingress=peer({"app": "apii"})), around.sibling("api"), kind="Service"))
    assert found == []


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
    ],
)
def test_selectors_of_policies(selector: dict[str, Any], holds: bool) -> None:
    assert applications.matches(selector, around.WEB) is holds


def test_a_bare_pod_is_a_workload() -> None:
    (found,) = applications.known(_reading(around.workload(kind="Pod")))
    assert (found.kind, found.labels) == ("Pod", around.WEB)


def _reading(*items: Item) -> Reading:

    return Reading(bundle=around.bundle(*items))
