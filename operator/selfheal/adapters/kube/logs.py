"""Logs of a target's containers: bounded, redacted, with the first failure where it lies early."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.domain import errors

TAIL_LINES = 200
MAX_FETCHED = 256 * 1024  # bytes asked for; the server cuts the end, so it must hold the tail
MAX_KEPT = 16 * 1024  # characters a log may take in the evidence
_AROUND = 4 * 1024
_CUT = "[... left out ...]"
_DEADLINE = 5.0
# The kubelet answers 200 with this in place of a log that the runtime has thrown away.
_NO_LOG = "unable to retrieve container logs for"

SIGNATURE = re.compile(
    r"OutOfMemoryError|Traceback \(most recent|panic:|Exception in thread|\bFATAL\b|\bfatal\b|"
    r"Caused by:|segmentation fault|No space left|Address already in use|\bERROR\b",
)


async def collect(
    api: connection.Connection, namespace: str, pods: Sequence[Mapping[str, Any]]
) -> tuple[list[Item], list[str]]:
    """Return current and previous logs of the pods' containers, and what could not be had."""
    wanted = [one for pod in pods for one in _wanted(pod)]
    read = await asyncio.gather(*(_read(api, namespace, *one) for one in wanted))
    items = [item for item, _ in read if item is not None]
    return items, [gap for _, gap in read if gap]


def _wanted(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    status = pod.get("status") or {}
    for group in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(group) or ():
            state = one.get("state") or {}
            if "running" in state or "terminated" in state:
                yield kinds.name_of(pod), one["name"], False
            if (one.get("lastState") or {}).get("terminated"):
                yield kinds.name_of(pod), one["name"], True


async def _read(
    api: connection.Connection, namespace: str, pod: str, container: str, previous: bool
) -> tuple[Item | None, str]:
    path = connection.path_of("v1", "pods", namespace, pod, "log")
    query: dict[str, str | int | bool] = {
        "container": container,
        "previous": previous,
        "tailLines": TAIL_LINES,
        "limitBytes": MAX_FETCHED,
    }
    identity = f"log/{pod}/{container}{'/previous' if previous else ''}"
    try:
        text = await api.send("GET", path, query=query, deadline=_DEADLINE)
    except errors.SelfHealError as error:
        return None, f"{identity}: {error}"
    if text.startswith(_NO_LOG):
        return None, f"{identity}: {text[:200].strip()}"
    value = {
        "pod": pod,
        "container": container,
        "previous": previous,
        "text": shorten(redaction.redact(text)),
    }
    return Item(id=identity, kind=ItemKind.LOG, value=value), ""


def shorten(text: str) -> str:
    """Return at most 16 KiB: the end, and the first failure where it lies before; pure."""
    if len(text) <= MAX_KEPT:
        return text
    found = SIGNATURE.search(text)
    cut = len(text) - MAX_KEPT
    if found is None or found.start() >= cut:
        return f"{_CUT}\n{text[cut + len(_CUT) + 1 :]}"
    begin = max(0, text.rfind("\n", 0, found.start()) + 1)
    head = text[begin : begin + _AROUND]
    room = MAX_KEPT - len(head) - len(_CUT) - 2
    return f"{head}\n{_CUT}\n{text[-room:]}"
