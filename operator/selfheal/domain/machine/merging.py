"""PR_APPROVED: merged, by whom the policy says, and nothing but the head that was approved."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Phase
from selfheal.api.policy import MergeBy
from selfheal.domain.decisions import Advance, Decision, Escalate, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.facts import ChecksState, PullRequestFacts, PullRequestState
from selfheal.domain.machine import revising
from selfheal.domain.machine.following import find_pull, is_own, may_go_on, repository_of
from selfheal.domain.machine.verdicts import is_approved
from selfheal.domain.view import View


def approved(view: View) -> Decision:
    """PR_APPROVED: merged, by whom the policy says."""
    pull = find_pull(view)
    if not isinstance(pull, PullRequestFacts):
        return pull
    if pull.state is PullRequestState.MERGED:
        said = view.comment(Milestone.APPROVAL)
        return said or Advance(
            to=Phase.PR_MERGED, why=f"merged by {pull.merged_by or 'the operator'}"
        )
    if pull.state is PullRequestState.CLOSED:
        return Escalate(reason="ClosedUnmerged", message=f"{pull.url} was closed without a merge.")
    said = view.comment(Milestone.APPROVAL)
    return (
        said
        or revising.answer(view, pull)
        or _check_failures(pull)
        or _wait(view, pull)
        or view.act(EffectKind.MERGE_PULL_REQUEST, number=pull.number, sha=pull.head_sha)
    )


def _check_failures(pull: PullRequestFacts) -> Decision | None:
    if pull.required_checks is not ChecksState.FAILURE:
        return None
    return Escalate(reason="NotMergeable", message=f"The required checks of {pull.url} fail.")


def _wait(view: View, pull: PullRequestFacts) -> Decision | None:
    """Return what holds the merge back; None: nothing does."""
    if pull.queued:
        return Wait(
            reason="InMergeQueue", message=f"{pull.url} is in the repository's merge queue.",
            after=view.poll_code,
        )  # fmt: skip
    if repository_of(view).merge.by is MergeBy.PERSON:
        return Wait(
            reason="WaitingForMerge", message=f"Waits for a person to merge {pull.url}",
            after=view.poll_code,
        )  # fmt: skip
    if not is_own(view, pull) and not is_approved(pull) and may_go_on(view, pull):
        return Escalate(reason="ForeignPush", message=f"Somebody pushed to {pull.url}.")
    if not may_go_on(view, pull):
        return Wait(
            reason="WaitingForApproval", message=f"Waits for a person to approve {pull.url}",
            after=view.poll_code,
        )  # fmt: skip
    if pull.required_checks is ChecksState.PENDING:
        return Wait(
            reason="WaitingForChecks", message=f"Waits for the required checks of {pull.url}",
            after=view.poll_code,
        )  # fmt: skip
    if pull.draft:
        return Wait(
            reason="WaitingForMerge", message=f"Waits for a person to take {pull.url} out of draft",
            after=view.poll_code,
        )  # fmt: skip
    return _wait_for_policy(view)


def _wait_for_policy(view: View) -> Wait | None:
    frozen = view.facts.policy.frozen_until
    if frozen is not None:
        return Wait(
            reason="Frozen", message=f"Merges are frozen until {frozen.isoformat()}.",
            after=min(frozen - view.now, dt.timedelta(minutes=5)), pauses_clock=True,
        )  # fmt: skip
    if view.facts.policy.merges_last_hour >= view.policy.code.limits.merges_per_hour:
        return Wait(
            reason="MergeLimit",
            message="As many merges as code.limits.mergesPerHour allows were made this hour.",
            after=dt.timedelta(minutes=1), pauses_clock=True,
        )  # fmt: skip
    return None
