"""What the phases of an open pull request have in common: reading it, and whose word it has."""

from __future__ import annotations

from selfheal.api.policy import MergeBy, MergeSpec, RepositorySpec, Risk
from selfheal.domain.decisions import Decision, Stall
from selfheal.domain.facts import PullRequestFacts
from selfheal.domain.machine.fixing import precondition
from selfheal.domain.machine.verdicts import is_approved
from selfheal.domain.view import View

UNMAPPED = Stall(reason="NoRepository", message="The policy maps no repository any more.")
RISKS = (Risk.LOW, Risk.MEDIUM, Risk.HIGH)


def find_pull(view: View) -> PullRequestFacts | Decision:
    """Return our pull request as read, or what to do without one."""
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


def repository_of(view: View) -> RepositorySpec:
    """Return the mapping that the pull request implies."""
    assert view.repository is not None  # noqa: S101 - find_pull has looked
    return view.repository


def approval_waived(view: View) -> bool:
    """Say whether the policy merges this fix without a person's approval (api.md, Modes)."""
    spec = repository_of(view).merge
    if spec.require_approval or spec.by is not MergeBy.OPERATOR:
        return False
    repository = view.fact("repository")
    return bool(repository and repository.has_required_checks) and _risk_allowed(view, spec)


def _risk_allowed(view: View, spec: MergeSpec) -> bool:
    fix = view.status.fix
    if fix is not None and fix.code:
        return False  # what a model wrote is merged by no machine alone
    risk = Risk(fix.risk) if fix else Risk.HIGH
    return RISKS.index(risk) <= RISKS.index(spec.max_risk)


def may_go_on(view: View, pull: PullRequestFacts) -> bool:
    """Say whether the present head has the approvals that policy and repository demand."""
    wants_more = pull.review_decision == "REVIEW_REQUIRED"  # for example a second approval
    return (is_approved(pull) and not wants_more) or approval_waived(view)


def is_own(view: View, pull: PullRequestFacts) -> bool:
    """Say whether the head is the last commit that we made."""
    known = view.status.pull_request
    return known is not None and pull.head_sha == known.head_sha
