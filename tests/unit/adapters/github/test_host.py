"""Paths of the adapter that a well-behaved server rarely takes: races, odd trees, refusals."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.adapters.github.scripted import Answer, Connect, Server

from selfheal import ports
from selfheal.adapters.github import marks, source
from selfheal.domain import errors, facts

KEY = "u/1/P/1/branch"
MISSING = Answer(404, {"message": "Not Found"})
Routes = Mapping[tuple[str, str], Any]


def routes(table: Routes) -> Callable[[str, str], Answer]:
    """Answer by verb and a pattern of path and query; a list answers one after another."""

    def answer(verb: str, path: str) -> Answer:
        for (wanted, pattern), value in table.items():
            if wanted == verb and re.fullmatch(pattern, path):
                found = value.pop(0) if isinstance(value, list) else value
                return found if isinstance(found, Answer) else Answer(200, found)
        return MISSING

    return answer


def entry(
    path: str, sha: str, *, mode: str = "100644", kind: str = "blob", size: int = 3
) -> dict[str, Any]:
    return {"path": path, "mode": mode, "type": kind, "sha": sha, "size": size}


def tree(*entries: dict[str, Any], truncated: bool = False) -> dict[str, Any]:
    return {"sha": "t", "tree": list(entries), "truncated": truncated}


def blob(content: bytes) -> dict[str, str]:
    return {"content": base64.encodebytes(content).decode(), "encoding": "base64"}


PULL = facts.PullRequestFacts(
    repository="a/b",
    number=7,
    url="u",
    state=facts.PullRequestState.OPEN,
    branch="selfheal/x",
    base="main",
    head_sha="h1",
    author="op",
)


# Source


async def test_links_and_submodules_are_no_files(server: Server, connect: Connect) -> None:
    listing = tree(
        entry("app", "d", mode="040000", kind="tree"),
        entry("app/a.yaml", "b1"),
        entry("app/run.sh", "b2", mode="100755"),
        entry("app/link", "b3", mode="120000"),
        entry("app/module", "c1", mode="160000", kind="commit"),
    )
    server.script = routes({
        ("GET", r"/repos/a/b/git/trees/s1\?recursive=1"): listing,
        ("GET", "/repos/a/b/git/blobs/b1"): blob(b"a: 1\n" * 40),
        ("GET", "/repos/a/b/git/blobs/b2"): {"content": "plain", "encoding": "utf-8"},
    })  # fmt: skip
    host = connect(server.url)
    found = await host.get_tree("a/b", "s1", "app/")
    assert found == ports.SourceTree(
        repository="a/b", sha="s1", files={"app/a.yaml": b"a: 1\n" * 40, "app/run.sh": b"plain"}
    )
    assert await host.get_tree("a/b", "s1", "app") == found
    assert len(server.seen) == 4  # the contents are known the second time


@pytest.mark.parametrize(
    "entries",
    [
        [entry(f"f{number}", "b", size=1) for number in range(source.MAX_FILES + 1)],
        [entry("f0", "b"), entry("f1", "b", size=source.MAX_BYTES)],
    ],
)
async def test_a_tree_beyond_its_bounds_is_cut_and_says_so(
    server: Server, connect: Connect, entries: list[dict[str, Any]]
) -> None:
    server.script = routes({
        ("GET", r"/repos/a/b/git/trees/s1\?recursive=1"): tree(*entries),
        ("GET", "/repos/a/b/git/blobs/b"): blob(b"x"),
    })  # fmt: skip
    found = await connect(server.url).get_tree("a/b", "s1", "")
    assert found.truncated
    assert len(found.files) == len(entries) - 1


async def test_a_listing_that_github_cuts_is_read_folder_by_folder(
    server: Server, connect: Connect
) -> None:
    server.script = routes({
        ("GET", r"/repos/a/b/git/trees/s1\?recursive=1"): tree(entry("z", "b0"), truncated=True),
        ("GET", "/repos/a/b/git/trees/s1"): tree(entry("apps", "t1", kind="tree")),
        ("GET", "/repos/a/b/git/trees/t1"): tree(entry("prod", "t2", kind="tree"), entry("prod2", "b9")),
        ("GET", r"/repos/a/b/git/trees/t2\?recursive=1"): tree(entry("x/a.yaml", "b1")),
        ("GET", "/repos/a/b/git/blobs/b1"): blob(b"a"),
    })  # fmt: skip
    host = connect(server.url)
    found = await host.get_tree("a/b", "s1", "apps/prod")
    assert (dict(found.files), found.truncated) == ({"apps/prod/x/a.yaml": b"a"}, False)
    assert dict((await host.get_tree("a/b", "s1", "apps/none")).files) == {}


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    cache = source.BlobCache(capacity=10)
    cache.keep("a", b"1234")
    cache.keep("b", b"1234")
    assert cache.find("a") == b"1234"
    cache.keep("c", b"1234")
    cache.keep("c", b"1234")
    assert (cache.find("a"), cache.find("b"), cache.find("c")) == (b"1234", None, b"1234")


# Repositories


async def test_rules_and_protection_are_read_as_far_as_they_may_be(
    server: Server, connect: Connect
) -> None:
    rules = [
        {
            "type": "required_status_checks",
            "parameters": {"required_status_checks": [{"context": "rule"}]},
        },
        {"type": "pull_request", "parameters": {"required_approving_review_count": 2}},
        {"type": "deletion"},
    ]
    server.script = routes({
        ("GET", "/repos/a/b"): {"default_branch": "m/n", "allow_squash_merge": False, "permissions": {"push": True}},
        ("GET", "/repos/a/b/branches/m/n"): {
            "protected": True, "protection": {"required_status_checks": {"contexts": ["old"]}},
        },
        ("GET", "/repos/a/b/branches/m/n/protection"): Answer(403, {"message": "Must be admin"}),
        ("GET", "/repos/a/b/rules/branches/m/n"): Answer(200, rules),
    })  # fmt: skip
    assert await connect(server.url).get_repository("a/b") == facts.RepositoryFacts(
        default_branch="m/n",
        merge_methods=frozenset({"merge", "rebase"}),
        has_required_checks=True,
        required_reviews=2,
        can_push=True,
        can_merge=True,
    )


@pytest.mark.parametrize(
    "more", [{"archived": True}, {"disabled": True}, {"permissions": {"push": False}}, {}]
)
async def test_without_push_nothing_can_be_pushed(
    server: Server, connect: Connect, more: dict[str, Any]
) -> None:
    given = (
        {"default_branch": "main", "permissions": {"push": True}}
        if more
        else {"default_branch": "main"}
    )
    server.script = routes({("GET", "/repos/a/b"): {**given, **more}})
    found = await connect(server.url).get_repository("a/b")
    assert (found.can_push, found.can_merge) == (False, False)


# Branches


def commit_routes(**more: Any) -> dict[tuple[str, str], Any]:
    return {
        ("GET", "/repos/a/b"): {},
        ("GET", "/repos/a/b/git/ref/heads/x"): [MISSING, {"object": {"sha": "theirs"}}],
        ("GET", "/repos/a/b/git/commits/base"): {"tree": {"sha": "t0"}},
        ("GET", r"/repos/a/b/git/trees/t0\?recursive=1"): tree(
            entry("run.sh", "b1", mode="100755"), entry("link", "b2", mode="120000")
        ),
        ("POST", "/repos/a/b/git/trees"): Answer(201, {"sha": "t1"}),
        ("POST", "/repos/a/b/git/commits"): Answer(201, {"sha": "mine"}),
        ("POST", "/repos/a/b/git/refs"): Answer(422, {"message": "Reference already exists"}),
    }


async def ensure(
    server: Server, connect: Connect, files: dict[str, bytes | None]
) -> facts.BranchFacts:
    return await connect(server.url).ensure_branch(
        "a/b", "x", base_sha="base", files=files, message="m", key=KEY
    )


async def test_a_branch_made_by_our_own_crashed_write_is_adopted(
    server: Server, connect: Connect
) -> None:
    theirs = {"message": marks.with_trailer("m", KEY)}
    server.script = routes({**commit_routes(), ("GET", "/repos/a/b/git/commits/theirs"): theirs})
    found = await ensure(server, connect, {"run.sh": b"#!/bin/sh\n"})
    assert found == facts.BranchFacts(name="x", sha="theirs", effect_key=KEY)
    sent = server.bodies[server.seen.index(("POST", "/repos/a/b/git/trees"))]
    assert sent == {
        "base_tree": "t0",
        "tree": [{"path": "run.sh", "mode": "100755", "type": "blob", "content": "#!/bin/sh\n"}],
    }


async def test_a_branch_that_another_made_first_conflicts(server: Server, connect: Connect) -> None:
    server.script = routes(
        {**commit_routes(), ("GET", "/repos/a/b/git/commits/theirs"): {"message": "m"}}
    )
    with pytest.raises(errors.Conflict):
        await ensure(server, connect, {"run.sh": b"x"})


async def test_a_link_is_not_written_through(server: Server, connect: Connect) -> None:
    server.script = routes(commit_routes())
    with pytest.raises(errors.HandOver) as caught:
        await ensure(server, connect, {"link": b"x"})
    assert "link" in caught.value.message
    assert "POST" not in server.verbs


async def test_a_write_that_github_hides_names_the_missing_right(
    server: Server, connect: Connect
) -> None:
    server.script = routes({**commit_routes(), ("POST", "/repos/a/b/git/trees"): MISSING})
    with pytest.raises(errors.Stalled) as caught:
        await ensure(server, connect, {"run.sh": b"x"})
    assert caught.value.reason == "RepositoryNotFound"
    assert "contents: write" in caught.value.message


@pytest.mark.parametrize(
    "message", ["Reference does not exist", "Reference cannot be deleted: protected"]
)
async def test_only_a_branch_that_is_gone_counts_as_deleted(
    server: Server, connect: Connect, message: str
) -> None:
    server.script = routes(
        {("DELETE", "/repos/a/b/git/refs/heads/x"): Answer(422, {"message": message})}
    )
    call = connect(server.url).delete_branch("a/b", "x")
    if "not exist" in message:
        await call
    else:
        with pytest.raises(errors.HandOver):
            await call


# Merging


def merge_refusal(status: int, message: str, **pull: Any) -> Routes:
    now = {"merged": False, "state": "open", "head": {"sha": "h1"}, "mergeable": True, **pull}
    return {
        ("PUT", "/repos/a/b/pulls/7/merge"): Answer(status, {"message": message}),
        ("GET", "/repos/a/b/pulls/7"): now,
    }


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            merge_refusal(409, "Head branch was modified. Review and try the merge again."),
            errors.Conflict,
        ),
        (
            merge_refusal(405, "Base branch was modified. Review and try the merge again."),
            errors.Conflict,
        ),
        (merge_refusal(422, "Head sha can't be blank", head={"sha": "h2"}), errors.Conflict),
        (merge_refusal(405, "Pull Request is not mergeable", state="closed"), errors.Conflict),
        (merge_refusal(405, "Pull Request is not mergeable", mergeable=None), errors.Transient),
        (merge_refusal(405, "Pull Request is not mergeable", mergeable=False), errors.HandOver),
        (merge_refusal(405, "At least 1 approving review is required"), errors.HandOver),
        (
            merge_refusal(405, "Squash merges are not allowed on this repository."),
            errors.PolicyInvalid,
        ),
        (merge_refusal(403, "Resource not accessible by integration"), errors.Forbidden),
        (merge_refusal(404, "Not Found"), errors.Stalled),
        (merge_refusal(502, "oops"), errors.UnknownOutcome),
    ],
)
async def test_each_refusal_of_a_merge_has_its_meaning(
    server: Server, connect: Connect, table: Routes, expected: type
) -> None:
    server.script = routes(table)
    with pytest.raises(errors.SelfHealError) as caught:
        await connect(server.url).merge_pull_request(PULL, sha="h1", method="squash")
    assert type(caught.value) is expected
    assert server.bodies[0] == {"sha": "h1", "merge_method": "squash"}


async def test_a_merge_whose_answer_was_lost_is_found_again(
    server: Server, connect: Connect
) -> None:
    table = merge_refusal(405, "Pull Request is not mergeable", merged=True, merge_commit_sha="m1")
    server.script = routes(table)
    assert await connect(server.url).merge_pull_request(PULL, sha="h1", method="squash") == "m1"


# Opening


def draft(**changes: Any) -> ports.PullRequestDraft:
    values: dict[str, Any] = {
        "repository": "a/b", "base": "main", "branch": "x", "title": "t", "body": "b", "key": KEY, **changes,
    }  # fmt: skip
    return ports.PullRequestDraft(**values)


NODE = {
    "number": 7, "url": "u", "state": "OPEN", "isDraft": False, "mergeCommit": None, "headRefOid": "h1",
    "headRefName": "x", "baseRefName": "main", "mergeable": "UNKNOWN", "reviewDecision": None, "mergeStateStatus": "CLEAN", "isInMergeQueue": False,
    "author": {"login": "op"}, "mergedBy": None, "body": "b", "labels": {"nodes": []}, "reviews": {"nodes": []},
    "reviewRequests": {"nodes": []}, "comments": {"nodes": []}, "assignees": {"nodes": []}, "commits": {"nodes": []},
}  # fmt: skip
LISTED = {"number": 7, "state": "open", "head": {"ref": "x"}, "body": marks.with_key("b", KEY)}
SHOWN = {"state": "open", "labels": [{"name": "selfheal"}], "requested_reviewers": []}
READ = {
    ("GET", "/user"): {"login": "op"},
    ("POST", "/graphql"): {"data": {"r0": {"p7": NODE}}},
}


async def test_a_pull_request_that_appears_between_look_and_write_is_adopted(
    server: Server, connect: Connect
) -> None:
    exists = {
        "message": "Validation Failed",
        "errors": [{"message": "A pull request already exists for a:x."}],
    }
    server.script = routes({
        ("GET", r"/repos/a/b/pulls\?.*head=a%3Ax.*"): [[], [LISTED]],
        ("POST", "/repos/a/b/pulls"): Answer(422, exists),
        ("GET", "/repos/a/b/pulls/7"): SHOWN,
        **READ,
    })  # fmt: skip
    assert (await connect(server.url).ensure_pull_request(draft(labels=("selfheal",)))).number == 7


async def test_labels_and_reviewers_are_completed_after_a_crash(
    server: Server, connect: Connect
) -> None:
    taken = {
        "message": "Validation Failed",
        "errors": [{"code": "already_exists", "field": "name"}],
    }
    server.script = routes({
        ("GET", "/repos/a/b/pulls/7"): SHOWN,
        ("POST", "/repos/a/b/labels"): Answer(422, taken),
        ("POST", "/repos/a/b/issues/7/labels"): Answer(200, []),
        ("GET", r"/repos/a/b/pulls/7/reviews\?.*"): Answer(200, []),
        ("POST", "/repos/a/b/pulls/7/requested_reviewers"): Answer(201, {}),
        **READ,
    })  # fmt: skip
    table = draft(labels=("selfheal", "team/x"), reviewers=("ann", "acme/sre"))
    server.script = _with_list(server.script, "/repos/a/b/pulls?")
    await connect(server.url).ensure_pull_request(table)
    sent = {
        path: body
        for (verb, path), body in zip(server.seen, server.bodies, strict=True)
        if verb == "POST"
    }
    assert "/repos/a/b/pulls" not in sent
    assert sent["/repos/a/b/issues/7/labels"] == {"labels": ["team/x"]}
    assert sent["/repos/a/b/pulls/7/requested_reviewers"] == {
        "reviewers": ["ann"],
        "team_reviewers": ["sre"],
    }
    assert ("GET", "/repos/a/b/labels/team%2Fx") in server.seen


async def test_whoever_reviewed_is_not_asked_again(server: Server, connect: Connect) -> None:
    server.script = _with_list(routes({
        ("GET", "/repos/a/b/pulls/7"): SHOWN,
        ("GET", r"/repos/a/b/pulls/7/reviews\?.*"): Answer(200, [{"id": 1}]),
        **READ,
    }), "/repos/a/b/pulls?")  # fmt: skip
    await connect(server.url).ensure_pull_request(draft(reviewers=("ann",)))
    assert server.verbs.count("POST") == 1  # the GraphQL read


async def test_what_is_made_but_not_yet_readable_is_looked_for_again(
    server: Server, connect: Connect
) -> None:
    server.script = _with_list(routes({
        ("GET", "/repos/a/b/pulls/7"): {**SHOWN, "state": "closed"},
        ("GET", "/repos/a/b"): {},
        ("GET", "/user"): Answer(403, {"message": "Resource not accessible by integration"}),
        ("POST", "/graphql"): {"data": {"r0": {"p7": None}}, "errors": [{"type": "NOT_FOUND", "message": "no"}]},
    }), "/repos/a/b/pulls?")  # fmt: skip
    with pytest.raises(errors.Transient):
        await connect(server.url).ensure_pull_request(draft())


def _with_list(script: Callable[[str, str], Answer], prefix: str) -> Callable[[str, str], Answer]:
    """Answer the search for pull requests with the one of ours."""
    return lambda verb, path: (
        Answer(200, [LISTED]) if path.startswith(prefix) else script(verb, path)
    )


# Delivery


async def test_the_newest_run_of_each_workflow_counts(server: Server, connect: Connect) -> None:
    def run(
        id_: int, workflow: int, number: int, status: str, conclusion: str | None
    ) -> dict[str, Any]:
        return {
            "id": id_, "workflow_id": workflow, "run_number": number, "name": f"w{workflow}",
            "status": status, "conclusion": conclusion, "html_url": f"https://runs/{id_}",
        }  # fmt: skip

    runs = [
        run(3, 1, 9, "completed", "success"),
        run(1, 1, 8, "completed", "failure"),
        run(2, 2, 1, "in_progress", None),
    ]
    server.script = routes(
        {("GET", r"/repos/a/b/actions/runs\?.*head_sha=m1.*"): {"workflow_runs": runs}}
    )
    found = await connect(server.url).get_delivery("a/b", "m1", "Actions")
    assert found == facts.DeliveryFacts(
        revision="m1",
        state=facts.DeliveryState.IN_PROGRESS,
        url="https://runs/2",
        message="w1: success, w2: in_progress",
    )


async def test_the_newest_deployment_of_each_environment_counts(
    server: Server, connect: Connect
) -> None:
    deployments = [
        {"id": 1, "environment": "prod"},
        {"id": 2, "environment": "prod"},
        {"id": 3, "environment": "eu"},
    ]
    states = [
        {"id": 5, "state": "inactive", "log_url": "https://log"},
        {"id": 4, "state": "failure"},
    ]
    server.script = routes({
        ("GET", r"/repos/a/b/deployments\?.*sha=m1"): Answer(200, deployments),
        ("GET", r"/repos/a/b/deployments/2/statuses\?.*"): Answer(200, states),
        ("GET", r"/repos/a/b/deployments/3/statuses\?.*"): Answer(200, []),
    })  # fmt: skip
    found = await connect(server.url).get_delivery("a/b", "m1", "Deployments")
    assert found == facts.DeliveryFacts(
        revision="m1",
        state=facts.DeliveryState.IN_PROGRESS,
        url="https://log",
        message="prod: inactive, eu: pending",
    )


async def test_a_commits_author_and_time_are_read_with_and_without_account(
    server: Server, connect: Connect
) -> None:
    when = "2026-11-23T05:00:00Z"
    items = [
        {"sha": "s1", "author": {"login": "ann"}, "commit": {"author": {"name": "Ann", "date": when},
         "committer": {"date": when}, "message": "m"}},
        {"sha": "s2", "author": None, "commit": {"author": {"name": "Bob", "date": when}, "committer": None,
         "message": "m"}},
    ]  # fmt: skip
    server.script = routes({("GET", r"/repos/a/b/commits\?.*path=app.*"): Answer(200, items)})
    found = await connect(server.url).list_commits("a/b", "main", "/app/", limit=2)
    assert [commit.author for commit in found] == ["ann", "Bob"]
    assert found[1].at == dt.datetime(2026, 11, 23, 5, tzinfo=dt.UTC)
