"""OOMKilled: raise the memory limit by the policy's step, under its cap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from selfheal.api.meta import parse_quantity
from selfheal.api.policy import GuardsSpec
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

HEAP_SHARE = 0.75
"""Share of the limit that a JVM's heap may take: the rest is for classes, threads and buffers."""

_BINARY = (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_DECIMAL = (("G", 10**9), ("M", 10**6), ("k", 10**3))


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the one raise; Refusal ``Leak``, ``CapReached``, ``Drifted`` or so."""
    if draft.finding.parameters.get("leak"):
        raise Refusal("Leak", _leak_steps(draft))
    resources = (*draft.container, "resources")
    running = str(draft.finding.parameters["limit"])
    written = draft.look((*resources, "limits", "memory"))
    old_text = running if written is None else str(written)
    old = read_quantity(old_text)
    if old != read_quantity(running):
        raise Refusal(
            "Drifted",
            f"The source says a memory limit of {old_text}, the running pod has {running}.",
        )
    cap = read_quantity(guards.max_memory)
    if old >= cap:
        raise Refusal(
            "CapReached",
            f"The memory limit {old_text} has reached guards.maxMemory ({guards.max_memory}).",
        )
    heap = float(draft.finding.parameters.get("heap") or 0)
    wanted = max(old * guards.memory_step, heap / HEAP_SHARE)
    new = render_quantity(min(wanted, cap), like=old_text)
    reason = f"Killed for lack of memory at {old_text}."
    edits = [draft.set((*resources, "limits", "memory"), new, reason)]
    request = draft.look((*resources, "requests", "memory"))
    if request is not None and read_quantity(str(request)) >= old:
        why = "The request equalled the limit and goes with it, which keeps the QoS class."
        edits.append(draft.set((*resources, "requests", "memory"), new, why))
    steady = bool(draft.finding.parameters.get("steady"))
    yield draft.propose(
        *edits,
        summary=f"Raise the memory limit of {draft.finding.container} from {old_text} to {new}",
        risk="Medium" if steady else "Low",
        risk_reason=_leak_note()
        if steady
        else "One limit rises by one step; nothing else changes.",
        arithmetic=_arithmetic(draft, guards, old_text, new),
    )


def _leak_steps(draft: Draft) -> str:
    return (
        f"{draft.finding.cause} A higher limit only delays the next kill. A person, or the agent "
        "that changes code, has to: 1. take a heap dump or profile of "
        f"{draft.finding.container} as its memory climbs; 2. mend what keeps it; 3. deliver."
    )


def _leak_note() -> str:
    return (
        "The container lived long before it was killed: if its working set climbs steadily again, "
        "it leaks, and only a change of the application mends that."
    )


def _arithmetic(draft: Draft, guards: GuardsSpec, old: str, new: str) -> str:
    working: Any = draft.finding.parameters.get("workingSetBytes")
    seen = f", working set {render_quantity(float(working), like='Mi')}" if working else ""
    heap: Any = draft.finding.parameters.get("heap")
    least = f", room for its heap flag of {float(heap) / 2**20:.0f}Mi" if heap else ""
    return (
        f"{old} x {guards.memory_step:g} (guards.memoryStep){least}, at most {guards.max_memory} "
        f"(guards.maxMemory) = {new}{seen}."
    )


def read_quantity(text: str) -> float:
    """Return bytes or cores; Refusal ``UnreadableQuantity`` for a form that is not read here."""
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise Refusal("UnreadableQuantity", str(error)) from error


def render_quantity(value: float, *, like: str) -> str:
    """Render bytes in the largest whole unit of the family of ``like``, rounded down."""
    units = _DECIMAL if re.search(r"[kMGTP]$", like) else _BINARY
    smallest = units[1][1] if value >= units[1][1] else units[2][1]
    whole = int(value // smallest) * smallest
    for suffix, size in units[:-1]:
        if whole % size == 0:
            return f"{whole // size}{suffix}"
    return f"{whole // units[2][1]}{units[2][0]}"
