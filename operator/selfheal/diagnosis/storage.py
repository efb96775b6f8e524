"""Claims that are missing or not bound, and volumes that are full."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reference, scheduling
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import (
    RECENT,
    Container,
    Reading,
    dig,
    is_leftover,
    parse_time,
    pod_claims,
    quote,
    stated,
)

RANK = 12
FULL_SHARE = 0.85
"""Share of a volume from which it counts as full (incidents.md, class 11)."""

_MISSING_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (?:not found|is being deleted)')
_MISSING_CLASS = re.compile(r'storageclass\.storage\.k8s\.io "([^"]+)" not found')
_UNBOUND = re.compile(r"unbound immediate", re.IGNORECASE)
_FULL = re.compile(r"no space left on device|ENOSPC|disk quota exceeded", re.IGNORECASE)
_EMPTY_DIR = re.compile(r'Usage of EmptyDir volume "([^"]+)" exceeds the limit "([^"]+)"')
_EPHEMERAL = re.compile(
    r"Container (\S+) exceeded its local ephemeral storage limit \"([^\"]+)\"|"
    r"Pod ephemeral local storage usage exceeds the total limit of containers (\S+?)\.?\s*$"
)


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each missing or pending claim, and for what is full."""
    yield from _missing_claims(reading)
    yield from _pending_claims(reading)
    yield from _evictions(reading)
    yield from _full_volumes(reading)


def _finding(
    cause: str, fault: str, *evidence: str, sure: float = 0.95, container: str | None = None,
    **parameters: Any,
) -> Finding:  # fmt: skip
    return Finding(
        class_=IncidentClass.STORAGE, cause=cause, confidence=sure,
        evidence=tuple(dict.fromkeys(evidence)), container=container, rank=RANK,
        parameters={"fault": fault, **parameters},
    )  # fmt: skip


def _missing_claims(reading: Reading) -> Iterator[Finding]:
    seen = set()
    for _, message, items in scheduling.unscheduled(reading):
        found = _MISSING_CLAIM.search(message)
        if found is None or found[1] in seen:
            continue
        seen.add(found[1])
        claims = {
            str(dig(claim.value, "metadata").get("name")): claim
            for claim in reading.bundle.of(ItemKind.CLAIM)
        }
        near = reference.only_similar(found[1], claims)
        parameters: dict[str, Any] = {"claim": found[1]}
        extra: tuple[str, ...] = ()
        if near is not None:
            parameters["new"], extra = near, (claims[near].id,)
        yield _finding(
            f"The claim {found[1]} that the pod mounts does not exist.", "ClaimMissing",
            *items, *extra, **parameters,
        )  # fmt: skip


def _pending_claims(reading: Reading) -> Iterator[Finding]:
    classes = list(reading.bundle.of(ItemKind.STORAGE_CLASS))
    names = {str(dig(one.value, "metadata").get("name")) for one in classes}
    own = {name for pod in reading.pods for name in pod_claims(pod)} | {reading.bundle.target.name}
    for claim in reading.bundle.of(ItemKind.CLAIM):
        name = str(dig(claim.value, "metadata").get("name"))
        if dig(claim.value, "status").get("phase") != "Pending" or name not in own:
            continue
        events = reading.events("ProvisioningFailed", "FailedBinding", about=name)
        message = str(events[0].value.get("message", "")) if events else ""
        ids = (*(event.id for event in events[:1]), claim.id)
        wanted = dig(claim.value, "spec").get("storageClassName")
        parameters: dict[str, Any] = {"claim": name, "class": wanted, "classes": sorted(names)}
        parameters["default"] = default_class(classes)
        gone = _MISSING_CLASS.search(message)
        if gone or (wanted and wanted not in names and (classes or events)):
            near = reference.only_similar(str(wanted), names)
            known = f"There are: {', '.join(sorted(names))}." if names else "There is none."
            yield _finding(
                f"Claim {name} asks for the storage class {wanted}, which does not exist. {known}",
                "ClassMissing", *ids, *(one.id for one in classes),
                **parameters, **stated(new=near),
            )  # fmt: skip
        elif volume := dig(claim.value, "spec").get("volumeName"):
            said = f": {quote(message)}" if message else "."
            yield _finding(
                f"Claim {name} asks for the volume {volume} by name, and is not bound{said} The "
                "volume does not exist, or does not fit the claim.", "VolumeNotBound", *ids,
                volume=volume, **parameters,
            )  # fmt: skip
        elif events:
            yield _finding(
                f"Claim {name} is not bound: {quote(message)}", "NotProvisioned", *ids, **parameters
            )
        elif _is_awaited(reading):
            yield _finding(
                f"Claim {name} is not bound, and the pod waits for it.", "NotProvisioned",
                *ids, sure=0.8, **parameters,
            )  # fmt: skip


def default_class(classes: list[Item]) -> str | None:
    """Return the name of the cluster's default storage class."""
    mark = "storageclass.kubernetes.io/is-default-class"
    for one in classes:
        if dig(one.value, "metadata", "annotations").get(mark) == "true":
            return str(dig(one.value, "metadata").get("name"))
    return None


def _is_awaited(reading: Reading) -> bool:
    return any(_UNBOUND.search(message) for _, message, _ in scheduling.unscheduled(reading))


def _evictions(reading: Reading) -> Iterator[Finding]:
    """Evictions for a full emptyDir or too much local storage; the pod's record tells."""
    said: list[tuple[str, str]] = [
        (event.id, str(event.value.get("message", "")))
        for event in reading.events("Evicted")
        if reading.bundle.now - (parse_time(event.value.get("at")) or reading.bundle.now) <= RECENT
    ]
    said += [
        (pod.id, str(dig(pod.value, "status").get("message") or ""))
        for pod in reading.all_pods
        if dig(pod.value, "status").get("reason") == "Evicted"
        and not is_leftover(pod, reading.bundle.now)
    ]
    seen = set()
    for identity, message in said:
        volume, local = _EMPTY_DIR.search(message), _EPHEMERAL.search(message)
        if volume and volume[1] not in seen:
            seen.add(volume[1])
            yield _finding(
                f"The emptyDir volume {volume[1]} outgrew its limit of {volume[2]}, and the pod "
                "was evicted.", "EmptyDirFull", identity, volume=volume[1], limit=volume[2],
            )  # fmt: skip
        elif local and "ephemeral" not in seen:
            seen.add("ephemeral")
            yield _finding(
                f"The pod was evicted for its use of local storage: {quote(message)}",
                "EphemeralFull", identity, container=local[1], limit=local[2] or local[3],
            )  # fmt: skip


def _full_volumes(reading: Reading) -> Iterator[Finding]:
    measured = {
        str(item.value.get("claim")): item
        for item in reading.bundle.of(ItemKind.COUNTERS)
        if item.value.get("claim") and _share(item.value) >= FULL_SHARE
    }
    logs = {
        log.id: container
        for log in reading.bundle.of(ItemKind.LOG)
        if _FULL.search(str(log.value.get("text", "")))
        and (container := _sufferer(reading, log)) is not None
    }
    for claim, item in measured.items():
        share = _share(item.value)
        yield _finding(
            f"The volume of claim {claim} is full to {share:.0%}.", "VolumeFull",
            item.id, *list(logs)[:1], sure=0.95 if logs else 0.8,
            claim=claim, share=round(share, 3), used=item.value.get("usedBytes"),
        )  # fmt: skip
    for identity, container in list(logs.items())[: 0 if measured else 1]:
        yield _finding(
            "A volume is full: the log says no space left on device.", "VolumeFull", identity,
            sure=0.8, container=container.name, **_only_limited(container),
        )  # fmt: skip


def _share(value: Mapping[str, Any]) -> float:
    capacity = float(value.get("capacityBytes") or 0)
    return float(value.get("usedBytes") or 0) / capacity if capacity else 0.0


def _sufferer(reading: Reading, log: Item) -> Container | None:
    """Return the container of a log where it is not well."""
    place = (log.value.get("pod"), log.value.get("container"))
    for entry in reading.containers:
        if (entry.pod_name, entry.name) == place and (not entry.ready or entry.restarts > 0):
            return entry
    return None


def _only_limited(container: Container) -> dict[str, Any]:
    """Return the only emptyDir with a limit that the container mounts, and its limit."""
    mounted = {one.get("name") for one in container.spec.get("volumeMounts") or ()}
    limited = [
        {"volume": str(volume["name"]), "limit": str(volume["emptyDir"]["sizeLimit"])}
        for volume in dig(container.pod.value, "spec").get("volumes") or ()
        if volume.get("name") in mounted and dig(volume, "emptyDir").get("sizeLimit")
    ]
    return limited[0] if len(limited) == 1 else {}
