"""Memory limits that nothing can start within: a unit that was mistaken."""

from __future__ import annotations

import string
from collections.abc import Iterator

from selfheal.api import meta
from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.reading import Container, Reading

RANK = 13
"""Before mounts: the pod's own small volumes count against its memory, and fill up first."""

LEAST = 4 * 2**20
"""Bytes below which the runtime cannot even set a container up."""

MOST = 64 * 2**30
"""Bytes above which another unit was hardly meant."""

_MEANT = {"m": "Mi", "": "Mi", "k": "Mi", "Ki": "Mi"}


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container that is not ready and has such a limit."""
    seen: set[str] = set()
    for container in reading.containers:
        limit = container.resource("limits", "memory")
        if limit is None or container.ready or container.name in seen:
            continue
        try:
            size = meta.parse_quantity(limit)
        except ValueError:
            continue
        if size < LEAST and container.exit_code != 0:
            seen.add(container.name)
            yield _finding(container, limit, size)


def _finding(container: Container, limit: str, size: float) -> Finding:
    meant = _meant(limit)
    hint = f" {meant} was probably meant." if meant else ""
    return Finding(
        class_=IncidentClass.INSUFFICIENT_MEMORY,
        cause=f"{container.title} has a memory limit of {limit}, which is {size:g} bytes: nothing "
        f"can start within it.{hint}",
        confidence=0.9,
        evidence=(container.pod.id,),
        container=container.name,
        rank=RANK,
        parameters={"fault": "TinyLimit", "limit": limit, "bytes": size, "meant": meant},
    )


def _meant(limit: str) -> str | None:
    """Return the same number with the unit that is one key away, where that is a usual size."""
    number = limit.rstrip(string.ascii_letters)
    unit = _MEANT.get(limit.removeprefix(number))
    return f"{number}{unit}" if unit and LEAST <= float(number) * 2**20 <= MOST else None
