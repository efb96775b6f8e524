"""Memory: the kernel's OOM kill, evictions, and pods refused for want of memory requests."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.api.meta import parse_quantity
from selfheal.diagnosis import crashes, heap, jobs, log_signs, refusals
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import (
    Container,
    Reading,
    dig,
    is_leftover,
    parse_time,
    pod_containers,
    quote,
    stated,
)

RANK_OOM = 30
RANK_INSUFFICIENT = 35
SLOW_GROWTH = dt.timedelta(minutes=10)
"""A container that lived this long before it was killed may leak rather than need more at once."""

ONCE = dt.timedelta(hours=1)
"""A single kill longer ago than this, with the container well since, is over."""

OFTEN = dt.timedelta(days=1)
"""Several kills count for this long: a leak may take hours to fill the limit."""

RAISED_OFTEN = 2
"""Raises of the limit after which another one would only delay the next kill."""

_UNSTATED = re.compile(r"(?:must specify |; )((?:limits|requests)\.memory)(?: for: ([\w.,-]+))?")
_MINIMUM = re.compile(
    r"minimum memory usage per (?:Container|Pod) is (\S+?),? but (?:limit|request)"
)
# Netty, Node, Tomcat and connection pools report what nobody closes or frees.
_LEAK = re.compile(
    r"\bLEAK:|\b(?:memory|connection|resource|possible|apparent|likely)\b[^\n]{0,40}\bleak|"
    r"\b(?:never|none|not)(?: been)? (?:released|freed|garbage.collected)\b",
    re.IGNORECASE,
)
_PRESSURE = re.compile(r"low on resource: memory|MemoryPressure|memory pressure", re.IGNORECASE)


def find_oom_kills(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container that the kernel killed at its memory limit."""
    job = jobs.newest(reading)
    if job is not None and jobs.condition(job.value, "Complete"):
        return  # pods of it that were killed were tried again
    seen: set[str] = set()
    for container in sorted(reading.containers, key=lambda entry: -entry.restarts):
        reason = container.terminated.get("reason")
        killed = reason == "OOMKilled" or crashes.killed_unasked(container)
        if killed and container.name not in seen and not _is_over(reading, container):
            seen.add(container.name)
            yield _oom_kill(reading, container)


def _is_over(reading: Reading, container: Container) -> bool:
    """Tell whether it is well since a kill that nothing repeats."""
    ended = parse_time(container.terminated.get("finishedAt"))
    if not container.ready or ended is None:
        return False
    return reading.bundle.now - ended > (ONCE if container.restarts <= 1 else OFTEN)


def _oom_kill(reading: Reading, container: Container) -> Finding:
    limit = container.resource("limits", "memory")
    counters = reading.counters(container)
    working_set = counters.value.get("workingSetBytes") if counters else None
    lived = _lifetime(container)
    raised = _raised(reading, container.name)
    slow = lived is not None and lived >= SLOW_GROWTH
    said = _reported(reading, container)
    before = _raised_before(reading, container.name)
    often = len(raised) > RAISED_OFTEN or len(before) >= RAISED_OFTEN
    leaks = often or (slow and container.restarts >= 2) or said is not None
    parameters = {
        "limit": limit, "request": container.resource("requests", "memory"),
        "workingSetBytes": working_set, "restarts": container.restarts,
        "steady": slow, "leak": leaks, "heap": heap.bytes_of(container.spec),
    }  # fmt: skip
    name = container.name
    if limit is None:
        cause = f"Container {name} has no memory limit and was killed for lack of memory (OOM)."
        class_, confidence = IncidentClass.INSUFFICIENT_MEMORY, 0.8
    else:
        cause = (
            f"Container {name} needs more memory than its limit of {limit}: the kernel killed it "
            f"(OOMKilled, {container.restarts} restarts)."
        )
        class_, confidence = IncidentClass.OOM_KILLED, 0.95
        if container.terminated.get("reason") != "OOMKilled":
            confidence = 0.7
            cause = (
                f"Container {name} was ended by SIGKILL (exit code 137) that no probe sent: it "
                f"needs more memory than its limit of {limit} (out of memory)."
            )
    if len(raised) > RAISED_OFTEN:
        cause += (
            f" Its limit was raised before ({' to '.join(text for _, text in raised)}) and did not "
            "last: it leaks."
        )
    elif often:
        names = ", ".join(item.value["incident"] for item in before)
        cause += f" It was raised before, for {names}, and that did not last: it leaks."
    elif said is not None:
        cause += f" Its log speaks of a leak: {quote(said[1], 120)}"
    elif leaks and lived is not None:
        cause += (
            f" It lived {_show(lived)} before: memory that climbs steadily to the limit is a leak."
        )
    return Finding(
        class_=class_, cause=cause, confidence=confidence,
        evidence=(
            container.pod.id, *((counters.id,) if counters and working_set else ()),
            *(item.id for item, _ in raised), *(item.id for item in before),
            *((said[0].id,) if said else ()),
        ),
        container=name, rank=RANK_OOM, parameters=parameters,
    )  # fmt: skip


def _reported(reading: Reading, container: Container) -> tuple[Item, str] | None:
    """Return the log and the line in which a killed run itself reports what it does not release."""
    for log in log_signs.dead_logs(reading, container):
        for line in str(log.value.get("text", "")).splitlines():
            if _LEAK.search(line):
                return log, line
    return None


def _raised(reading: Reading, name: str) -> list[tuple[Item, str]]:
    """Return the revisions in which the limit rose, the first one before, oldest first."""
    found: list[tuple[Item, str]] = []
    for item in reversed(reading.replica_sets):
        for spec in pod_containers(dig(item.value, "spec", "template", "spec")):
            limit = dig(spec, "resources", "limits").get("memory")
            if spec.get("name") != name or limit is None:
                continue
            if not found or parse_quantity(str(limit)) > parse_quantity(found[-1][1]):
                found.append((item, str(limit)))
    return found if len(found) > 1 else []


def _raised_before(reading: Reading, name: str) -> list[Item]:
    """Return earlier incidents of this container whose merged fix was more memory."""
    return [
        item
        for item in reading.bundle.of(ItemKind.EARLIER)
        if item.value.get("merged")
        and item.value.get("class") == IncidentClass.OOM_KILLED.value
        and item.value.get("container") == name
    ]


def _lifetime(container: Container) -> dt.timedelta | None:
    began = parse_time(container.terminated.get("startedAt"))
    ended = parse_time(container.terminated.get("finishedAt"))
    return ended - began if began is not None and ended is not None else None


def _show(lived: dt.timedelta) -> str:
    minutes = int(lived.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def find_insufficient(reading: Reading) -> Iterator[Finding]:
    """Yield evictions for lack of memory and pods refused for want of requests or limits."""
    yield from _evictions(reading)
    for event in refusals.current(reading):
        message = str(event.value.get("message", ""))
        unstated, least = _UNSTATED.findall(message), _MINIMUM.search(message)
        if unstated or least:
            missing = sorted({field for field, _ in unstated})
            yield Finding(
                class_=IncidentClass.INSUFFICIENT_MEMORY,
                cause="The namespace's quota or limit range refuses the pods for their memory: "
                f"{quote(message)}",
                confidence=0.95, evidence=(event.id, *_rules(reading)), rank=RANK_INSUFFICIENT,
                parameters=stated(
                    fault="BelowMinimum" if least else "Unstated", missing=missing or None,
                    minimum=least[1].rstrip(".,") if least else None,
                    containers=_containers(unstated),
                ),
            )  # fmt: skip
            return


def _containers(unstated: list[tuple[str, str]]) -> list[str] | None:
    found = [name for _, names in unstated for name in names.split(",") if name]
    return list(dict.fromkeys(found)) or None


def _rules(reading: Reading) -> list[str]:
    kinds = (ItemKind.QUOTA, ItemKind.LIMIT_RANGE)
    return [item.id for kind in kinds for item in reading.bundle.of(kind)][:3]


def _evictions(reading: Reading) -> Iterator[Finding]:
    for pod in reading.pods:
        status = dig(pod.value, "status")
        message = str(status.get("message") or "")
        gone = is_leftover(pod, reading.bundle.now)
        if status.get("reason") == "Evicted" and _PRESSURE.search(message) and not gone:
            bare = [
                entry for entry in reading.containers if entry.pod.id == pod.id and _is_bare(entry)
            ]
            name = bare[0].name if bare else None
            without = f" Container {name} requests no memory, so it goes first." if name else ""
            yield Finding(
                class_=IncidentClass.INSUFFICIENT_MEMORY,
                cause=f"The node evicted the pod for lack of memory: {quote(message)}{without}",
                confidence=0.95, evidence=(pod.id,), container=name, rank=RANK_INSUFFICIENT,
                parameters=stated(fault="Evicted", containers=[name] if name else None),
            )  # fmt: skip
            return


def _is_bare(container: Container) -> bool:
    request = container.resource("requests", "memory")
    return request is None or parse_quantity(request) == 0
