"""Admission webhooks that cannot be called, or that deny what the workload asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import refusals
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, quote

RANK = 8
_FAILED = re.compile(r'failed calling webhook "([^"]+)": (.+)', re.DOTALL)
_DENIED = re.compile(r'admission webhook "([^"]+)" denied the request: ?(.*)', re.DOTALL)


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each webhook that keeps pods from being created."""
    seen: set[str] = set()
    for event in refusals.current(reading):
        message = str(event.value.get("message", ""))
        failed, denied = _FAILED.search(message), _DENIED.search(message)
        found = failed or denied
        if found is None or found[1] in seen:
            continue
        seen.add(found[1])
        hook = next(
            (one for one in reading.bundle.of(ItemKind.WEBHOOK) if one.value["name"] == found[1]),
            None,
        )
        yield _failed(event, hook, found) if failed else _denied(event, hook, found)


def _failed(event: Item, hook: Item | None, found: re.Match[str]) -> Finding:
    value: Mapping[str, Any] = hook.value if hook else {}
    why = quote(found[2], 160)
    if value.get("serviceExists") is False:
        why = f"its Service {value['service']} does not exist"
    elif value.get("addresses") == 0:
        why = f"its Service {value['service']} has no ready endpoints"
    return _finding(
        event, hook, f"The admission webhook {found[1]} cannot be called: {why}.", "Unreachable",
        name=found[1], service=value.get("service"), configuration=value.get("configuration"),
    )  # fmt: skip


def _denied(event: Item, hook: Item | None, found: re.Match[str]) -> Finding:
    return _finding(
        event, hook, f"The admission webhook {found[1]} denies the pods: {quote(found[2], 200)}",
        "Denied", name=found[1], said=quote(found[2], 200),
        configuration=hook.value.get("configuration") if hook else None,
    )  # fmt: skip


def _finding(event: Item, hook: Item | None, cause: str, fault: str, **parameters: Any) -> Finding:
    return Finding(
        class_=IncidentClass.ADMISSION_WEBHOOK_FAILED, cause=cause, confidence=0.95,
        evidence=(event.id, *((hook.id,) if hook else ())), rank=RANK,
        parameters={"fault": fault, **parameters},
    )  # fmt: skip
