"""Probes that ask the wrong port, path or scheme, and probes that kill a slow start."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import (
    crashes,
    exec_probes,
    failing_probes,
    loopback,
    reference,
    slow_starts,
)
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.failing_probes import Failure
from selfheal.diagnosis.reading import PROBES, Reading, dig, parse_time, quote, stated

RANK_IMAGE_CHANGED = 40
RANK_PROBE = 60
YOUNG = dt.timedelta(seconds=20)
"""A container that runs for a shorter time may not listen yet."""

USUAL_PATHS = ("/healthz", "/health", "/livez", "/readyz", "/ready", "/live", "/status", "/ping")
"""Paths that are tried in this order where several answer; ``/`` comes last."""

_PLAIN_SERVER = re.compile(
    r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake|"
    r"wrong version number"
)
_TLS_SERVER = re.compile(
    r"HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)|malformed HTTP response|"
    r"TLS handshake error from \S+ (?:tls: first record|EOF)|sslv3 alert|http request\)"
)
_REFUSED = re.compile(r"connection refused")
_STATUS = re.compile(r"statuscode: (\d{3})")
_TIMEOUT = re.compile(r"deadline exceeded|timed out|timeout", re.IGNORECASE)
_GONE = frozenset({"404", "410"})
_ELSEWHERE = frozenset({"401", "403", "405"})
"""Answers that may mean another path, but only where one is seen to answer."""

Candidate = tuple[Any, float, tuple[Item, ...]]


def find(reading: Reading) -> Iterator[Finding]:
    """Yield what is wrong about each failing probe; probes with the same slip are one finding."""
    seen: list[tuple[str | None, Mapping[str, Any]]] = []
    for failure in failing_probes.find(reading):
        if crashes.ends_itself(reading, failure.container):
            continue  # a container that is down answers no probe
        finding = _classify(failure)
        if (finding.container, finding.parameters) not in seen:
            seen.append((finding.container, finding.parameters))
            yield finding
    yield from _unsaid(reading, {container for container, _ in seen})


def _unsaid(reading: Reading, said: set[str | None]) -> Iterator[Finding]:
    """Yield containers that a probe killed by the time they lived, where its events are missing."""
    for container in reading.containers:
        probe = crashes.probe_of_lifetime(container)
        if probe is None or container.name in said:
            continue
        if not crashes.killed_by_probe(reading, container):
            continue
        said.add(container.name)
        failure = Failure(reading=reading, container=container, probe=probe, events=())
        if slow_starts.applies(failure):
            yield slow_starts.finding(failure, (container.pod.id,))
        else:
            yield _uncorrectable(failure, None)


def _classify(failure: Failure) -> Finding:
    changed = _changed_image(failure)
    if changed is not None:
        return changed
    local = loopback.find(failure)
    if local is not None:
        return local
    if slow_starts.applies(failure):
        return slow_starts.finding(failure, _evidence(failure, ()))
    served = "\n".join(failure.said())
    if _PLAIN_SERVER.search(failure.text):
        return _correction(failure, "Scheme", "scheme", "HTTPS", ("HTTP", 0.95, ()))
    if _TLS_SERVER.search(f"{failure.text}\n{served}") and failure.handler == "httpGet":
        return _correction(failure, "Scheme", "scheme", "HTTP", ("HTTPS", 0.8, failure.served))
    if failure.handler != "exec" and failure.number is None:
        return _correction(failure, "Port", "port", failure.port, _unknown_name(failure))
    if _REFUSED.search(failure.latest):
        return _refused(failure)
    status = _STATUS.search(failure.latest)
    if status is not None and status.group(1) in _GONE | _ELSEWHERE:
        old = dig(failure.spec, "httpGet").get("path", "/")
        found = _path(failure, old)
        if found is not None or status.group(1) in _GONE:
            return _correction(failure, "Path", "path", old, found)
    if failure.handler == "exec":
        return exec_probes.finding(failure, _evidence(failure, ()))
    return _uncorrectable(failure, status.group(1) if status else None)


def _correction(
    failure: Failure, fault: str, field: str, old: Any, candidate: Candidate | None
) -> Finding:
    new, confidence, items = candidate or (None, 0.6, ())
    wanted = f"; {new} is right" if new is not None else ""
    probes = failure.twins(field)
    return Finding(
        class_=IncidentClass.FAILED_HEALTH_CHECK,
        cause=f"The {failure.probe} of container {failure.container.name} asks the wrong {field} "
        f"{old}{wanted}: {quote(failure.latest, 160)}",
        confidence=confidence,
        evidence=_evidence(failure, items),
        container=failure.container.name,
        rank=RANK_PROBE,
        parameters={
            "fault": fault, "probes": list(probes), "handler": failure.handler, "field": field,
            "old": old, "new": new,
        },
    )  # fmt: skip


def _evidence(failure: Failure, items: tuple[Item, ...]) -> tuple[str, ...]:
    found = (*failure.events, failure.container.pod, *items)
    return tuple(dict.fromkeys(item.id for item in found))


def _unknown_name(failure: Failure) -> Candidate | None:
    names = [name for name in failure.declared if not name.isdigit()]
    similar = reference.only_similar(str(failure.port), names)
    only = names[0] if len(names) == 1 else similar
    if only is not None:
        return only, 0.95, (failure.container.pod,)
    return _port(failure)


def _refused(failure: Failure) -> Finding:
    listens = failure.number in failure.listening()
    found = None if listens else _port(failure)
    if found is not None:
        return _correction(failure, "Port", "port", failure.port, found)
    if failure.probe != "readinessProbe":
        return slow_starts.finding(failure, _evidence(failure, ()))
    return Finding(
        class_=IncidentClass.FAILED_HEALTH_CHECK,
        cause=f"Container {failure.container.name} does not listen on port {failure.port} that its "
        f"{failure.probe} asks.",
        confidence=0.5 if _is_young(failure) else 0.6,
        evidence=_evidence(failure, failure.served),
        container=failure.container.name, rank=RANK_PROBE, parameters={"fault": "NotListening"},
    )  # fmt: skip


def _is_young(failure: Failure) -> bool:
    """Tell whether it may simply not have started yet."""
    running = dig(failure.container.status, "state", "running").get("startedAt")
    begun = parse_time(running)
    return begun is not None and failure.reading.bundle.now - begun < YOUNG


def _port(failure: Failure) -> Candidate | None:
    """Return the right port: what answers, else what the log says, what ran, is declared."""
    mine, pod = failure.number, failure.container.pod
    declared = {port: pod for port in failure.declared.values() if port != mine}
    past = {
        int(action["port"]): item
        for item, _, action in failure.past()
        if str(action.get("port", "")).isdigit() and int(action["port"]) != mine
    }
    logged = failure.logged()
    if mine in logged:
        return None
    for pool, alone, agreed in (
        (failure.listening(), 0.95, 0.95), (logged, 0.8, 0.9), (past, 0.8, 0.9),
        (declared, 0.8, 0.8),
    ):  # fmt: skip
        choice = dict(pool)
        for other in (past, declared, logged):
            common = {port: item for port, item in choice.items() if port in other}
            choice = common or choice
        if len(choice) == 1:
            port, item = next(iter(choice.items()))
            confidence = agreed if port in declared else alone
            return _as_written(failure, port), confidence, (item,)
    return None


def _as_written(failure: Failure, port: int) -> int | str:
    if isinstance(failure.port, str):
        for name, number in failure.declared.items():
            if number == port and not name.isdigit():
                return name
    return port


def _path(failure: Failure, old: str) -> Candidate | None:
    """Return the right path: what an earlier revision or another probe asks, what answers."""
    answers = {
        str(item.value["path"]): item
        for item in failure.served
        if item.value.get("port") == failure.number
        and 200 <= int(item.value.get("status") or 0) < 400
        and item.value.get("path") not in (None, old)
    }
    known = [
        (str(action["path"]), item)
        for item, _, action in failure.past()
        if action.get("path") not in (None, old)
    ] + _other_paths(failure, old)
    for path, item in known:
        if path in answers:
            return path, 0.95, (item, answers[path])
    if known and not answers:
        return known[0][0], 0.8, (known[0][1],)
    order = [reference.only_similar(old, answers), *USUAL_PATHS, "/"]
    choice = next((path for path in order if path in answers), None)
    if choice is None and len(answers) == 1:
        choice = next(iter(answers))
    return (choice, 0.9, (answers[choice],)) if choice is not None else None


def _other_paths(failure: Failure, old: str) -> list[tuple[str, Item]]:
    """Return paths of other probes of this container on the same port that do not fail."""
    failing = {
        other.probe
        for other in failing_probes.find(failure.reading)
        if other.container.name == failure.container.name
    }
    found = []
    for name in PROBES:
        action = dig(failure.container.spec, name, "httpGet")
        path = action.get("path")
        same_port = action.get("port") == failure.port
        if name not in failing and same_port and path not in (None, old):
            found.append((str(path), failure.container.pod))
    return found


def _changed_image(failure: Failure) -> Finding | None:
    """Return the changed image as the cause: an old pod with the same probe is ready beside it."""
    for item, spec, action in failure.past():
        same = action == dig(failure.spec, failure.handler)
        if item.kind is ItemKind.POD and same and spec.get("image") != failure.container.image:
            return Finding(
                class_=IncidentClass.FAILED_HEALTH_CHECK,
                cause=f"Since the image changed from {spec.get('image')} to "
                f"{failure.container.image}, the unchanged {failure.probe} of container "
                f"{failure.container.name} fails.",
                confidence=0.8,
                evidence=_evidence(failure, (item,)),
                container=failure.container.name,
                rank=RANK_IMAGE_CHANGED,
                parameters={
                    "fault": "ImageChanged", "image": failure.container.image,
                    "ran": [spec.get("image")],
                },
            )  # fmt: skip
    return None


def _uncorrectable(failure: Failure, status: str | None) -> Finding:
    timeout = float(failure.spec.get("timeoutSeconds") or 1)
    took = failure.answered_after()
    more: dict[str, Any] = {}
    if status is not None:
        fault, what = "Application", f"the application answers {status}"
    elif _TIMEOUT.search(failure.latest):
        fault, more = "Timing", stated(timeout=timeout, seconds=took)
        seen = f"; it was seen to answer after {took:g} s" if took is not None else ""
        what = f"no answer within its timeoutSeconds of {timeout:g} (timed out){seen}"
    else:
        fault = "Unknown"
        what = quote(failure.latest, 120) or "it ends the container as soon as it may"
    return Finding(
        class_=IncidentClass.FAILED_HEALTH_CHECK,
        cause=f"The {failure.probe} of container {failure.container.name} fails: {what}.",
        confidence=0.8 if took is not None and took > timeout and fault == "Timing" else 0.6,
        evidence=_evidence(failure, failure.served),
        container=failure.container.name, rank=RANK_PROBE,
        parameters={"fault": fault, "probe": failure.probe, **more},
    )  # fmt: skip
