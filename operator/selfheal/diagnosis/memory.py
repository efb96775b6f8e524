"""Memory: the kernel's OOM kill, the JVM's own error, evictions and refused admissions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.reading import Container, Reading, dig, is_leftover, parse_time, quote

RANK_HEAP = 25
RANK_OOM = 30
RANK_INSUFFICIENT = 35
SLOW_GROWTH = dt.timedelta(minutes=10)
"""A container that lived this long before it was killed may leak rather than need more at once."""

_HEAP = re.compile(r"java\.lang\.OutOfMemoryError[^\n]*")
_REFUSED = re.compile(
    r"must specify (?:limits|requests)\.memory|(?:minimum|maximum) memory usage per|"
    r"exceeded quota: .*memory",
    re.IGNORECASE,
)


def find_oom_kills(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container that the kernel killed at its memory limit."""
    seen: set[str] = set()
    for container in sorted(reading.containers, key=lambda entry: -entry.restarts):
        if container.terminated.get("reason") == "OOMKilled" and container.name not in seen:
            seen.add(container.name)
            yield _oom_kill(reading, container)


def _oom_kill(reading: Reading, container: Container) -> Finding:
    limit = container.resource("limits", "memory")
    counters = reading.counters(container)
    working_set = counters.value.get("workingSetBytes") if counters else None
    evidence = (container.pod.id, *((counters.id,) if counters and working_set else ()))
    parameters = {
        "limit": limit,
        "request": container.resource("requests", "memory"),
        "workingSetBytes": working_set,
        "restarts": container.restarts,
        "steady": _lived_long(container),
    }
    if limit is None:
        cause = f"Container {container.name} has no memory limit and was killed for lack of memory."
        class_, confidence = IncidentClass.INSUFFICIENT_MEMORY, 0.8
    else:
        cause = f"Container {container.name} needs more memory than its limit of {limit}."
        class_, confidence = IncidentClass.OOM_KILLED, 0.95
    return Finding(
        class_=class_, cause=cause, confidence=confidence, evidence=evidence,
        container=container.name, rank=RANK_OOM, parameters=parameters,
    )  # fmt: skip


def _lived_long(container: Container) -> bool:
    began = parse_time(container.terminated.get("startedAt"))
    ended = parse_time(container.terminated.get("finishedAt"))
    return began is not None and ended is not None and ended - began >= SLOW_GROWTH


def find_heap_errors(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container whose log holds the JVM's OutOfMemoryError."""
    seen: set[str] = set()
    for container in reading.containers:
        for log in reading.logs(container):
            found = _HEAP.search(str(log.value.get("text", "")))
            if found is None or container.name in seen:
                continue
            seen.add(container.name)
            died = container.exit_code not in (None, 0)
            yield Finding(
                class_=IncidentClass.JAVA_OUT_OF_MEMORY,
                cause=f"The JVM of container {container.name} ran out of memory: "
                f"{quote(found.group(), 120)}.",
                confidence=0.95 if died else 0.7,
                evidence=(log.id, container.pod.id),
                container=container.name,
                rank=RANK_HEAP,
                parameters={
                    "signature": quote(found.group(), 120),
                    "limit": container.resource("limits", "memory"),
                    "exitCode": container.exit_code,
                },
            )


def find_insufficient(reading: Reading) -> Iterator[Finding]:
    """Yield evictions for lack of memory and admissions refused for want of requests or limits."""
    for pod in reading.pods:
        status = dig(pod.value, "status")
        message = str(status.get("message") or "")
        gone = is_leftover(pod, reading.bundle.now)
        if status.get("reason") == "Evicted" and "memory" in message and not gone:
            yield Finding(
                class_=IncidentClass.INSUFFICIENT_MEMORY,
                cause=f"The node evicted the pod for lack of memory: {quote(message)}",
                confidence=0.95, evidence=(pod.id,), rank=RANK_INSUFFICIENT,
                parameters={"fault": "Evicted"},
            )  # fmt: skip
            break
    for event in reading.events("FailedCreate"):
        message = str(event.value.get("message", ""))
        if _REFUSED.search(message):
            yield Finding(
                class_=IncidentClass.INSUFFICIENT_MEMORY,
                cause=f"Quota or limit range refuses the pods: {quote(message)}",
                confidence=0.95, evidence=(event.id,), rank=RANK_INSUFFICIENT,
                parameters={"fault": "Refused"},
            )  # fmt: skip
            break
