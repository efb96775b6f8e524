"""Pods that were never created, because admission refused them: whose refusals count now."""

from __future__ import annotations

from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig


def current(reading: Reading) -> tuple[Item, ...]:
    """Return the events of refused creations while pods are missing; empty once all are there."""
    for item in reading.bundle.of(ItemKind.OBJECT):
        wanted = _wanted(item)
        if wanted is not None and len(reading.pods) >= wanted:
            return ()
    return reading.events("FailedCreate")


def _wanted(item: Item) -> int | None:
    spec, status = dig(item.value, "spec"), dig(item.value, "status")
    kind = item.value.get("kind")
    if kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        return int(spec.get("replicas", 1))
    if kind == "DaemonSet":
        return int(status.get("desiredNumberScheduled") or 1)
    return None
