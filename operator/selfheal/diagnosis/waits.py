"""Init containers that neither fail nor end: they wait for something that does not come."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import log_signs
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.reading import Container, Reading, dig, parse_time, quote

RANK = 53
LONG = dt.timedelta(seconds=30)
"""An init container that runs for a shorter time is simply at work."""

_WAITING = re.compile(
    r"(?i)(?:wait(?:ing|s)? (?:for|until|on)|still waiting|not (?:yet )?(?:ready|available|there)|"
    r"retry(?:ing)?|trying again|unavailable)(?: +(?:the |a )?(?P<what>[\w.:/-]+))?"
)
_MISSED = frozenset({"UnknownHost", "Unreachable"})


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each init container whose log says that it waits."""
    seen: set[str] = set()
    for container in reading.containers:
        if container.runs_first and container.name not in seen and _runs_long(reading, container):
            for log in reading.logs(container):
                said = _says(log)
                if said is not None:
                    seen.add(container.name)
                    yield _finding(container, log, *said)
                    break


def _runs_long(reading: Reading, container: Container) -> bool:
    begun = parse_time(dig(container.status, "state", "running").get("startedAt"))
    return begun is not None and reading.bundle.now - begun >= LONG


def _says(log: Item) -> tuple[str, str, str | None] | None:
    """Return fault, line and what is waited for, from the end of the log."""
    if log.value.get("previous"):
        return None
    sign = log_signs.read(log)
    if sign is not None and sign.fault in _MISSED and sign.what:
        return sign.fault, sign.line, sign.what
    for line in reversed(str(log.value.get("text", "")).splitlines()[-5:]):
        found = _WAITING.search(line)
        if found:
            return "Waits", line, found["what"]
    return None


def _finding(container: Container, log: Item, fault: str, line: str, what: str | None) -> Finding:
    named = f" ({what})" if what else ""
    return Finding(
        class_=IncidentClass.INIT_CONTAINER_FAILED,
        cause=f"{container.title} does not end: it waits for something that does not come{named}: "
        f"{quote(line, 160)}",
        confidence=0.8 if fault in _MISSED else 0.6,
        evidence=(container.pod.id, log.id),
        container=container.name,
        rank=RANK,
        parameters={"fault": fault, "what": what, "line": quote(line)},
    )
