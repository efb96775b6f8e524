"""SlowStart: a startup probe that gives the container time; the liveness probe stays as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

PATIENCE = 300.0
"""Seconds that a start may take (kubernetes.io, "Protect slow starting containers")."""

FACTOR = 10
"""A start is given at least so many times what it was killed after."""

LONGEST = 900.0
_HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the startup probe, or more patience of the one there is."""
    container = draft.container
    parameters = draft.finding.parameters
    startup = draft.look((*container, "startupProbe"))
    allowed = float(parameters["allowed"])
    if startup is not None and parameters["probe"] != "startupProbe":
        raise Refusal(
            "NoSafeFix",
            f"{draft.finding.cause} It has a startup probe that succeeded before: a person has to "
            "look for why it stops answering.",
        )
    wanted = min(max(PATIENCE, FACTOR * allowed), LONGEST)
    if startup is not None:
        yield _longer(draft, startup, allowed, wanted)
        return
    liveness = draft.look((*container, "livenessProbe"))
    if liveness is None:
        raise Refusal("Drifted", f"The source of {draft.finding.container} has no livenessProbe.")
    period = int(liveness.get("periodSeconds") or 10)
    threshold = math.ceil(wanted / period)
    handler = {name: liveness[name] for name in _HANDLERS if name in liveness}
    probe: dict[str, Any] = {**handler, "periodSeconds": period, "failureThreshold": threshold}
    if liveness.get("timeoutSeconds"):
        probe["timeoutSeconds"] = liveness["timeoutSeconds"]
    why = "The liveness probe waits until the container has started."
    yield draft.propose(
        draft.set((*container, "startupProbe"), probe, why),
        summary=f"Add a startup probe to {draft.finding.container}, which starts slowly",
        risk="Low",
        risk_reason="The liveness probe stays as it is and begins after the start.",
        arithmetic=f"killed after {allowed:g} s; {threshold} x {period} s = {threshold * period} s "
        f"(at least {FACTOR} x {allowed:g} s and {PATIENCE:g} s) for the start",
    )


def _longer(draft: Draft, startup: Mapping[str, Any], allowed: float, wanted: float) -> Proposal:
    period = int(startup.get("periodSeconds") or 10)
    old = int(startup.get("failureThreshold") or 3)
    new = math.ceil(wanted / period)
    if new <= old:
        raise Refusal(
            "CapReached",
            f"The startup probe allows {allowed:g} s already; a person has to look for why the "
            "container does not start.",
        )
    why = "The start takes longer than the startup probe allows."
    path = (*draft.container, "startupProbe", "failureThreshold")
    return draft.propose(
        draft.set(path, new, why),
        summary=f"Give the start of {draft.finding.container} more time",
        risk="Low",
        risk_reason="Only the start gets more time; the probes stay.",
        arithmetic=f"failureThreshold {old} -> {new}: {new} x {period} s = {new * period} s for "
        f"the start, it was killed after {allowed:g} s",
    )
