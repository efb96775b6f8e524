"""Figures about incidents, from what their status says; pure, so no restart loses any."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfheal.api.incident import Incident, Phase, Resolution

MILESTONES: Mapping[str, Phase] = {
    "diagnosed": Phase.ANALYSIS_COMPLETE,
    "pull_request": Phase.PR_CREATED,
    "merged": Phase.PR_MERGED,
    "resolved": Phase.INCIDENT_RESOLVED,
}
"""What is timed, from the filing of an incident on."""

UNKNOWN = "Unknown"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """What became of the incidents of one class; times in seconds, sorted."""

    name: str
    incidents: int
    resolved: int
    fixed: int
    handed_over: int
    failed_verifications: int
    times: Mapping[str, Sequence[float]]
    model_calls: int
    tokens: int
    cost: float

    def to_wire(self) -> dict[str, Any]:
        """Return plain values, times as percentiles."""
        found = dataclasses.asdict(self)
        found["times"] = {
            name: {"p50": percentile(values, 50), "p95": percentile(values, 95), "n": len(values)}
            for name, values in self.times.items()
        }
        return found


def find_class(incident: Incident) -> str:
    """Return the class of an incident, Unknown before there is a diagnosis."""
    diagnosis = incident.status.diagnosis
    return diagnosis.class_.value if diagnosis is not None else UNKNOWN


def measure_times(incident: Incident) -> dict[str, float]:
    """Return the seconds from the filing to each milestone that was reached, the first time."""
    begun = incident.metadata.creation_timestamp
    history = incident.status.history
    if begun is None and history:
        begun = history[0].at
    if begun is None:
        return {}
    reached: dict[str, float] = {}
    for name, phase in MILESTONES.items():
        at = next((entry.at for entry in history if entry.to is phase), None)
        if at is not None:
            reached[name] = max((at - begun).total_seconds(), 0.0)
    return reached


def has_failed_verification(incident: Incident) -> bool:
    """Say whether a merged fix of this incident did not prove itself, as far as status knows."""
    handover = incident.status.handover
    return handover is not None and handover.reason == "VerificationFailed"


def measure(
    incidents: Iterable[Incident], *, since: dt.datetime | None = None
) -> list[ClassFigures]:
    """Return the figures of each class, of incidents filed after ``since``, largest first."""
    groups: dict[str, list[Incident]] = {}
    for one in incidents:
        begun = one.metadata.creation_timestamp
        if since is None or begun is None or begun >= since:
            groups.setdefault(find_class(one), []).append(one)
    found = [_measure_class(name, group) for name, group in groups.items()]
    return sorted(found, key=lambda one: (-one.incidents, one.name))


def _measure_class(name: str, group: Sequence[Incident]) -> ClassFigures:
    times: dict[str, list[float]] = {milestone: [] for milestone in MILESTONES}
    for one in group:
        for milestone, seconds in measure_times(one).items():
            times[milestone].append(seconds)
    statuses = [one.status for one in group]
    return ClassFigures(
        name=name,
        incidents=len(group),
        resolved=sum(one.phase is Phase.INCIDENT_RESOLVED for one in statuses),
        fixed=sum(one.resolution is Resolution.FIXED for one in statuses),
        handed_over=sum(one.phase is Phase.INCIDENT_REQUIRES_HUMAN for one in statuses),
        failed_verifications=sum(map(has_failed_verification, group)),
        times={milestone: tuple(sorted(values)) for milestone, values in times.items()},
        model_calls=sum(one.usage.model_calls for one in statuses),
        tokens=sum(one.usage.input_tokens + one.usage.output_tokens for one in statuses),
        cost=sum(one.usage.cost for one in statuses),
    )


def count_phases(incidents: Iterable[Incident]) -> Counter[tuple[str, str]]:
    """Count incidents by phase and class."""
    return Counter(
        (str(one.status.phase or Phase.INCIDENT_DETECTED), find_class(one)) for one in incidents
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted values; None of none."""
    if not values:
        return None
    return values[max(math.ceil(len(values) * share / 100) - 1, 0)]
