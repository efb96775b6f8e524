"""PR_CREATION_IN_PROGRESS to PR_APPROVED: the pull request, its review and its merge."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Phase
from selfheal.api.policy import MergeBy, MergeSpec, OnChangesRequested, RepositorySpec, Risk
from selfheal.domain import effects
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, Stall, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.facts import ChecksState, PullRequestFacts, PullRequestState, ReviewState
from selfheal.domain.machine import recovery
from selfheal.domain.machine.fixing import precondition
from selfheal.domain.view import View

KEEP_LABEL = "selfheal-keep"
UNMAPPED = Stall(reason="NoRepository", message="The policy maps no repository any more.")
RISKS = (Risk.LOW, Risk.MEDIUM, Risk.HIGH)


def creating(view: View) -> Decision:
    """PR_CREATION_IN_PROGRESS: the pull request exists."""
    if view.status.fix is None or view.status.fix.proposal_ref is None:
        return precondition(view, "a proposed fix")
    if view.repository is None:
        return UNMAPPED
    left = close_leftovers(view, keep=_branch(view))
    if left is not None:
        return left
    if view.pull() is not None:
        return Advance(to=Phase.PR_CREATED, why="the pull request exists")
    limit = view.policy.code.limits.open_pull_requests
    if view.facts.policy.open_pull_requests >= limit:
        return Wait(
            reason="PullRequestLimit",
            message=f"{limit} pull requests are open already (code.limits.openPullRequests).",
            after=view.poll_code, pauses_clock=True,
        )  # fmt: skip
    attempt = max(view.status.attempts.fix, 1)
    push = view.act(EffectKind.PUSH_BRANCH, attempt=attempt, branch=_branch(view))
    branch = view.fact("branch")
    if branch is None:
        return push
    if branch.effect_key != push.effect.key:
        return Escalate(
            reason="BranchTaken",
            message=f"The head of branch {branch.name} is not the commit that we made; nothing is "
            "pushed onto it, and no pull request is opened from it.",
        )
    return view.act(EffectKind.OPEN_PULL_REQUEST, attempt=attempt, branch=_branch(view))


def _branch(view: View) -> str:
    meta = view.incident.metadata
    attempt = max(view.status.attempts.fix, 1)
    return effects.compute_branch(
        meta.namespace, meta.name, view.uid, run=view.status.run, attempt=attempt
    )


def close_leftovers(view: View, *, keep: str | None) -> Act | None:
    """Close what earlier runs left open, unless a person keeps it, and delete unused branches."""
    if view.status.run == 1:
        return None
    for pull in view.fact("leftovers") or ():
        if pull.branch != keep and KEEP_LABEL not in pull.labels:
            return view.act(
                EffectKind.CLOSE_PULL_REQUEST,
                number=pull.number, branch=pull.branch, why=_why_closed(view),
            )  # fmt: skip
    for name in view.facts.leftover_branches:
        if name != keep:
            return view.act(EffectKind.DELETE_BRANCH, branch=name)
    return None


def _why_closed(view: View) -> str:
    over = view.phase is Phase.INCIDENT_RESOLVED
    return "the incident has ended" if over else "a newer run replaces it"


def _known(view: View) -> PullRequestFacts | Decision:
    if view.status.pull_request is None:
        return precondition(view, "a pull request")
    if view.repository is None:
        return UNMAPPED
    pull = view.pull()
    if pull is None:
        return Stall(
            reason="PullRequestMissing",
            message=f"Pull request {view.status.pull_request.url} cannot be read.",
        )
    return pull


def created(view: View) -> Decision:
    """PR_CREATED: a person's first sign arrives, or no approval is required."""
    pull = _known(view)
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
    ended = recovery.recovered(view)
    return ended or Wait(
        reason="WaitingForReview",
        message=f"Waits for a person to review {pull.url}",
        after=view.poll_code,
    )


def _people(pull: PullRequestFacts) -> list[str]:
    return [review.by.name for review in pull.reviews if review.is_person]


def approval_waived(view: View) -> bool:
    """Say whether the policy merges this fix without a person's approval (api.md, Modes)."""
    spec = _repository(view).merge
    if spec.require_approval or spec.by is not MergeBy.OPERATOR:
        return False
    repository = view.fact("repository")
    return bool(repository and repository.has_required_checks) and _risk_allowed(view, spec)


def _risk_allowed(view: View, spec: MergeSpec) -> bool:
    fix = view.status.fix
    risk = Risk(fix.risk) if fix else Risk.HIGH
    return RISKS.index(risk) <= RISKS.index(spec.max_risk)


def _repository(view: View) -> RepositorySpec:
    assert view.repository is not None  # noqa: S101 - a pull request implies a mapping or precondition
    return view.repository


def is_approved(pull: PullRequestFacts) -> bool:
    """Say whether a person other than the author approved the present head, and nobody objects."""
    latest: dict[str, tuple[ReviewState, str]] = {}
    for review in pull.reviews:
        if review.is_person and review.state is not ReviewState.COMMENTED:
            latest[review.by.id] = (review.state, review.sha)
    states = [state for state, _ in latest.values()]
    approvals = [
        person
        for person, (state, sha) in latest.items()
        if state is ReviewState.APPROVED and sha == pull.head_sha and person != pull.author
    ]
    return bool(approvals) and ReviewState.CHANGES_REQUESTED not in states


def wants_changes(pull: PullRequestFacts) -> str | None:
    """Return who requested changes and has not approved since; None: nobody."""
    latest = {
        review.by.id: review
        for review in pull.reviews
        if review.is_person and review.state is not ReviewState.COMMENTED
    }
    for review in latest.values():
        if review.state is ReviewState.CHANGES_REQUESTED:
            return review.by.name
    return None


def reviewing(view: View) -> Decision:
    """PR_UNDER_REVIEW: required checks green, a person's approval of the present head."""
    pull = _known(view)
    if not isinstance(pull, PullRequestFacts):
        return pull
    if pull.state is PullRequestState.MERGED:
        return Advance(to=Phase.PR_APPROVED, why=f"merged by {pull.merged_by or 'a person'}")
    if pull.state is PullRequestState.CLOSED:
        return Escalate(reason="ClosedUnmerged", message=f"{pull.url} was closed without a merge.")
    objector = wants_changes(pull)
    if objector is not None:
        return _objected(view, pull, objector)
    ours = view.status.pull_request
    wants_more = pull.review_decision == "REVIEW_REQUIRED"  # for example a second approval
    approved = (is_approved(pull) and not wants_more) or approval_waived(view)
    if approved and pull.required_checks in (ChecksState.SUCCESS, ChecksState.NONE):
        if ours is not None and pull.head_sha != ours.head_sha and approval_waived(view):
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


def _objected(view: View, pull: PullRequestFacts, objector: str) -> Decision:
    spec = _repository(view).pull_request
    revise = spec.on_changes_requested is OnChangesRequested.REVISE
    if revise and view.status.attempts.revision < spec.revisions:
        return Wait(
            reason="WaitingForReview",
            message=f"{objector} asked for changes on {pull.url}; waits for their next review.",
            after=view.poll_code,
        )
    return Escalate(
        reason="ChangesRequested", message=f"{objector} asked for changes on {pull.url}"
    )


def approved(view: View) -> Decision:
    """PR_APPROVED: merged, by whom the policy says."""
    pull = _known(view)
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
    if said is not None:
        return said
    if pull.required_checks is ChecksState.FAILURE or pull.mergeable is False:
        return Escalate(
            reason="NotMergeable", message=f"{pull.url} conflicts with its base or its checks fail."
        )
    return _merge(view, pull)


def _merge(view: View, pull: PullRequestFacts) -> Decision:
    if _repository(view).merge.by is MergeBy.PERSON:
        return Wait(
            reason="WaitingForMerge", message=f"Waits for a person to merge {pull.url}",
            after=view.poll_code,
        )  # fmt: skip
    if not (is_approved(pull) or approval_waived(view)):
        return Wait(
            reason="WaitingForApproval", message=f"Waits for a person to approve {pull.url}",
            after=view.poll_code,
        )  # fmt: skip
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
    return view.act(EffectKind.MERGE_PULL_REQUEST, number=pull.number, sha=pull.head_sha)
