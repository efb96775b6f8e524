"""What the node does not give: CPU time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.reading import Container, Reading, dig, parse_time

RANK_THROTTLING = 45
THROTTLED = 0.25
"""Share of throttled periods that counts as throttled (kubernetes-mixin, CPUThrottlingHigh)."""

MINIMUM_PERIODS = 100
"""Fewer periods (100 ms each) say nothing yet."""


LEAST_SHARE = 0.1
"""Share of a container's whole life that it must have been held back: counters run since its
start, and a start that was throttled says nothing about now."""

MOST_HELD_BACK = 0.9
"""Share of its life that counts as held back at the most: the estimate is ten times what it got."""

MOST_BURST = 10.0
"""Times the average that a probe may demand: beyond it something else is wrong."""

PERIOD = 0.1
"""Seconds of a period of the kernel's CPU controller (cpu.cfs_period_us as the kubelet sets it)."""


def _confidence(reading: Reading, container: Container, ratio: float, throttled: float) -> float:
    started = parse_time(dig(container.status, "state", "running").get("startedAt"))
    if started is not None and container.ready:
        lived = max((reading.bundle.now - started).total_seconds(), 1.0)
        if throttled * PERIOD / lived < LEAST_SHARE:
            return 0.5
    return 0.95 if ratio >= 2 * THROTTLED else 0.8


def _need(counted: Mapping[str, Any]) -> dict[str, float]:
    """Return the cores that it would use unlimited: CPU time over the time that it was let run.

    A program with one busy thread runs, is held back or waits for something else. Several threads
    that are held back at once count more than the time that passes: the estimate is bounded.
    """
    used, lived = counted.get("cpuUsedSeconds"), counted.get("livedSeconds")
    held_back = counted.get("cpuThrottledSeconds")
    if not used or not lived or held_back is None:
        return {}
    return {"need": round(used / (lived - min(held_back, MOST_HELD_BACK * lived)), 3)}


def _burst(container: Container) -> dict[str, float]:
    """Return how much faster than on average it has to work, where probes of it fail.

    A probe that asks every 10 s and waits 1 s wants the work of 10 s done in 1 s.
    """
    if container.ready:
        return {}
    probes = [container.spec.get(f"{name}Probe") or {} for name in ("readiness", "liveness")]
    asked = [
        float(one.get("periodSeconds") or 10) / float(one.get("timeoutSeconds") or 1)
        for one in probes
        if one
    ]
    return {"burst": round(min(max(asked), MOST_BURST), 2)} if asked and max(asked) > 1 else {}


def find_throttling(reading: Reading) -> Iterator[Finding]:
    """Yield containers that the CPU limit holds back in a large share of periods."""
    for container in reading.containers:
        counters, limit = reading.counters(container), container.resource("limits", "cpu")
        if counters is None or limit is None:
            continue
        periods = float(counters.value.get("cpuPeriods") or 0)
        throttled = float(counters.value.get("cpuThrottledPeriods") or 0)
        ratio = throttled / max(periods, 1)
        if periods >= MINIMUM_PERIODS and ratio >= THROTTLED:
            yield Finding(
                class_=IncidentClass.CPU_THROTTLING,
                cause=f"The CPU limit of {limit} held back container {container.name} in "
                f"{ratio:.0%} of its periods.",
                confidence=_confidence(reading, container, ratio, throttled),
                evidence=(counters.id, container.pod.id),
                container=container.name, rank=RANK_THROTTLING,
                parameters={"limit": limit, "ratio": round(ratio, 3), **_need(counters.value),
                            **_burst(container)},
            )  # fmt: skip
