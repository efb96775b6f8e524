"""What people's reviews of a pull request come to. Pure reading of facts."""

from __future__ import annotations

from collections.abc import Collection

from selfheal.domain.facts import PullRequestFacts, Review, ReviewState


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
    return next((review.by.name for review in list_objections(pull)), None)


def list_objections(
    pull: PullRequestFacts, *, answered: Collection[str] = ()
) -> tuple[Review, ...]:
    """Return the standing requests for changes, one a person, that no revision has answered."""
    latest = {
        review.by.id: review
        for review in pull.reviews
        if review.is_person and review.state is not ReviewState.COMMENTED
    }
    return tuple(
        review
        for review in latest.values()
        if review.state is ReviewState.CHANGES_REQUESTED and review.id not in answered
    )
