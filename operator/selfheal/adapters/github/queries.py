"""The GraphQL read of pull requests: building the query and reading the answer. Pure.

Fields: https://docs.github.com/en/graphql/reference/objects#pullrequest
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from selfheal.domain import facts

# At most so many pull requests in one request, well below GitHub's limits of nodes and time.
CHUNK = 50

_PERSON = "User"
_GHOST = "ghost"  # how GitHub shows an account that was deleted

_FIELDS = """number url state isDraft merged mergedAt mergeCommit{oid} headRefOid headRefName
baseRefName mergeable mergeStateStatus isInMergeQueue reviewDecision author{login}
mergedBy{login} closedAt body
labels(first:50){nodes{name}}
reviews(last:50){nodes{id url state author{login __typename} authorCanPushToRepository
commit{oid} submittedAt body
comments(first:20){nodes{body}}}}
reviewRequests(first:20){nodes{requestedReviewer{... on User{login}}}}
comments(last:50){totalCount nodes{author{login __typename}}}
assignees(first:20){nodes{login}}
commits(last:1){nodes{commit{oid statusCheckRollup{state contexts(first:100){nodes{__typename
... on CheckRun{name status conclusion isRequired(pullRequestNumber:NUMBER)}
... on StatusContext{context state isRequired(pullRequestNumber:NUMBER)}}}}}}}"""

UPDATE_REFS = """mutation($input: UpdateRefsInput!) {
updateRefs(input: $input) { clientMutationId }
}"""
DEQUEUE = """mutation($input: DequeuePullRequestInput!) {
dequeuePullRequest(input: $input) { clientMutationId }
}"""
ENQUEUE = """mutation($input: EnqueuePullRequestInput!) {
enqueuePullRequest(input: $input) { mergeQueueEntry { state } }
}"""

_MERGEABLE = {"MERGEABLE": True, "CONFLICTING": False}
_STATES = {
    "OPEN": facts.PullRequestState.OPEN,
    "CLOSED": facts.PullRequestState.CLOSED,
    "MERGED": facts.PullRequestState.MERGED,
}
_REVIEWS = {
    "APPROVED": facts.ReviewState.APPROVED,
    "CHANGES_REQUESTED": facts.ReviewState.CHANGES_REQUESTED,
    "COMMENTED": facts.ReviewState.COMMENTED,
    "DISMISSED": facts.ReviewState.DISMISSED,
}
_PASSED = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})  # conclusions that satisfy a required check
_FAILED_STATUS = frozenset({"FAILURE", "ERROR"})

Wanted = tuple[str, int]


NEWER = ("isInMergeQueue", "authorCanPushToRepository")
"""Fields that an older Enterprise Server may not know; there is no queue then, and people count."""


def build(wanted: Sequence[Wanted], *, without: Collection[str] = ()) -> str:
    """Return one query for all wanted pull requests, aliased ``r<i>`` and ``p<number>``."""
    parts = []
    fields = _FIELDS
    for name in without:
        fields = fields.replace(name, "")
    for index, (repository, numbers) in enumerate(_by_repository(wanted).items()):
        owner, _, name = repository.partition("/")
        pulls = "\n".join(
            f"p{number}: pullRequest(number:{number}){{{fields.replace('NUMBER', str(number))}}}"
            for number in numbers
        )
        where = f"owner:{json.dumps(owner)}, name:{json.dumps(name)}"
        parts.append(f"r{index}: repository({where}){{\n{pulls}\n}}")
    return "query {\n" + "\n".join(parts) + "\n}"


def parse(
    wanted: Sequence[Wanted],
    data: Mapping[str, Any],
    *,
    own_login: str,
    required: Mapping[tuple[str, str], frozenset[str]],
) -> dict[Wanted, facts.PullRequestFacts]:
    """Return what the answer holds; pull requests that are not there are absent.

    ``own_login`` is the operator's account; ``required`` names the required checks of a
    (repository, branch) as far as they are known.
    """
    found: dict[Wanted, facts.PullRequestFacts] = {}
    for index, (repository, numbers) in enumerate(_by_repository(wanted).items()):
        nodes = data.get(f"r{index}") or {}
        for number in numbers:
            node = nodes.get(f"p{number}")
            if node:
                names = required.get((repository, node["baseRefName"]), frozenset())
                found[repository, number] = _pull(repository, node, own_login, names)
    return found


def checks_state(
    contexts: Iterable[Mapping[str, Any]], required: frozenset[str]
) -> facts.ChecksState:
    """Return the state of all required checks together.

    A required name without a run yet is pending: GitHub shows it as "expected".
    """
    seen: dict[str, facts.ChecksState] = {}
    for context in contexts:
        name = context.get("name") or context.get("context") or ""
        if context.get("isRequired") or name in required:
            seen[name] = _context_state(context)
    for name in required:
        seen.setdefault(name, facts.ChecksState.PENDING)
    states = set(seen.values())
    for state in (facts.ChecksState.FAILURE, facts.ChecksState.PENDING, facts.ChecksState.SUCCESS):
        if state in states:
            return state
    return facts.ChecksState.NONE


def _context_state(context: Mapping[str, Any]) -> facts.ChecksState:
    if context["__typename"] == "CheckRun":
        if context.get("status") != "COMPLETED":
            return facts.ChecksState.PENDING
        passed = context.get("conclusion") in _PASSED
        return facts.ChecksState.SUCCESS if passed else facts.ChecksState.FAILURE
    state = context.get("state")
    if state == "SUCCESS":
        return facts.ChecksState.SUCCESS
    return facts.ChecksState.FAILURE if state in _FAILED_STATUS else facts.ChecksState.PENDING


def _by_repository(wanted: Sequence[Wanted]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for repository, number in dict.fromkeys(wanted):
        grouped.setdefault(repository, []).append(number)
    return grouped


def _pull(
    repository: str, node: Mapping[str, Any], own_login: str, required: frozenset[str]
) -> facts.PullRequestFacts:
    author = _login(node["author"])
    ours = frozenset({author, own_login})
    comments = _nodes(node["comments"])
    return facts.PullRequestFacts(
        repository=repository,
        number=node["number"],
        url=node["url"],
        state=_STATES[node["state"]],
        branch=node["headRefName"],
        base=node["baseRefName"],
        head_sha=node["headRefOid"],
        author=author,
        merge_sha=(node["mergeCommit"] or {}).get("oid"),
        merged_by=_login(node["mergedBy"]) if node["state"] == "MERGED" else None,
        draft=node["isDraft"],
        mergeable=_MERGEABLE.get(node["mergeable"]),
        labels=frozenset(label["name"] for label in _nodes(node["labels"])),
        body=node["body"] or "",
        reviews=tuple(
            _review(review, ours)
            for review in _nodes(node["reviews"])
            if review["state"] in _REVIEWS  # not PENDING: nobody but its author sees that
        ),
        person_comments=sum(_is_person(comment["author"], ours) for comment in comments),
        assignees=tuple(person["login"] for person in _nodes(node["assignees"])),
        requested_reviewers=tuple(
            request["requestedReviewer"]["login"]
            for request in _nodes(node["reviewRequests"])
            if (request["requestedReviewer"] or {}).get("login")  # a team has none
        ),
        required_checks=checks_state(_contexts(node), required),
        review_decision=node["reviewDecision"] or None,
        behind=node["mergeStateStatus"] == "BEHIND",
        queued=bool(node.get("isInMergeQueue")),
    )


def _review(node: Mapping[str, Any], ours: frozenset[str]) -> facts.Review:
    login = _login(node["author"])
    # As for GitHub's own protection, only the word of who may write counts.
    may_write = node.get("authorCanPushToRepository") is not False
    return facts.Review(
        by=facts.Actor(id=login, name=login, is_operator=login in ours),
        is_person=_is_person(node["author"], ours) and may_write,
        state=_REVIEWS[node["state"]],
        sha=(node["commit"] or {}).get("oid") or "",
        at=dt.datetime.fromisoformat(node["submittedAt"]),
        body=node["body"] or "",
        id=node["id"],
        url=node["url"],
        comments=tuple(comment["body"] or "" for comment in _nodes(node["comments"])),
    )


def _contexts(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    commits = _nodes(node["commits"])
    rollup = commits[0]["commit"]["statusCheckRollup"] if commits else None
    return _nodes(rollup["contexts"]) if rollup else []


def _is_person(actor: Mapping[str, Any] | None, ours: frozenset[str]) -> bool:
    """Return whether a human account other than the operator's own acted."""
    return actor is not None and actor["__typename"] == _PERSON and actor["login"] not in ours


def _login(actor: Mapping[str, Any] | None) -> str:
    return str(actor["login"]) if actor else _GHOST


def _nodes(connection: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [node for node in (connection or {}).get("nodes") or [] if node]
