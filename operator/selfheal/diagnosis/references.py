"""ConfigMaps, Secrets and keys of them that a pod names and that are not there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import names
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, pod_containers

RANK = 20

_OBJECT = re.compile(
    r"\b(configmap|secret|serviceaccount|runtimeclass) \"?([^\s\"]+?)\"? not found", re.I
)
_KEY = re.compile(r"couldn't find key (\S+) in (ConfigMap|Secret) (?:[^/\s]+/)?([^\s,]+)")
_VOLUME_KEY = re.compile(
    r"for volume \"([^\"]+)\".*references non-existent (config|secret) key: (\S+)", re.S
)
_KINDS = {"configmap": "ConfigMap", "secret": "Secret", "serviceaccount": "ServiceAccount",
          "runtimeclass": "RuntimeClass"}  # fmt: skip
_PRIORITY = re.compile(r"no PriorityClass with name (\S+)")
_FOREIGN = frozenset({"PriorityClass", "RuntimeClass"})
"""Kinds of the whole cluster; what others there are is not collected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """An object that is not there, or a key that it does not have."""

    kind: str
    name: str
    key: str | None = None

    def __str__(self) -> str:
        """Return it for people."""
        what = f"{self.kind} {self.name}"
        return f"key {self.key} of {what}" if self.key else what


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """One reference of a pod spec that must exist; ``container`` None: a volume."""

    kind: str
    name: str
    key: str | None
    container: str | None


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding with everything that the kubelet or a controller misses.

    The kubelet names one thing at a time; what else the evidence shows to be missing is added, for
    the pod starts only with all of it.
    """
    said: dict[Missing, tuple[Item, str | None]] = {}
    for item, one, name in _said(reading):
        said.setdefault(one, (item, name))
    if not said:
        return
    first = next(iter(said))
    missing = list(dict.fromkeys((*said, *_also(reading))))
    near = {
        str(one): names.only_near(one.key or one.name, existing(reading, one)) for one in missing
    }
    container = said[first][1]
    shown = [entry.id for one in missing if near[str(one)] for entry in _shown(reading, one)]
    what = ", ".join(map(str, missing[:4]))
    verb = "are" if len(missing) > 1 else "is"
    hints = "".join(f" {_near_text(one, name)}" for one in missing if (name := near[str(one)]))
    yield Finding(
        class_=IncidentClass.MISSING_REFERENCE,
        cause=f"{what[0].upper()}{what[1:]} {verb} missing, and {_who(reading, container)} needs "
        f"{'them' if len(missing) > 1 else 'it'}.{hints}",
        confidence=0.95,
        evidence=tuple(dict.fromkeys((*(item.id for item, _ in said.values()), *shown))),
        container=container,
        rank=RANK,
        parameters={
            "fault": "MissingKey" if first.key else "MissingObject",
            "object": str(first),
            "missing": [dataclasses.asdict(one) | {"near": near[str(one)]} for one in missing],
        },
    )


def _near_text(missing: Missing, near: str) -> str:
    if missing.key:
        return f"{missing.kind} {missing.name} has a key {near}."
    return f"There is a {missing.kind} {near}."


def _who(reading: Reading, container: str | None) -> str:
    if container is not None:
        return f"container {container}"
    return f"{reading.bundle.target.kind} {reading.bundle.target.name}"


def _said(reading: Reading) -> Iterator[tuple[Item, Missing, str | None]]:
    """Iterate over what the kubelet says of containers and volumes, and controllers of pods."""
    for entry in reading.containers:
        if entry.waiting_reason == "CreateContainerConfigError":
            missing = _parse(entry.waiting_message)
            if missing is not None:
                yield entry.pod, missing, entry.name
    creating = {
        entry.pod_name: entry.pod
        for entry in reading.containers
        if entry.waiting_reason in ("ContainerCreating", "PodInitializing")
    }
    for event in reading.events("FailedMount"):
        pod = creating.get(str(event.value.get("object", "")).rpartition("/")[2])
        if pod is not None:
            text = str(event.value.get("message", ""))
            missing = _parse_volume_key(text, pod) or _parse(text)
            if missing is not None:
                yield event, missing, None
    if not reading.pods:
        for event in reading.events("FailedCreate"):
            missing = _parse(str(event.value.get("message", "")))
            if missing is not None:
                yield event, missing, None


def _parse(text: str) -> Missing | None:
    found = _KEY.search(text)
    if found is not None:
        return Missing(kind=found[2], name=found[3], key=found[1])
    found = _PRIORITY.search(text)
    if found is not None:
        return Missing(kind="PriorityClass", name=found[1])
    found = _OBJECT.search(text)
    if found is None:
        return None
    return Missing(kind=_KINDS[found[1].lower()], name=found[2].rpartition("/")[2])


def _parse_volume_key(text: str, pod: Item) -> Missing | None:
    found = _VOLUME_KEY.search(text)
    if found is None:
        return None
    kind = "ConfigMap" if found[2] == "config" else "Secret"
    for volume, reference in volume_references(dig(pod.value, "spec")):
        if volume == found[1] and (reference.kind, reference.key) == (kind, found[3]):
            return Missing(kind=kind, name=reference.name, key=found[3])
    return None


def existing(reading: Reading, missing: Missing) -> list[str]:
    """Return the names, or the keys of the object, that are known to exist."""
    if missing.kind == "ConfigMap":
        maps = [item.value for item in reading.bundle.of(ItemKind.CONFIG_MAP)]
        if missing.key is None:
            return [str(value["name"]) for value in maps if value.get("exists")]
        return [key for value in maps if value["name"] == missing.name for key in value["keys"]]
    if missing.kind == "ServiceAccount":
        found = reading.bundle.of(ItemKind.SERVICE_ACCOUNT)
        return [str(name) for item in found for name in item.value.get("others") or ()]
    return [] if missing.kind in _FOREIGN else list(dict.fromkeys(_secret_names(reading, missing)))


def _secret_names(reading: Reading, missing: Missing) -> Iterator[str]:
    """Iterate over Secrets, or keys of one, that ready workloads use; none is ever read."""
    for item in reading.bundle.of(ItemKind.SIBLING):
        for used in item.value.get("secrets") or () if item.value.get("ready") else ():
            if missing.key is None:
                yield str(used["name"])
            elif used["name"] == missing.name and used.get("key"):
                yield str(used["key"])


def _shown(reading: Reading, missing: Missing) -> list[Item]:
    """Return the items that show what exists."""
    if missing.kind == "ConfigMap":
        return [
            item
            for item in reading.bundle.of(ItemKind.CONFIG_MAP)
            if missing.key is None or item.value["name"] == missing.name
        ][:5]
    kind = ItemKind.SIBLING if missing.kind == "Secret" else ItemKind.SERVICE_ACCOUNT
    return [item for item in reading.bundle.of(kind) if item.value.get("secrets", True)][:5]


def _also(reading: Reading) -> list[Missing]:
    """Return what else of ConfigMaps the template needs and the evidence shows to be missing."""
    maps = {item.value["name"]: item.value for item in reading.bundle.of(ItemKind.CONFIG_MAP)}
    found: dict[Missing, None] = {}
    for pod in reading.pods[:1]:
        for reference in pod_references(dig(pod.value, "spec")):
            known = maps.get(reference.name)
            if reference.kind != "ConfigMap" or known is None:
                continue
            if not known["exists"]:
                found[Missing(kind="ConfigMap", name=reference.name)] = None
            elif reference.key and reference.key not in known["keys"]:
                one = Missing(kind="ConfigMap", name=reference.name, key=reference.key)
                found[one] = None
    return list(found)


def pod_references(pod_spec: Mapping[str, Any]) -> Iterator[Reference]:
    """Iterate over the references of a pod spec that are not optional."""
    yield from (reference for _, reference in volume_references(pod_spec))
    for container in pod_containers(pod_spec):
        for entry in container.get("envFrom") or ():
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                yield from _reference(kind, entry.get(field), "name", None, container["name"])
        for entry in container.get("env") or ():
            source = dig(entry, "valueFrom")
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                key = dig(source, field).get("key")
                yield from _reference(kind, source.get(field), "name", key, container["name"])


def volume_references(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, Reference]]:
    """Iterate over volume names and what they must find."""
    for volume in pod_spec.get("volumes") or ():
        sources = [volume, *(dig(volume, "projected").get("sources") or ())]
        for source in sources:
            for field, kind, name in (
                ("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"),
                ("secret", "Secret", "name"),
            ):  # fmt: skip
                keys = [item["key"] for item in dig(source, field).get("items") or ()]
                for key in (None, *keys):
                    for one in _reference(kind, source.get(field), name, key, None):
                        yield str(volume["name"]), one


def _reference(
    kind: str, source: Any, field: str, key: str | None, container: str | None
) -> Iterator[Reference]:
    if isinstance(source, Mapping) and source.get(field) and not source.get("optional"):
        yield Reference(kind=kind, name=str(source[field]), key=key, container=container)
