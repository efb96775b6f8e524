"""JavaOutOfMemory: let the JVM use the memory of its container; raise the limit if it must.

A heap may take three quarters of the limit: the rest is for classes, threads and buffers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import words
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, Proposal, Refusal
from selfheal.remediation.memory_fix import HEAP_SHARE as SHARE
from selfheal.remediation.memory_fix import read_quantity, render_quantity

_MIB = 2**20
_UNITS = {"k": 2**10, "m": _MIB, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"-Xmx(\d+)([kKmMgGtT]?)\b")
_PERCENT = re.compile(r"-XX:MaxRAMPercentage=([\d.]+)")
_OTHER = (
    (re.compile(r"metaspace", re.IGNORECASE), "-XX:MaxMetaspaceSize"),
    (re.compile(r"direct buffer|cannot reserve", re.IGNORECASE), "-XX:MaxDirectMemorySize"),
    (re.compile(r"compressed class space", re.IGNORECASE), "-XX:CompressedClassSpaceSize"),
)
LEAST = 64 * _MIB
"""What another pool of the JVM gets at least: few programs run with less."""

VARIABLE = "JAVA_TOOL_OPTIONS"


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the one change of flag and limit; Refusal ``CapReached``, ``NoSafeFix`` or so."""
    if draft.finding.parameters.get("fault") == "NotHeap":
        yield _raise_other(draft, guards)
        return
    limit = _limit(draft)
    found = _find(draft, _SIZE)
    if found is not None:
        yield _raise_size(draft, guards, found, limit)
    elif (found := _find(draft, _PERCENT)) is not None:
        yield _raise_share(draft, guards, found, limit)
    else:
        yield _add_share(draft, guards, limit)


def _find(draft: Draft, pattern: re.Pattern[str]) -> tuple[words.Place, re.Match[str]] | None:
    for place in words.places(draft, draft.container):
        match = pattern.search(place.text)
        if match:
            return place, match
    return None


def _limit(draft: Draft) -> float | None:
    written = draft.look((*draft.container, "resources", "limits", "memory"))
    text = written if written is not None else draft.finding.parameters.get("limit")
    return None if text is None else read_quantity(str(text))


def _raise_size(
    draft: Draft, guards: GuardsSpec, found: tuple[words.Place, re.Match[str]], limit: float | None
) -> Proposal:
    place, match = found
    old = int(match[1]) * _UNITS.get(match[2].lower(), 1)
    least = old * guards.memory_step
    edits: list[Edit] = []
    if limit is None:
        heap = min(least, read_quantity(guards.max_memory) * SHARE)
        how = f"{match.group()[4:]} x {guards.memory_step:g} (guards.memoryStep), no limit is set"
    elif limit * SHARE >= least:
        heap = limit * SHARE
        how = f"three quarters of the limit of {_mebibytes(limit)}"
    else:
        raised = _raised(draft, guards, limit, least / SHARE)
        edits = _limit_edits(draft, raised)
        heap = raised * SHARE
        how = f"three quarters of the new limit of {_mebibytes(raised)}"
    if heap <= old:
        raise Refusal(
            "CapReached", f"The heap has {match.group()} already; guards.maxMemory allows no more."
        )
    new = f"-Xmx{_like(heap, match[2])}"
    why = "The heap was too small, and the container has room for a larger one."
    return _proposal(draft, [place.edit(draft, match, new, why), *edits], match.group(), new, how)


def _raise_share(
    draft: Draft, guards: GuardsSpec, found: tuple[words.Place, re.Match[str]], limit: float | None
) -> Proposal:
    place, match = found
    old = float(match[1])
    if old < 100 * SHARE:
        new = f"-XX:MaxRAMPercentage={100 * SHARE:g}{'.0' if '.' in match[1] else ''}"
        how = f"from {old:g} % to {100 * SHARE:g} % of the limit"
        why = "The heap may take three quarters of the limit."
        edit = place.edit(draft, match, new, why)
        return _proposal(draft, [edit], match.group(), new, how)
    if limit is None:
        raise Refusal("NoSafeFix", f"The heap has {old:g} % of a node's memory, and no limit.")
    raised = _raised(draft, guards, limit, limit * guards.memory_step)
    how = f"{_mebibytes(limit)} x {guards.memory_step:g} (guards.memoryStep)"
    before, after = f"limit {_mebibytes(limit)}", f"limit {_mebibytes(raised)}"
    return _proposal(draft, _limit_edits(draft, raised), before, after, how)


def _add_share(draft: Draft, guards: GuardsSpec, limit: float | None) -> Proposal:
    if limit is None:
        raise Refusal(
            "NoSafeFix",
            "Neither a heap flag nor a memory limit is written: what the JVM may use is not known.",
        )
    flag = f"-XX:MaxRAMPercentage={100 * SHARE:.1f}"
    why = "Without a flag the heap is a quarter of the limit."
    edit = words.set_variable(draft, draft.container, VARIABLE, flag, why)
    how = f"from a quarter (the JVM's default) to three quarters of {_mebibytes(limit)}"
    return _proposal(draft, [edit], "no heap flag", f"{VARIABLE}={flag}", how)


def _raise_other(draft: Draft, guards: GuardsSpec) -> Proposal:
    signature = str(draft.finding.parameters["signature"])
    for pattern, flag in _OTHER:
        found = _find(draft, re.compile(rf"{re.escape(flag)}=(\d+)([kKmMgG]?)\b"))
        if pattern.search(signature) and found is not None:
            place, match = found
            old = int(match[1]) * _UNITS.get(match[2].lower(), 1)
            size = max(old * guards.memory_step, LEAST)
            new = f"{flag}={_like(size, match[2])}"
            how = (
                f"{match[1]}{match[2]} x {guards.memory_step:g} (guards.memoryStep), at least "
                f"{_mebibytes(LEAST)}"
            )
            edit = place.edit(draft, match, new, "This pool of the JVM was too small.")
            return _proposal(draft, [edit], match.group(), new, how)
    raise Refusal(
        "NoSafeFix",
        f"{draft.finding.cause} No flag of the source bounds it: a person has to look for what "
        "takes this memory (a heap or thread dump), or for the node's limit of threads.",
    )


def _raised(draft: Draft, guards: GuardsSpec, limit: float, wanted: float) -> float:
    cap = read_quantity(guards.max_memory)
    if limit >= cap:
        raise Refusal(
            "CapReached",
            f"The memory limit of {_mebibytes(limit)} has reached guards.maxMemory "
            f"({guards.max_memory}).",
        )
    raised = max(limit * guards.memory_step, wanted)
    return min(-(-raised // _MIB) * _MIB, cap)


def _limit_edits(draft: Draft, raised: float) -> list[Edit]:
    resources = (*draft.container, "resources")
    old = draft.look((*resources, "limits", "memory"))
    new = render_quantity(raised, like=str(old or "Mi"))
    why = "The heap needs it: three quarters of the limit are for the heap."
    edits = [draft.set((*resources, "limits", "memory"), new, why)]
    request = draft.look((*resources, "requests", "memory"))
    equal = None not in (request, old) and read_quantity(str(request)) >= read_quantity(str(old))
    if equal:
        why = "The request equalled the limit and goes with it, which keeps the QoS class."
        edits.append(draft.set((*resources, "requests", "memory"), new, why))
    return edits


def _mebibytes(value: float) -> str:
    return f"{value / _MIB:.0f}Mi"


def _like(value: float, unit: str) -> str:
    """Render a size in the unit that stood there where it comes out whole, else in MiB."""
    size = _UNITS.get(unit.lower(), 1)
    if unit and value % size == 0:
        return f"{int(value // size)}{unit}"
    return f"{int(value // _MIB)}{'M' if unit.isupper() else 'm'}"


def _proposal(draft: Draft, edits: list[Edit], old: Any, new: Any, how: str) -> Proposal:
    limits = any("limits" in edit.path for edit in edits)
    return draft.propose(
        *edits,
        summary=f"Give the JVM of {draft.finding.container} more memory: {old} to {new}",
        risk="Medium" if limits else "Low",
        risk_reason="The limit rises with the heap."
        if limits
        else "The heap grows within the memory that the container has.",
        arithmetic=f"{old} -> {new}: {how}.",
    )
