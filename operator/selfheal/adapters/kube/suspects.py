"""Suspects: workloads of a namespace that look unhealthy, from five list requests; no diagnosis."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.adapters.kube import connection, kinds, rollout
from selfheal.api.incident import TargetRef
from selfheal.domain.signals import Suspect

LISTED = ("Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet", "Pod")
MAX_LISTED = 2_000
"""Objects of a kind looked at in one namespace."""

RECENT = dt.timedelta(minutes=10)
"""A container that failed longer ago than this and runs now is no suspect."""

Stored = Mapping[str, Any]


async def find(api: connection.Connection, namespace: str, now: dt.datetime) -> list[Suspect]:
    """Return the suspects of a namespace, each at the topmost workload that owns it."""
    listed = await asyncio.gather(
        *(api.take(kinds.path_of_known(kind, namespace), MAX_LISTED) for kind in LISTED)
    )
    return build(namespace, dict(zip(LISTED, listed, strict=True)), now)


def build(
    namespace: str, listed: Mapping[str, Sequence[Stored]], now: dt.datetime
) -> list[Suspect]:
    """Return the suspects among listed objects; pure."""
    by_uid = {kinds.uid_of(one): (kind, one) for kind, found in listed.items() for one in found}
    signs: dict[tuple[str, str], list[tuple[str, str]]] = collections.defaultdict(list)
    for kind, found in listed.items():
        for one in found:
            if one["metadata"].get("deletionTimestamp"):
                continue
            told = list(_signs_of_pod(one, now) if kind == "Pod" else _signs_of_owner(one))
            if told:
                owner, top = _topmost(kind, one, by_uid)
                signs[owner, kinds.name_of(top)] += told
    return [
        Suspect(
            namespace=namespace,
            target=TargetRef(api_version=kinds.KNOWN[kind][0], kind=kind, name=name),
            reasons=tuple(dict.fromkeys(reason for reason, _ in told)),
            message=next((message for _, message in told if message), ""),
        )
        for (kind, name), told in signs.items()
    ]


def _topmost(
    kind: str, stored: Stored, by_uid: Mapping[str, tuple[str, Stored]]
) -> tuple[str, Stored]:
    for _ in range(5):
        owner = kinds.controller_of(stored)
        if owner is None or owner["uid"] not in by_uid:
            break
        kind, stored = by_uid[owner["uid"]]
    return kind, stored


def _signs_of_pod(pod: Stored, now: dt.datetime) -> Iterator[tuple[str, str]]:
    """Yield reason and message of what is wrong with a pod now or was shortly ago."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or ():
            yield from _signs_of_container(container, now)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield "FailedScheduling", str(condition.get("message") or "")
    if status.get("phase") == "Failed" and status.get("reason"):
        yield str(status["reason"]), str(status.get("message") or "")
    if not rollout.is_well(pod) and status.get("containerStatuses"):
        running = [
            one
            for one in status["containerStatuses"]
            if "running" in (one.get("state") or {}) and not one.get("ready")
        ]
        if running:
            yield "NotReady", f"container {running[0]['name']} runs and is not ready"


_BEGINNING = frozenset({"ContainerCreating", "PodInitializing"})


def _signs_of_container(container: Stored, now: dt.datetime) -> Iterator[tuple[str, str]]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    if waiting.get("reason") and waiting["reason"] not in _BEGINNING:
        yield str(waiting["reason"]), str(waiting.get("message") or "")
    ended = (container.get("state") or {}).get("terminated") or (
        container.get("lastState") or {}
    ).get("terminated")
    if not ended or ended.get("exitCode") == 0:
        return
    at = rollout.parse_time(ended.get("finishedAt"))
    if at is not None and now - at <= RECENT:
        yield str(ended.get("reason") or "Error"), str(ended.get("message") or "")


def _signs_of_owner(stored: Stored) -> Iterator[tuple[str, str]]:
    """Yield what a workload's controller says of itself: it fails to create, progress or end."""
    for condition in (stored.get("status") or {}).get("conditions") or ():
        kind, holds = condition.get("type"), condition.get("status")
        failed = kind in ("ReplicaFailure", "Failed") and holds == "True"
        stuck = kind == "Progressing" and holds == "False"
        if failed or stuck:
            yield str(condition.get("reason") or kind), str(condition.get("message") or "")
