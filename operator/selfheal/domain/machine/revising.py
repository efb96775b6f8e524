"""A pull request that needs another commit: changes requested, checks that fail, a base that moved.

A commit is made only while the head is our own, and only from a stored proposal that passed every
proof and guard. Where none is possible, or the allowance is used, it is a person's turn.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal.api.incident import Phase
from selfheal.api.policy import OnChangesRequested
from selfheal.domain import effects
from selfheal.domain.decisions import Act, Decision, Escalate, Wait
from selfheal.domain.effects import Effect, EffectKind, Milestone
from selfheal.domain.facts import ChecksState, PullRequestFacts, Review, RevisionFacts
from selfheal.domain.machine import verdicts
from selfheal.domain.machine.following import is_own, repository_of
from selfheal.domain.view import View

HOST_LAG = dt.timedelta(seconds=5)
"""Pause until a pull request shows the head that its branch already has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demand:
    """Why another commit is needed; ``reviews`` are what it has to answer."""

    kind: EffectKind  # REVISE or REAPPLY
    reason: str
    message: str
    reviews: tuple[Review, ...] = ()


def catch_up(view: View, pull: PullRequestFacts) -> Decision | None:
    """Take in a commit of ours that a crash left unrecorded; None: there is none."""
    known = view.status.pull_request
    spent = {kind: _spent(view, kind) for kind in (EffectKind.REVISE, EffectKind.REAPPLY)}
    if known is None or is_own(view, pull) or not any(spent.values()):
        return None
    branch = view.fact("branch")
    if branch is None:
        return None
    if branch.sha == known.head_sha:
        return Wait(
            reason="WaitingForHost",
            message=f"Waits until {pull.url} shows the newest commit of its branch.",
            after=HOST_LAG,
        )
    for kind, attempt in spent.items():
        if attempt and branch.effect_key == push_key(view, kind, attempt):
            return _push(view, kind, attempt)
    return None


def answer_conflict(view: View, pull: PullRequestFacts) -> Decision | None:
    """Put the fix onto a base that has moved under it; None: it fits, or is not ours to move."""
    known = view.status.pull_request
    if pull.mergeable is not False and not _must_follow(view, pull):
        return None
    if not is_own(view, pull) or known is None:
        return _theirs(view, pull)
    what = "conflicts with its base" if pull.mergeable is False else "is behind its base"
    demand = Demand(kind=EffectKind.REAPPLY, reason="NotMergeable", message=f"{pull.url} {what}")
    return _settle(view, demand, allowed=view.policy.attempts.pull_request)


def _must_follow(view: View, pull: PullRequestFacts) -> bool:
    """Say whether the host merges only what is up to date; sooner it would cost reviews."""
    return pull.behind and view.phase is Phase.PR_APPROVED


def _theirs(view: View, pull: PullRequestFacts) -> Decision | None:
    """A head that a person made is theirs to mend; it is in the way only once it is approved."""
    if view.phase is not Phase.PR_APPROVED:
        return None
    return Escalate(
        reason="NotMergeable",
        message=f"{pull.url} does not fit its base, and the newest commit is not the operator's.",
    )


def answer_people(view: View, pull: PullRequestFacts) -> Decision | None:
    """Answer requested changes; None: nobody asks for any that are not answered."""
    known = view.status.pull_request
    open_ = verdicts.list_objections(pull, answered=known.answered if known else ())
    if not open_:
        return None
    demand = Demand(
        kind=EffectKind.REVISE,
        reason="ChangesRequested",
        message=f"{open_[0].by.name} asked for changes on {pull.url}",
        reviews=open_,
    )
    if not _revises(view):
        return Escalate(reason=demand.reason, message=demand.message)
    return _revise(view, pull, demand)


def await_people(view: View, pull: PullRequestFacts) -> Wait | None:
    """Wait for who asked for changes to look at the revision that answers them."""
    objector = verdicts.wants_changes(pull)
    if objector is None:
        return None
    return Wait(
        reason="WaitingForReview",
        message=f"A revision of {pull.url} answers {objector}; waits for their next review.",
        after=view.poll_code,
    )


def _tell(view: View) -> Act | None:
    """Say in the ticket which fix stands since the last commit; None: that was said."""
    number = view.status.fix.revision if view.status.fix else 0
    return view.comment(Milestone.REVISION, number=number) if number else None


def answer(view: View, pull: PullRequestFacts) -> Decision | None:
    """Return what an open pull request needs before it can go on; None: nothing."""
    return (
        _tell(view)
        or catch_up(view, pull)
        or answer_people(view, pull)
        or answer_conflict(view, pull)
        or answer_checks(view, pull)
        or await_people(view, pull)
    )


def answer_checks(view: View, pull: PullRequestFacts) -> Decision | None:
    """Answer required checks that fail, where the policy revises; None: they do not."""
    if pull.required_checks is not ChecksState.FAILURE or not _revises(view):
        return None
    demand = Demand(
        kind=EffectKind.REVISE, reason="ChecksFailed",
        message=f"The required checks of {pull.url} fail",
    )  # fmt: skip
    return _revise(view, pull, demand)


def _revises(view: View) -> bool:
    spec = repository_of(view).pull_request
    return spec.on_changes_requested is OnChangesRequested.REVISE


def _revise(view: View, pull: PullRequestFacts, demand: Demand) -> Decision:
    if not is_own(view, pull):
        return Escalate(
            reason=demand.reason,
            message=f"{demand.message}. A person has pushed onto the branch, so it is theirs.",
        )
    return _settle(view, demand, allowed=repository_of(view).pull_request.revisions)


def _settle(view: View, demand: Demand, *, allowed: int) -> Decision:
    """Make a revision, push it once it is proved, or give the demand to a person."""
    spent = _spent(view, demand.kind)
    found = _stored(view, demand, spent)
    if found is not None and found.proposal.refused is None:
        return _push(view, demand.kind, spent)
    if found is not None:
        return Escalate(
            reason=demand.reason,
            message=f"{demand.message}. No revision is possible: {found.proposal.refused}",
        )
    intent = view.status.intent
    open_ = intent is not None and intent.kind == demand.kind
    if open_ and not (view.facts.policy.cut_off and view.facts.policy.has_model):
        return view.act(demand.kind, attempt=max(spent, 1))
    if spent >= allowed:
        return Escalate(
            reason=demand.reason,
            message=f"{demand.message}. All {allowed} commits that the policy allows are made.",
        )
    return view.act(demand.kind, attempt=spent + 1)


def _stored(view: View, demand: Demand, spent: int) -> RevisionFacts | None:
    """Return the stored answer to this very demand: of the present head, for these reviews."""
    known = view.status.pull_request
    stored = (view.fact("revisions") or {}) if spent else {}
    found: RevisionFacts | None = stored.get(demand.kind)
    if found is None or known is None or found.head_sha != known.head_sha:
        return None
    asked = {review.id for review in demand.reviews}
    return found if found.proposal.refused is None or asked <= set(found.answers) else None


def _spent(view: View, kind: EffectKind) -> int:
    attempts = view.status.attempts
    return attempts.revision if kind is EffectKind.REVISE else attempts.reapply


def push_key(view: View, kind: EffectKind, attempt: int) -> str:
    """Return the key in the trailer of a revision's commit; the same in every phase."""
    return effects.compute_key(
        view.uid, view.status, Phase.PR_UNDER_REVIEW, f"push-{kind}", attempt=attempt
    )


def _push(view: View, kind: EffectKind, attempt: int) -> Act:
    known = view.status.pull_request
    assert known is not None  # noqa: S101 - every caller has looked
    return Act(
        effect=Effect(
            kind=EffectKind.PUSH_REVISION, key=push_key(view, kind, attempt), why=kind,
            number=known.number, branch=known.branch, sha=known.head_sha,
        )
    )  # fmt: skip
