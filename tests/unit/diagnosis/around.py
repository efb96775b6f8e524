"""Objects around a target, as the adapter brings them; messages are the local cluster's own."""

from __future__ import annotations

from typing import Any

from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind

WEB = {"app": "web"}


def workload(name: str = "web", labels: dict[str, str] | None = None, *, kind: str = "Deployment", replicas: int = 1, **pod_spec: Any) -> Item:
    template = {"metadata": {"labels": labels or WEB}, "spec": {"containers": [make.container()]} | pod_spec}
    value: dict[str, Any] = {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": replicas, "template": template}}
    if kind == "Pod":
        value = {"kind": kind, **template, "metadata": {"name": name, "labels": labels or WEB}}
    return Item(id=f"object/{kind}/{name}", kind=ItemKind.OBJECT, value=value)


def sibling(name: str, labels: dict[str, str] | None = None, *, kind: str = "Deployment", **fields: Any) -> Item:
    value = {"kind": kind, "name": name, "images": [], "pullSecrets": [], "labels": labels or {"app": name}, "ports": [], **fields}
    return Item(id=f"sibling/{kind}/{name}", kind=ItemKind.SIBLING, value=value)


def ready_pod(labels: dict[str, str] | None = None, *, ready: bool = True, containers: list[dict[str, Any]] | None = None, **more: Any) -> Item:
    item = make.pod(ready=ready, statuses=[make.status(ready=ready)], containers=containers, **more)
    item.value["metadata"]["labels"] = labels or WEB
    return item


def service(name: str = "web", selector: dict[str, str] | None = None, *ports: dict[str, Any], **spec: Any) -> Item:
    value = {"metadata": {"name": name}, "spec": {"selector": selector, "ports": list(ports) or [{"port": 80, "targetPort": 80}], **spec}}
    return Item(id=f"service/{name}", kind=ItemKind.SERVICE, value=value)


def endpoints(name: str = "web", *addresses: str) -> Item:
    return Item(id=f"endpoints/{name}", kind=ItemKind.ENDPOINTS, value={"service": name, "addresses": list(addresses), "ports": []})


def node(name: str = "node-1", *, labels: dict[str, str] | None = None, unschedulable: bool = False, **allocatable: str) -> Item:
    value = {"name": name, "allocatable": allocatable, "labels": labels or {"kubernetes.io/os": "linux"}, "unschedulable": unschedulable}
    return Item(id=f"node/{name}", kind=ItemKind.NODE, value=value)


def claim(name: str = "data", phase: str = "Pending", class_: str | None = None) -> Item:
    spec = {} if class_ is None else {"storageClassName": class_}
    return Item(id=f"claim/{name}", kind=ItemKind.CLAIM, value={"metadata": {"name": name}, "spec": spec, "status": {"phase": phase}})


def storage_class(name: str, *, default: bool = False) -> Item:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return Item(id=f"storageclass/{name}", kind=ItemKind.STORAGE_CLASS, value={"metadata": {"name": name, "annotations": annotations}})


def mounting(*claims: str, scheduled: str | None = None, phase: str = "Pending") -> Item:
    """A pod that mounts claims."""
    item = make.pod(statuses=[], phase=phase, scheduled=scheduled)
    item.value["spec"]["volumes"] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return item


def thing(kind: ItemKind, name: str, spec: dict[str, Any] | None = None, **fields: Any) -> Item:
    value = {"metadata": {"name": name}, **fields} | ({} if spec is None else {"spec": spec})
    return Item(id=f"{kind.value}/{name}", kind=kind, value=value)


def bundle(*items: Item, kind: str = "Deployment", name: str = "web") -> Bundle:
    return Bundle(target=TargetRef(kind=kind, name=name), namespace="shop", now=make.NOW, items=tuple(items))
