"""Containers that do not come up or do not stay up for reasons of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.reading import Container, Reading, quote

RANK_MISSING = 20
RANK_COMMAND = 22
RANK_CRASH = 65
RANK_RESTARTS = 70
MANY_RESTARTS = 5
"""Restarts from which a container that is not in back-off counts as restarting often."""

_MISSING_OBJECT = re.compile(r"\b(configmap|secret) \"?([^\s\"]+?)\"? not found", re.IGNORECASE)
_MISSING_KEY = re.compile(
    r"(?:couldn't find key (\S+) in (ConfigMap|Secret) (?:[^/\s]+/)?(\S+)|"
    r"references non-existent (config|secret) key: (\S+))"
)
_TRACE = re.compile(
    r"Traceback \(most recent call last\)|^\s+at [\w.$<>]+\(|panic: |Unhandled exception|"
    r"^Exception in thread|^\w*(?:Error|Exception): ",
    re.MULTILINE,
)
_STARTUP_FAULTS = (
    ("PortTaken", re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE)),
    (
        "MissingFile",
        re.compile(r"no such file or directory|FileNotFoundError|ENOENT", re.IGNORECASE),
    ),
    (
        "MissingVariable",
        re.compile(
            r"environment variable [^\n]{0,60}(?:not set|required|missing|undefined)|"
            r"KeyError: '[A-Z_]+'|"
            r"(?:missing|required|undefined)[^\n]{0,30} environment variable",
            re.IGNORECASE,
        ),
    ),
)


def find_missing_objects(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each ConfigMap, Secret or key that the kubelet misses."""
    texts: list[tuple[Item, str, str | None]] = [
        (container.pod, container.waiting_message, container.name)
        for container in reading.containers
        if container.waiting_reason == "CreateContainerConfigError"
    ]
    creating = {
        entry.pod_name
        for entry in reading.containers
        if entry.waiting_reason == "ContainerCreating"
    }
    for event in reading.events("FailedMount"):
        if str(event.value.get("object", "")).rpartition("/")[2] in creating:
            texts.append((event, str(event.value.get("message", "")), None))
    seen: set[str] = set()
    for item, text, name in texts:
        missing = _parse_missing(text)
        if missing is not None and missing not in seen:
            seen.add(missing)
            yield Finding(
                class_=IncidentClass.CRASH_LOOP_BACK_OFF,
                cause=f"{missing} is missing.",
                confidence=0.95, evidence=(item.id,), container=name, rank=RANK_MISSING,
                parameters={"fault": "MissingObject", "object": missing},
            )  # fmt: skip


def _parse_missing(text: str) -> str | None:
    found = _MISSING_KEY.search(text)
    if found is not None:
        key = found.group(1) or found.group(5)
        owner = f"{found.group(2)} {found.group(3)}" if found.group(2) else f"the {found.group(4)}"
        return f"Key {key} of {owner}"
    found = _MISSING_OBJECT.search(text)
    if found is None:
        return None
    kind = "ConfigMap" if found.group(1).lower() == "configmap" else "Secret"
    return f"{kind} {found.group(2).rpartition('/')[2]}"


def find_start_errors(reading: Reading) -> Iterator[Finding]:
    """Yield containers that the runtime cannot start: bad command, forbidden user."""
    seen: set[str] = set()
    for container in reading.containers:
        text = container.waiting_message
        last = container.terminated
        fault = None
        if "runAsNonRoot" in text:
            fault = "RunAsNonRoot"
        elif container.waiting_reason == "RunContainerError" or last.get("reason") in (
            "StartError", "ContainerCannotRun",
        ):  # fmt: skip
            fault, text = "BadCommand", str(last.get("message") or text)
        if fault is None or container.name in seen:
            continue
        seen.add(container.name)
        yield Finding(
            class_=IncidentClass.CRASH_LOOP_BACK_OFF,
            cause=f"Container {container.name} cannot be started: {quote(text)}",
            confidence=0.95, evidence=(container.pod.id,), container=container.name,
            rank=RANK_COMMAND, parameters={"fault": fault},
        )  # fmt: skip


def find_crashes(reading: Reading) -> Iterator[Finding]:
    """Yield containers that exit by themselves again and again, with what their log says."""
    seen: set[str] = set()
    for container in sorted(reading.containers, key=lambda entry: -entry.restarts):
        reason = container.terminated.get("reason")
        if container.name in seen or reason not in ("Error", "Completed"):
            continue
        looping = container.waiting_reason == "CrashLoopBackOff"
        down = not container.ready and container.exit_code != 0
        if looping or down or container.restarts >= MANY_RESTARTS:
            seen.add(container.name)
            yield _crash(reading, container)


def _crash(reading: Reading, container: Container) -> Finding:
    for log in reading.logs(container):
        text = str(log.value.get("text", ""))
        for fault, pattern in _STARTUP_FAULTS:
            found = pattern.search(text)
            if found is not None:
                line = _line_of(text, found)
                return _exit(container, IncidentClass.CRASH_LOOP_BACK_OFF, fault, line, 0.8, log)
        found = _TRACE.search(text)
        if found is not None:
            line = text.rstrip().splitlines()[-1]
            return _exit(container, IncidentClass.HIGH_RESTART_COUNT, "Application", line, 0.8, log)
    class_ = IncidentClass.CRASH_LOOP_BACK_OFF
    if container.ready:
        class_ = IncidentClass.HIGH_RESTART_COUNT
    return _exit(container, class_, "Exit", "", 0.6)


def _line_of(text: str, found: re.Match[str]) -> str:
    begin = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return text[begin:] if end < 0 else text[begin:end]


def _exit(
    container: Container,
    class_: IncidentClass,
    fault: str,
    line: str,
    confidence: float,
    *logs: Item,
) -> Finding:
    said = f": {quote(line, 160)}" if line else "."
    kind = "Init container" if container.init else "Container"
    return Finding(
        class_=class_,
        cause=f"{kind} {container.name} exits with code {container.exit_code}, "
        f"{container.restarts} restarts{said}",
        confidence=confidence,
        evidence=(container.pod.id, *(log.id for log in logs)),
        container=container.name,
        rank=RANK_RESTARTS if class_ is IncidentClass.HIGH_RESTART_COUNT else RANK_CRASH,
        parameters={
            "fault": fault,
            "exitCode": container.exit_code,
            "restarts": container.restarts,
        },
    )
