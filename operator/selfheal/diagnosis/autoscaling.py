"""Autoscalers that cannot scale: no target, no requests, no metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import applications, reference
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote, stated

RANK = 40
ELSEWHERE = 0.55
"""Confidence where the workload is looked at and only the autoscaler is wrong."""

_SERVED_BY = {"External": "external.metrics.k8s.io", "Object": "custom.metrics.k8s.io",
              "Pods": "custom.metrics.k8s.io"}  # fmt: skip
"""The aggregated API of each type of metric that no metrics server has."""


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each autoscaler of the target that does not work."""
    for item in reading.bundle.of(ItemKind.AUTOSCALER):
        conditions = {
            one.get("type"): one
            for one in dig(item.value, "status").get("conditions") or ()
            if one.get("status") == "False"
        }
        if "AbleToScale" in conditions:
            found = _unable(reading, item, str(conditions["AbleToScale"].get("message") or ""))
        elif dig(conditions, "ScalingActive").get("reason") not in (None, "ScalingDisabled"):
            found = _inactive(reading, item, str(conditions["ScalingActive"].get("message") or ""))
        else:
            continue
        # only requests that are missing are the workload's own fault
        own = reading.bundle.target.kind == "HorizontalPodAutoscaler" or found.container is not None
        yield found if own else dataclasses.replace(found, confidence=ELSEWHERE)


def _finding(
    item: Item, cause: str, fault: str, *more: Item, sure: float = 0.95,
    container: str | None = None, **parameters: Any,
) -> Finding:  # fmt: skip
    return Finding(
        class_=IncidentClass.AUTOSCALER_FAILED, cause=cause, confidence=sure,
        evidence=(item.id, *(one.id for one in more)), container=container, rank=RANK,
        parameters={"fault": fault, "autoscaler": _name(item), **parameters},
    )  # fmt: skip


def _name(item: Item) -> str:
    return str(dig(item.value, "metadata").get("name"))


def _unable(reading: Reading, item: Item, message: str) -> Finding:
    scaled = dig(item.value, "spec", "scaleTargetRef")
    kind, name = str(scaled.get("kind")), str(scaled.get("name"))
    if "not found" not in message:
        return _finding(
            item, f"Autoscaler {_name(item)} cannot scale {kind} {name}: {quote(message)}", "Unable"
        )
    same_kind = {one.name: one for one in applications.known(reading) if one.kind == kind}
    near = reference.only_similar(name, same_kind)
    if near is None and _name(item) in same_kind:
        near = _name(item)
    shown = (same_kind[near].item,) if near else ()
    return _finding(
        item, f"Autoscaler {_name(item)} scales {kind} {name}, which does not exist.",
        "TargetMissing", *shown, kind=kind, old=name, **stated(new=near),
    )  # fmt: skip


def _inactive(reading: Reading, item: Item, message: str) -> Finding:
    scaled = dig(item.value, "spec", "scaleTargetRef")
    pod = next(iter(reading.pods), None)
    for metric in dig(item.value, "spec").get("metrics") or ():
        resource, only = _utilisation(metric)
        if resource is None or pod is None:
            continue
        lacking = [
            str(entry["name"])
            for entry in dig(pod.value, "spec").get("containers") or ()
            if only in (None, entry["name"]) and resource not in dig(entry, "resources", "requests")
        ]
        if lacking:
            names = ", ".join(lacking)
            return _finding(
                item, f"Autoscaler {_name(item)} scales on {resource} utilisation, and container "
                f"{names} of {scaled.get('kind')} {scaled.get('name')} requests no {resource}.",
                "NoRequests", pod, container=lacking[0], resource=resource, containers=lacking,
                kind=scaled.get("kind"), workload=scaled.get("name"),
            )  # fmt: skip
    foreign = _foreign(reading, item, message)
    if foreign is not None:
        return foreign
    for group in reading.bundle.of(ItemKind.API_GROUP):
        known = group.value.get("group") not in _SERVED_BY.values()
        if known and not group.value.get("served") and "metrics" in message:
            return _finding(
                item, f"Autoscaler {_name(item)} gets no metrics: the cluster serves no "
                f"{group.value['group']} (no metrics server).", "NoMetrics", group,
            )  # fmt: skip
    return _finding(
        item, f"Autoscaler {_name(item)} gets no metrics: {quote(message)}", "NoMetrics", sure=0.8
    )


def _foreign(reading: Reading, item: Item, message: str) -> Finding | None:
    """Return what keeps a metric away that is no container's: its name, and who should serve it."""
    groups = {one.value.get("group"): one for one in reading.bundle.of(ItemKind.API_GROUP)}
    for metric in dig(item.value, "spec").get("metrics") or ():
        type_ = str(metric.get("type"))
        name = dig(metric, type_.lower(), "metric").get("name")
        served_by = _SERVED_BY.get(type_)
        if served_by is None or not name or str(name) not in message:
            continue
        what, group = f"{type_.lower()} metric {name}", groups.get(served_by)
        unserved = (
            not group.value.get("served")
            if group
            else (f"could not find the requested resource (get {name}.{served_by})" in message)
        )
        if unserved:
            return _finding(
                item, f"Autoscaler {_name(item)} gets no value of the {what}: the cluster serves "
                f"no {served_by} (no adapter for such metrics is installed).", "NoMetrics",
                *([group] if group else ()), metric=str(name), api=served_by,
            )  # fmt: skip
        return _finding(
            item, f"Autoscaler {_name(item)} gets no value of the {what}: {quote(message)}",
            "NoMetrics", sure=0.8, metric=str(name), api=served_by,
        )  # fmt: skip
    return None


def _utilisation(metric: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the resource of a utilisation metric and the container it is about, if one."""
    field = {"Resource": "resource", "ContainerResource": "containerResource"}.get(
        str(metric.get("type"))
    )
    source = dig(metric, field) if field else {}
    if dig(source, "target").get("type") != "Utilization":
        return None, None
    container = source.get("container")
    return str(source.get("name")), None if container is None else str(container)
