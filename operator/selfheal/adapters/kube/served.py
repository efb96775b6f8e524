"""What a container really serves, where its probe fails: GETs through the API server's pod proxy.

Only pods with a failing HTTP or TCP probe are asked, only on loopback-free pod addresses that the
API server chooses, only with GET, and only where the right ``pods/proxy`` is granted.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.domain import errors

PATHS = ("/healthz", "/health", "/livez", "/readyz", "/ready", "/live", "/status", "/ping",
         "/actuator/health", "/")  # fmt: skip
PORTS = (80, 3000, 3306, 4000, 5000, 5432, 5672, 6379, 8000, 8080, 8081, 8443, 8888, 9000, 9090,
         9200, 11211, 27017)  # fmt: skip
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_DEADLINE = 3.0
_MAX_CONTAINERS = 2
# The proxy's own words; an application's 502 or 503 has others.
_UNREACHED = re.compile(r"error trying to reach service: (.*)", re.DOTALL)
_TLS = re.compile(r"HTTP request (?:was sent )?to (?:an )?HTTPS")
_REFUSED = re.compile(r"connection refused|no route to host|i/o timeout|deadline exceeded")

Answer = tuple[int | None, str, float]  # status, error, seconds
Asked = tuple[int, str, int | None, str, float]  # port, path and the answer
Failing = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]


async def collect(
    api: connection.Connection,
    namespace: str,
    pods: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> tuple[list[Item], list[str]]:
    """Return what the containers with failing probes serve, and what could not be had."""
    failing = list(_failing(pods, events))[:_MAX_CONTAINERS]
    try:
        found = await asyncio.gather(*(_ask(api, namespace, one) for one in failing))
    except errors.SelfHealError as error:
        return [], [f"what the containers serve: {error}"]
    return [item for items in found for item in items], []


def _failing(
    pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> Iterator[Failing]:
    unhealthy = {
        (event.get("involvedObject") or {}).get("name")
        for event in events
        if event.get("reason") in ("Unhealthy", "ProbeWarning")
    }
    for pod in pods:
        if kinds.name_of(pod) not in unhealthy:
            continue
        running = {
            one["name"]
            for one in (pod.get("status") or {}).get("containerStatuses") or ()
            if "running" in (one.get("state") or {})
            and (not one.get("ready") or one.get("restartCount"))  # liveness alone leaves it ready
        }
        for container in (pod.get("spec") or {}).get("containers") or ():
            actions = [_action_of(container.get(name)) for name in _PROBES]
            action = next((one for one in actions if one), None)
            if action and container["name"] in running:
                yield kinds.name_of(pod), container["name"], container, action


def _action_of(probe: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    probe = probe or {}
    return probe.get("httpGet") or probe.get("tcpSocket")


async def _ask(api: connection.Connection, namespace: str, failing: Failing) -> list[Item]:
    pod, name, container, action = failing
    path = _safe(str(action.get("path") or "/"))
    ports = list(dict.fromkeys([*_ports(container), *PORTS]))
    answers = dict(
        zip(
            ports,
            await asyncio.gather(*(_get(api, namespace, pod, port, path) for port in ports)),
            strict=True,
        )
    )
    listening = [port for port, (_, error, _) in answers.items() if not _is_refused(error)]
    asked = [(port, path, *answers[port]) for port in ports if port in listening]
    mine = _number(action.get("port"), container)
    for port in listening[:3]:
        status = answers[port][0]
        if status is not None and status >= 400:
            asked += await _try_paths(api, namespace, pod, port, path)
    if mine is not None and mine not in listening and mine in answers:
        asked.append((mine, path, *answers[mine]))
    return [_item(pod, name, one, listening) for one in asked]


async def _try_paths(
    api: connection.Connection, namespace: str, pod: str, port: int, known: str
) -> list[Asked]:
    paths = [path for path in PATHS if path != known]
    answers = await asyncio.gather(*(_get(api, namespace, pod, port, path) for path in paths))
    return [
        (port, path, *answer)
        for path, answer in zip(paths, answers, strict=True)
        if answer[0] is not None and answer[0] < 400
    ]


def _item(pod: str, container: str, asked: Asked, listening: list[int]) -> Item:
    port, path, status, error, seconds = asked
    value: dict[str, Any] = {"pod": pod, "container": container, "port": port, "path": path}
    value |= {} if status is None else {"status": status, "seconds": round(seconds, 1)}
    value |= {"error": error} if error else {}
    value["listening"] = listening
    return Item(id=f"probe/{pod}/{container}/{port}{path}", kind=ItemKind.PROBE, value=value)


async def _get(
    api: connection.Connection, namespace: str, pod: str, port: int, path: str
) -> Answer:
    """GET once; Forbidden where the right is missing."""
    begun = time.monotonic()
    base = connection.path_of("v1", "pods", namespace, f"{pod}:{port}", "proxy")
    try:
        answer = await api.exchange("GET", f"{base}/{path.lstrip('/')}", deadline=_DEADLINE)
    except errors.SelfHealError as error:
        return None, str(error), 0.0
    unreached = _UNREACHED.search(answer.text)
    if unreached:
        return None, redaction.redact(unreached[1].strip())[:300], 0.0
    if answer.status in (401, 403) and '"kind":"Status"' in answer.text:
        raise errors.Forbidden("the right to get pods/proxy is missing", system="kubernetes")
    said = answer.text[:200] if _TLS.search(answer.text[:200]) else ""
    return answer.status, said, time.monotonic() - begun


def _safe(path: str) -> str:
    """Return the path, or ``/`` for one that could leave the pod's own branch of the API."""
    path = path.partition("?")[0].partition("#")[0]
    plain = urllib.parse.unquote(urllib.parse.unquote(path))
    return "/" if ".." in plain or "\\" in plain or "//" in plain else path


def _is_refused(error: str) -> bool:
    return bool(_REFUSED.search(error)) or "no answer" in error


def _ports(container: Mapping[str, Any]) -> Iterator[int]:
    for one in container.get("ports") or ():
        if one.get("protocol", "TCP") == "TCP":
            yield int(one["containerPort"])
    for name in _PROBES:
        action = _action_of(container.get(name)) or {}
        number = _number(action.get("port"), container)
        if number is not None:
            yield number


def _number(port: Any, container: Mapping[str, Any]) -> int | None:
    if isinstance(port, int):
        return port
    for one in container.get("ports") or ():
        if one.get("name") == port:
            return int(one["containerPort"])
    return int(port) if isinstance(port, str) and port.isdigit() else None
