"""Services without working endpoints: no event tells, only the objects do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item

PROBED = {"ports": [{"containerPort": 80, "name": "http"}], "readinessProbe": {"httpGet": {"port": "http"}}}


def services(*items: Item, kind: str = "Deployment", name: str = "web") -> list[Finding]:
    found = registry.diagnose(around.bundle(*items, kind=kind, name=name))
    return [one for one in found if one.class_ is IncidentClass.SERVICE_ENDPOINTS]


def test_a_selector_that_is_a_slip_away_from_the_target() -> None:
    items = [around.workload(labels={"app": "web", "tier": "front"}), around.service(selector={"app": "wbe", "tier": "front"}), around.endpoints(), around.sibling("api")]
    (found,) = services(*items)
    assert (found.confidence, found.evidence) == (0.95, ("service/web", "endpoints/web", "object/Deployment/web"))
    assert found.parameters["differences"] == [{"key": "app", "old": "wbe", "newKey": "app", "new": "web"}]
    assert registry.is_failing(around.bundle(around.ready_pod(), *items))


def test_a_service_of_another_workload_is_not_the_targets() -> None:
    items = [around.workload(), around.sibling("api"), around.service("api", {"app": "apii"}), around.endpoints("api")]
    assert services(*items) == []
    (found,) = services(*items[1:], kind="Service", name="api")
    assert (found.parameters["kind"], found.parameters["workload"]) == ("Deployment", "api")


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({"app": "web", "tier": "front"}, {"app": "web"}, [{"key": "tier", "old": "front"}]),
        ({"apps": "web"}, {"app": "web"}, [{"key": "apps", "old": "web", "newKey": "app", "new": "web"}]),
    ],
)
def test_keys_that_the_pods_do_not_have(selector: dict[str, str], labels: dict[str, str], expected: list[Any]) -> None:
    (found,) = services(around.workload("shop", labels), around.service(selector=selector), around.endpoints(), around.sibling("a", {"x": "y"}))
    assert found.parameters["differences"] == expected
    assert found.confidence == (0.95 if "new" in expected[0] else 0.8)


@pytest.mark.parametrize("labels", [[{"app": "weba"}, {"app": "webb"}], [{"app": "other"}]])
def test_where_it_is_unclear_who_is_meant_only_the_service_itself_is_judged(labels: list[dict[str, str]]) -> None:
    siblings = [around.sibling(f"s{number}", one) for number, one in enumerate(labels)]
    items = [around.service("front", {"app": "web"}), around.endpoints("front"), *siblings]
    (found,) = services(*items, kind="Service", name="front")
    assert (found.confidence, found.parameters) == (0.8, {"fault": "Selector", "service": "front", "differences": []})
    assert services(*items, around.workload("db", {"x": "y"}), name="db") == []


def test_labels_shared_by_two_are_told_apart_by_the_nearer_one() -> None:
    siblings = [around.sibling("a", {"team": "x", "app": "web"}), around.sibling("b", {"team": "x", "app": "mail"})]
    (found,) = services(around.service("front", {"team": "x", "app": "wbe"}), around.endpoints("front"), *siblings, kind="Service", name="front")
    assert found.parameters["workload"] == "a"


@pytest.mark.parametrize(
    ("port", "container", "expected"),
    [
        ({"port": 80, "targetPort": "htp"}, PROBED, ("http", 0.95)),
        ({"port": 80, "targetPort": "web"}, PROBED, ("http", 0.95)),
        ({"port": 80, "targetPort": "web"}, {"ports": [{"containerPort": 80}]}, (80, 0.95)),
        ({"port": 80, "targetPort": "web"}, {}, (None, 0.95)),
        ({"port": 8080}, PROBED, (80, 0.8)),
        ({"port": 80, "targetPort": "8080"}, PROBED, (80, 0.8)),
        ({"port": 80, "targetPort": 8080}, {"ports": [{"containerPort": 80}, {"containerPort": 81}]}, (None, 0.55)),
        ({"port": 80, "targetPort": 8080}, {"ports": [{"containerPort": 80}]}, (80, 0.55)),
    ],
)
def test_target_ports_that_nobody_serves(port: dict[str, Any], container: dict[str, Any], expected: Any) -> None:
    pod = around.ready_pod(containers=[make.container(**container)])
    (found,) = services(around.workload(), pod, around.service("web", around.WEB, port), around.endpoints("web", "10.0.0.1"))
    assert (found.parameters.get("new"), found.confidence) == expected


def test_a_service_that_somebody_complains_of_is_judged_by_declared_ports() -> None:
    pod = around.ready_pod(containers=[make.container(ports=[{"containerPort": 80}])])
    items = [pod, around.service("web", around.WEB, {"port": 80, "targetPort": 8080}), around.endpoints("web", "10.0.0.1")]
    (found,) = services(*items, kind="Service")
    assert found.confidence == 0.7


@pytest.mark.parametrize(
    "items",
    [
        [around.service("web", around.WEB), around.endpoints("web", "10.0.0.1"), around.ready_pod(containers=[make.container(**PROBED)])],
        [around.service("web", around.WEB, {"port": 80, "targetPort": "http"}), around.endpoints("web", "10.0.0.1"), around.ready_pod(containers=[make.container(**PROBED)])],
        [around.service("web", around.WEB, {"port": 1}), around.endpoints("web", "10.0.0.1"), around.ready_pod()],
        [around.service("web", around.WEB, {"port": 1}), around.endpoints(), around.ready_pod(ready=False, containers=[make.container(**PROBED)])],
        [around.service("web", around.WEB), around.endpoints()],
        [around.service("web"), around.endpoints()],
        [around.service("web", {"app": "x"}, type="ExternalName"), around.endpoints()],
        [around.service("web", {"app": "x"})],
    ],
)
def test_services_that_are_right_or_suffer_from_their_pods(items: list[Item]) -> None:
    assert services(around.workload(), *items) == []


def test_init_containers_serve_nobody_and_other_kinds_are_not_asked() -> None:
    pod = around.ready_pod(containers=[make.container(**PROBED)], init=[make.container("init")])
    items = [pod, around.service("web", around.WEB, {"port": 8080}), around.endpoints("web", "10.0.0.1")]
    assert services(*items, kind="Service")[0].parameters["new"] == 80
    assert services(*items, around.workload(kind="HorizontalPodAutoscaler"), kind="HorizontalPodAutoscaler") == []
    assert services(*items, around.workload(kind="Service"), kind="Service")[0].evidence == ("service/web", "endpoints/web", "pod/web-1")


DB = {"app": "db"}


def needing(where: str, *, ready: bool = False) -> list[Item]:
    """A target that is not well and names the Service db in its log, command or environment."""
    spec = {"command": ["wait-for", "db:5432"]} if where == "command" else {"env": [{"name": "URL", "value": "postgres://db/x"}, {"name": "X"}]} if where == "env" else {}
    pod = around.ready_pod(ready=ready, containers=[make.container(**spec)])
    logs = [make.log("cannot connect to db: refused", previous=False), make.log("mongodb", previous=True)] if where == "log" else []
    return [around.workload(), pod, *logs]


@pytest.mark.parametrize("where", ["log", "command", "env"])
def test_a_broken_service_of_another_workload_that_the_target_needs(where: str) -> None:
    items = [*needing(where), around.sibling("db"), around.service("db", {"app": "bd"}), around.endpoints("db")]
    (found,) = services(*items)
    assert (found.parameters["service"], found.parameters["workload"]) == ("db", "db")
    assert found.evidence[-1] == ("log/web-1/app/current" if where == "log" else "pod/web-1")


@pytest.mark.parametrize("items", [needing("nowhere"), needing("log", ready=True), needing("env", ready=True)])
def test_a_broken_service_that_nobody_needs_is_not_the_targets(items: list[Item]) -> None:
    assert services(*items, around.sibling("db"), around.service("db", {"app": "bd"}), around.endpoints("db")) == []


@pytest.mark.parametrize(
    ("port", "ports", "new"),
    [({"port": 5432, "targetPort": "pgsql"}, [{"name": "psql", "containerPort": 5432}], "psql"), ({"port": 1, "targetPort": 2}, [{"containerPort": 5432}], 5432), ({"port": 5432}, [{"containerPort": 5432}], None), ({"port": 1}, [], None)],
)
def test_a_wrong_port_of_a_service_that_the_target_needs(port: dict[str, Any], ports: list[Any], new: Any) -> None:
    items = [*needing("log"), around.sibling("db", ports=ports), around.service("db", DB, port), around.endpoints("db", "10.0.0.2")]
    assert [(one.parameters["new"], one.confidence) for one in services(*items)] == ([] if new is None else [(new, 0.8)])


def test_an_init_container_that_has_done_its_work_needs_nothing() -> None:
    done = make.status("wait", terminated={"exitCode": 0})
    pod = around.ready_pod(ready=False, init=[make.container("wait", command=["nc", "db"])], init_statuses=[done])
    assert services(around.workload(), pod, around.sibling("db"), around.service("db", {"app": "bd"}), around.endpoints("db")) == []


FRONT = around.sibling("front", {"app": "deli", "tier": "front"}, ports=[{"containerPort": 8080, "name": "http"}])
WORKER = around.sibling("worker", {"app": "deli", "tier": "worker"}, ports=[{"containerPort": 9100}])
DELI = around.service("deli", {"app": "deli"}, {"port": 80, "targetPort": 8080})


def wide(*items: Item, service: Item = DELI) -> list[Finding]:
    return services(service, around.endpoints("deli", "10.0.0.1", "10.0.0.2"), *items, kind="Service", name="deli")


def test_a_selector_that_takes_pods_of_a_second_workload() -> None:
    (found,) = wide(FRONT, WORKER)
    assert (found.confidence, found.parameters["fault"], found.parameters["add"]) == (0.8, "TooWide", {"tier": "front"})
    assert found.evidence == ("service/deli", "endpoints/deli", "sibling/Deployment/front", "sibling/Deployment/worker")
    assert "Deployment worker" in found.cause
    assert "tier=front would select only Deployment front" in found.cause
    alike = around.sibling("front", {"app": "deli"}, ports=[{"containerPort": 8080}])
    (found,) = wide(alike, WORKER)
    assert found.parameters["add"] == {}


@pytest.mark.parametrize(
    "others",
    [
        (FRONT, around.sibling("canary", {"app": "deli", "track": "canary"}, ports=[{"containerPort": 8080}])),
        (FRONT, around.sibling("silent", {"app": "deli"})),
        (FRONT, around.sibling("other", {"app": "other"}, ports=[{"containerPort": 9100}])),
        (WORKER,),
    ],
)
def test_workloads_that_may_all_serve_the_port(others: tuple[Item, ...]) -> None:
    assert wide(*others) == []


def test_a_port_by_its_name_leaves_others_out_and_workloads_stay_quiet() -> None:
    assert wide(FRONT, WORKER, service=around.service("deli", {"app": "deli"}, {"port": 80, "targetPort": "http"})) == []
    own = around.workload("front", {"app": "deli", "tier": "front"}, containers=[make.container(ports=[{"containerPort": 8080}])])
    assert services(own, DELI, around.endpoints("deli", "10.0.0.1"), WORKER, name="front") == []
