"""Evidence as the API server of the local cluster gives it (cluster.md, "What faults look like here")."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)


def stamp(seconds_ago: float) -> str:
    return (NOW - dt.timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")


def container(name: str = "app", image: str = "nginx:1.27", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **fields}


def status(name: str = "app", *, ready: bool = False, restarts: int = 0, waiting: str | None = None,
           message: str | None = None, last: dict[str, Any] | None = None,
           terminated: dict[str, Any] | None = None) -> dict[str, Any]:  # fmt: skip
    state: dict[str, Any] = {"running": {"startedAt": stamp(60)}}
    if waiting:
        state = {"waiting": {"reason": waiting, **({"message": message} if message else {})}}
    if terminated:
        state = {"terminated": terminated}
    return {
        "name": name, "ready": ready, "restartCount": restarts, "state": state,
        "lastState": {"terminated": last} if last else {},
    }  # fmt: skip


def ended(reason: str = "Error", code: int = 1, *, ago: float = 30, lived: float = 5, **more: Any) -> dict[str, Any]:
    return {"reason": reason, "exitCode": code, "startedAt": stamp(ago + lived), "finishedAt": stamp(ago), **more}


def pod(name: str = "web-1", *, containers: list[dict[str, Any]] | None = None,
        statuses: list[dict[str, Any]] | None = None, init: list[dict[str, Any]] | None = None,
        init_statuses: list[dict[str, Any]] | None = None, age: float = 120, phase: str = "Running",
        ready: bool = False, deleting: bool = False, scheduled: str | None = None,
        owner: str | None = None,
        **status_fields: Any) -> Item:  # fmt: skip
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if scheduled is not None:
        conditions.append({"type": "PodScheduled", "status": "False", "message": scheduled})
    value: dict[str, Any] = {
        "metadata": {"name": name, "creationTimestamp": stamp(age)},
        "spec": {"containers": containers if containers is not None else [container()]},
        "status": {
            "phase": phase, "conditions": conditions,
            "containerStatuses": statuses if statuses is not None else [status()], **status_fields,
        },
    }  # fmt: skip
    if init:
        value["spec"]["initContainers"] = init
        value["status"]["initContainerStatuses"] = init_statuses or []
    if owner:
        value["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner}]
    if deleting:
        value["metadata"]["deletionTimestamp"] = stamp(1)
    return Item(id=f"pod/{name}", kind=ItemKind.POD, value=value)


_numbers = itertools.count(1)


def event(reason: str, message: str, about: str = "Pod/web-1") -> Item:
    number = next(_numbers)
    value = {"reason": reason, "message": message, "type": "Warning", "count": 1, "object": about, "at": stamp(10)}
    return Item(id=f"event/{number}", kind=ItemKind.EVENT, value=value)


def log(text: str, *, previous: bool = True, name: str = "app", of: str = "web-1") -> Item:
    when = "previous" if previous else "current"
    value = {"pod": of, "container": name, "previous": previous, "text": text}
    return Item(id=f"log/{of}/{name}/{when}", kind=ItemKind.LOG, value=value)


def counters(name: str = "app", of: str = "web-1", **numbers: Any) -> Item:
    return Item(id=f"counters/{of}/{name}", kind=ItemKind.COUNTERS, value={"pod": of, "container": name, **numbers})


def replica_set(revision: int, containers: list[dict[str, Any]], *, ready: int = 0) -> Item:
    value = {
        "metadata": {"name": f"web-r{revision}", "annotations": {"deployment.kubernetes.io/revision": str(revision)}},
        "spec": {"template": {"spec": {"containers": containers}}},
        "status": {"readyReplicas": ready} if ready else {"replicas": 0},
    }
    return Item(id=f"replicaset/web-r{revision}", kind=ItemKind.REPLICA_SET, value=value)


def tags(repository: str, *names: str, exists: bool | None = True) -> Item:
    value = {"repository": repository, "exists": exists, "tags": list(names)}
    return Item(id=f"tags/{repository}", kind=ItemKind.TAGS, value=value)


def sibling(name: str, *images: str) -> Item:
    return Item(id=f"sibling/{name}", kind=ItemKind.SIBLING, value={"kind": "Deployment", "name": name, "images": list(images), "pullSecrets": []})


def served(port: int, path: str = "/", *, code: int | None = 200, error: str | None = None, listening: tuple[int, ...] = ()) -> Item:
    value: dict[str, Any] = {"pod": "web-1", "container": "app", "port": port, "path": path, "listening": list(listening)}
    value.update({"status": code} if error is None else {"error": error})
    return Item(id=f"probe/{port}{path}", kind=ItemKind.PROBE, value=value)


def claim(phase: str = "Pending") -> Item:
    return Item(id="claim/data", kind=ItemKind.CLAIM, value={"metadata": {"name": "data"}, "status": {"phase": phase}})


def bundle(*items: Item, wanted: str | None = None) -> Bundle:
    target = TargetRef(kind="Deployment", name="web", container=wanted)
    return Bundle(target=target, namespace="shop", now=NOW, items=tuple(items))
