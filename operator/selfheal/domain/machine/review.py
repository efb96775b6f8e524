"""PR_CREATED and PR_UNDER_REVIEW: a person's part, and what their review asks for."""

from __future__ import annotations

from selfheal.api.incident import Phase
from selfheal.domain.decisions import Advance, Decision, Escalate, Wait
from selfheal.domain.effects import Milestone
from selfheal.domain.facts import ChecksState, PullRequestFacts, PullRequestState
from selfheal.domain.machine import recovery, revising
from selfheal.domain.machine.following import approval_waived, find_pull, is_own, may_go_on
from selfheal.domain.view import View


def created(view: View) -> Decision:
    """PR_CREATED: a person's first sign arrives, or no approval is required."""
    pull = find_pull(view)
    if not isinstance(pull, PullRequestFacts):
        return pull
    said = view.comment(Milestone.PULL_REQUEST)
    if said is not None:
        return said
    touched = bool(_people(pull) or pull.person_comments or pull.assignees)
    asked = bool(pull.requested_reviewers)
    over = pull.state is not PullRequestState.OPEN
    if over or touched or asked or approval_waived(view):
        return Advance(to=Phase.PR_UNDER_REVIEW, why="the review has begun")
    ended = recovery.recovered(view) or revising.answer(view, pull)
    return ended or Wait(
        reason="WaitingForReview",
        message=f"Waits for a person to review {pull.url}",
        after=view.poll_code,
    )


def _people(pull: PullRequestFacts) -> list[str]:
    return [review.by.name for review in pull.reviews if review.is_person]


def reviewing(view: View) -> Decision:
    """PR_UNDER_REVIEW: required checks green, a person's approval of the present head."""
    pull = find_pull(view)
    if not isinstance(pull, PullRequestFacts):
        return pull
    if pull.state is PullRequestState.MERGED:
        return Advance(to=Phase.PR_APPROVED, why=f"merged by {pull.merged_by or 'a person'}")
    if pull.state is PullRequestState.CLOSED:
        return Escalate(reason="ClosedUnmerged", message=f"{pull.url} was closed without a merge.")
    return revising.answer(view, pull) or _judge(view, pull)


def _judge(view: View, pull: PullRequestFacts) -> Decision:
    approved = may_go_on(view, pull)
    if approved and pull.required_checks in (ChecksState.SUCCESS, ChecksState.NONE):
        if not is_own(view, pull) and approval_waived(view):
            return Escalate(reason="ForeignPush", message=f"Somebody pushed to {pull.url}.")
        return Advance(to=Phase.PR_APPROVED, why="approved, and the required checks are green")
    ended = recovery.recovered(view)
    return ended or Wait(
        reason="WaitingForApproval" if not approved else "WaitingForChecks",
        message=_review_message(pull, approved=approved),
        after=view.poll_code,
    )


def _review_message(pull: PullRequestFacts, *, approved: bool) -> str:
    if not approved:
        return f"Waits for a person to approve {pull.url}"
    return f"Waits for the required checks of {pull.url} ({pull.required_checks.value})"
