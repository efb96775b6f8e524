"""The fix of each class, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from selfheal.api.classes import IncidentClass
from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.remediation import image_fix, memory_fix, probe_fix
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal, Source
from selfheal.remediation.finding_source import find_source

__all__ = ["find_source", "propose"]

Fix = Callable[[Draft, GuardsSpec], Iterator[Proposal]]

FIXES: Mapping[IncidentClass, Fix] = {
    IncidentClass.OOM_KILLED: memory_fix.propose,
    IncidentClass.INVALID_IMAGE_TAG: lambda draft, _: image_fix.propose_tag(draft),
    IncidentClass.IMAGE_PULL_BACK_OFF: lambda draft, _: image_fix.propose_repository(draft),
    IncidentClass.FAILED_HEALTH_CHECK: lambda draft, _: probe_fix.propose(draft),
}


def propose(
    finding: Finding,
    *,
    bundle: Bundle,
    source: Source,
    files: Mapping[str, bytes],
    guards: GuardsSpec,
) -> Sequence[Proposal]:
    """Return the safe fixes of a finding, best first; pure, may be repeated.

    Refusal ``ClassNotAllowed`` (guards.classes), ``NoFixForClass``, ``NotEnoughKnown`` (a diagnosis
    without the parameters of its class), or the reason of the class when nothing is safe.
    """
    if guards.classes and finding.class_.value not in guards.classes:
        raise Refusal("ClassNotAllowed", f"guards.classes does not list {finding.class_.value}.")
    fix = FIXES.get(finding.class_)
    if fix is None:
        raise Refusal("NoFixForClass", f"There is no fix for {finding.class_.value} yet.")
    draft = Draft(finding=finding, bundle=bundle, source=source, files=files)
    found: dict[str, Proposal] = {}
    try:
        for proposal in fix(draft, guards):
            found.setdefault(proposal.diff, proposal)
    except KeyError as error:
        raise Refusal("NotEnoughKnown", f"The diagnosis does not say {error}.") from error
    if not found:
        raise Refusal("NoSafeFix", f"Nothing safe is known that mends it: {finding.cause}")
    return tuple(found.values())
