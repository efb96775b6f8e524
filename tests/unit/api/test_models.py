"""The models: wire forms, durations, quantities, times."""

from __future__ import annotations

import datetime as dt

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal.api import classes, evidence, incident, meta, policy


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("24h", 86400),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        ("0s", 0),
    ],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert meta.parse_duration(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "10 m", "ten", "-1s", "1w"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 30s"):
        meta.parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_durations_survive_rendering(milliseconds: int) -> None:
    value = dt.timedelta(milliseconds=milliseconds)
    assert meta.parse_duration(meta.render_duration(value)) == value


def test_durations_are_rendered_in_whole_units() -> None:
    assert meta.render_duration(dt.timedelta(minutes=90)) == "1h30m"
    assert meta.render_duration(dt.timedelta(0)) == "0s"


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("2", 2), ("64Mi", 64 * 2**20), ("1.5Gi", 1.5 * 2**30), ("1k", 1000)],
)
def test_quantities_are_parsed(text: str, value: float) -> None:
    assert meta.parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "4 GB", "4GB", "-1", "Mi"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 250m"):
        meta.parse_quantity(text)


def test_a_quantity_may_be_written_as_a_number() -> None:
    spec = policy.GuardsSpec.model_validate({"maxCPU": 2, "maxMemory": "1Gi"})
    assert spec.max_cpu == "2"
    with pytest.raises(pydantic.ValidationError, match="maxMemory"):
        policy.GuardsSpec.model_validate({"maxMemory": "much"})


def test_a_duration_may_be_given_as_one() -> None:
    spec = policy.VerificationSpec(stable_for=dt.timedelta(minutes=1))
    assert spec.to_wire()["stableFor"] == "1m"
    assert policy.VerificationSpec.model_validate({"stableFor": "90s"}).stable_for.seconds == 90


def test_times_are_utc_on_the_wire_and_aware_in_memory() -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    entry = incident.Receipt(key="k", kind="x", at=dt.datetime(2026, 1, 1, 9, tzinfo=tokyo))
    assert entry.to_wire()["at"] == "2026-01-01T00:00:00Z"
    naive = incident.Receipt(key="k", kind="x", at=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    assert naive.at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert incident.Receipt.model_validate(entry.to_wire()) == entry


def test_the_wire_form_has_aliases_and_no_nulls() -> None:
    status = incident.DiagnosisStatus(
        class_=classes.IncidentClass.OOM_KILLED,
        cause="x",
        confidence=1,
        by=incident.DiagnosedBy.RULES,
    )
    assert status.to_wire() == {
        "class": "OOMKilled",
        "cause": "x",
        "confidence": 1.0,
        "by": "Rules",
        "summary": "",
    }


def test_unknown_fields_are_ignored_on_reading() -> None:
    read = incident.IncidentSpec.model_validate({"summary": "x", "later": {"a": 1}})
    assert read == incident.IncidentSpec(summary="x")


def test_objects_are_immutable_and_evolve_by_copy() -> None:
    spec = incident.IncidentSpec(summary="x")
    with pytest.raises(pydantic.ValidationError):
        spec.summary = "y"  # type: ignore[misc]
    assert spec.evolve(summary="y").summary == "y"
    assert spec.summary == "x"


def test_an_incident_is_known_by_namespace_and_name() -> None:
    metadata = meta.ObjectMeta(name="checkout-oom", namespace="production")
    one = incident.Incident(metadata=metadata, spec=incident.IncidentSpec(summary="x"))
    assert one.key == "production/checkout-oom"
    assert incident.Incident.model_validate(one.to_wire()) == one


def test_a_target_is_of_the_allowed_kinds() -> None:
    with pytest.raises(pydantic.ValidationError, match="kind"):
        incident.TargetRef(kind="Node", name="node-1")


def test_every_phase_has_its_description() -> None:
    assert set(incident.PHASE_DESCRIPTIONS) == set(incident.Phase)
    assert len(incident.Phase) == 16


def test_the_default_policy_is_complete_and_survives_the_wire() -> None:
    spec = policy.PolicySpec()
    assert policy.PolicySpec.model_validate(spec.to_wire()) == spec
    assert spec.mode is policy.Mode.PULL_REQUEST
    assert spec.tracker.type is policy.TrackerType.NONE


def test_evidence_survives_the_wire() -> None:
    spec = evidence.EvidenceSpec(
        type=evidence.DocumentType.TRANSCRIPT,
        incident="a",
        run=1,
        attempt=1,
        created=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        digest="00",
        size=1,
        content="AA==",
    )
    one = evidence.Evidence(metadata=meta.ObjectMeta(name="e"), spec=spec)
    assert evidence.Evidence.model_validate(one.to_wire()) == one
