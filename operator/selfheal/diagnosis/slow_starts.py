"""Containers that a liveness or startup probe kills before they have started."""

from __future__ import annotations

import re

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import crashes
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.failing_probes import Failure
from selfheal.diagnosis.reading import parse_time, quote, stated

RANK = 50
_STARTING = re.compile(
    r"\b(?:load|start|boot|warm|initiali[sz]|migrat|prepar|build|restor|import|index|connect|"
    r"replay|recover|compil|cach|fetch|download|wait)\w*ing\b|\.\.\.\s*$|\d+ ?%",
    re.IGNORECASE,
)
_STARTED = re.compile(
    r"\b(?:started|ready|listening|serving|accepting|running on|up and running)\b", re.IGNORECASE
)


def applies(failure: Failure) -> bool:
    """Tell whether the log of a killed run ends in the middle of its start, whatever was asked."""
    if failure.probe == "readinessProbe" or failure.container.restarts == 0:
        return False
    if failure.probe == "livenessProbe" and "startupProbe" in failure.container.spec:
        return False  # it had started
    killed = crashes.killed_by_probe(failure.reading, failure.container)
    if failure.number in failure.listening() or not killed:
        return False
    text = _last_run(failure)
    last = text.rstrip().splitlines()[-1] if text.strip() else ""
    return bool(_STARTING.search(last)) and not _STARTED.search(last)


def _last_run(failure: Failure) -> str:
    for item in failure.reading.logs(failure.container):
        return str(item.value.get("text", ""))
    return ""


def _kills(failure: Failure) -> tuple[str, ...]:
    """Return the ids of the events that say that the probe killed the container."""
    events = failure.reading.events("Killing", about=failure.container.pod_name)
    return tuple(
        event.id
        for event in events
        if f"ontainer {failure.container.name} " in str(event.value.get("message", ""))
        and "probe" in str(event.value.get("message", ""))
    )


def finding(failure: Failure, evidence: tuple[str, ...]) -> Finding:
    """Return the finding: the probe kills a start that takes longer than it allows."""
    kills, container = _kills(failure), failure.container
    killed = crashes.killed_by_probe(failure.reading, container)
    allowed = crashes.allowed_seconds(failure.spec)
    lived = _lived(failure)
    declared = failure.number is not None and failure.number in failure.declared.values()
    after_start = failure.probe == "livenessProbe" and "startupProbe" in container.spec
    sure = killed and not after_start and (declared or applies(failure))
    last = _last_run(failure).rstrip().splitlines()
    said = f'; the last it said: "{quote(last[-1], 100)}"' if last else ""
    return Finding(
        class_=IncidentClass.CRASH_LOOP_BACK_OFF,
        cause=f"The {failure.probe} kills container {container.name} before it has started: it "
        f"allows {allowed:g} s for a slow start{said}.",
        confidence=0.8 if sure else 0.6,
        evidence=tuple(dict.fromkeys((*evidence, *kills[:1]))),
        container=container.name,
        rank=RANK,
        parameters=stated(fault="SlowStart", probe=failure.probe, allowed=allowed, lived=lived),
    )


def _lived(failure: Failure) -> float | None:
    last = failure.container.terminated
    begun, ended = parse_time(last.get("startedAt")), parse_time(last.get("finishedAt"))
    return (ended - begun).total_seconds() if begun is not None and ended is not None else None
