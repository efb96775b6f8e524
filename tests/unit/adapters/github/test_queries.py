"""Reading pull requests: people, verdicts and required checks."""

from __future__ import annotations

from typing import Any

import pytest

from selfheal.adapters.github import pulls, queries
from selfheal.domain import errors, facts
from selfheal.domain.machine import verdicts

S = facts.ChecksState
USER = {"login": "ann", "__typename": "User"}
BOT = {"login": "dependabot", "__typename": "Bot"}
US = {"login": "op", "__typename": "User"}


def node(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "number": 7,
        "url": "https://github.example/acme/gitops/pull/7",
        "state": "OPEN",
        "isDraft": False,
        "merged": False,
        "mergedAt": None,
        "mergeCommit": None,
        "headRefOid": "h1",
        "headRefName": "selfheal/x",
        "baseRefName": "main",
        "mergeable": "MERGEABLE",
        "mergeStateStatus": "CLEAN",
        "isInMergeQueue": False,
        "reviewDecision": None,
        "author": {"login": "op"},
        "mergedBy": None,
        "closedAt": None,
        "body": "b",
        "labels": {"nodes": [{"name": "selfheal"}]},
        "reviews": {"nodes": []},
        "reviewRequests": {"nodes": []},
        "comments": {"totalCount": 0, "nodes": []},
        "assignees": {"nodes": []},
        "commits": {"nodes": [{"commit": {"oid": "h1", "statusCheckRollup": None}}]},
    }
    return {**base, **changes}


def read(required: frozenset[str] = frozenset(), **changes: Any) -> facts.PullRequestFacts:
    wanted = ("acme/gitops", 7)
    data = {"r0": {"p7": node(**changes)}}
    return queries.parse(
        [wanted], data, own_login="op", required={("acme/gitops", "main"): required}
    )[wanted]


def review(state: str, author: dict[str, str] | None, **changes: Any) -> dict[str, Any]:
    base = {
        "state": state,
        "author": author,
        "commit": {"oid": "h1"},
        "submittedAt": "2026-11-23T05:00:00Z",
        "authorCanPushToRepository": True,
        "id": "PRR_1",
        "url": "https://github.example/review/1",
        "comments": {"nodes": [{"body": "at a line"}]},
        "body": "t",
    }
    return {**base, **changes}


def test_one_query_names_each_repository_and_pull_request_once() -> None:
    text = queries.build([("a/b", 1), ("c/d", 2), ("a/b", 3), ("a/b", 1)])
    assert text.count("repository(") == 2
    assert 'r0: repository(owner:"a", name:"b")' in text
    assert [text.count(f"p{number}: pullRequest(number:{number})") for number in (1, 2, 3)] == [
        1,
        1,
        1,
    ]
    assert "NUMBER" not in text
    assert text.count("isRequired(pullRequestNumber:3)") == 2


def test_what_is_missing_is_absent() -> None:
    wanted = [("a/b", 1), ("c/d", 2), ("e/f", 7)]
    data = {"r0": {"p1": None}, "r1": None, "r2": {"p7": node()}}
    assert set(queries.parse(wanted, data, own_login="op", required={})) == {("e/f", 7)}


def test_only_other_peoples_reviews_are_peoples() -> None:
    pull = read(reviews={"nodes": [
        review("APPROVED", USER),
        review("APPROVED", BOT),
        review("COMMENTED", US),
        review("CHANGES_REQUESTED", None, commit=None),
        review("PENDING", USER),
        review("DISMISSED", USER),
    ]})  # fmt: skip
    assert [
        (item.by.id, item.is_person, item.by.is_operator, item.state.name) for item in pull.reviews
    ] == [
        ("ann", True, False, "APPROVED"),
        ("dependabot", False, False, "APPROVED"),
        ("op", False, True, "COMMENTED"),
        ("ghost", False, False, "CHANGES_REQUESTED"),
        ("ann", True, False, "DISMISSED"),
    ]
    assert pull.reviews[3].sha == ""
    assert pull.reviews[0].at.tzinfo is not None


def test_the_author_is_not_a_person_even_under_another_account() -> None:
    pull = read(author={"login": "app"}, comments={"totalCount": 3, "nodes": [
        {"author": {"login": "app", "__typename": "User"}}, {"author": US}, {"author": USER}, {"author": None},
    ]})  # fmt: skip
    assert pull.person_comments == 1


@pytest.mark.parametrize(
    ("word", "value"), [("MERGEABLE", True), ("CONFLICTING", False), ("UNKNOWN", None)]
)
def test_mergeable_is_unknown_until_computed(word: str, value: bool | None) -> None:
    assert read(mergeable=word).mergeable is value


def test_merged_closed_and_a_deleted_merger() -> None:
    merged = read(state="MERGED", merged=True, mergeCommit={"oid": "m"}, mergedBy=None)
    assert (merged.state, merged.merge_sha, merged.merged_by) == (
        facts.PullRequestState.MERGED,
        "m",
        "ghost",
    )
    closed = read(state="CLOSED")
    assert (closed.state, closed.merge_sha, closed.merged_by) == (
        facts.PullRequestState.CLOSED,
        None,
        None,
    )


def test_teams_have_no_login_and_people_do() -> None:
    pull = read(
        reviewRequests={
            "nodes": [
                {"requestedReviewer": {"login": "ann"}},
                {"requestedReviewer": {}},
                {"requestedReviewer": None},
            ]
        },
        assignees={"nodes": [{"login": "bob"}]},
        reviewDecision="REVIEW_REQUIRED",
    )
    assert (pull.requested_reviewers, pull.assignees, pull.review_decision) == (
        ("ann",),
        ("bob",),
        "REVIEW_REQUIRED",
    )


def run(name: str, status: str, conclusion: str | None, required: bool = True) -> dict[str, Any]:
    return {
        "__typename": "CheckRun",
        "name": name,
        "status": status,
        "conclusion": conclusion,
        "isRequired": required,
    }


def status(name: str, state: str, required: bool = True) -> dict[str, Any]:
    return {"__typename": "StatusContext", "context": name, "state": state, "isRequired": required}


@pytest.mark.parametrize(
    ("contexts", "required", "expected"),
    [
        ([], (), S.NONE),
        ([run("a", "COMPLETED", "FAILURE", required=False)], (), S.NONE),
        ([run("a", "COMPLETED", "SUCCESS")], (), S.SUCCESS),
        ([run("a", "COMPLETED", "SKIPPED"), status("b", "SUCCESS")], (), S.SUCCESS),
        ([run("a", "IN_PROGRESS", None), status("b", "SUCCESS")], (), S.PENDING),
        ([run("a", "QUEUED", None), status("b", "ERROR")], (), S.FAILURE),
        ([run("a", "COMPLETED", "TIMED_OUT")], (), S.FAILURE),
        ([status("b", "EXPECTED")], (), S.PENDING),
        ([], ("a",), S.PENDING),
        ([run("a", "COMPLETED", "SUCCESS")], ("a", "b"), S.PENDING),
        ([run("a", "COMPLETED", "SUCCESS", required=False)], ("a",), S.SUCCESS),
    ],
)
def test_required_checks_together(
    contexts: list[dict[str, Any]], required: tuple[str, ...], expected: S
) -> None:
    rollup = {"state": "PENDING", "contexts": {"nodes": contexts}}
    commits = {"nodes": [{"commit": {"oid": "h1", "statusCheckRollup": rollup}}]}
    assert read(frozenset(required), commits=commits).required_checks is expected


@pytest.mark.parametrize("state", ["APPROVED", "CHANGES_REQUESTED"])
def test_a_stranger_who_may_not_write_neither_approves_nor_objects(state: str) -> None:
    pull = read(reviews={"nodes": [review(state, USER, authorCanPushToRepository=False)]})
    assert not pull.reviews[0].is_person
    assert not verdicts.is_approved(pull)
    assert verdicts.wants_changes(pull) is None


class OldServer:
    """An Enterprise Server that does not know a newer field."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.asked: list[str] = []

    def graphql(self, query: str) -> Any:
        self.asked.append(query)
        if len(self.asked) == 1:
            raise errors.Transient(self.message)
        found = node(reviews={"nodes": [review("APPROVED", USER)]})
        del found["isInMergeQueue"], found["reviews"]["nodes"][0]["authorCanPushToRepository"]
        return {"r0": {"p7": found}}, []


def test_a_server_that_lacks_newer_fields_is_asked_without_them() -> None:
    server: Any = OldServer("GraphQL read failed: Field 'isInMergeQueue' doesn't exist on type 'PullRequest'")
    wanted = ("acme/gitops", 7)
    pull = pulls.read_many(server, [wanted], "op", {})[wanted]
    assert (pull.queued, pull.reviews[0].is_person) == (False, True)
    assert not any(name in server.asked[1] for name in queries.NEWER)
    other: Any = OldServer("GraphQL read failed: something else")
    with pytest.raises(errors.Transient):
        pulls.read_many(other, [wanted], "op", {})
    assert len(other.asked) == 1
