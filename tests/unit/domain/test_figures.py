"""Figures of incidents by class: counts, times from the filing, percentiles, cost."""

from __future__ import annotations

import datetime as dt

import pytest

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import (
    DiagnosisStatus,
    Handover,
    HistoryEntry,
    Incident,
    IncidentSpec,
    IncidentStatus,
    Phase,
    Resolution,
    Usage,
)
from selfheal.api.meta import ObjectMeta
from selfheal.domain import figures

T0 = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)


def after(seconds: float) -> dt.datetime:
    return T0 + dt.timedelta(seconds=seconds)


def incident(phase: Phase, *, created: dt.datetime | None = T0, class_: str | None = "OOMKilled", failed: bool = False,
             steps: dict[Phase, float] | None = None, resolution: Resolution | None = None) -> Incident:  # fmt: skip
    diagnosis = DiagnosisStatus(class_=IncidentClass(class_), cause="c", confidence=1, by="Rules") if class_ else None  # type: ignore[arg-type]
    history = [HistoryEntry(to=to, by="operator", at=after(at)) for to, at in (steps or {}).items()]
    handover = Handover(phase=phase, reason="VerificationFailed", message="m", at=T0, run=1) if failed else None
    status = IncidentStatus(
        phase=phase, diagnosis=diagnosis, history=history, handover=handover, resolution=resolution,
        usage=Usage(model_calls=2, input_tokens=10, output_tokens=5, cost=0.5),
    )  # fmt: skip
    metadata = ObjectMeta(name="a", namespace="b", creation_timestamp=created)
    return Incident(metadata=metadata, spec=IncidentSpec(summary="s"), status=status)


STEPS = {Phase.ANALYSIS_COMPLETE: 10, Phase.PR_CREATED: 20, Phase.PR_MERGED: 60, Phase.INCIDENT_RESOLVED: 100}
FIXED = incident(Phase.INCIDENT_RESOLVED, steps=STEPS, resolution=Resolution.FIXED)
HUMAN = incident(Phase.INCIDENT_REQUIRES_HUMAN, steps={Phase.ANALYSIS_COMPLETE: 30}, failed=True)
NEW = incident(Phase.INCIDENT_DETECTED, class_=None)


def test_classes_are_counted_and_timed() -> None:
    first, second = figures.measure([FIXED, HUMAN, NEW])
    assert (first.name, first.incidents, first.fixed, first.resolved, first.handed_over) == ("OOMKilled", 2, 1, 1, 1)
    assert (first.failed_verifications, first.model_calls, first.tokens, first.cost) == (1, 4, 30, 1.0)
    assert first.times == {"diagnosed": (10, 30), "pull_request": (20,), "merged": (60,), "resolved": (100,)}
    assert (second.name, second.incidents, second.times["resolved"]) == ("Unknown", 1, ())
    wire = first.to_wire()
    assert wire["times"]["diagnosed"] == {"p50": 10, "p95": 30, "n": 2}
    assert second.to_wire()["times"]["merged"] == {"p50": None, "p95": None, "n": 0}


def test_older_incidents_are_left_out() -> None:
    old = incident(Phase.INCIDENT_DETECTED, created=after(-99))
    (found,) = figures.measure([FIXED, old, incident(Phase.PR_CREATED, created=None)], since=T0)
    assert found.incidents == 2


def test_times_begin_with_the_history_where_the_object_says_nothing() -> None:
    steps = {Phase.INCIDENT_DETECTED: 5.0, Phase.ANALYSIS_COMPLETE: 9.0}
    assert figures.measure_times(incident(Phase.ANALYSIS_COMPLETE, created=None, steps=steps)) == {"diagnosed": 4}
    assert figures.measure_times(incident(Phase.INCIDENT_DETECTED, created=None)) == {}


def test_phases_are_counted_by_class() -> None:
    found = figures.count_phases([FIXED, FIXED, Incident(metadata=ObjectMeta(name="x"), spec=IncidentSpec(summary="s"))])
    assert found == {("INCIDENT_RESOLVED", "OOMKilled"): 2, ("INCIDENT_DETECTED", "Unknown"): 1}


@pytest.mark.parametrize(("share", "expected"), [(0, 1.0), (50, 2.0), (95, 4.0), (100, 4.0)])
def test_percentiles_are_of_the_nearest_rank(share: float, expected: float) -> None:
    assert figures.percentile([1.0, 2.0, 3.0, 4.0], share) == expected
