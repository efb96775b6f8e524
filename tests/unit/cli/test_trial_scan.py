"""Faults that no pod shows, as a trial looks for them."""

from __future__ import annotations

from typing import Any

import pytest

from selfheal.adapters.kube import connection, kubelet, scan
from selfheal.adapters.kube.scan import Scanned
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef
from selfheal.cli import trial_namespace, trial_scan
from selfheal.diagnosis.evidence import Bundle, Finding


class Closed:
    """Something with sockets that are closed at the end."""

    closed = 0

    async def close(self) -> None:
        Closed.closed += 1


def row(class_: IncidentClass | None) -> Scanned:
    target = TargetRef(kind="Service", name="web")
    finding = class_ and Finding(class_=class_, cause="x", confidence=0.95, evidence=("a",))
    bundle = Bundle(target=target, namespace="ns", now=trial_scan.dt.datetime(2026, 11, 23, tzinfo=trial_scan.dt.UTC))
    return Scanned(namespace="ns", target=target, finding=finding, bundle=bundle)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([[], [row(None)], [row(IncidentClass.SERVICE_ENDPOINTS)]], {("Service", "web"): "ServiceEndpoints"}),
        ([[]], {}),
    ],
)
def test_the_scan_is_asked_until_it_finds_something(monkeypatch: pytest.MonkeyPatch, answers: list[Any], expected: dict[Any, str]) -> None:
    left = list(answers)

    async def scanned(*_: Any) -> list[Scanned]:
        return list(left.pop(0) if len(left) > 1 else left[0])

    async def connect(_: str) -> Closed:
        return Closed()

    monkeypatch.setattr(scan, "scan", scanned)
    monkeypatch.setattr(connection, "connect", connect)
    monkeypatch.setattr(kubelet, "Kubelets", lambda _: Closed())
    monkeypatch.setattr(trial_scan, "POLL", 0.0)
    monkeypatch.setattr(trial_scan, "PATIENCE", 0.05)
    Closed.closed = 0
    assert trial_scan.find_quiet("kubeconfig", "ns") == expected
    assert Closed.closed == 2


def test_the_subjects_of_a_binding_move_with_it() -> None:
    text = "kind: RoleBinding\nmetadata:\n  name: b\n  namespace: old\nsubjects:\n- kind: ServiceAccount\n  name: a\n  namespace: old\n"
    assert trial_namespace.set_namespace(text, "new") == text.replace("old", "new")
    other = "kind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: 'namespace: old'\n"
    assert "namespace: old" in trial_namespace.set_namespace(other, "new")
