"""INCIDENT_RESOLVED and INCIDENT_REQUIRES_HUMAN."""

from __future__ import annotations

from selfheal.api.incident import Handover, Phase
from selfheal.domain.decisions import Advance, Decision, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.facts import ChecksState, PullRequestFacts, PullRequestState
from selfheal.domain.machine.verdicts import is_approved
from selfheal.domain.view import View

REVIEW_REASONS = frozenset(
    {"ChangesRequested", "ChecksFailed", "ClosedUnmerged", "NotMergeable", "Timeout", "ForeignPush"}
)
"""Hand-overs after which a person's approval or merge brings the incident back by itself."""


def resolved(view: View) -> Decision:
    """INCIDENT_RESOLVED rests until somebody reopens the ticket."""
    resolution = view.status.resolution
    return Wait(
        reason="Resolved",
        message=f"Resolved: {resolution}." if resolution else "Resolved.",
        after=view.poll_ticket * 10 if view.tracked else None,
    )


def handed_over(view: View) -> Decision:
    """INCIDENT_REQUIRES_HUMAN waits for a person; an approval or merge of ours resumes it."""
    resumed = _resume(view)
    if resumed is not None:
        return resumed
    by_us = view.status.handover is not None and view.status.handover.run == view.status.run
    said = view.comment(Milestone.HANDOVER) or _say_there(view) if by_us else None
    return said or Wait(
        reason="WaitingForPerson",
        message=_message(view),
        after=view.poll_ticket,
    )


def _say_there(view: View) -> Decision | None:
    """Say in the merged pull request too that its fix did not prove itself, once."""
    handover = view.status.handover
    failed = handover is not None and handover.reason == "VerificationFailed"
    if not failed or view.status.pull_request is None:
        return None
    return view.comment(Milestone.HANDOVER, on=EffectKind.COMMENT_PULL_REQUEST)


def _message(view: View) -> str:
    handover = view.status.handover
    if handover is None or handover.run != view.status.run:
        return "A person has taken over; move the ticket back to hand it to the operator."
    return f"{handover.reason}: {handover.message} Move the ticket back to try again."


def _is_approved_after_all(handover: Handover, pull: PullRequestFacts) -> bool:
    """Say whether what was missing is there now; an approval that was there already is no news."""
    if pull.state is not PullRequestState.OPEN or not is_approved(pull) or not pull.mergeable:
        return False
    was_approved = handover.phase is Phase.PR_APPROVED
    if was_approved and handover.reason == "Timeout":
        return False  # a person was to merge it
    return pull.required_checks is not ChecksState.FAILURE


def _resume(view: View) -> Decision | None:
    handover = view.status.handover
    ours = view.status.pull_request
    if handover is None or ours is None or handover.run != view.status.run:
        return None
    review = handover.phase in (Phase.PR_CREATED, Phase.PR_UNDER_REVIEW, Phase.PR_APPROVED)
    moved_by_person = bool(view.status.history) and view.status.history[-1].by != "operator"
    if not review or moved_by_person or handover.reason not in REVIEW_REASONS:
        return None
    pull = view.pull()
    if pull is None:
        return None
    if pull.state is PullRequestState.MERGED or _is_approved_after_all(handover, pull):
        return Advance(to=Phase.PR_UNDER_REVIEW, why="a person approved or merged after all")
    return None
