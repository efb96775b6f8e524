"""InsufficientMemory: memory requests and limits that were missing or too small."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import ItemKind
from selfheal.remediation import turns, workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal
from selfheal.remediation.memory_fix import read_quantity, render_quantity

Path = tuple[PathStep, ...]
_MIB = 2**20
FLOOR = 64 * _MIB
"""Least limit that is stated where no use was observed: most programs do not start with less."""

_USED = re.compile(r"Container (\S+) was using (\d+\w*)")


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the one change; quota and limit range stay. Refusal ``NeedsPerson`` without numbers."""
    fault = draft.finding.parameters.get("fault")
    if fault == "BelowMinimum":
        yield _to_minimum(draft)
    elif fault == "Unstated":
        yield _state(draft, guards)
    elif fault == "TinyLimit":
        yield _in_the_unit_that_was_meant(draft, guards)
    else:
        yield _from_use(draft, guards)


def _containers(draft: Draft) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    base = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
    for group in workloads.CONTAINER_LISTS:
        for index, entry in enumerate(draft.look((*base, group)) or ()):
            yield (*base, group, index), entry


def _memory(entry: Mapping[str, Any], group: str) -> float | None:
    text = ((entry.get("resources") or {}).get(group) or {}).get("memory")
    return None if text is None else read_quantity(str(text))


def _to_minimum(draft: Draft) -> Proposal:
    minimum = str(draft.finding.parameters["minimum"])
    least = read_quantity(minimum)
    edits: list[turns.Wanted] = []
    for path, entry in _containers(draft):
        for group in ("requests", "limits"):
            present = _memory(entry, group)
            if present is not None and present < least:
                why = f"The limit range demands at least {minimum}."
                edits.append(((*path, "resources", group, "memory"), minimum, why))
    if not edits:
        raise Refusal("NeedsPerson", f"{draft.finding.cause} The source states nothing below it.")
    return _proposal(draft, edits, f"at least {minimum} (limit range)")


def _in_the_unit_that_was_meant(draft: Draft, guards: GuardsSpec) -> Proposal:
    """Write the limit, and a request in the same wrong unit, as what was meant."""
    limit, meant = str(draft.finding.parameters["limit"]), draft.finding.parameters["meant"]
    if not meant or read_quantity(str(meant)) > read_quantity(guards.max_memory):
        raise Refusal("NeedsPerson", f"{draft.finding.cause} How much was meant is not known.")
    number, unit = re.fullmatch(r"(.*?)([A-Za-z]*)", limit).groups()  # type: ignore[union-attr]
    right = str(meant).removeprefix(number)
    edits: list[turns.Wanted] = []
    for path, entry in _containers(draft):
        if entry.get("name") != draft.finding.container:
            continue
        for group in ("limits", "requests"):
            text = str(((entry.get("resources") or {}).get(group) or {}).get("memory", ""))
            found = re.fullmatch(rf"(\d+){unit}", text)
            if found:
                why = f"{text} is {read_quantity(text):g} bytes; {found[1]}{right} was meant."
                edits.append(((*path, "resources", group, "memory"), f"{found[1]}{right}", why))
    if not edits:
        raise Refusal("Drifted", f"The source of {draft.finding.container} has no limit {limit}.")
    arithmetic = f"{limit} -> {meant}: the same number, {unit or 'bytes'} -> {right}"
    return _proposal(draft, edits, arithmetic, risk="Medium")


def _state(draft: Draft, guards: GuardsSpec) -> Proposal:
    """State what the quota demands: from observed use, else from the request, else a floor."""
    groups = [str(field).partition(".")[0] for field in draft.finding.parameters["missing"]]
    named = draft.finding.parameters.get("containers")
    edits: list[turns.Wanted] = []
    notes = []
    for path, entry in _containers(draft):
        name = str(entry.get("name"))
        if named is not None and name not in named:
            continue
        value, note = _wanted(draft, guards, entry)
        for group in groups:
            if _memory(entry, group) is None:
                text = render_quantity(value, like="Mi")
                why = "The namespace's quota demands that it is stated."
                edits.append(((*path, "resources", group, "memory"), text, why))
        notes.append(f"{name}: {note}")
    if not edits:
        raise Refusal("NeedsPerson", f"{draft.finding.cause} The source states it already.")
    return _proposal(draft, edits, "; ".join(notes))


def _wanted(draft: Draft, guards: GuardsSpec, entry: Mapping[str, Any]) -> tuple[float, str]:
    cap, step = read_quantity(guards.max_memory), guards.memory_step
    used = _observed(draft, str(entry.get("name")))
    stated = _memory(entry, "limits") or _memory(entry, "requests")
    if used is not None:
        return min(_whole(used * step), cap), f"{_show(used)} used x {step:g} (guards.memoryStep)"
    if stated is not None:
        value = min(max(stated * step, FLOOR), cap)
        return value, f"{_show(stated)} stated x {step:g} (guards.memoryStep), at least 64Mi"
    return min(2 * FLOOR, cap), "nothing is stated and no use was observed: 128Mi"


def _observed(draft: Draft, container: str) -> float | None:
    """Return the largest working set that was seen, now or when the node evicted the pod."""
    found = [
        float(item.value["workingSetBytes"])
        for item in draft.bundle.of(ItemKind.COUNTERS)
        if item.value.get("container") == container and item.value.get("workingSetBytes")
    ]
    for pod in draft.bundle.of(ItemKind.POD):
        message = str((pod.value.get("status") or {}).get("message") or "")
        found += [read_quantity(size) for name, size in _USED.findall(message) if name == container]
    return max(found, default=None)


def _from_use(draft: Draft, guards: GuardsSpec) -> Proposal:
    """Add request and limit from what was used, so that the scheduler finds room for it."""
    name, notes = draft.finding.container, []
    edits: list[turns.Wanted] = []
    for path, entry in _containers(draft):
        used = _observed(draft, str(entry.get("name"))) if entry.get("name") == name else None
        if used is None:
            continue
        limit = min(_whole(used * guards.memory_step), read_quantity(guards.max_memory))
        why = "From what the container was seen to use."
        for group, value in (("requests", _whole(used)), ("limits", limit)):
            if _memory(entry, group) is None:
                text = render_quantity(value, like="Mi")
                edits.append(((*path, "resources", group, "memory"), text, why))
        notes.append(
            f"{name}: request {_show(used)} as used, limit x {guards.memory_step:g} "
            "(guards.memoryStep)"
        )
    if not edits:
        raise Refusal(
            "NeedsPerson",
            f"{draft.finding.cause} How much memory it needs was not observed: a person has to "
            f"state requests and limits in {draft.source.file}.",
        )
    return _proposal(draft, edits, "; ".join(notes))


def _whole(value: float) -> float:
    return -(-value // _MIB) * _MIB


def _show(value: float) -> str:
    return f"{value / _MIB:.0f}Mi"


def _proposal(
    draft: Draft, wanted: list[turns.Wanted], arithmetic: str, risk: str = "Low"
) -> Proposal:
    return draft.propose(
        *turns.in_turn(draft, wanted),
        summary=f"State the memory of {draft.bundle.target.name}",
        risk=risk,
        risk_reason="Only requests and limits of memory change; quota and limit range stay.",
        arithmetic=arithmetic,
    )
