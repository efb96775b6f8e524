"""Rollouts that are stuck while the revision before is still well: what changed is the cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import history
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote

RANK_CHANGE = 58
RANK_SYMPTOM = 85


def find(reading: Reading) -> Iterator[Finding]:
    """Yield the stuck rollout: before a crash that nothing explains, after every known cause."""
    target = next(iter(reading.bundle.of(ItemKind.OBJECT)), None)
    if target is None:
        return
    stuck = exceeded(target.value)
    if not stuck:
        return
    past = history.read(reading)
    changes = past.changes if past else ()
    explained = past is not None and past.ready and bool(changes)
    evidence = [target.id, *(pod.id for pod in _waiting(reading)[:1])]
    cause = f"The rollout of {target.value.get('kind')} {reading.bundle.target.name} is stuck"
    if explained and past is not None:
        evidence += [past.before.id, past.after.id]
        cause += f", and revision {history.revision(past.before)} is still well"
    containers = {change.container for change in changes}
    yield Finding(
        class_=IncidentClass.STUCK_ROLLOUT,
        cause=f"{cause}: {quote(str(stuck.get('message') or 'the progress deadline passed'), 120)}",
        confidence=0.9 if explained else 0.6,
        evidence=tuple(evidence),
        container=containers.pop() if len(containers) == 1 else None,
        rank=RANK_CHANGE if explained else RANK_SYMPTOM,
        parameters={"fault": "ProgressDeadlineExceeded"},
    )


def exceeded(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the condition that says that the progress deadline passed; empty when it did not."""
    for entry in dig(deployment, "status").get("conditions") or ():
        if entry.get("type") == "Progressing" and entry.get("status") == "False":
            found: Mapping[str, Any] = entry
            return found
    return {}


def _waiting(reading: Reading) -> list[Item]:
    return [
        pod
        for pod in reading.pods
        if not any(
            entry.get("type") == "Ready" and entry.get("status") == "True"
            for entry in dig(pod.value, "status").get("conditions") or ()
        )
    ]
