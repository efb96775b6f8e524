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


IN_NET: dict[str, Any] = {
    "to": [{"ipBlock": {"cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"]}}],
    "ports": [{"port": 5433}],
}
DNS: dict[str, Any] = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}


def missed(text: str, *rules: dict[str, Any]) -> list[tuple[Any, Any]]:
    found = blocked(
        make.pod(),
        make.log(text, previous=False),
        policy(policyTypes=["Egress"], egress=list(rules)),
    )
    return [(one.parameters.get("host"), one.parameters.get("port")) for one in found]


@pytest.mark.parametrize(
    "text",
    [
        'psycopg2.OperationalError: connection to server at "10.20.8.14", port 5432 failed: Connection timed out',
        "dial tcp 10.20.8.14:5432: i/o timeout",
        "connecting to postgresql://tides@10.20.8.14:5432/tides\nsqlalchemy: pool timeout",
        "Error: connect ETIMEDOUT 10.20.8.14:5432",
    ],
)
def test_a_port_that_no_egress_rule_leaves_open(text: str) -> None:
    assert missed(text, IN_NET, DNS) == [("10.20.8.14", 5432)]


@pytest.mark.parametrize(
    ("rule", "host", "open_"),
    [
        ({"ports": [{"port": 5432}]}, "10.20.8.14", True),
        ({"ports": [{"port": 5000, "endPort": 6000}], "to": []}, "10.20.8.14", True),
        ({"ports": [{"port": 5432, "protocol": "UDP"}]}, "10.20.8.14", False),
        ({"ports": [{"port": "postgres"}]}, "10.20.8.14", True),
        ({"ports": [{"port": "dns"}]}, "10.20.8.14", False),
        ({"ports": [{"protocol": "TCP"}]}, "10.20.8.14", True),
        ({"to": [{"podSelector": {}}]}, "10.20.8.14", True),
        ({"to": [{"ipBlock": {"cidr": "10.21.0.0/16"}}]}, "10.20.8.14", False),
        ({**IN_NET, "ports": [{"port": 5432}]}, "10.20.9.1", False),
        ({**IN_NET, "ports": [{"port": 5432}]}, "10.20.8.14", True),
        ({**IN_NET, "ports": [{"port": 5432}]}, "db.example.com", True),
        (IN_NET, "db.example.com", False),
    ],
)
def test_what_egress_rules_leave_open(rule: dict[str, Any], host: str, open_: bool) -> None:
    assert missed(f"connection to {host}:5432 timed out", rule, DNS) == (
        [] if open_ else [(host, 5432)]
    )


def test_only_time_outs_with_an_address_speak_of_a_port() -> None:
    assert missed("connection to 10.20.8.14:5432 refused\nrequest timed out after 12:30", DNS) == []
    assert missed("connection timed out", DNS) == []


def test_the_pods_of_a_cron_job_have_labels_too() -> None:
    template = {"metadata": {"labels": around.WEB}, "spec": {"containers": [make.container()]}}
    value = {
        "kind": "CronJob",
        "metadata": {"name": "web"},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }
    cron = Item(id="object/CronJob/web", kind=ItemKind.OBJECT, value=value)
    log = make.log("dial tcp 10.20.8.14:5432: i/o timeout", previous=False)
    items = [cron, make.pod(), log, policy(policyTypes=["Egress"], egress=[IN_NET, DNS])]
    assert [one.class_ for one in registry.diagnose(around.bundle(*items, kind="CronJob"))] == [
        IncidentClass.NETWORK_BLOCKED
    ]
