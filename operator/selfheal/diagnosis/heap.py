"""The JVM's own OutOfMemoryError: which memory ran out, and which flags and limit bound it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import crashes
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.reading import RECENT, Container, Reading, parse_time, quote, stated

RANK = 25
FLAG = re.compile(r"-Xmx(?P<size>\d+[kKmMgGtT]?)\b|-XX:MaxRAMPercentage=(?P<share>[\d.]+)")
"""Flags that bound the heap."""

_ERROR = re.compile(r"(?:java\.lang\.|\b)OutOfMemoryError(?::? ?(?P<kind>[^\n]*))?")
# The JVM's own words after the colon; an application may talk about the error of somebody else.
_KINDS = re.compile(
    r"(?:java heap space|gc overhead limit exceeded|requested array size exceeds vm limit|"
    r"metaspace|compressed class space|direct buffer memory|"
    r"unable to create (?:new )?native thread|"
    r"cannot reserve \d+ bytes[^\n]*|out of swap space[^\n]*|)\s*$",
    re.IGNORECASE,
)
_FRAME = re.compile(r"\n\s+at [\w.$<>/]+")
_HEAP = re.compile(r"java heap space|gc overhead|requested array size", re.IGNORECASE)
VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_OPTS", "_JAVA_OPTIONS", "CATALINA_OPTS")
"""Variables that carry flags of the JVM; the first two are read by the JVM itself."""


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container whose JVM ran out of memory."""
    seen: set[str] = set()
    for container in sorted(reading.containers, key=lambda entry: -entry.restarts):
        log, found = _newest(reading, container)
        if log is not None and found is not None and container.name not in seen:
            seen.add(container.name)
            yield _finding(container, log, found)


def _newest(reading: Reading, container: Container) -> tuple[Item | None, re.Match[str] | None]:
    """Return the log and the JVM's line in it; a run that was survived long ago does not count."""
    for log in reading.logs(container):
        text = str(log.value.get("text", ""))
        if log.value.get("previous") and container.ready and not _died_lately(reading, container):
            continue
        for found in _ERROR.finditer(text):
            if _is_own(container, text, found):
                return log, found
    return None, None


def _is_own(container: Container, text: str, found: re.Match[str]) -> bool:
    """Tell whether it is this JVM's error: it died of it, or a stack trace follows."""
    died = container.exit_code not in (None, 0) and bool(container.restarts or not container.ready)
    follows = bool(_FRAME.match(text, found.end()))
    return follows or (died and bool(_KINDS.match(found["kind"] or "")))


def _died_lately(reading: Reading, container: Container) -> bool:
    ended = parse_time(container.terminated.get("finishedAt"))
    if container.restarts >= crashes.MANY_RESTARTS:
        return True
    return ended is not None and reading.bundle.now - ended <= RECENT


def _finding(container: Container, log: Item, found: re.Match[str]) -> Finding:
    limit = container.resource("limits", "memory")
    flags = flags_of(container.spec)
    kind = found["kind"] or ""
    heap = not kind or bool(_HEAP.search(kind))
    bound = ", ".join(flags) if flags else "no heap flag (a quarter of the limit by default)"
    within = f" within its limit of {limit}" if limit else ""
    what = f"its heap is bounded by {bound}{within}" if heap else f"not its heap, but: {kind}"
    died = container.exit_code not in (None, 0)
    return Finding(
        class_=IncidentClass.JAVA_OUT_OF_MEMORY,
        cause=f"The JVM of container {container.name} ran out of memory "
        f"({quote(found.group(), 100)}); {what}.",
        confidence=0.95 if died else 0.8,
        evidence=(log.id, container.pod.id),
        container=container.name,
        rank=RANK,
        parameters=stated(
            fault="Heap" if heap else "NotHeap",
            signature=quote(found.group(), 120),
            limit=limit,
            exitCode=container.exit_code,
            flags=list(flags) or None,
            restarts=container.restarts,
        ),
    )


def flags_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the heap flags of a container as written in command, arguments and variables."""
    texts = [*(spec.get("command") or ()), *(spec.get("args") or ())]
    texts += [str(entry.get("value") or "") for entry in spec.get("env") or ()]
    return tuple(match.group() for text in texts for match in FLAG.finditer(str(text)))


def bytes_of(spec: Mapping[str, Any]) -> float | None:
    """Return the largest heap that a flag of a container allows; None without ``-Xmx``."""
    sizes = [
        match["size"] for text in flags_of(spec) if (match := FLAG.match(text)) and match["size"]
    ]
    units = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    found = [float(size.rstrip("kKmMgGtT")) * units.get(size[-1].lower(), 1) for size in sizes]
    return max(found, default=None)
