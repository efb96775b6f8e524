"""What stands around a target: nodes, claims, services, quotas, configuration, siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds, references, targets
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.domain import errors

MAX_NODES = 50
MAX_OF_KIND = 50
MAX_SLICES = 200
MAX_CLAIMS = 20
_SLICE_OF = "kubernetes.io/service-name"
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

Stored = Mapping[str, Any]


async def collect_owners(
    api: connection.Connection, finder: kinds.Kinds, target: targets.Target
) -> tuple[list[Item], list[str]]:
    """Return the chain of controllers above the target, at most 5, and where it breaks off."""
    items: list[Item] = []
    stored: Stored | None = target.stored
    while stored is not None and len(items) < 5:
        owner = kinds.controller_of(stored)
        if owner is None:
            break
        try:
            path = await finder.find_path(
                owner["apiVersion"], owner["kind"], target.namespace, owner["name"]
            )
            stored = await api.find(path) if path else None
        except errors.SelfHealError as error:
            return items, [f"owner {owner['kind']}/{owner['name']}: {error}"]
        if stored is not None:
            typed = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]} | dict(stored)
            identity = f"owner/{owner['kind']}/{owner['name']}"
            items.append(_item(identity, ItemKind.OWNER, redaction.clean_object(typed)))
    return items, []


async def collect_nodes(api: connection.Connection, pods: Sequence[Stored]) -> list[Item]:
    """Return the nodes of the pods; all, up to 50, where a pod has none."""
    names = {str((pod.get("spec") or {}).get("nodeName") or "") for pod in pods}
    if "" in names or not names:
        found = await api.take(connection.path_of("v1", "nodes"), MAX_NODES)
    else:
        paths = [connection.path_of("v1", "nodes", name=name) for name in sorted(names)[:10]]
        read = await asyncio.gather(*(api.find(path) for path in paths))
        found = [one for one in read if one is not None]
    return [_node(one) for one in found]


def _node(stored: Stored) -> Item:
    status, name = stored.get("status") or {}, kinds.name_of(stored)
    value = {
        "name": name,
        "conditions": [
            {key: one.get(key) for key in ("type", "status", "reason", "message")}
            for one in status.get("conditions") or ()
        ],
        "allocatable": status.get("allocatable") or {},
        "taints": (stored.get("spec") or {}).get("taints") or [],
        "labels": stored["metadata"].get("labels") or {},
        "unschedulable": bool((stored.get("spec") or {}).get("unschedulable")),
    }
    return _item(f"node/{name}", ItemKind.NODE, value)


async def collect_claims(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the claims that pods mount or templates name, and the classes there are."""
    names = {name for pod in target.pods for name in targets.claims_of(pod)}
    template = ((target.stored or {}).get("spec") or {}).get("template") or {}
    names |= set(targets.claims_of(template))
    if target.kind == "PersistentVolumeClaim":
        names.add(target.ref.name)
    if not names:
        return []
    path = kinds.path_of_known("PersistentVolumeClaim", target.namespace)
    claims, classes = await asyncio.gather(
        asyncio.gather(*(api.find(f"{path}/{name}") for name in sorted(names)[:10])),
        api.take(connection.path_of("storage.k8s.io/v1", "storageclasses"), 20),
    )
    if None in claims:  # the one that is meant may have another name
        claims = await api.take(path, MAX_CLAIMS)
    return [
        *_items("claim", ItemKind.CLAIM, "v1", "PersistentVolumeClaim", claims),
        *_items(
            "storageclass", ItemKind.STORAGE_CLASS, "storage.k8s.io/v1", "StorageClass", classes
        ),
    ]


async def collect_services(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the namespace's services, shortened, with their ready endpoints."""
    found, slices = await asyncio.gather(
        api.take(kinds.path_of_known("Service", target.namespace), MAX_OF_KIND),
        api.take(
            connection.path_of("discovery.k8s.io/v1", "endpointslices", target.namespace),
            MAX_SLICES,
        ),
    )
    services = _items("service", ItemKind.SERVICE, "v1", "Service", map(_shortened, found))
    return [*services, *(_endpoints(kinds.name_of(one), slices) for one in found)]


def _shortened(service: Stored) -> Stored:
    spec = service.get("spec") or {}
    kept = {name: spec[name] for name in ("type", "selector", "ports") if name in spec}
    return {"metadata": {"name": kinds.name_of(service)}, "spec": kept}


def template_labels(target: targets.Target) -> Mapping[str, str]:
    """Return the labels of the target's pods; empty where it has no template."""
    stored = target.stored or {}
    template = (stored.get("spec") or {}).get("template") or {}
    metadata = stored.get("metadata") if target.kind == "Pod" else template.get("metadata")
    labels = (metadata or {}).get("labels")
    return labels if isinstance(labels, dict) else {}


def _is(stored: Stored, target: targets.Target, kind: str) -> bool:
    return target.kind == kind and kinds.name_of(stored) == target.ref.name


async def read_endpoints(api: connection.Connection, namespace: str, service: Stored) -> Item:
    """Return the ready addresses and the ports of one service."""
    name = kinds.name_of(service)
    path = connection.path_of("discovery.k8s.io/v1", "endpointslices", namespace)
    found = await api.take(path, 10, {"labelSelector": f"{_SLICE_OF}={name}"})
    return _endpoints(name, found, known=True)


def _endpoints(name: str, slices: Sequence[Stored], *, known: bool = False) -> Item:
    found = [
        one
        for one in slices
        if known or (one["metadata"].get("labels") or {}).get(_SLICE_OF) == name
    ]
    addresses = [
        address
        for one in found
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or ()
    ]
    ports = [port.get("port") for one in found for port in one.get("ports") or ()]
    value = {"service": name, "addresses": addresses[:50], "ports": sorted({*ports} - {None})}
    return _item(f"endpoints/{name}", ItemKind.ENDPOINTS, value)


async def collect_limits(api: connection.Connection, namespace: str) -> list[Item]:
    """Return the quotas and limit ranges of the namespace."""
    quotas, ranges = await asyncio.gather(
        api.take(connection.path_of("v1", "resourcequotas", namespace), 10),
        api.take(connection.path_of("v1", "limitranges", namespace), 10),
    )
    return [
        *_items("quota", ItemKind.QUOTA, "v1", "ResourceQuota", quotas),
        *_items("limitrange", ItemKind.LIMIT_RANGE, "v1", "LimitRange", ranges),
    ]


async def collect_siblings(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return images and pull secrets of the namespace's other workloads."""
    found = await asyncio.gather(
        *(api.take(kinds.path_of_known(kind, target.namespace), MAX_OF_KIND) for kind in _WORKLOADS)
    )
    return [
        _sibling(kind, stored)
        for kind, listed in zip(_WORKLOADS, found, strict=True)
        for stored in listed
        if not _is(stored, target, kind)
    ]


def _sibling(kind: str, stored: Stored) -> Item:
    name = kinds.name_of(stored)
    template = (stored.get("spec") or {}).get("template") or {}
    pod_spec = template.get("spec") or {}
    containers = [
        one for group in ("initContainers", "containers") for one in pod_spec.get(group) or ()
    ]
    value = {
        "kind": kind,
        "name": name,
        "images": [str(one.get("image", "")) for one in containers],
        "pullSecrets": [str(one["name"]) for one in pod_spec.get("imagePullSecrets") or ()],
        "ready": int((stored.get("status") or {}).get("readyReplicas") or 0),
        "labels": (template.get("metadata") or {}).get("labels") or {},
        "ports": [port for one in containers for port in one.get("ports") or ()],
        "nodeSelector": pod_spec.get("nodeSelector") or {},
        "serviceAccount": str(pod_spec.get("serviceAccountName") or "default"),
        "claims": targets.claims_of({"spec": pod_spec}),
        "secrets": references.secrets_of(pod_spec),
        "requests": {
            str(one.get("name")): (one.get("resources") or {}).get("requests") or {}
            for one in containers
        },
    }
    return _item(f"sibling/{kind}/{name}", ItemKind.SIBLING, value)


def _items(
    prefix: str, kind: ItemKind, api_version: str, kind_name: str, found: Iterable[Stored | None]
) -> list[Item]:
    return [
        _item(
            f"{prefix}/{kinds.name_of(one)}",
            kind,
            redaction.clean_object({"apiVersion": api_version, "kind": kind_name} | dict(one)),
        )
        for one in found
        if one is not None
    ]


def _item(identity: str, kind: ItemKind, value: Any) -> Item:
    return Item(id=identity, kind=kind, value=value)
