"""Pull requests: finding, opening, mirroring, commenting, merging, closing."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from selfheal import ports
from selfheal.adapters.github import errors as translation
from selfheal.adapters.github import marks, queries, repositories, session
from selfheal.domain import errors, facts

_LOG = logging.getLogger(__name__)
_WRITE = "pull requests: write"
_READ = "pull requests: read"
_LABEL_COLOUR = "1d76db"
_QUEUED = dt.timedelta(seconds=30)

Required = Mapping[tuple[str, str], frozenset[str]]


def read_many(
    api: session.Api, wanted: Sequence[queries.Wanted], own_login: str, required: Required
) -> dict[queries.Wanted, facts.PullRequestFacts]:
    """Read many, in as few requests as GitHub's limits allow; missing ones are absent."""
    unique = list(dict.fromkeys(wanted))
    found: dict[queries.Wanted, facts.PullRequestFacts] = {}
    for start in range(0, len(unique), queries.CHUNK):
        chunk = unique[start : start + queries.CHUNK]
        data, faults = _query(api, chunk)
        for fault in faults:
            if fault.get("type") != "NOT_FOUND":
                text = translation.answer_text(fault)
                raise errors.Transient(f"GraphQL read failed: {text}", system=translation.SYSTEM)
        found.update(queries.parse(chunk, data, own_login=own_login, required=required))
    return found


def _query(
    api: session.Api, chunk: Sequence[queries.Wanted]
) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Ask for pull requests; once more without fields that the server does not know."""
    try:
        return api.graphql(queries.build(chunk))
    except errors.Transient as exc:
        unknown = [name for name in queries.NEWER if name in exc.message]
        if not unknown:
            raise
        return api.graphql(queries.build(chunk, without=queries.NEWER))


def read(
    api: session.Api, wanted: queries.Wanted, own_login: str, required: Required
) -> facts.PullRequestFacts:
    """Read one; NotFound where the repository has no such pull request."""
    found = read_many(api, [wanted], own_login, required).get(wanted)
    if found is None:
        repository, number = wanted
        missing = errors.NotFound(f"{repository} has no pull request {number}")
        raise repositories.explain_missing(api, repository, missing, _READ)
    return found


def find_number(api: session.Api, repository: str, branch: str, key: str) -> int | None:
    """Return the number of the pull request from this branch, in any state, that has our key."""
    owner = repository.partition("/")[0]
    path = f"/repos/{repository}/pulls"
    try:
        listed = list(api.pages(path, head=f"{owner}:{branch}", state="all"))
    except errors.NotFound as exc:
        raise repositories.not_visible(repository, _READ) from exc
    ours = [
        pull
        for pull in listed
        if pull["head"]["ref"] == branch and marks.has_key(pull["body"], key)
    ]
    ours.sort(key=lambda pull: (pull["state"] != "open", -pull["number"]))
    return int(ours[0]["number"]) if ours else None


def ensure(api: session.Api, draft: ports.PullRequestDraft) -> int:
    """Open the pull request or adopt the one with our key; return its number."""
    number = find_number(api, draft.repository, draft.branch, draft.key)
    if number is None:
        number = _open(api, draft)
    _complete(api, draft, number)
    return number


def save_mirror(
    api: session.Api,
    pull: facts.PullRequestFacts,
    *,
    label: str,
    status_block: str,
    known: set[tuple[str, str]],
) -> None:
    """Write phase label and status block, each in one request and only where it differs.

    Both are read again just before, since GitHub takes them only whole and a person may have
    edited them. ``known``: labels that were seen in their repository; they are not asked for
    again, for GitHub itself makes one that was deleted since.
    """
    path = f"/repos/{pull.repository}/pulls/{pull.number}"
    try:
        fresh = api.get(path)
        labels = frozenset(item["name"] for item in fresh["labels"])
        body = fresh["body"] or ""
        if not marks.shows_status(body, status_block):
            api.send("PATCH", path, {"body": marks.with_status(body, status_block)})
        if marks.with_phase(labels, label) != labels:
            if label not in labels and (pull.repository, label) not in known:
                _ensure_label(api, pull.repository, label)
                known.add((pull.repository, label))
            names = sorted(marks.with_phase(labels, label))
            where = f"/repos/{pull.repository}/issues/{pull.number}/labels"
            api.send("PUT", where, {"labels": names})
    except errors.NotFound as exc:
        raise repositories.not_visible(pull.repository, _WRITE) from exc


def mirrors(labels: frozenset[str], body: str, label: str, status_block: str) -> bool:
    """Return whether labels and body show this phase already."""
    return marks.with_phase(labels, label) == labels and marks.shows_status(body, status_block)


def ensure_comment(
    api: session.Api, repository: str, number: int, *, marker: str, body: str
) -> str:
    """Post a comment with the marker, or edit ours that has it; return its id."""
    path = f"/repos/{repository}/issues/{number}/comments"
    text = marks.marked(body, marker)
    try:
        for comment in api.pages(path):
            if marks.has_key(comment["body"], marker):
                if comment["body"].replace("\r\n", "\n") != text:
                    where = f"/repos/{repository}/issues/comments/{comment['id']}"
                    api.send("PATCH", where, {"body": text})
                return str(comment["id"])
        return str(api.send("POST", path, {"body": text})["id"])
    except errors.NotFound as exc:
        raise repositories.not_visible(repository, _WRITE) from exc


def save_title(api: session.Api, repository: str, number: int, title: str) -> None:
    """Set the title where it is another one."""
    path = f"/repos/{repository}/pulls/{number}"
    try:
        if api.get(path)["title"] != title:
            api.send("PATCH", path, {"title": title})
    except errors.NotFound as exc:
        raise repositories.not_visible(repository, _WRITE) from exc


def merge(api: session.Api, pull: facts.PullRequestFacts, *, sha: str, method: str) -> str:
    """Merge if the head still is ``sha``; return the merge commit, also when merged already.

    Answers: https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request
    """
    path = f"/repos/{pull.repository}/pulls/{pull.number}"
    try:
        answer = api.send("PUT", f"{path}/merge", {"sha": sha, "merge_method": method})
        return str(answer["sha"])
    except errors.NotFound as exc:
        raise repositories.not_visible(pull.repository, f"contents: write, {_WRITE}") from exc
    except translation.RefusedError as exc:
        found = api.get(path)
        if exc.says("merge queue") and found["state"] == "open":
            _enqueue(api, found, sha)
        return _refused_merge(found, sha, method, exc)


def _enqueue(api: session.Api, pull: Mapping[str, Any], sha: str) -> NoReturn:
    """Put it into the repository's merge queue, which merges it; raises Waiting.

    https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/merging-a-pull-request-with-a-merge-queue
    """
    wanted = {"pullRequestId": pull["node_id"], "expectedHeadOid": sha}
    try:
        api.mutate(queries.ENQUEUE, {"input": wanted})
    except translation.RefusedError as exc:
        if pull["head"]["sha"] != sha:
            raise errors.Conflict("the head has moved") from exc
        if not exc.says("already"):
            message = f"GitHub refuses it in the merge queue: {exc.text}"
            raise errors.HandOver("NotMergeable", message) from exc
    raise errors.Waiting(
        "InMergeQueue", f"{pull['html_url']} is in the repository's merge queue.", after=_QUEUED
    )


def leave_queue(api: session.Api, repository: str, number: int) -> None:
    """Take it out of the merge queue; one that is in none is fine."""
    try:
        found = api.get(f"/repos/{repository}/pulls/{number}")
        api.mutate(queries.DEQUEUE, {"input": {"id": found["node_id"]}})
    except errors.NotFound as exc:
        raise repositories.explain_missing(api, repository, exc, _WRITE) from exc
    except translation.RefusedError as exc:
        _LOG.info("%s#%d is in no merge queue: %s", repository, number, exc.text)


def close(api: session.Api, repository: str, number: int) -> None:
    """Close; closed or merged already is fine."""
    path = f"/repos/{repository}/pulls/{number}"
    try:
        if api.get(path)["state"] != "closed":
            api.send("PATCH", path, {"state": "closed"})
    except errors.NotFound as exc:
        raise repositories.explain_missing(api, repository, exc, _WRITE) from exc


def _refused_merge(
    pull: Mapping[str, Any], sha: str, method: str, refusal: translation.RefusedError
) -> str:
    """Return the merge commit of one that is merged already, else raise what the refusal means."""
    if pull["merged"]:
        return str(pull["merge_commit_sha"])
    if pull["state"] != "open" or pull["head"]["sha"] != sha:
        raise errors.Conflict("the pull request was closed or its head has moved") from refusal
    if refusal.says("base branch was modified", "head branch was modified"):
        raise errors.Conflict(refusal.text) from refusal
    if refusal.says("not allowed on this repository"):
        raise errors.PolicyInvalid(
            f"the repository does not allow merge method {method}: {refusal.text}",
            reason="MergeMethodNotAllowed",
            system=translation.SYSTEM,
        ) from refusal
    if pull["mergeable"] is None:
        raise errors.Transient(
            "GitHub has not computed yet whether this can be merged", system=translation.SYSTEM
        ) from refusal
    raise errors.HandOver("NotMergeable", f"GitHub refuses the merge: {refusal.text}") from refusal


def _open(api: session.Api, draft: ports.PullRequestDraft) -> int:
    body = {
        "title": draft.title,
        "body": marks.with_key(draft.body, draft.key),
        "head": draft.branch,
        "base": draft.base,
        "draft": draft.draft,
        "maintainer_can_modify": True,
    }
    try:
        return int(api.send("POST", f"/repos/{draft.repository}/pulls", body)["number"])
    except errors.NotFound as exc:
        raise repositories.not_visible(draft.repository, _WRITE) from exc
    except translation.RefusedError as exc:
        if exc.says("already exists"):
            number = find_number(api, draft.repository, draft.branch, draft.key)
            if number is not None:
                return number
            message = f"another pull request from {draft.branch} is open that is not ours"
            raise errors.HandOver("PullRequestTaken", message) from exc
        raise


def _complete(api: session.Api, draft: ports.PullRequestDraft, number: int) -> None:
    """Set labels and ask reviewers where that has not been done, also after a crash in between."""
    pull = api.get(f"/repos/{draft.repository}/pulls/{number}")
    if pull["state"] != "open":
        return
    missing = sorted(set(draft.labels) - {label["name"] for label in pull["labels"]})
    issue = f"/repos/{draft.repository}/issues/{number}"
    if missing:
        for label in missing:
            _ensure_label(api, draft.repository, label)
        api.send("POST", f"{issue}/labels", {"labels": missing})
    asked = pull["requested_reviewers"] or pull.get("requested_teams")
    if draft.reviewers and not asked:
        path = f"/repos/{draft.repository}/pulls/{number}"
        if list(api.pages(f"{path}/reviews", limit=1)):
            return  # who has reviewed is no longer among the requested
        ask_reviewers(api, draft.repository, number, draft.reviewers)


def ask_reviewers(api: session.Api, repository: str, number: int, names: Sequence[str]) -> None:
    """Ask people and ``org/team``; one who may not review is no reason to fail."""
    people = [name for name in names if "/" not in name]
    teams = [name.partition("/")[2] for name in names if "/" in name]
    body = {"reviewers": people, "team_reviewers": teams}
    path = f"/repos/{repository}/pulls/{number}/requested_reviewers"
    try:
        api.send("POST", path, {k: v for k, v in body.items() if v})
    except errors.NotFound as exc:
        raise repositories.not_visible(repository, _WRITE) from exc
    except translation.RefusedError as exc:
        _LOG.warning("reviewers of %s#%d refused: %s", repository, number, exc.text)


def _ensure_label(api: session.Api, repository: str, label: str) -> None:
    path = f"/repos/{repository}/labels"
    try:
        api.get(f"{path}/{session.quote_all(label)}")
    except errors.NotFound:
        body = {"name": label, "color": _LABEL_COLOUR, "description": "Set by selfheal"}
        try:
            api.send("POST", path, body)
        except translation.RefusedError as exc:
            if not exc.says("already_exists", "already exists"):
                raise
