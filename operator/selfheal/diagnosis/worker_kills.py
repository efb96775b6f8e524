"""Processes of a container that the kernel kills for its memory limit, while the first lives on.

The container is never OOMKilled then: only what the first process logs of its workers tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api import meta
from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import heap
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.reading import Container, Reading, quote, stated

RANK = 31
NEAR = 0.75
"""Share of the limit from which the memory in use supports that the kernel killed for it."""

OFTEN = 2
"""Kills from which a container that is ready counts; one that is not counts from the first."""

LAST_LINES = 60

# gunicorn, uWSGI, nginx, Apache, PostgreSQL, celery, Node's cluster, supervisord, shells
_KILLED = re.compile(
    r"(?:worker|child|process|subprocess|pid|backend|exited|exit signal|terminated)\b[^\n]{0,80}"
    r"(?:\bSIGKILL\b|\bsignal:? (?:9\b|Killed)|\(signal 9\)|\bsignal Killed \(9\)|code -9\b)|"
    r"\bDAMN ! worker \d+ [^\n]*killed by signal 9",
    re.IGNORECASE,
)
_OF_MEMORY = re.compile(r"out of memory|\boom\b|oom[-_ ]?kill", re.IGNORECASE)


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each running container with a limit whose processes are killed."""
    seen: set[str] = set()
    for container in reading.containers:
        limit = container.resource("limits", "memory")
        if (
            limit is None
            or container.name in seen
            or "running" not in container.status.get("state", {})
        ):
            continue
        found = _finding(reading, container, limit)
        if found is not None:
            seen.add(container.name)
            yield found


def _finding(reading: Reading, container: Container, limit: str) -> Finding | None:
    log, lines = _kills(reading, container)
    if log is None or (container.ready and len(lines) < OFTEN):
        return None
    counters = reading.counters(container)
    working_set = counters.value.get("workingSetBytes") if counters else None
    near = bool(working_set) and float(working_set or 0) >= NEAR * meta.parse_quantity(limit)
    said = any(_OF_MEMORY.search(line) for line in lines)
    confidence = 0.8 if near else 0.7 if said else 0.6
    if container.ready and not near:
        return None  # it serves, and somebody else may have sent the signal
    shown = (log, *([counters] if counters and near else ()))
    return Finding(
        class_=IncidentClass.OOM_KILLED,
        cause=f"Processes of container {container.name} are killed (SIGKILL) again and again while "
        f"the container lives on: they need more memory than its limit of {limit} (OOM): "
        f"{quote(lines[-1], 120)}",
        confidence=confidence,
        evidence=(container.pod.id, *(item.id for item in shown)),
        container=container.name,
        rank=RANK,
        parameters={
            "limit": limit, "request": container.resource("requests", "memory"),
            "restarts": container.restarts, "steady": False, "leak": False,
            "heap": heap.bytes_of(container.spec), "fault": "Worker", "line": quote(lines[-1]),
            **stated(workingSetBytes=working_set),
        },
    )  # fmt: skip


def _kills(reading: Reading, container: Container) -> tuple[Item | None, list[str]]:
    for log in reading.logs(container):
        if log.value.get("previous"):
            continue
        last = str(log.value.get("text", "")).splitlines()[-LAST_LINES:]
        lines = [line for line in last if _KILLED.search(line)]
        if lines:
            return log, lines
    return None, []
