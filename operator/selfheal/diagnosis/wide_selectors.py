"""Services whose selector takes pods of a second workload, which do not serve the port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.applications import Application
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.reading import dig

RANK = 32


def find(service: Item, end: Item, selected: Sequence[Application]) -> Finding | None:
    """Return the finding where some of the selected workloads declare the port and some another.

    A workload that declares no port may serve any; a port that is sent to by its name leaves out
    the pods that do not have it.
    """
    metadata, selector = dig(service.value, "metadata"), dig(service.value, "spec", "selector")
    for port in dig(service.value, "spec").get("ports") or ():
        wanted = str(port.get("targetPort", port.get("port")))
        served = [one for one in selected if wanted in _declared(one)]
        wrong = [one for one in selected if one.ports and wanted not in _declared(one)]
        if not wanted.isdigit() or not served or not wrong:
            continue
        apart = _apart(served, wrong, selector)
        hint = f"; {_show(apart)} would select only {_names(served)}" if apart else ""
        others = ", ".join(sorted({number for one in wrong for number in _declared(one)}))
        return Finding(
            class_=IncidentClass.SERVICE_ENDPOINTS,
            cause=f"Service {metadata.get('name')} selects too much ({_show(selector)}): it sends "
            f"to port {wanted} of the pods of {_names(wrong)} as well, which listen on {others} "
            f"only, so that some requests fail{hint}.",
            confidence=0.8,
            evidence=(service.id, end.id, *(one.item.id for one in (*served, *wrong))),
            rank=RANK,
            parameters={
                "fault": "TooWide", "service": metadata.get("name"), "port": int(wanted),
                "wrong": [one.name for one in wrong], "selector": dict(selector), "add": apart,
            },
        )  # fmt: skip
    return None


def _declared(one: Application) -> set[str]:
    return {str(port["containerPort"]) for port in one.ports}


def _apart(
    served: Sequence[Application], wrong: Sequence[Application], selector: Mapping[str, Any]
) -> dict[str, str]:
    """Return the first label that all have who serve the port, and none of the others."""
    for key, value in served[0].labels.items():
        shared = all(one.labels.get(key) == value for one in served)
        if key not in selector and shared and all(one.labels.get(key) != value for one in wrong):
            return {key: value}
    return {}


def _show(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _names(found: Sequence[Application]) -> str:
    return " and ".join(f"{one.kind} {one.name}" for one in found)
