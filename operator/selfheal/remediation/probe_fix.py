"""FailedHealthCheck: correct what the probe asks or how long it waits; never remove it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from selfheal.remediation import image_fix, loopback_fix, revert_fix
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

_FIELDS = frozenset({"port", "path", "scheme"})
SURE = 0.9
"""Confidence from which a correction counts as low risk: what the container serves was seen."""

ROOM = 2.0
"""A probe waits so many times what the answer was seen to take."""

UNSEEN = 5
"""Seconds that a probe waits where the answer was not seen, only that the default is too short."""

LONGEST = 30


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the corrections, best first; Refusal ``NeedsPerson`` where the probe is right."""
    parameters = draft.finding.parameters
    fault = parameters.get("fault")
    if fault == "ImageChanged":
        yield from image_fix.propose_image(draft)
        return
    found = [*_correction(draft), *_timing(draft), *_command(draft)]
    if fault == "Loopback":
        found += loopback_fix.propose(draft)
    found += revert_fix.propose(draft)
    if not found:
        raise Refusal(
            "NeedsPerson",
            f"What the probe should ask instead is not known: {draft.finding.cause} A person has "
            f"to: 1. kubectl -n {draft.bundle.namespace} describe "
            f"{draft.bundle.target.kind.lower()}/{draft.bundle.target.name}; 2. look in the log of "
            f"{draft.finding.container} for why it does not answer; the probe stays.",
        )
    yield from found


def _correction(draft: Draft) -> Iterator[Proposal]:
    parameters = draft.finding.parameters
    field, new = parameters.get("field"), parameters.get("new")
    if field not in _FIELDS or new is None:
        return
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


def _timing(draft: Draft) -> Iterator[Proposal]:
    """Give the answer time: twice what was seen; 5 s where only the default is too short."""
    parameters = draft.finding.parameters
    if parameters.get("fault") != "Timing":
        return
    old, seconds = float(parameters["timeout"]), parameters.get("seconds")
    if seconds is None and old > 1:
        return
    wanted = UNSEEN if seconds is None else math.ceil(ROOM * float(seconds))
    new = min(max(wanted, math.ceil(old) + 1), LONGEST)
    if new <= old:
        return
    probe = (*draft.container, str(parameters["probe"]))
    if draft.look(probe) is None:
        raise Refusal("Drifted", f"The source of {draft.finding.container} has no such probe.")
    seen = f"{ROOM:g} x {seconds:g} s, which the answer was seen to take" if seconds else (
        "the default of 1 s is too short; how long the answer takes was not seen"
    )  # fmt: skip
    yield draft.propose(
        draft.set((*probe, "timeoutSeconds"), new, "The answer takes longer than the probe waits."),
        summary=f"Let the {parameters['probe']} of {draft.finding.container} wait {new} s",
        risk="Low" if seconds else "Medium",
        risk_reason="The probe stays, asks as often as before, and waits longer for each answer.",
        arithmetic=f"timeoutSeconds {old:g} -> {new}: {seen}",
    )


def _command(draft: Draft) -> Iterator[Proposal]:
    """Correct the word of the probe's command that is a slip of one the container has."""
    parameters = draft.finding.parameters
    old, new = parameters.get("old"), parameters.get("new")
    if parameters.get("fault") != "Command" or new is None:
        return
    path = (*draft.container, str(parameters["probe"]), "exec", "command")
    edits = [
        draft.set((*path, index), text.replace(str(old), str(new)), "The container has this one.")
        for index, text in enumerate(draft.look(path) or ())
        if str(old) in text
    ]
    if edits:
        yield draft.propose(
            *edits,
            summary=f"Correct {old} to {new} in the {parameters['probe']} of "
            f"{draft.finding.container}",
            risk="Medium",
            risk_reason="The probe stays; the container's own command names what it asks now.",
            arithmetic=f"{old} -> {new}",
        )
