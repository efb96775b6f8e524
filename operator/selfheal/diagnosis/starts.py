"""Containers that the runtime cannot start: no such command, not executable, a forbidden user."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.reading import Container, Reading, quote

RANK = 22
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_WAITING = frozenset({"RunContainerError", "CreateContainerError"})
_COMMAND = re.compile(r"exec: \"(?P<command>[^\"]+)\"|exec (?P<path>/\S+?):")
_WORKDIR = re.compile(r"chdir to cwd \(\"(?P<folder>[^\"]+)\"\)|mkdir (?P<made>/\S+): ")
_FAULTS = (
    ("RunAsNonRoot", re.compile(r"runAsNonRoot"), "runs as root, which runAsNonRoot forbids"),
    (
        "WorkingDirectory",
        re.compile(r"chdir to cwd"),
        "cannot enter its workingDir {what}",
    ),
    (
        "NotExecutable",
        re.compile(r"permission denied|exec format error|is a directory", re.IGNORECASE),
        "has a command that cannot be executed: {what}",
    ),
    (
        "BadCommand",
        re.compile(r"executable file not found|no such file or directory|exec: |no command spec"),
        "has a command that its image does not have: {what}",
    ),
)
_MOUNT = re.compile(r"error mounting|not a directory: unknown|subPath")


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container that never starts."""
    seen: set[str] = set()
    for container in reading.containers:
        text = _message(container)
        if text and container.name not in seen and not _MOUNT.search(text):
            seen.add(container.name)
            yield _classify(container, text)


def _message(container: Container) -> str:
    if "runAsNonRoot" in container.waiting_message:
        return container.waiting_message
    last = container.terminated
    if last.get("reason") in _NOT_STARTED and not container.ready:
        return str(last.get("message") or container.waiting_message or "no reason is given")
    return container.waiting_message if container.waiting_reason in _WAITING else ""


def _classify(container: Container, text: str) -> Finding:
    found = _COMMAND.search(text) or _WORKDIR.search(text)
    what = next((part for part in found.groups() if part), None) if found else None
    fault, said = next(
        ((fault, said) for fault, pattern, said in _FAULTS if pattern.search(text)),
        ("StartError", "cannot be started"),
    )
    sentence = said.format(what=what or "as the image says")
    return Finding(
        class_=IncidentClass.INIT_CONTAINER_FAILED
        if container.runs_first
        else IncidentClass.CRASH_LOOP_BACK_OFF,
        cause=f"{container.title} {sentence}: {quote(text)}",
        confidence=0.95,
        evidence=(container.pod.id,),
        container=container.name,
        rank=RANK,
        parameters={"fault": fault, "what": what},
    )
