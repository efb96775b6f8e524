"""Servers that listen on 127.0.0.1 only: nobody outside their pod gets in, not even the kubelet."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.failing_probes import Failure
from selfheal.diagnosis.reading import Container, dig, quote

RANK = 49
"""Before a slow start: a longer wait would not help."""

_LOCAL = r"(?:127\.0\.0\.1|localhost|\[?::1\]?)"
_REFUSED_AT = re.compile(r"dial tcp \[?([^\s\]]+?)\]?:\d+: connect: connection refused")
_LISTENS = re.compile(r"listen|serving|started|running|bound to|accepting|local:", re.IGNORECASE)
_LOGGED = re.compile(rf"(?<![\w.]){_LOCAL}(?:(?::| port |, port )(?P<port>\d{{2,5}}))?(?![\w.])")
_EVERYWHERE = re.compile(r"(?<![\d.])0\.0\.0\.0(?![\d.])|\[?::\]?:\d|\*:\d")
_OPTION = re.compile(r"(?i)(?:bind|host|listen|addr)\w*")


def find(failure: Failure) -> Finding | None:
    """Return the finding where a refused probe meets a server that says where it listens."""
    where = [one for one in _REFUSED_AT.findall(failure.latest) if not re.fullmatch(_LOCAL, one)]
    if not where or failure.number in failure.listening():
        return None
    container = failure.container
    told = _in_log(failure) or _in_command(container)
    if told is None:
        return None
    item, said = told
    return Finding(
        class_=IncidentClass.FAILED_HEALTH_CHECK,
        cause=f"Container {container.name} listens on the loopback address only ({said}): the "
        f"{failure.probe} asks port {failure.port} of the pod's address, where nobody does.",
        confidence=0.8,
        evidence=tuple(
            dict.fromkeys(one.id for one in (*failure.events, container.pod, item, *failure.served))
        ),
        container=container.name,
        rank=RANK,
        parameters={"fault": "Loopback", "probe": failure.probe, "line": said},
    )


def _in_log(failure: Failure) -> tuple[Item, str] | None:
    """Return the line of the log that says so; nothing where one says that it listens to all."""
    found: tuple[Item, str] | None = None
    for item in failure.reading.logs(failure.container):
        for line in str(item.value.get("text", "")).splitlines():
            if not _LISTENS.search(line):
                continue
            if _EVERYWHERE.search(line):
                return None
            local = _LOGGED.search(line)
            if local and local["port"] in (None, str(failure.number)):
                found = item, quote(line, 120)
    return found


def _in_command(container: Container) -> tuple[Item, str] | None:
    for name, value in _options(container):
        local = re.fullmatch(rf"(?:\w+://)?{_LOCAL}(?::\d+)?", value)
        if local and _OPTION.search(name):
            return container.pod, f"{name} {value}"
    return None


def _options(container: Container) -> Iterator[tuple[str, str]]:
    """Iterate over options of the command line and over variables, each with its value."""
    words = [*(container.spec.get("command") or ()), *(container.spec.get("args") or ())]
    parts = [part for word in words for part in str(word).split()]
    for before, part in zip(["", *parts], parts, strict=False):
        name, equals, value = part.partition("=")
        yield (name, value) if equals else (before, part)
    for entry in container.spec.get("env") or ():
        if not dig(entry, "valueFrom"):
            yield str(entry.get("name")), str(entry.get("value") or "")
