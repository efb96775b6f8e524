"""Suspects that no pod betrays: what names something that is not there, or blocks what is well.

Each is recognised from objects alone and diagnosed afterwards: a question, not a finding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.adapters.kube import connection, kinds, rollout, targets
from selfheal.api.incident import TargetRef
from selfheal.domain import errors

MAX_LISTED = 2_000
THROTTLED = 0.25
"""The share of throttled periods from which a container is looked at."""

_PATHS = {
    kind: kinds.KNOWN[kind]
    for kind in ("Service", "Pod", "Ingress", "HorizontalPodAutoscaler", "PersistentVolumeClaim")
} | {
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
}
_SLICE_OF = "kubernetes.io/service-name"

Stored = Mapping[str, Any]
Listed = Mapping[str, Sequence[Stored]]


async def find(api: connection.Connection, namespace: str) -> list[TargetRef]:
    """Return the silent suspects of a namespace; a kind that may not be listed has none."""
    listed = await asyncio.gather(*(_take(api, kind, namespace) for kind in _PATHS))
    classes = await _names(api, connection.path_of("networking.k8s.io/v1", "ingressclasses"))
    return list(dict.fromkeys(build(dict(zip(_PATHS, listed, strict=True)), classes)))


async def _take(api: connection.Connection, kind: str, namespace: str) -> list[Any]:
    try:
        return await api.take(connection.path_of(*_PATHS[kind], namespace), MAX_LISTED)
    except errors.Forbidden:
        return []


async def _names(api: connection.Connection, path: str) -> frozenset[str] | None:
    try:
        return frozenset(kinds.name_of(one) for one in await api.take(path, MAX_LISTED))
    except errors.Forbidden:
        return None


def build(listed: Listed, classes: frozenset[str] | None) -> Iterator[TargetRef]:
    """Yield the silent suspects among listed objects; pure."""
    for service in listed["Service"]:
        if _is_unanswered(service, listed):
            yield _ref("Service", service)
    services = {kinds.name_of(one): _ports(one) for one in listed["Service"]}
    for ingress in listed["Ingress"]:
        wanted = (ingress.get("spec") or {}).get("ingressClassName")
        unknown = bool(wanted) and classes is not None and wanted not in classes
        known = all(
            name in services and (port is None or port in services[name])
            for name, port in _backends(ingress)
        )
        if unknown or not known:
            yield _ref("Ingress", ingress)
    for autoscaler in listed["HorizontalPodAutoscaler"]:
        conditions = _conditions(autoscaler)
        if "False" in (conditions.get("AbleToScale"), conditions.get("ScalingActive")):
            yield _ref("HorizontalPodAutoscaler", autoscaler)
    mounted = {name for pod in listed["Pod"] for name in targets.claims_of(pod)}
    for claim in listed["PersistentVolumeClaim"]:
        pending = (claim.get("status") or {}).get("phase") in ("Pending", "Lost")
        if pending and kinds.name_of(claim) not in mounted:
            yield _ref("PersistentVolumeClaim", claim)
    for budget in listed["PodDisruptionBudget"]:
        if _blocks(budget):
            yield from _selected_owners(budget, listed["Pod"])
        else:
            others = [one for one in listed["PodDisruptionBudget"] if one is not budget]
            shared = [pod for pod in listed["Pod"] if any(_selects(one, pod) for one in others)]
            yield from _selected_owners(budget, shared)


def _ref(kind: str, stored: Stored) -> TargetRef:
    return TargetRef(api_version=kinds.KNOWN[kind][0], kind=kind, name=kinds.name_of(stored))


def _conditions(stored: Stored) -> dict[str, str]:
    return {
        str(one.get("type")): str(one.get("status"))
        for one in (stored.get("status") or {}).get("conditions") or ()
    }


def _is_unanswered(service: Stored, listed: Listed) -> bool:
    """Say whether a service selects no pod, or sends to a port that none of them declares."""
    spec = service.get("spec") or {}
    selector = spec.get("selector") or {}
    if not selector or spec.get("type") == "ExternalName":
        return False
    name = kinds.name_of(service)
    pods = [one for one in listed["Pod"] if selector.items() <= _labels(one).items()]
    if not pods:
        return bool(listed["Pod"])
    if not any(rollout.is_well(pod) for pod in pods):
        return False  # the pods' own trouble
    slices = [one for one in listed["EndpointSlice"] if _labels(one).get(_SLICE_OF) == name]
    sent = {port.get("port") for one in slices for port in one.get("ports") or ()} - {None}
    each = [_declared(pod) for pod in pods]
    declared = {port for ports in each for port in ports}
    unnamed = bool(slices) and not sent and bool(spec.get("ports"))
    # pods of a second workload that serve something else
    foreign = bool(sent) and any(ports and not ports & sent for ports in each)
    return unnamed or foreign or (bool(declared) and not sent <= declared)


def _declared(pod: Stored) -> set[int]:
    return {
        port["containerPort"]
        for container in (pod.get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
    }


def _labels(stored: Stored) -> Mapping[str, str]:
    return stored["metadata"].get("labels") or {}


def _ports(service: Stored) -> set[Any]:
    """Return the numbers and names of a service's ports."""
    ports = (service.get("spec") or {}).get("ports") or ()
    return {value for one in ports for value in (one.get("port"), one.get("name"))}


def _backends(ingress: Stored) -> Iterator[tuple[str, Any]]:
    """Yield the name of each backend's service and the number or name of its port, if one."""
    spec = ingress.get("spec") or {}
    paths = [
        path.get("backend") or {}
        for rule in spec.get("rules") or ()
        for path in (rule.get("http") or {}).get("paths") or ()
    ]
    for backend in [spec.get("defaultBackend") or {}, *paths]:
        service = backend.get("service") or {}
        port = service.get("port") or {}
        if service.get("name"):
            yield str(service["name"]), port.get("name") or port.get("number")


def _blocks(budget: Stored) -> bool:
    """Say whether a budget allows nothing although all its pods are well."""
    status = budget.get("status") or {}
    expected = int(status.get("expectedPods") or 0)
    return (
        expected > 0
        and not status.get("disruptionsAllowed")
        and int(status.get("currentHealthy") or 0) >= expected
    )


def _selected_owners(budget: Stored, pods: Sequence[Stored]) -> Iterator[TargetRef]:
    for pod in pods:
        if _selects(budget, pod):
            yield TargetRef(api_version="v1", kind="Pod", name=kinds.name_of(pod))
            return  # one pod leads to the workload


def _selects(budget: Stored, pod: Stored) -> bool:
    selector = (budget.get("spec") or {}).get("selector") or {}
    wanted = selector.get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= _labels(pod).items()


def find_throttled(
    pods: Sequence[Stored], counters: Mapping[tuple[str, str], rollout.Counters]
) -> Iterator[TargetRef]:
    """Yield the pods with a container that its CPU limit holds back; pure."""
    names = {
        pod
        for (pod, _), one in counters.items()
        if one.ratio is not None and one.ratio >= THROTTLED
    }
    for pod in pods:
        if kinds.name_of(pod) in names:
            yield TargetRef(api_version="v1", kind="Pod", name=kinds.name_of(pod))
