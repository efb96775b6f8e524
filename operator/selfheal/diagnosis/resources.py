"""What the node or the storage cannot give: CPU time, room, volumes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote

RANK_STORAGE = 12
RANK_NODE = 15
RANK_THROTTLING = 45
THROTTLED = 0.25
"""Share of throttled periods that counts as throttled (kubernetes-mixin, CPUThrottlingHigh)."""

MINIMUM_PERIODS = 100
"""Fewer periods (100 ms each) say nothing yet."""

_INSUFFICIENT = re.compile(r"Insufficient (cpu|memory|ephemeral-storage|pods)")
_CLAIM = re.compile(r"persistentvolumeclaim \"[^\"]+\" not found|unbound immediate", re.IGNORECASE)
_FULL = re.compile(r"No space left on device", re.IGNORECASE)


def find_unschedulable(reading: Reading) -> Iterator[Finding]:
    """Yield a finding when no node has room for the pod."""
    for item, message in _scheduling(reading):
        found = sorted(set(_INSUFFICIENT.findall(message)))
        if found:
            yield Finding(
                class_=IncidentClass.NODE_EXHAUSTION,
                cause=f"No node has enough {' and '.join(found)}: {quote(message)}",
                confidence=0.95, evidence=(item,), rank=RANK_NODE, parameters={"resources": found},
            )  # fmt: skip
            return


def _scheduling(reading: Reading) -> Iterator[tuple[str, str]]:
    unscheduled = set()
    for pod in reading.pods:
        for condition in dig(pod.value, "status").get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                unscheduled.add(dig(pod.value, "metadata").get("name"))
                yield pod.id, str(condition.get("message") or "")
    for event in reading.events("FailedScheduling"):
        if str(event.value.get("object", "")).rpartition("/")[2] in unscheduled:
            yield event.id, str(event.value.get("message", ""))


def find_storage(reading: Reading) -> Iterator[Finding]:
    """Yield findings for claims that are missing or cannot be provisioned, and for full volumes."""
    for event in reading.events("ProvisioningFailed"):
        message = str(event.value.get("message", ""))
        pending = [
            claim.id
            for claim in reading.bundle.of(ItemKind.CLAIM)
            if dig(claim.value, "status").get("phase") == "Pending"
        ]
        if pending:
            yield _storage(f"A claim cannot be provisioned: {quote(message)}", event.id, *pending)
            return
    for item, message in _scheduling(reading):
        if _CLAIM.search(message):
            yield _storage(f"A claim is missing or not bound: {quote(message)}", item)
            return
    for log in reading.bundle.of(ItemKind.LOG):
        if _FULL.search(str(log.value.get("text", ""))):
            yield _storage(
                "A volume is full: the log says no space left on device.", log.id, sure=0.8
            )
            return


def _storage(cause: str, *evidence: str, sure: float = 0.95) -> Finding:
    return Finding(
        class_=IncidentClass.STORAGE, cause=cause, confidence=sure, evidence=evidence,
        rank=RANK_STORAGE,
    )  # fmt: skip


def find_throttling(reading: Reading) -> Iterator[Finding]:
    """Yield containers that the CPU limit holds back in a large share of periods."""
    for container in reading.containers:
        counters, limit = reading.counters(container), container.resource("limits", "cpu")
        if counters is None or limit is None:
            continue
        periods = float(counters.value.get("cpuPeriods") or 0)
        ratio = float(counters.value.get("cpuThrottledPeriods") or 0) / max(periods, 1)
        if periods >= MINIMUM_PERIODS and ratio >= THROTTLED:
            yield Finding(
                class_=IncidentClass.CPU_THROTTLING,
                cause=f"The CPU limit of {limit} held back container {container.name} in "
                f"{ratio:.0%} of its periods.",
                confidence=0.95 if ratio >= 2 * THROTTLED else 0.8,
                evidence=(counters.id, container.pod.id),
                container=container.name, rank=RANK_THROTTLING,
                parameters={"limit": limit, "ratio": round(ratio, 3)},
            )  # fmt: skip
