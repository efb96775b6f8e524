"""Pods that no node takes: too little room, or a demand that no node meets."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api import meta
from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reference
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, parse_time, quote, stated

RANK = 15
DEFAULT_SCHEDULER = "default-scheduler"
UNSEEN = dt.timedelta(seconds=30)
"""Any scheduler says something of a new pod sooner than this."""

_INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9./-]*[a-z0-9])")
_PRESSURE = re.compile(r"node\.kubernetes\.io/(?:memory|disk|pid)-pressure")
_SELECTOR = re.compile(r"didn't match Pod's node affinity/selector|node\(s\) didn't match node sel")
_TAINT = re.compile(r"untolerated taint(?:\(s\))? ?\{?([^}:,]*)")
_OTHERS = (
    ("AntiAffinity", re.compile(r"anti-affinity rules")),
    ("PodAffinity", re.compile(r"didn't match pod affinity rules")),
    ("TopologySpread", re.compile(r"topology spread constraints")),
    ("HostPort", re.compile(r"free ports for the requested pod ports")),
    ("Cordoned", re.compile(r"node\(s\) were unschedulable")),
)


def unscheduled(reading: Reading) -> Iterator[tuple[Item, str, tuple[str, ...]]]:
    """Iterate over pods without a node: pod, what the scheduler says, and the items that say so."""
    for pod in reading.pods:
        for condition in dig(pod.value, "status").get("conditions") or ():
            if condition.get("type") != "PodScheduled" or condition.get("status") != "False":
                continue
            name = str(dig(pod.value, "metadata").get("name"))
            events = reading.events("FailedScheduling", about=name)
            texts = [str(condition.get("message") or "")]
            texts += [str(event.value.get("message", "")) for event in events[:1]]
            said = next((text for text in texts if text), "")
            yield pod, said, (pod.id, *(event.id for event in events[:1]))


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for the first pod of which the scheduler says why no node takes it."""
    for pod, message, items in unscheduled(reading):
        found = _classify(reading, pod, message, items)
        if found is not None:
            yield found
            return
    yield from _unseen(reading)


def _unseen(reading: Reading) -> Iterator[Finding]:
    """Yield a pod that no scheduler has looked at: it has neither a node nor a condition."""
    for pod in reading.pods:
        spec, status = dig(pod.value, "spec"), dig(pod.value, "status")
        created = parse_time(dig(pod.value, "metadata").get("creationTimestamp"))
        name = str(spec.get("schedulerName") or DEFAULT_SCHEDULER)
        told = any(one.get("type") == "PodScheduled" for one in status.get("conditions") or ())
        told = told or "containerStatuses" in status or "initContainerStatuses" in status
        if status.get("phase") != "Pending" or spec.get("nodeName") or told or created is None:
            continue
        if reading.bundle.now - created < UNSEEN:
            continue
        advice = "" if name == DEFAULT_SCHEDULER else f" The cluster's own is {DEFAULT_SCHEDULER}."
        yield Finding(
            class_=IncidentClass.UNSCHEDULABLE,
            cause=f"No scheduler has looked at the pod: it waits for one called {name} "
            f"(schedulerName), and none of that name answers.{advice}",
            confidence=0.8, evidence=(pod.id,), rank=RANK,
            parameters={"fault": "NoScheduler", "scheduler": name},
        )  # fmt: skip
        return


def _classify(reading: Reading, pod: Item, message: str, items: tuple[str, ...]) -> Finding | None:
    # what the scheduler tried for preemption repeats the reasons in other words
    text = message.partition("preemption:")[0]
    resources = sorted(set(_INSUFFICIENT.findall(text)))
    if resources:
        return _exhausted(reading, pod, text, items, resources)
    if _PRESSURE.search(text):
        return _finding(
            IncidentClass.NODE_EXHAUSTION, f"Nodes are under pressure: {quote(text)}", items,
            {"fault": "NodePressure", "resources": []},
        )  # fmt: skip
    if _SELECTOR.search(text):
        return _unmatched(reading, pod, text, items)
    taint = _TAINT.search(text)
    if taint:
        return _finding(
            IncidentClass.UNSCHEDULABLE,
            f"The pod does not tolerate the taint {taint[1].strip()} of the nodes: {quote(text)}",
            items, {"fault": "Taint", "taint": taint[1].strip()},
        )  # fmt: skip
    for fault, pattern in _OTHERS:
        if pattern.search(text):
            return _finding(
                IncidentClass.UNSCHEDULABLE, f"No node meets what the pod demands: {quote(text)}",
                items, {"fault": fault},
            )  # fmt: skip
    return None


def _finding(
    class_: IncidentClass, cause: str, items: tuple[str, ...], parameters: Mapping[str, Any],
    container: str | None = None,
) -> Finding:  # fmt: skip
    return Finding(
        class_=class_, cause=cause, confidence=0.95, evidence=tuple(dict.fromkeys(items)),
        container=container, rank=RANK, parameters=parameters,
    )  # fmt: skip


def _exhausted(
    reading: Reading, pod: Item, text: str, items: tuple[str, ...], resources: list[str]
) -> Finding:
    nodes = list(reading.bundle.of(ItemKind.NODE))
    for resource in resources:
        wanted = {
            str(entry["name"]): amount(dig(entry, "resources", "requests").get(resource))
            for entry in dig(pod.value, "spec").get("containers") or ()
        }
        room = max(
            (amount(dig(node.value, "allocatable").get(resource)) for node in nodes), default=0.0
        )
        if room and sum(wanted.values()) > room:
            container = max(wanted, key=lambda name: wanted[name])
            written = _written(pod, container, resource)
            return _finding(
                IncidentClass.NODE_EXHAUSTION,
                f"Container {container} requests {written} {resource}; no node has more than "
                f"{_allocatable(nodes, resource)}.",
                (*items, *(node.id for node in nodes)),
                {
                    "fault": "Oversized", "resources": resources, "resource": resource,
                    "request": written, "allocatable": _allocatable(nodes, resource),
                },
                container,
            )  # fmt: skip
    return _finding(
        IncidentClass.NODE_EXHAUSTION,
        f"No node has enough {' and '.join(resources)} left: {quote(text)}", items,
        {"fault": "Full", "resources": resources, "resource": resources[0]},
    )  # fmt: skip


def amount(text: Any) -> float:
    """Return a quantity as a number; 0 where there is none or it is not readable."""
    try:
        return 0.0 if text is None else meta.parse_quantity(str(text))
    except ValueError:
        return 0.0


def _written(pod: Item, container: str, resource: str) -> str:
    entries = dig(pod.value, "spec").get("containers") or ()
    entry = next(one for one in entries if one["name"] == container)
    return str(dig(entry, "resources", "requests")[resource])


def _allocatable(nodes: list[Item], resource: str) -> str:
    best = max(nodes, key=lambda node: amount(dig(node.value, "allocatable").get(resource)))
    return str(dig(best.value, "allocatable")[resource])


def _unmatched(reading: Reading, pod: Item, text: str, items: tuple[str, ...]) -> Finding:
    nodes = list(reading.bundle.of(ItemKind.NODE))
    evidence = (*items, *(node.id for node in nodes))
    for fault, key, value in demands(dig(pod.value, "spec")):
        values = {str(dig(node.value, "labels").get(key)) for node in nodes} - {"None"}
        if not nodes or value in values:
            continue
        keys = {name for node in nodes for name in dig(node.value, "labels")}
        near = reference.only_similar(value, values)
        near_key = None if values else _near_key(nodes, keys, key, value)
        parameters = stated(
            fault=fault, key=key, value=value, values=sorted(values), new=near, newKey=near_key
        )
        known = f"they have {', '.join(sorted(values))}" if values else "none has this label"
        return _finding(
            IncidentClass.UNSCHEDULABLE,
            f"No node has the label {key}={value} that the pod demands; {known}.", evidence,
            parameters,
        )  # fmt: skip
    return _finding(
        IncidentClass.UNSCHEDULABLE,
        f"No node matches the pod's node selector or affinity: {quote(text)}", evidence,
        {"fault": "NodeAffinity"},
    )  # fmt: skip


def _near_key(nodes: list[Item], keys: set[str], key: str, value: str) -> str | None:
    near = reference.only_similar(key, keys)
    if near and any(dig(node.value, "labels").get(near) == value for node in nodes):
        return near
    return None


def demands(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Iterate over fault, key and value of the node labels that a pod cannot do without."""
    for key, value in (pod_spec.get("nodeSelector") or {}).items():
        yield "NodeSelector", str(key), str(value)
    required = dig(
        pod_spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms: list[Mapping[str, Any]] = list(required.get("nodeSelectorTerms") or [])
    if len(terms) != 1:
        return  # any of several terms would do
    for one in terms[0].get("matchExpressions") or ():
        if one.get("operator") == "In" and len(one.get("values") or ()) == 1:
            yield "NodeAffinity", str(one["key"]), str(one["values"][0])
