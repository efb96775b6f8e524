"""Ingresses whose class, backend or port does not exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import applications, reference
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, stated

RANK = 34
ELSEWHERE = 0.55
"""Confidence where a workload is looked at that is well itself: the Ingress is what is wrong."""

Path = tuple[str | int, ...]


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each wrong backend or class of an ingress of the target."""
    services = {_name(item): item for item in reading.bundle.of(ItemKind.SERVICE)}
    for item in reading.bundle.of(ItemKind.INGRESS):
        mine = _is_target(reading, item)
        for path, backend in backends(item.value):
            found = _backend(reading, item, path, backend, services)
            if found is not None and mine:
                yield found
            elif found is not None and _concerns(reading, found, services):
                yield _elsewhere(reading, found)
        found = _class(reading, item)
        names = {dig(backend, "service").get("name") for _, backend in backends(item.value)}
        if found is not None and mine:
            yield found
        elif found is not None and names & _own_services(reading, services):
            yield _elsewhere(reading, found)


def _elsewhere(reading: Reading, found: Finding) -> Finding:
    """Return a finding as it counts for another target: a workload is none the worse for it."""
    if reading.bundle.target.kind == "Service":
        return found
    return dataclasses.replace(found, confidence=ELSEWHERE)


def _name(item: Item) -> str:
    return str(dig(item.value, "metadata").get("name"))


def _is_target(reading: Reading, item: Item) -> bool:
    target = reading.bundle.target
    return target.kind == "Ingress" and target.name == _name(item)


def backends(ingress: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Iterate over the backends of an ingress with their paths."""
    spec = dig(ingress, "spec")
    if dig(spec, "defaultBackend", "service"):
        yield ("spec", "defaultBackend"), dig(spec, "defaultBackend")
    for number, rule in enumerate(spec.get("rules") or ()):
        for index, entry in enumerate(dig(rule, "http").get("paths") or ()):
            if dig(entry, "backend", "service"):
                path = ("spec", "rules", number, "http", "paths", index, "backend")
                yield path, dig(entry, "backend")


def _own_services(reading: Reading, services: Mapping[str, Item]) -> set[str]:
    """Return the services of the target: it itself, or those that select its pods."""
    target = reading.bundle.target
    if target.kind == "Service":
        return {target.name}
    own = [one for one in applications.known(reading) if one.own]
    return {
        name
        for name, item in services.items()
        if any(applications.selects(dig(item.value, "spec", "selector"), one.labels) for one in own)
    }


def _concerns(reading: Reading, found: Finding, services: Mapping[str, Item]) -> bool:
    own = _own_services(reading, services)
    return bool(own & {found.parameters.get("service"), found.parameters.get("new")})


def _finding(
    item: Item, cause: str, fault: str, path: Path, *more: Item, sure: float = 0.95,
    **parameters: Any,
) -> Finding:  # fmt: skip
    return Finding(
        class_=IncidentClass.INGRESS_BACKEND, cause=cause, confidence=sure,
        evidence=(item.id, *(one.id for one in more)), rank=RANK,
        parameters={"fault": fault, "ingress": _name(item), "path": list(path), **parameters},
    )  # fmt: skip


def _backend(
    reading: Reading, item: Item, path: Path, backend: Mapping[str, Any],
    services: Mapping[str, Item],
) -> Finding | None:  # fmt: skip
    name = str(dig(backend, "service").get("name"))
    wanted = dig(backend, "service", "port")
    if name not in services:
        near = reference.only_similar(name, services) or _only(services)
        return _finding(
            item, f"Ingress {_name(item)} sends to Service {name}, which does not exist.",
            "ServiceMissing", (*path, "service", "name"), *([services[near]] if near else ()),
            service=name, **stated(new=near),
        )  # fmt: skip
    ports = dig(services[name].value, "spec").get("ports") or ()
    numbers = [int(one["port"]) for one in ports]
    names = [str(one["name"]) for one in ports if one.get("name")]
    field = "name" if wanted.get("name") else "number"
    value = wanted.get(field)
    if not wanted or value in (*numbers, *names):
        return None
    choices: list[Any] = names if field == "name" else numbers
    new = reference.only_similar(str(value), names) if field == "name" else None
    new = new or (choices[0] if len(choices) == 1 else None)
    return _finding(
        item, f"Ingress {_name(item)} sends to port {value} of Service {name}, which has only "
        f"{', '.join(map(str, [*names, *numbers]))}.", "PortMissing",
        (*path, "service", "port", field), services[name], service=name, old=value,
        **stated(new=new),
    )  # fmt: skip


def _only(services: Mapping[str, Item]) -> str | None:
    return next(iter(services)) if len(services) == 1 else None


def _class(reading: Reading, item: Item) -> Finding | None:
    wanted = dig(item.value, "spec").get("ingressClassName")
    classes = {str(one.value["name"]): one for one in reading.bundle.of(ItemKind.INGRESS_CLASS)}
    if wanted is None:
        annotations = dig(item.value, "metadata", "annotations")
        old_way = "kubernetes.io/ingress.class" in annotations
        default = any(one.value.get("default") for one in classes.values())
        if old_way or default or not classes:
            return None
        new = next(iter(classes)) if len(classes) == 1 else None
        return _finding(
            item, f"Ingress {_name(item)} names no class, and the cluster has no default one.",
            "ClassUnset", ("spec", "ingressClassName"), *classes.values(), sure=0.8,
            **stated(new=new),
        )  # fmt: skip
    if wanted in classes:
        return None
    near = reference.only_similar(str(wanted), classes)
    near = near or (next(iter(classes)) if len(classes) == 1 else None)
    known = f"there are: {', '.join(classes)}" if classes else "the cluster has none"
    return _finding(
        item, f"Ingress {_name(item)} is of class {wanted}, which does not exist; {known}.",
        "ClassMissing", ("spec", "ingressClassName"), *classes.values(),
        sure=0.95 if classes else 0.8, old=wanted, **stated(new=near),
    )  # fmt: skip
