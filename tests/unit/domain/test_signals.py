"""Signals: one name for one cause, and what texts name."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from selfheal.api import meta
from selfheal.api.incident import (
    Incident,
    IncidentSpec,
    IncidentStatus,
    Phase,
    Priority,
    Source,
    SourceType,
    TargetRef,
    TicketStatus,
)
from selfheal.domain import signals
from selfheal.domain.signals import Signal, find_incident

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
CHECKOUT = TargetRef(kind="Deployment", name="checkout")


def signal(**fields: Any) -> Signal:
    base: dict[str, Any] = {
        "source": SourceType.ALERT, "namespace": "shop", "cause": "Deployment/checkout",
        "summary": "checkout is down", "target": CHECKOUT, "at": NOW,
    }  # fmt: skip
    return Signal(**{**base, **fields})


def incident(name: str, *, namespace: str = "shop", status: IncidentStatus | None = None, **spec: Any) -> Incident:
    return Incident(
        metadata=meta.ObjectMeta(name=name, namespace=namespace),
        spec=IncidentSpec(summary="x", **spec),
        status=status or IncidentStatus(),
    )


def test_a_name_is_readable_and_one_for_each_cause() -> None:
    one, again = signal().fingerprint, signal(source=SourceType.DETECTOR, summary="y").fingerprint
    assert one == again
    assert re.fullmatch(r"checkout-[0-9a-f]{8}", one)
    others = {signal(namespace="pay").fingerprint, signal(cause="StatefulSet/checkout").fingerprint}
    assert one not in others
    assert len(others) == 2
    long = signal(cause="Deployment/" + "a" * 200)
    name = find_incident(long, []).name
    assert len(name) <= 63
    assert name.endswith("-1")


def test_a_signal_belongs_to_the_open_incident_of_its_cause() -> None:
    mark = signal().fingerprint
    same = incident("a", source=Source(type=SourceType.ALERT, fingerprint=mark))
    assert find_incident(signal(), [same]).incident is same
    applied = incident("b", target_ref=CHECKOUT)
    assert find_incident(signal(), [applied]).incident is applied
    found = incident("c", status=IncidentStatus(target=CHECKOUT))
    assert find_incident(signal(), [found]).incident is found
    other = incident("d", target_ref=TargetRef(kind="Deployment", name="cart"))
    elsewhere = incident("e", namespace="pay", target_ref=CHECKOUT)
    assert find_incident(signal(), [other, elsewhere]).incident is None
    assert find_incident(signal(target=None, cause="ticket/1"), [other]).incident is None


def test_a_recurrence_is_a_new_incident_that_names_the_old() -> None:
    mark = signal().fingerprint
    over = IncidentStatus(phase=Phase.INCIDENT_RESOLVED)
    first = incident(f"{mark}-1", target_ref=CHECKOUT, status=over)
    second = incident(f"{mark}-2", target_ref=CHECKOUT, status=over)
    odd = incident(f"{mark}-old", status=over)
    match = find_incident(signal(), [second, first, odd])
    assert (match.incident, match.name, match.previous) == (None, f"{mark}-3", f"{mark}-2")
    spec = IncidentSpec.model_validate(signals.build_spec(signal(), match.previous))
    assert spec.description == f"It happened before: incident {mark}-2."
    assert find_incident(signal(), []).previous is None


def test_a_ticket_belongs_to_its_incident_whatever_became_of_it() -> None:
    over = IncidentStatus(phase=Phase.INCIDENT_RESOLVED, ticket=TicketStatus(id="1", key="OPS-1", url="u"))
    opened = incident("a", status=over)
    assert find_incident(signal(ticket_key="OPS-1"), [opened]).incident is opened
    named = incident("b", ticket_key="OPS-2")
    assert find_incident(signal(ticket_key="OPS-2"), [opened, named]).incident is named
    assert find_incident(signal(ticket_key="OPS-3"), [opened, named]).name.endswith("-1")


def test_a_spec_holds_what_the_kind_allows() -> None:
    wide = signal(summary="x\n" * 400, description="d" * 40_000, ticket_key="OPS-1")
    spec = IncidentSpec.model_validate(signals.build_spec(wide, None))
    assert len(spec.summary) == 255
    assert "\n" not in spec.summary
    assert len(spec.description or "") == 32_768
    assert (spec.ticket_key, spec.target_ref) == ("OPS-1", CHECKOUT)
    bare = IncidentSpec.model_validate(signals.build_spec(signal(summary=" ", target=None), None))
    assert (bare.summary, bare.description, bare.target_ref) == ("Deployment/checkout", None, None)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Highest", Priority.CRITICAL), ("MAJOR", Priority.HIGH), ("P1", Priority.CRITICAL), ("odd", None)],
)
def test_priorities(name: str, wanted: Priority | None) -> None:
    assert signals.parse_priority(name, {"p1": Priority.CRITICAL}) is wanted


def test_minimum_and_keywords() -> None:
    assert signals.at_least(Priority.CRITICAL, Priority.HIGH)
    assert not signals.at_least(Priority.LOW, Priority.MEDIUM)
    assert signals.mentions("The CheckOut is down", ["checkout", "cart"])
    assert not signals.mentions("pay", ["checkout"])
    assert signals.mentions("anything", [])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("checkout in production is down", "production"),
        ("namespace: staging, not production", "staging"),
        ("kubectl -n staging get pods shows production images", "staging"),
        ("see production/checkout; staging is fine", "production"),
        ("production and staging", None),
        ("pre-production is down", None),
        ("nothing named", None),
        ("NAMESPACE=Production", "production"),
    ],
)
def test_the_namespace_of_a_text(text: str, wanted: str | None) -> None:
    assert signals.find_namespace(text, ["production", "staging"]) == wanted


def test_the_workload_of_a_text() -> None:
    named = [CHECKOUT, TargetRef(kind="Deployment", name="checkout-api"), TargetRef(kind="Job", name="api")]
    assert signals.find_named(named, "Checkout-API fails") == named[1]
    assert signals.find_named(named, "cart fails") is None
    assert signals.find_named([CHECKOUT, CHECKOUT.evolve(kind="Job")], "checkout fails") is None
