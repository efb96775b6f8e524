"""OOMKilled: raise the memory limit by the policy's step, under its cap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from selfheal.api.meta import parse_quantity
from selfheal.api.policy import GuardsSpec
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

_BINARY = (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_DECIMAL = (("G", 10**9), ("M", 10**6), ("k", 10**3))


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the one raise; Refusal ``CapReached``, ``Drifted`` or ``UnreadableQuantity``."""
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
    new = render_quantity(min(old * guards.memory_step, cap), like=old_text)
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


def _leak_note() -> str:
    return (
        "The container lived long before it was killed: if its working set climbs steadily again, "
        "it leaks, and only a change of the application mends that."
    )


def _arithmetic(draft: Draft, guards: GuardsSpec, old: str, new: str) -> str:
    working: Any = draft.finding.parameters.get("workingSetBytes")
    seen = f", working set {render_quantity(float(working), like='Mi')}" if working else ""
    return (
        f"{old} x {guards.memory_step:g} (guards.memoryStep), at most {guards.max_memory} "
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
