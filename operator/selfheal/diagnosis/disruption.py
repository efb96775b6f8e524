"""Disruption budgets that no eviction can ever keep: drains and upgrades hang."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig

RANK = 80
"""After everything that keeps pods from being ready: then the budget is right to block."""


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each budget that forbids every disruption of healthy pods.

    Two budgets of one pod forbid its eviction whatever each of them allows.
    """
    several = list(reading.bundle.of(ItemKind.BUDGET))
    if len(several) > 1 and reading.pods:
        yield _several(reading, several)
        return
    for item in reading.bundle.of(ItemKind.BUDGET):
        status, spec = dig(item.value, "status"), dig(item.value, "spec")
        expected = int(status.get("expectedPods") or 0)
        healthy = int(status.get("currentHealthy") or 0)
        if expected == 0 or healthy < expected or int(status.get("disruptionsAllowed") or 0) > 0:
            continue
        field = "maxUnavailable" if "maxUnavailable" in spec else "minAvailable"
        name = dig(item.value, "metadata").get("name")
        cordoned = [
            node
            for node in reading.bundle.of(ItemKind.NODE)
            if node.value.get("unschedulable")
        ]  # fmt: skip
        drained = f" and node {cordoned[0].value['name']} is being drained" if cordoned else ""
        yield Finding(
            class_=IncidentClass.DISRUPTION_BUDGET_BLOCKED,
            cause=f"Disruption budget {name} ({field} {spec.get(field)}) allows no pod of "
            f"{expected} to be evicted{drained}, though all are healthy.",
            confidence=0.95 if cordoned else 0.8,
            evidence=_evidence(item, reading, cordoned),
            rank=RANK,
            parameters={
                "budget": name, "field": field, "value": spec.get(field), "expected": expected,
            },
        )  # fmt: skip


def _several(reading: Reading, budgets: list[Item]) -> Finding:
    names = [str(dig(item.value, "metadata").get("name")) for item in budgets]
    said = reading.events("MultiplePodDisruptionBudgets")[:1]
    target = reading.bundle.target
    return Finding(
        class_=IncidentClass.DISRUPTION_BUDGET_BLOCKED,
        cause=f"More than one disruption budget ({', '.join(names)}) selects the pods of "
        f"{target.kind} {target.name}: the eviction API refuses a pod with several, so that none "
        "can be evicted.",
        confidence=0.95 if said else 0.8,
        evidence=(*(item.id for item in budgets), reading.pods[0].id, *(one.id for one in said)),
        rank=RANK,
        parameters={"fault": "Several", "budgets": names},
    )


def _evidence(item: Item, reading: Reading, cordoned: list[Any]) -> tuple[str, ...]:
    target = next(iter(reading.bundle.of(ItemKind.OBJECT)), None)
    shown = [item.id, *(node.id for node in cordoned)]
    return tuple([*shown, target.id] if target else shown)
