"""PR_CREATION_IN_PROGRESS: the branch, the pull request, and what earlier runs left."""

from __future__ import annotations

from selfheal.api.incident import Phase
from selfheal.domain import effects
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, Wait
from selfheal.domain.effects import EffectKind
from selfheal.domain.machine.fixing import precondition
from selfheal.domain.machine.following import UNMAPPED
from selfheal.domain.view import View

KEEP_LABEL = "selfheal-keep"


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
