"""Which probe of which container fails, and what is known of what the container serves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.diagnosis.evidence import Item
from selfheal.diagnosis.reading import PROBES, Container, Reading, dig

_KIND = re.compile(r"^(Readiness|Liveness|Startup) probe (?:failed|errored|timed out)")
_ADDRESS = re.compile(r"(?:dial tcp |://)\S*?:(\d{2,5})\b")
_LISTENS = re.compile(r"listen|serving|started|running on|bound to|accepting", re.IGNORECASE)
_LOG_PORT = re.compile(r"(?::|\bport\b[ =:]*)(\d{2,5})\b(?![:.]\d)", re.IGNORECASE)
_LOWEST_PORT = 80  # below it a number after a colon is rather the minute or second of a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """One failing probe; ``text`` holds its newest messages, ``events`` their items."""

    reading: Reading
    container: Container
    probe: str
    events: tuple[Item, ...]

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the probe as the pod has it."""
        return dig(self.container.spec, self.probe)

    @property
    def handler(self) -> str:
        """Return httpGet, tcpSocket, grpc or exec."""
        return next(
            (name for name in ("httpGet", "tcpSocket", "grpc") if name in self.spec), "exec"
        )

    @property
    def port(self) -> int | str | None:
        """Return the port as written; a name or a number."""
        found: int | str | None = dig(self.spec, self.handler).get("port")
        return int(found) if isinstance(found, str) and found.isdigit() else found

    @property
    def text(self) -> str:
        """Return all messages of the failing probe."""
        return "\n".join(str(event.value.get("message", "")) for event in self.events)

    @property
    def latest(self) -> str:
        """Return the newest message: an early one may only say that it had not started."""
        newest = max(self.events, key=lambda event: str(event.value.get("at", "")), default=None)
        return str(newest.value.get("message", "")) if newest else ""

    @property
    def declared(self) -> Mapping[str, int]:
        """Return the container's ports by name; those without a name by their number."""
        ports = self.container.spec.get("ports") or ()
        return {
            str(port.get("name") or port["containerPort"]): port["containerPort"] for port in ports
        }

    @property
    def number(self) -> int | None:
        """Return the port's number; None for a name that the container does not declare."""
        return self.port if isinstance(self.port, int) else self.declared.get(str(self.port))

    @property
    def served(self) -> tuple[Item, ...]:
        """Return what was seen of the container's own ports."""
        return self.reading.served(self.container)

    def said(self) -> Iterator[str]:
        """Iterate over what the container answered, and what it logs about being asked."""
        for item in self.served:
            yield str(item.value.get("error") or "")
        for item in self.reading.logs(self.container):
            yield str(item.value.get("text", ""))

    def answered_after(self) -> float | None:
        """Return the seconds after which the probed path was seen to answer; None: not seen."""
        path = dig(self.spec, self.handler).get("path", "/")
        times = [
            float(item.value["seconds"])
            for item in self.served
            if item.value.get("port") == self.number
            and item.value.get("path") == path
            and item.value.get("seconds") is not None
            and 200 <= int(item.value.get("status") or 0) < 400
        ]
        return max(times, default=None)

    def listening(self) -> dict[int, Item]:
        """Return the ports that answered, with the item that shows it.

        Containers of a pod share its ports: those that another one declares, or is asked on by
        its own probe, are left out.
        """
        others = {
            port
            for entry in self.container.pod.value["spec"]["containers"]
            if entry["name"] != self.container.name
            for port in _ports_of(entry)
        }
        found: dict[int, Item] = {}
        for item in self.served:
            ports = list(item.value.get("listening") or ())
            if item.value.get("status") is not None:
                ports.append(item.value["port"])
            for port in ports:
                if port not in others:
                    found.setdefault(int(port), item)
        return found

    def logged(self) -> dict[int, Item]:
        """Return the ports that the log says it listens on."""
        found: dict[int, Item] = {}
        for item in self.reading.logs(self.container):
            for line in str(item.value.get("text", "")).splitlines():
                if _LISTENS.search(line):
                    for port in map(int, _LOG_PORT.findall(line)):
                        if _LOWEST_PORT <= port <= 65535:
                            found.setdefault(port, item)
        return found

    def past(self) -> Iterator[tuple[Item, Mapping[str, Any], Mapping[str, Any]]]:
        """Iterate over earlier forms of the probe: item, container, action."""
        for item, spec in self.reading.past_containers(self.container.name):
            action = dig(spec, self.probe, self.handler)
            if action and spec != self.container.spec:
                yield item, spec, action

    def twins(self, field: str) -> tuple[str, ...]:
        """Return this probe and the others of the container with the same value in a field."""
        mine = dig(self.spec, self.handler)
        return tuple(
            name
            for name in PROBES
            if name == self.probe
            or (
                field in dig(self.container.spec, name, self.handler)
                and dig(self.container.spec, name, self.handler).get(field) == mine.get(field)
                and dig(self.container.spec, name, self.handler).get("port") == mine.get("port")
            )
        )


def _ports_of(container: Mapping[str, Any]) -> Iterator[Any]:
    """Iterate over the ports that a container declares and that its probes ask."""
    for port in container.get("ports") or ():
        yield port["containerPort"]
    for probe in PROBES:
        for handler in ("httpGet", "tcpSocket", "grpc"):
            yield dig(container, probe, handler).get("port")


def find(reading: Reading) -> Iterator[Failure]:
    """Yield each probe that fails now; events of containers that are well again do not count."""
    grouped: dict[tuple[str, str], list[Item]] = {}
    for event in reading.events("Unhealthy", "ProbeWarning"):
        found = _KIND.match(str(event.value.get("message", "")))
        if found:
            pod = str(event.value.get("object", "")).rpartition("/")[2]
            grouped.setdefault((pod, f"{found.group(1).lower()}Probe"), []).append(event)
    seen: set[tuple[str, str]] = set()
    for (pod, probe), events in grouped.items():
        container = _match(reading, pod, probe, events)
        if container is not None and (container.name, probe) not in seen:
            seen.add((container.name, probe))
            yield Failure(
                reading=reading, container=container, probe=probe, events=tuple(events[:3])
            )


def _match(reading: Reading, pod: str, probe: str, events: list[Item]) -> Container | None:
    candidates = [
        container
        for container in reading.containers
        if container.pod_name == pod and probe in container.spec and _suffers(container, probe)
    ]
    text = "\n".join(str(event.value.get("message", "")) for event in events)
    ports = {int(port) for port in _ADDRESS.findall(text)}
    if len(candidates) > 1 and ports:
        candidates = [entry for entry in candidates if _port(entry, probe) in ports] or candidates
    return candidates[0] if candidates else None


def _suffers(container: Container, probe: str) -> bool:
    return not container.ready or (probe != "readinessProbe" and container.restarts > 0)


def _port(container: Container, probe: str) -> int | None:
    for handler in ("httpGet", "tcpSocket", "grpc"):
        port = dig(container.spec, probe, handler).get("port")
        for entry in container.spec.get("ports") or ():
            if port is not None and port == entry.get("name"):
                return int(entry["containerPort"])
        if isinstance(port, int) or (isinstance(port, str) and port.isdigit()):
            return int(port)
    return None
