"""Services that nobody answers for: a selector that selects nothing, a port that nobody serves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import applications, reference, wide_selectors
from selfheal.diagnosis.applications import Application
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import PROBES, Container, Reading, dig, stated

RANK = 32
SEEN = 0.8
"""Confidence where a probe shows on which port the container answers."""

UNSEEN = 0.55
"""Confidence where only declared ports speak against a Service that nobody complains of."""


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each Service of the target that has no working endpoint."""
    if reading.bundle.target.kind in ("HorizontalPodAutoscaler", "PersistentVolumeClaim"):
        return
    endpoints = {item.value["service"]: item for item in reading.bundle.of(ItemKind.ENDPOINTS)}
    known = applications.known(reading)
    for item in reading.bundle.of(ItemKind.SERVICE):
        selector = dig(item.value, "spec", "selector")
        end = endpoints.get(_name(item))
        if not selector or end is None or dig(item.value, "spec").get("type") == "ExternalName":
            continue
        selected = [one for one in known if applications.selects(selector, one.labels)]
        if not selected and not end.value["addresses"]:
            found = _selector(reading, item, end, selector, known)
        else:
            found = _port(reading, item, end, selected) or _used_port(reading, item, end, selected)
            if found is None and _is_target(reading, item):
                found = wide_selectors.find(item, end, selected)
        if found is not None:
            yield found


def _name(item: Item) -> str:
    return str(dig(item.value, "metadata").get("name"))


def _finding(
    cause: str, fault: str, confidence: float, items: tuple[Item, ...], service: Item,
    **parameters: Any,
) -> Finding:  # fmt: skip
    return Finding(
        class_=IncidentClass.SERVICE_ENDPOINTS, cause=cause, confidence=confidence,
        evidence=tuple(dict.fromkeys(item.id for item in items)), rank=RANK,
        parameters={"fault": fault, "service": _name(service), **parameters},
    )  # fmt: skip


def _is_target(reading: Reading, service: Item) -> bool:
    target = reading.bundle.target
    return target.kind == "Service" and target.name == _name(service)


def _selector(
    reading: Reading, service: Item, end: Item, selector: Mapping[str, Any],
    known: list[Application],
) -> Finding | None:  # fmt: skip
    meant = meant_by(_name(service), selector, known)
    if meant is None:
        if not _is_target(reading, service):
            return None
        return _finding(
            f"Service {_name(service)} selects {_labels(selector)}; no workload of the namespace "
            "has these labels.", "Selector", 0.8, (service, end), service, differences=[],
        )  # fmt: skip
    user = _user(reading, _name(service))
    if not meant.own and not _is_target(reading, service) and user is None:
        return None
    wrong = differences(selector, meant.labels)
    said = ", ".join(f"{one['key']}={one['old']}" for one in wrong)
    instead = ", ".join(f"{one['newKey']}={one['new']}" for one in wrong if "new" in one)
    cause = (
        f"Service {_name(service)} selects {said}, and no pod has that; {meant.kind} {meant.name} "
        f"has {instead or _labels(meant.labels)}."
    )
    return _finding(
        cause, "Selector", 0.95 if len(wrong) == 1 and instead else 0.8,
        (service, end, meant.item, *([user] if user else ())), service, differences=wrong,
        kind=meant.kind, workload=meant.name,
    )  # fmt: skip


def _labels(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def meant_by(
    name: str, selector: Mapping[str, Any], known: list[Application]
) -> Application | None:
    """Return the one workload that a selector without pods means; None: none, or it is unclear.

    That is the one of the Service's own name, else the one with most labels in common, else the
    only one whose labels are a slip of the pen away.
    """
    same_name = [one for one in known if one.name == name]
    if len(same_name) == 1:
        return same_name[0]
    shared = {
        one.name: sum(one.labels.get(key) == value for key, value in selector.items())
        for one in known
    }
    best = max(shared.values(), default=0)
    leaders = [one for one in known if shared[one.name] == best]
    if best and len(leaders) == 1:
        return leaders[0]
    near = [
        one
        for one in (leaders if best else known)
        if any(_near(key, str(value), one.labels) for key, value in selector.items())
    ]
    return near[0] if len(near) == 1 else None


def _near(key: str, value: str, labels: Mapping[str, str]) -> bool:
    if key in labels:
        slip = reference.only_similar(value, [labels[key]]) is not None
        return slip and labels[key] != value
    return any(
        other == value and reference.only_similar(key, [name]) for name, other in labels.items()
    )


def differences(selector: Mapping[str, Any], labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what of a selector the labels do not have: key, old, and what they have instead."""
    wrong = []
    for key, value in selector.items():
        if labels.get(key) == value:
            continue
        found = {"key": str(key), "old": str(value)}
        near_key = reference.only_similar(str(key), [one for one in labels if one not in selector])
        if key in labels:
            found |= {"newKey": str(key), "new": labels[key]}
        elif near_key is not None:
            found |= {"newKey": near_key, "new": labels[near_key]}
        wrong.append(found)
    return wrong


def _port(
    reading: Reading, service: Item, end: Item, selected: list[Application]
) -> Finding | None:
    """Judge the target ports of a service whose pods are ready; theirs is another cause."""
    containers = [
        entry
        for entry in reading.containers
        if not entry.init and applications.selects(
            dig(service.value, "spec", "selector"), dig(entry.pod.value, "metadata", "labels")
        )
    ]  # fmt: skip
    if not containers or not all(entry.ready for entry in containers):
        return None
    declared = [port for entry in containers for port in entry.spec.get("ports") or ()]
    for number, port in enumerate(dig(service.value, "spec").get("ports") or ()):
        wanted = port.get("targetPort", port.get("port"))
        verdict = _judge(wanted, declared, containers)
        if verdict is None:
            continue
        new, confidence, why = verdict
        if confidence < SEEN and not _is_target(reading, service):
            confidence = UNSEEN  # containers may serve ports that they do not declare
        return _finding(
            f"Service {_name(service)} sends to port {wanted} of its pods; {why}.", "TargetPort",
            confidence, (service, end, containers[0].pod, *(one.item for one in selected)), service,
            index=number, old=wanted, port=port.get("port"),
            **stated(new=new),
        )  # fmt: skip
    return None


def _used_port(
    reading: Reading, service: Item, end: Item, selected: list[Application]
) -> Finding | None:
    """Judge a Service of another workload that the target needs, by that workload's ports."""
    user = _user(reading, _name(service))
    declared = [port for one in selected for port in one.ports]
    if user is None or not declared or any(one.own for one in selected):
        return None
    for number, port in enumerate(dig(service.value, "spec").get("ports") or ()):
        wanted = port.get("targetPort", port.get("port"))
        verdict = _judge(wanted, declared, [])
        if verdict is not None:
            new, _, why = verdict
            return _finding(
                f"Service {_name(service)}, which {reading.bundle.target.name} needs, sends to "
                f"port {wanted} of its pods; {why}.", "TargetPort", SEEN,
                (service, end, user, *(one.item for one in selected)), service, index=number,
                old=wanted, port=port.get("port"), **stated(new=new),
            )  # fmt: skip
    return None


def _user(reading: Reading, name: str) -> Item | None:
    """Return what shows that a container which is not well needs a Service: its log, its pod."""
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
    for container in reading.containers:
        if container.ready or (container.init and container.exit_code == 0):
            continue
        for log in reading.logs(container):
            if word.search(str(log.value.get("text", ""))):
                return log
        said = [*(container.spec.get("command") or ()), *(container.spec.get("args") or ())]
        said += [one.get("value") or "" for one in container.spec.get("env") or ()]
        if any(word.search(str(text)) for text in said):
            return container.pod
    return None


def _judge(
    wanted: Any, declared: list[Mapping[str, Any]], containers: list[Container]
) -> tuple[int | str | None, float, str] | None:
    """Return what the port should be, how sure that is, and why; None: it is right."""
    names = {str(port["name"]): port for port in declared if port.get("name")}
    numbers = sorted({int(port["containerPort"]) for port in declared})
    probed = _probed(containers)
    if isinstance(wanted, str) and not wanted.isdigit():
        if wanted in names:
            return None
        new: int | str | None = reference.only_similar(wanted, names)
        if new is None and len(names) == 1 and len(declared) == 1:
            new = next(iter(names))
        elif new is None and len(numbers) == 1:
            new = numbers[0]
        known = ", ".join(names) if names else "none"
        return new, 0.95, f"no container has a port of this name (they have: {known})"
    number = int(wanted)
    served = {*numbers, *probed}
    if number in served or not served:
        return None
    choice = probed if len(probed) == 1 else numbers
    why = f"they listen on {', '.join(map(str, sorted(served)))}"
    return (choice[0] if len(choice) == 1 else None), SEEN if probed else 0.7, why


def _probed(containers: list[Container]) -> list[int]:
    """Return the ports on which probes of ready containers succeed."""
    found = set()
    for entry in containers:
        ports = {
            str(one["name"]): one["containerPort"]
            for one in entry.spec.get("ports") or ()
            if one.get("name")
        }
        for probe in PROBES:
            for handler in ("httpGet", "tcpSocket", "grpc"):
                port = dig(entry.spec, probe, handler).get("port")
                number = ports.get(str(port), port)
                if isinstance(number, int):
                    found.add(number)
    return sorted(found)
