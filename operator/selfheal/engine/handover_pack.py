"""The hand-over pack: what a person who was woken needs to decide, in the ticket. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from selfheal.api.incident import Handover, Incident, IncidentStatus, Phase
from selfheal.domain import phases

STEPS: Mapping[Phase, str] = {
    Phase.INCIDENT_DETECTED: "finding the workload",
    Phase.ANALYSIS_IN_PROGRESS: "finding the cause",
    Phase.ANALYSIS_COMPLETE: "choosing a fix",
    Phase.FIX_GENERATION_IN_PROGRESS: "making and proving a fix",
    Phase.FIX_GENERATED: "proposing the fix",
    Phase.PR_CREATION_IN_PROGRESS: "opening the pull request",
    Phase.PR_CREATED: "waiting for a review",
    Phase.PR_UNDER_REVIEW: "waiting for the review's end",
    Phase.PR_APPROVED: "merging the pull request",
    Phase.PR_MERGED: "waiting for the delivery to begin",
    Phase.DEPLOYMENT_IN_PROGRESS: "following the delivery",
    Phase.DEPLOYMENT_COMPLETE: "beginning the verification",
    Phase.VERIFICATION_IN_PROGRESS: "verifying the fix",
    Phase.VERIFICATION_COMPLETE: "closing the incident",
}
"""What the operator was at, in a person's words."""


class Advice(NamedTuple):
    """One next action, and the phase whose status takes the incident up again."""

    action: str
    resume: Phase


_ANALYSE, _FIX = Phase.ANALYSIS_IN_PROGRESS, Phase.FIX_GENERATION_IN_PROGRESS
_REVIEW, _CREATE = Phase.PR_UNDER_REVIEW, Phase.PR_CREATION_IN_PROGRESS
_DELIVER = Phase.DEPLOYMENT_IN_PROGRESS

BY_REASON: Mapping[str, Advice] = {
    "NoCause": Advice(
        "Look at {target} (`kubectl -n {namespace} describe {target}`) and say in a comment here "
        "what you see; the next analysis reads it.", _ANALYSE,
    ),
    "NotReproducible": Advice(
        "Close this ticket if {target} is well; if it fails only now and then, hand it back while "
        "it does.", _ANALYSE,
    ),
    "ClassNotAllowed": Advice(
        "Mend {target} by hand, or allow the class in `guards.classes` of policy {policy}.", _FIX,
    ),
    "ClassSuspended": Advice(
        "Find out why the last fixes of this class failed, then lift the stop as said above.", _FIX,
    ),
    "ChangesRequested": Advice(
        "Read the review of {pull} and change the branch yourself, or have it approved as it is.",
        _REVIEW,
    ),
    "ClosedUnmerged": Advice(
        "Say in a comment here what is wrong with {pull}; the next proposal reads it.", _FIX,
    ),
    "ForeignPush": Advice(
        "Finish and merge {pull} yourself: the newest commit is a person's.", _REVIEW,
    ),
    "NotMergeable": Advice(
        "Make {pull} mergeable: mend the failing checks or the conflict.", _REVIEW,
    ),
    "BranchTaken": Advice(
        "Delete the branch that is named above, or merge what stands in it.", _CREATE,
    ),
    "DeploymentFailed": Advice(
        "Mend what the delivery says of the merged commit, and let it run again.", _DELIVER,
    ),
    "VerificationFailed": Advice(
        "Decide about the merged fix: take it back (`selfheal rollback {key} --yes`), or mend "
        "{target} further.", _ANALYSE,
    ),
}  # fmt: skip

_BY_PHASE: Mapping[Phase, Advice] = {
    Phase.INCIDENT_DETECTED: Advice(
        "Name the workload in a comment here, or in `spec.targetRef` of incident {key}.",
        Phase.INCIDENT_DETECTED,
    ),
    Phase.ANALYSIS_IN_PROGRESS: BY_REASON["NoCause"],
    Phase.ANALYSIS_COMPLETE: Advice(
        "Mend what the message names, or change {target} in Git yourself.", _FIX,
    ),
    Phase.PR_CREATION_IN_PROGRESS: Advice(
        "Mend what keeps the pull request from being opened, as said above.", _CREATE,
    ),
    Phase.PR_CREATED: Advice("Review {pull}: approve it, or close it.", _REVIEW),
    Phase.PR_UNDER_REVIEW: Advice("Review {pull}: approve it, or close it.", _REVIEW),
    Phase.PR_APPROVED: Advice("Merge {pull}, or close it.", _REVIEW),
    Phase.PR_MERGED: Advice(
        "Look why the merged commit does not reach {target} (delivery: {delivery}).", _DELIVER,
    ),
    Phase.DEPLOYMENT_IN_PROGRESS: Advice(
        "Look why {target} does not finish its rollout "
        "(`kubectl -n {namespace} describe {target}`).", _DELIVER,
    ),
    Phase.VERIFICATION_IN_PROGRESS: BY_REASON["VerificationFailed"],
}  # fmt: skip

_DEFAULT = Advice("Change {target} in Git yourself, as the message says.", _FIX)


def find_advice(handover: Handover, status: IncidentStatus) -> Advice:
    """Return the next action for a reason, else for the phase that it stopped at."""
    pull = status.pull_request
    if handover.reason == "Timeout" and pull is not None and pull.checks == "Failure":
        return BY_REASON["NotMergeable"]  # no review ends that
    return BY_REASON.get(handover.reason) or _BY_PHASE.get(handover.phase, _DEFAULT)


def render(incident: Incident, status: IncidentStatus, *, measured: list[str]) -> str:
    """Return the pack in the small Markdown dialect; ``measured`` are lines about the checks."""
    handover = status.handover
    if handover is None:
        return "A person is needed."
    advice = find_advice(handover, status)
    action = advice.action.format_map(_names(incident, status))
    return "\n".join(
        [
            f"**A person is needed: {handover.reason}**",
            "",
            handover.message,
            "",
            f"**Next:** {action}",
            "",
            f"- Stopped at: {STEPS.get(handover.phase, str(handover.phase))} ({handover.phase})",
            *_seen(incident, status),
            *_tried(status),
            *measured,
            f"- To give it back: move this ticket to *{_status_of(status, advice.resume)}*; "
            "attempts start afresh, and a comment of yours is read.",
        ]
    )


def _names(incident: Incident, status: IncidentStatus) -> Mapping[str, str]:
    target, pull, deployment = status.target, status.pull_request, status.deployment
    return {
        "target": f"{target.kind.lower()}/{target.name}" if target else "the workload",
        "namespace": incident.metadata.namespace,
        "key": incident.key,
        "policy": incident.spec.policy_ref,
        "pull": pull.url if pull else "the pull request",
        "delivery": deployment.strategy if deployment else "as the policy says",
    }


def _seen(incident: Incident, status: IncidentStatus) -> list[str]:
    found, namespace = status.diagnosis, incident.metadata.namespace
    look = f"`kubectl describe shi -n {namespace} {incident.metadata.name}`"
    if found is None:
        return ["- Seen: no cause was found", f"- Look: {look}"]
    lines = [f"- Seen: {found.class_} ({found.confidence:.0%}). {found.cause}"]
    if found.evidence_ref:
        lines += [f"- Evidence: `kubectl get shev -n {namespace} {found.evidence_ref} -o yaml`"]
    return [*lines, f"- Look: {look}"]


def _tried(status: IncidentStatus) -> list[str]:
    attempts, pull, revert = status.attempts, status.pull_request, status.revert
    counts = (
        ("analyses", attempts.analysis), ("fixes", attempts.fix),
        ("pull requests", attempts.pull_request), ("revisions", attempts.revision),
    )  # fmt: skip
    told = ", ".join(f"{count} {name}" for name, count in counts if count) or "nothing yet"
    lines = [f"- Tried in run {status.run}: {told}"]
    lines += [f"- Proposed: {status.fix.summary}"] if status.fix else []
    lines += [f"- Pull request: {pull.url} ({pull.state})"] if pull else []
    lines += [f"- Revert: {revert.url} ({revert.state})"] if revert else []
    return lines


def _status_of(status: IncidentStatus, phase: Phase) -> str:
    """Return the project's own name of a phase's status."""
    known = status.identity.statuses.get(phase.value) if status.identity is not None else None
    return (known or list(phases.DEFAULT_STATUSES[phase]))[0]
