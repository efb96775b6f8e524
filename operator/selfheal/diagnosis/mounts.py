"""Volumes that exist but cannot be mounted: conflicts, wrong paths, missing drivers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reference, scheduling
from selfheal.diagnosis.evidence import Finding, ItemKind
from selfheal.diagnosis.reading import Container, Reading, dig, quote, stated

RANK = 14
# A missing ConfigMap, Secret or key is a cause of its own (MissingReference).
_ELSEWHERE = re.compile(
    r'(?:configmap|secret) "[^"]+" not found|non-existent (?:config|secret) key|'
    r"object \S+ not registered|failed to sync (?:configmap|secret) cache|"
    r"timed out waiting for the condition|unmounted volumes=",
    re.IGNORECASE,
)
_FAULTS = (
    ("MultiAttach", re.compile(r"Multi-Attach error|already (?:used|attached|exclusively)", re.I)),
    ("HostPath", re.compile(r"hostPath type check failed")),
    ("DriverMissing", re.compile(r"not found in the list of registered CSI drivers")),
    ("ReadOnly", re.compile(r"read-only file system", re.I)),
)
_VOLUME = re.compile(r'for volume "([^"]+)"')
_MOUNT = re.compile(r"error mounting|subPath|failed to create subPath", re.IGNORECASE)
_MOUNT_POINT = re.compile(r'to rootfs at "([^"]+)"')
_CONFLICT = re.compile(r"volume node affinity conflict")


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each volume that cannot be mounted."""
    seen: set[str] = set()
    for finding in (*_events(reading), *_starts(reading), *_sub_paths(reading), *_zones(reading)):
        key = str(finding.parameters.get("volume") or finding.parameters["fault"])
        if key not in seen:
            seen.add(key)
            yield finding


def _finding(
    cause: str, fault: str, *evidence: str, sure: float = 0.95, container: str | None = None,
    **parameters: Any,
) -> Finding:  # fmt: skip
    return Finding(
        class_=IncidentClass.VOLUME_MOUNT_FAILED, cause=cause, confidence=sure, evidence=evidence,
        container=container, rank=RANK, parameters={"fault": fault, **parameters},
    )  # fmt: skip


def _events(reading: Reading) -> Iterator[Finding]:
    waiting = {
        str(dig(pod.value, "metadata").get("name")): pod
        for pod in reading.pods
        if dig(pod.value, "status").get("phase") == "Pending"
    }
    for event in reading.events("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        pod = waiting.get(str(event.value.get("object", "")).rpartition("/")[2])
        message = str(event.value.get("message", ""))
        if pod is None or _ELSEWHERE.search(message):
            continue
        fault = next((name for name, pattern in _FAULTS if pattern.search(message)), "Mount")
        volume = _VOLUME.search(message)
        yield _finding(
            f"A volume cannot be mounted: {quote(message)}", fault, event.id, pod.id,
            **stated(volume=volume[1] if volume else None),
        )  # fmt: skip


def _starts(reading: Reading) -> Iterator[Finding]:
    """Containers that the runtime cannot start for a mount of theirs."""
    for container in reading.containers:
        text = container.waiting_message + str(container.terminated.get("message") or "")
        if container.ready or not _MOUNT.search(text):
            continue
        place = _MOUNT_POINT.search(text)
        mount = _mount_at(container, place[1]) if place else None
        parameters = stated(
            path=place[1] if place else None,
            volume=mount["name"] if mount else None,
            new=_key_of(reading, container, mount) if mount else None,
        )
        where = f" at {place[1]}" if place else ""
        yield _finding(
            f"A volume cannot be mounted into container {container.name}{where}: {quote(text)}",
            "MountPath", container.pod.id, container=container.name, **parameters,
        )  # fmt: skip


def _key_of(reading: Reading, container: Container, mount: dict[str, Any]) -> str | None:
    """Return the key that a whole ConfigMap was meant to be mounted for: the file's own name."""
    key = str(mount["mountPath"]).rpartition("/")[2]
    for volume in dig(container.pod.value, "spec").get("volumes") or ():
        if volume.get("name") != mount["name"] or mount.get("subPath"):
            continue
        for item in reading.bundle.of(ItemKind.CONFIG_MAP):
            named = item.value.get("name") == dig(volume, "configMap").get("name")
            if named and key in item.value.get("keys", ()):
                return key
    return None


def _mount_at(container: Container, path: str) -> dict[str, Any] | None:
    for one in container.spec.get("volumeMounts") or ():
        if one.get("mountPath") == path:
            return dict(one)
    return None


def _sub_paths(reading: Reading) -> Iterator[Finding]:
    """A subPath that is no key of its ConfigMap becomes an empty folder in the file's place."""
    keys = {
        str(item.value.get("name")): item
        for item in reading.bundle.of(ItemKind.CONFIG_MAP)
        if item.value.get("exists")
    }
    for container in reading.containers:
        if container.ready:
            continue
        volumes = {
            one.get("name"): dig(one, "configMap")
            for one in dig(container.pod.value, "spec").get("volumes") or ()
        }
        for mount in container.spec.get("volumeMounts") or ():
            source = volumes.get(mount.get("name")) or {}
            item, path = keys.get(str(source.get("name"))), mount.get("subPath")
            if item is None or not path:
                continue
            names = [one.get("path") for one in source.get("items") or ()] or item.value["keys"]
            if path.partition("/")[0] in {str(name).partition("/")[0] for name in names}:
                continue
            near = reference.only_similar(path, [str(name) for name in names])
            yield _finding(
                f"Container {container.name} mounts {path} of ConfigMap {source['name']}, which "
                f"has only {', '.join(map(str, names)) or 'no keys'}.", "SubPath",
                item.id, container.pod.id, container=container.name, volume=mount["name"],
                path=mount.get("mountPath"), subPath=path, **stated(new=near),
            )  # fmt: skip


def _zones(reading: Reading) -> Iterator[Finding]:
    for _, message, items in scheduling.unscheduled(reading):
        if _CONFLICT.search(message):
            yield _finding(
                f"The volume lies where no node that fits the pod is: {quote(message)}",
                "NodeConflict", *items,
            )  # fmt: skip
            return
