"""CPUThrottling: raise the CPU limit by the policy's step, under its cap."""

from __future__ import annotations

import math
from collections.abc import Iterator

from selfheal.api.policy import GuardsSpec
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal
from selfheal.remediation.memory_fix import read_quantity

ROOM = 1.25
"""A limit leaves so many times what the container would have used: periods are 100 ms short."""


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the one raise; Refusal ``CapReached``, ``Drifted`` or ``UnreadableQuantity``."""
    limit = (*draft.container, "resources", "limits", "cpu")
    running = str(draft.finding.parameters["limit"])
    written = draft.look(limit)
    old = running if written is None else str(written)
    if read_quantity(old) != read_quantity(running):
        raise Refusal(
            "Drifted", f"The source says a CPU limit of {old}, the running pod has {running}."
        )
    cap = read_quantity(guards.max_cpu)
    if read_quantity(old) >= cap:
        raise Refusal(
            "CapReached", f"The CPU limit {old} has reached guards.maxCPU ({guards.max_cpu})."
        )
    need = float(draft.finding.parameters.get("need") or 0)
    burst = float(draft.finding.parameters.get("burst") or 1)
    wanted = max(read_quantity(old) * guards.cpu_step, _round_up(need * burst * ROOM))
    new = render_cores(min(wanted, cap))
    ratio = float(draft.finding.parameters["ratio"])
    seen = f", at least {ROOM:g} x {need:g} cores, which it would have used" if need else ""
    if need and burst > 1:
        seen += f", x {burst:g}, since its probe wants the work of a period within its time-out"
    yield draft.propose(
        draft.set(limit, new, f"Held back in {ratio:.0%} of its periods at {old}."),
        summary=f"Raise the CPU limit of {draft.finding.container} from {old} to {new}",
        risk="Low",
        risk_reason="One limit rises; the request and with it the placement stay.",
        arithmetic=f"{old} x {guards.cpu_step:g} (guards.cpuStep){seen}, at most {guards.max_cpu} "
        f"(guards.maxCPU) = {new}; throttled in {ratio:.0%} of the periods.",
    )


def _round_up(cores: float) -> float:
    return math.ceil(cores * 100 - 1e-6) / 100


def render_cores(value: float) -> str:
    """Render cores as people write them: whole ones as such, else in thousandths."""
    thousandths = math.floor(value * 1000 + 1e-6)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
