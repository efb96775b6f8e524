"""ServiceEndpoints: the selector or target port that the pods really have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.diagnosis.evidence import ItemKind
from selfheal.diagnosis.reading import dig
from selfheal.remediation import workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep, Proposal, Refusal


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the correction of the Service, or of the label that only the workload has wrong."""
    service = draft.other("v1", "Service", str(draft.finding.parameters["service"]))
    if draft.finding.parameters["fault"] == "TargetPort":
        yield from _port(draft, service)
    elif draft.finding.parameters["fault"] == "TooWide":
        yield _narrower(draft, service)
    else:
        yield from _selector(draft, service)


def _port(draft: Draft, service: Draft) -> Iterator[Proposal]:
    parameters = draft.finding.parameters
    old, new = parameters["old"], parameters.get("new")
    name = str(parameters["service"])
    if new is None:
        raise Refusal("PortUnclear", f"{draft.finding.cause} Which of them Service {name} means, a "
                      "person has to say.")  # fmt: skip
    path: tuple[PathStep, ...] = ("spec", "ports", int(parameters["index"]))
    written = dig(service.look(path) or {})
    if written.get("targetPort", written.get("port")) != old:
        raise Refusal("Drifted", f"The source of Service {name} has no target port {old}.")
    sure = draft.finding.confidence >= 0.9
    why = "It is the port that the ready pods have." if sure else "The ready pods answer there."
    yield service.propose(
        service.set((*path, "targetPort"), new, why),
        summary=f"Correct the target port of Service {name} from {old} to {new}",
        risk="Low" if sure else "Medium", risk_reason=f"{why} Clients keep the Service's own port.",
        arithmetic=f"targetPort {old} -> {new}",
    )  # fmt: skip


def _narrower(draft: Draft, service: Draft) -> Proposal:
    """Add the label that tells those who serve the port from the others."""
    parameters = draft.finding.parameters
    name, add = str(parameters["service"]), dict(parameters["add"])
    if not add:
        raise Refusal("SelectorUnclear", f"{draft.finding.cause} No label tells them apart: a "
                      "person has to give the pods one.")  # fmt: skip
    written = service.look(("spec", "selector"))
    if written != parameters["selector"]:
        raise Refusal("Drifted", f"The source of Service {name} selects something else.")
    ((key, value),) = add.items()
    why = "Only the pods that serve the port have it."
    return service.propose(
        service.set(("spec", "selector", key), value, why),
        summary=f"Let Service {name} select only pods with {key}={value}",
        risk="Medium", risk_reason=f"{why} The others get no more requests by this Service.",
        arithmetic=f"selector + {key}={value}",
    )  # fmt: skip


def _selector(draft: Draft, service: Draft) -> Iterator[Proposal]:
    parameters = draft.finding.parameters
    name, wrong = str(parameters["service"]), list(parameters["differences"])
    if not wrong or not all("new" in one for one in wrong):
        raise Refusal("SelectorUnclear", f"{draft.finding.cause} Which pods Service {name} means, "
                      "a person has to say.")  # fmt: skip
    written = service.look(("spec", "selector"))
    if not isinstance(written, Mapping) or any(
        str(written.get(one["key"])) != one["old"] for one in wrong
    ):
        raise Refusal("Drifted", f"The source of Service {name} selects something else.")
    said = ", ".join(f"{one['key']}={one['old']} to {one['newKey']}={one['new']}" for one in wrong)
    own = _wrong_label(draft, wrong)
    if own is not None:
        yield draft.propose(
            own, summary=f"Correct the pod label from {wrong[0]['new']} to {wrong[0]['old']}",
            risk="Medium",
            risk_reason="Other objects of the namespace select the label that the Service selects, "
            "so the workload's own is the one that is wrong.",
        )  # fmt: skip
    why = f"{parameters['kind']} {parameters['workload']} has these labels."
    yield service.propose(
        *_edits(service, written, wrong, why),
        summary=f"Correct the selector of Service {name}: {said}",
        risk="Low" if len(wrong) == 1 else "Medium", risk_reason=why,
    )  # fmt: skip


def _edits(
    service: Draft, written: Mapping[str, Any], wrong: list[dict[str, str]], why: str
) -> list[Edit]:
    path: tuple[PathStep, ...] = ("spec", "selector")
    if all(one["key"] == one["newKey"] for one in wrong):
        return [service.set((*path, one["key"]), one["new"], why) for one in wrong]
    renamed = {one["key"]: one for one in wrong}
    selector = {
        (renamed[key]["newKey"] if key in renamed else key):
        (renamed[key]["new"] if key in renamed else value)
        for key, value in written.items()
    }  # fmt: skip
    return [service.set(path, selector, why)]


def _wrong_label(draft: Draft, wrong: list[dict[str, str]]) -> Edit | None:
    """Return the edit of the workload's label where others select what the Service selects.

    Only where the label is no part of the workload's own selector, which cannot be changed.
    """
    manifest = draft.source.manifest
    kind = str(manifest.get("kind"))
    if len(wrong) != 1 or wrong[0]["key"] != wrong[0]["newKey"] or kind in ("Service", "Pod"):
        return None
    key, value = wrong[0]["key"], wrong[0]["old"]
    selected = dig(manifest, "spec", "selector", "matchLabels")
    others = [
        item
        for kind_ in (ItemKind.BUDGET, ItemKind.NETWORK_POLICY, ItemKind.SERVICE)
        for item in draft.bundle.of(kind_)
        if _selects(item.value, key, value)
        and dig(item.value, "metadata").get("name") != draft.finding.parameters["service"]
    ]
    path = (*workloads.pod_spec_path(kind)[:-1], "metadata", "labels", key)
    if key in selected or not others or draft.look(path) != wrong[0]["new"]:
        return None
    return draft.set(path, value, f"{others[0].id} selects {key}={value} too.")


def _selects(stored: Mapping[str, Any], key: str, value: str) -> bool:
    spec = dig(stored, "spec")
    selectors = (
        dig(spec, "selector"), dig(spec, "selector", "matchLabels"),
        dig(spec, "podSelector", "matchLabels"),
    )  # fmt: skip
    return any(selector.get(key) == value for selector in selectors)
