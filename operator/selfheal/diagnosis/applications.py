"""The workloads of the namespace as what selectors and references may mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig

WORKLOADS = frozenset({
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod",
})  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Application:
    """One workload: the labels and ports of its pods; ``item`` shows them."""

    item: Item
    kind: str
    name: str
    labels: Mapping[str, str]
    ports: Sequence[Mapping[str, Any]]
    own: bool  # the target itself


def known(reading: Reading) -> list[Application]:
    """Return the target, where it is a workload, and its siblings."""
    return [*_target(reading), *(_sibling(item) for item in reading.bundle.of(ItemKind.SIBLING))]


def _target(reading: Reading) -> Iterator[Application]:
    for item in reading.bundle.of(ItemKind.OBJECT):
        kind = str(item.value.get("kind"))
        if kind not in WORKLOADS:
            continue
        owner = dig(item.value, "spec", "jobTemplate") if kind == "CronJob" else item.value
        template = item.value if kind == "Pod" else dig(owner, "spec", "template")
        pod_spec = dig(template, "spec")
        yield Application(
            item=item, kind=kind, name=str(dig(item.value, "metadata").get("name")),
            labels=dig(template, "metadata", "labels"),
            ports=[
                port
                for entry in pod_spec.get("containers") or ()
                for port in entry.get("ports") or ()
            ],
            own=True,
        )  # fmt: skip


def _sibling(item: Item) -> Application:
    return Application(
        item=item, kind=str(item.value.get("kind")), name=str(item.value.get("name")),
        labels=item.value.get("labels") or {}, ports=item.value.get("ports") or (), own=False,
    )  # fmt: skip


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether plain labels select; none selects nothing here."""
    return bool(selector) and selector.items() <= labels.items()


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector with expressions selects; an empty one selects all."""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    present = labels.get(str(expression.get("key")))
    operator, values = expression.get("operator"), expression.get("values") or ()
    if operator in ("Exists", "DoesNotExist"):
        return (present is not None) is (operator == "Exists")
    return (present in values) is (operator == "In")
