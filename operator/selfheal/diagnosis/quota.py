"""Pods that a ResourceQuota or a LimitRange refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import refusals
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote

RANK = 9
_EXCEEDED = re.compile(
    r"exceeded quota: ([^,\s]+), requested: ([^:]+?), used: ([^:]+?), limited: (.+)$"
)
_UNSTATED = re.compile(r"failed quota: ([^:\s]+): must specify (.+)$")
_BOUND = re.compile(
    r"(maximum|minimum) (\S+) usage per (Container|Pod) is (\S+?),? but (limit|request)s? is "
    r"(\S+?)(?:[,.\s\]]|$)"
)
_RATIO = re.compile(r"max limit to request ratio per (?:Container|Pod)")
_SUFFIX = re.compile(r"[\].]+$")


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for the newest refusal of each quota or limit range."""
    seen: set[str] = set()
    for event in refusals.current(reading):
        found = _classify(reading, event, str(event.value.get("message", "")))
        if found is not None and str(found.parameters["fault"]) not in seen:
            seen.add(str(found.parameters["fault"]))
            yield found


def _classify(reading: Reading, event: Item, message: str) -> Finding | None:
    exceeded, unstated = _EXCEEDED.search(message), _UNSTATED.search(message)
    if exceeded:
        hard, used = _pairs(exceeded[4]), _pairs(exceeded[3])
        wanted = _pairs(exceeded[2])
        return _finding(
            reading, event, f"Quota {exceeded[1]} has no room: the pod asks for {_show(wanted)}, "
            f"{_show(used)} of {_show(hard)} is used.", "Exceeded", exceeded[1],
            requested=wanted, used=used, hard=hard,
        )  # fmt: skip
    if unstated and not only_memory(unstated[2]):
        missing = _unstated(unstated[2])
        return _finding(
            reading, event, f"Quota {unstated[1]} refuses pods that do not state "
            f"{', '.join(sorted({name for name, _ in missing}))}.", "Unstated", unstated[1],
            missing=[{"resource": name, "container": container} for name, container in missing],
        )  # fmt: skip
    bound = _BOUND.search(message)
    if bound and not (bound[1] == "minimum" and bound[2] == "memory"):
        least = bound[1] == "minimum"
        return _finding(
            reading, event, f"The limit range allows {'at least' if least else 'at most'} "
            f"{bound[4]} {bound[2]} a {bound[3].lower()}, the pod's {bound[5]} is {bound[6]}.",
            "BelowMinimum" if least else "AboveMaximum", None,
            resource=bound[2], bound=bound[4], group=f"{bound[5]}s",
            value=_SUFFIX.sub("", bound[6]), per=bound[3],
        )  # fmt: skip
    if _RATIO.search(message):
        return _finding(
            reading, event, f"The limit range refuses the pod: {quote(message)}", "Ratio", None
        )
    return None


def only_memory(text: str) -> bool:
    """Tell whether a quota misses nothing but statements of memory (class InsufficientMemory)."""
    return all("memory" in name for name, _ in _unstated(text))


def _unstated(text: str) -> list[tuple[str, str]]:
    """Read ``requests.cpu for: app,db; limits.memory for: app`` as (resource, container)."""
    found = []
    for part in _SUFFIX.sub("", text).split(";"):
        names, _, containers = part.partition(" for: ")
        for name in names.split(","):
            found += [(name.strip(), one.strip()) for one in (containers or "").split(",")]
    return found


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _SUFFIX.sub("", text.strip()).split(",")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _show(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _finding(
    reading: Reading, event: Item, cause: str, fault: str, quota: str | None, **parameters: Any
) -> Finding:
    kind = ItemKind.LIMIT_RANGE if quota is None else ItemKind.QUOTA
    own = [
        item.id
        for item in reading.bundle.of(kind)
        if quota is None or dig(item.value, "metadata").get("name") == quota
    ]
    return Finding(
        class_=IncidentClass.QUOTA_EXCEEDED, cause=cause, confidence=0.95,
        evidence=(event.id, *own), rank=RANK,
        parameters={"fault": fault, "quota": quota, **parameters},
    )  # fmt: skip
