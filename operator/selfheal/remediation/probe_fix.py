"""FailedHealthCheck: correct the probe's port, path or scheme; never remove or weaken it."""

from __future__ import annotations

from collections.abc import Iterator

from selfheal.remediation import image_fix
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

_FIELDS = frozenset({"port", "path", "scheme"})
SURE = 0.9
"""Confidence from which a correction counts as low risk: what the container serves was seen."""


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the one correction; Refusal ``NoFixForClass`` where the probe is not what is wrong."""
    parameters = draft.finding.parameters
    if parameters.get("fault") == "ImageChanged":
        yield from image_fix.propose_image(draft)
        return
    field, new = parameters.get("field"), parameters.get("new")
    if field not in _FIELDS or new is None:
        raise Refusal(
            "NoFixForClass",
            f"What the probe should ask instead is not known: {draft.finding.cause}",
        )
    reason = f"The probe asks the wrong {field}."
    edits = []
    for probe in parameters["probes"]:
        action = (*draft.container, probe, parameters["handler"])
        if draft.look(action) is None:
            raise Refusal(
                "Drifted", f"The source of {draft.finding.container} has no such {probe}."
            )
        edits.append(draft.set((*action, field), new, reason))
    old = parameters["old"]
    sure = draft.finding.confidence >= SURE
    seen = "It was seen what the container serves." if sure else "One observation says so."
    names = ", ".join(parameters["probes"])
    yield draft.propose(
        *edits,
        summary=f"Correct the {field} of the {names} of {draft.finding.container} "
        f"from {old} to {new}",
        risk="Low" if sure else "Medium",
        risk_reason=f"The probe stays and keeps its thresholds. {seen}",
        arithmetic=f"{field} {old} -> {new}",
    )
