"""Ingresses whose class, backend or port does not exist."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind


def ingresses(*items: Item, kind: str = "Ingress", name: str = "front") -> list[Finding]:
    found = registry.diagnose(around.bundle(*items, kind=kind, name=name))
    return [one for one in found if one.class_ is IncidentClass.INGRESS_BACKEND]


def front(service: str = "web", class_: str | None = None, annotations: dict[str, str] | None = None, **port: Any) -> Item:
    backend = {"service": {"name": service, "port": port or {"number": 80}}}
    spec: dict[str, Any] = {"rules": [{"http": {"paths": [{"backend": {"resource": {}}}, {"backend": backend}]}}, {"host": "x"}]}
    item = around.thing(ItemKind.INGRESS, "front", spec | ({"ingressClassName": class_} if class_ else {}))
    item.value["metadata"]["annotations"] = annotations or {}
    return item


def class_of(name: str, *, default: bool = False) -> Item:
    return Item(id=f"ingressclass/{name}", kind=ItemKind.INGRESS_CLASS, value={"name": name, "default": default})


WEB = around.service("web", around.WEB, {"port": 80, "name": "http"})
API = around.service("api", {"app": "api"}, {"port": 80}, {"port": 81, "name": "extra"})
PATH = ["spec", "rules", 0, "http", "paths", 1, "backend", "service"]


@pytest.mark.parametrize(
    ("name", "services", "new"), [("wbe", (WEB, API), "web"), ("shop", (WEB,), "web"), ("shop", (WEB, API), None), ("shop", (), None)]
)
def test_a_backend_that_does_not_exist(name: str, services: tuple[Item, ...], new: str | None) -> None:
    (found,) = ingresses(front(name), *services)
    expected = {"fault": "ServiceMissing", "ingress": "front", "path": [*PATH, "name"], "service": name}
    assert found.parameters == expected | ({"new": new} if new else {})
    assert found.evidence == (("ingress/front", f"service/{new}") if new else ("ingress/front",))


@pytest.mark.parametrize(
    ("port", "service", "new"),
    [({"number": 8080}, WEB, 80), ({"name": "htp"}, WEB, "http"), ({"name": "web"}, WEB, "http"), ({"number": 8080}, API, None), ({"name": "x"}, around.service("web", {}, {"port": 80}), None)],
)
def test_a_port_that_the_service_does_not_have(port: dict[str, Any], service: Item, new: Any) -> None:
    name = service.value["metadata"]["name"]
    (found,) = ingresses(front(name, **port), service)
    assert (found.parameters["fault"], found.parameters.get("new"), found.parameters["path"][-1]) == ("PortMissing", new, next(iter(port)))


def test_a_default_backend_and_what_is_right() -> None:
    item = around.thing(ItemKind.INGRESS, "front", {"defaultBackend": {"service": {"name": "wbe", "port": {"number": 80}}}})
    (found,) = ingresses(item, WEB, API)
    assert found.parameters["path"] == ["spec", "defaultBackend", "service", "name"]
    assert ingresses(front(), WEB) == []
    assert ingresses(front(name="http"), WEB) == []


@pytest.mark.parametrize(
    ("class_", "classes", "new", "sure"),
    [("ngnix", ("nginx", "traefik"), "nginx", 0.95), ("alb", ("nginx",), "nginx", 0.95), ("alb", ("nginx", "traefik"), None, 0.95), ("nginx", (), None, 0.8)],
)
def test_a_class_that_does_not_exist(class_: str, classes: tuple[str, ...], new: str | None, sure: float) -> None:
    (found,) = ingresses(front(class_=class_), WEB, *map(class_of, classes))
    assert (found.parameters["fault"], found.parameters.get("new"), found.confidence) == ("ClassMissing", new, sure)


def test_an_ingress_without_a_class() -> None:
    (found,) = ingresses(front(), WEB, class_of("nginx"))
    assert (found.parameters["fault"], found.parameters["new"], found.confidence) == ("ClassUnset", "nginx", 0.8)
    (found,) = ingresses(front(), WEB, class_of("nginx"), class_of("traefik"))
    assert "new" not in found.parameters
    assert ingresses(front(), WEB, class_of("nginx", default=True)) == []
    assert ingresses(front(annotations={"kubernetes.io/ingress.class": "nginx"}), WEB, class_of("nginx")) == []
    assert ingresses(front(class_="nginx"), WEB, class_of("nginx")) == []


def test_a_workload_suffers_from_the_ingresses_that_mean_its_services() -> None:
    assert len(ingresses(around.workload(), front("wbe"), WEB, API, kind="Deployment", name="web")) == 1
    assert len(ingresses(around.workload(), front("web", class_="x"), WEB, kind="Deployment", name="web")) == 1
    assert ingresses(around.workload(), front("apii", class_="x"), WEB, API, kind="Deployment", name="web") == []
    assert len(ingresses(front("wbe"), WEB, API, kind="Service", name="web")) == 1
    assert ingresses(front("wbe"), WEB, API, kind="Service", name="api") == []


def test_a_workload_is_none_the_worse_for_its_ingress() -> None:
    items = [around.workload(), around.ready_pod(), front(number=8080), WEB]
    (one,) = ingresses(*items, kind="Deployment", name="web")
    assert (one.parameters["fault"], one.confidence) == ("PortMissing", 0.55)
    assert not registry.is_failing(around.bundle(*items))
    (one,) = ingresses(front(number=8080), WEB, kind="Service", name="web")
    assert one.confidence == 0.95
