"""The contract of CodeHost: one suite for the fake and for the GitHub adapter over the wire.

The wire's other end is the sandbox GitHub (``hack/sandbox/github``); everything that people do there
is done over REST with their own tokens, so that the operator's client has no part in it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import pytest
from tests.contract import code_host_worlds as worlds

from selfheal import ports
from selfheal.domain import errors, facts

KEY = "0a1b2c/1/PR_CREATION_IN_PROGRESS/1/branch"
PULL_KEY = "0a1b2c/1/PR_CREATION_IN_PROGRESS/1/pull"
BRANCH = "selfheal/production-checkout-0a1b2c3d-r1a1"
MANIFEST = "apps/production/deploy.yaml"
FILES = {
    MANIFEST: b"memory: 64Mi\r\n# caf\xc3\xa9\n",
    "apps/production/logo.bin": b"\x00\xff\x01",
    "apps/production-2/other.yaml": b"other: true\n",
    "README.md": b"# gitops\n",
}
FIXED = b"memory: 128Mi\r\n# caf\xc3\xa9\n"
OPEN, CLOSED, MERGED = (
    facts.PullRequestState.OPEN,
    facts.PullRequestState.CLOSED,
    facts.PullRequestState.MERGED,
)


@pytest.fixture(params=["fake", pytest.param("sandbox", marks=pytest.mark.sandbox)])
def world(request: pytest.FixtureRequest) -> Iterator[worlds.World]:
    made: worlds.World = (
        worlds.FakeWorld(FILES)
        if request.param == "fake"
        else worlds.SandboxWorld(request.getfixturevalue("github_sandbox"), FILES)
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def github_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Sandbox]:
    """One validating sandbox for all tests; each test has a repository of its own."""
    with worlds.Sandbox(tmp_path_factory.mktemp("github")) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _as_published(request: pytest.FixtureRequest) -> Iterator[None]:
    """No request of ours may break GitHub's published OpenAPI description."""
    yield
    if "sandbox" in request.node.name:
        assert request.getfixturevalue("github_sandbox").violations() == []


async def fix(world: worlds.World, branch: str = BRANCH, key: str = KEY) -> facts.BranchFacts:
    base = await world.host.get_branch_sha(world.repository, "main")
    return await world.host.ensure_branch(
        world.repository,
        branch,
        base_sha=base,
        files={MANIFEST: FIXED},
        message="Raise memory\n\nOOM.",
        key=key,
    )


def draft(world: worlds.World, **changes: object) -> ports.PullRequestDraft:
    values: dict[str, object] = {
        "repository": world.repository,
        "base": "main",
        "branch": BRANCH,
        "title": "Raise memory",
        "body": "What and **why**.",
        "key": PULL_KEY,
        "labels": ("selfheal",),
        **changes,
    }
    return ports.PullRequestDraft(**values)  # type: ignore[arg-type]


async def pull(world: worlds.World, **changes: object) -> facts.PullRequestFacts:
    await fix(world)
    return await world.host.ensure_pull_request(draft(world, **changes))


async def again(world: worlds.World, number: int) -> facts.PullRequestFacts:
    return await world.host.get_pull_request(world.repository, number)


# Repositories


async def test_a_repository_says_what_it_allows(world: worlds.World) -> None:
    found = await world.host.get_repository(world.repository)
    assert found == facts.RepositoryFacts(
        default_branch="main",
        merge_methods=frozenset({"merge", "squash", "rebase"}),
        has_required_checks=False,
        required_reviews=0,
        can_push=True,
        can_merge=True,
    )


async def test_protection_is_read(world: worlds.World) -> None:
    world.protect(reviews=2, checks=("ci/test",))
    found = await world.host.get_repository(world.repository)
    assert (found.has_required_checks, found.required_reviews) == (True, 2)


async def test_an_unseen_repository_stalls_every_call_and_is_named(world: worlds.World) -> None:
    nowhere, host = f"{world.repository}-nowhere", world.host
    for call in (
        host.get_repository(nowhere),
        host.get_branch_sha(nowhere, "main"),
        host.get_tree(nowhere, "main", ""),
        host.list_commits(nowhere, "main", ""),
        host.find_branch(nowhere, BRANCH),
        host.ensure_branch(nowhere, BRANCH, base_sha="0" * 40, files={}, message="m", key=KEY),
        host.list_branches(nowhere, "selfheal/"),
        host.delete_branch(nowhere, BRANCH),
        host.find_pull_request(nowhere, BRANCH, KEY),
        host.ensure_pull_request(draft(world, repository=nowhere)),
        host.get_pull_request(nowhere, 1),
        host.ensure_pull_request_comment(nowhere, 1, marker="m", body="b"),
        host.close_pull_request(nowhere, 1),
        host.get_delivery(nowhere, "0" * 40, "Actions"),
    ):
        with pytest.raises(errors.Stalled) as caught:
            await call
        assert caught.value.reason == "RepositoryNotFound"
        assert nowhere in caught.value.message


# Source


async def test_a_branch_has_a_head_or_is_not_found(world: worlds.World) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")
    assert len(sha) == 40
    with pytest.raises(errors.NotFound):
        await world.host.get_branch_sha(world.repository, "nowhere")


async def test_a_tree_has_the_exact_bytes_below_its_path_only(world: worlds.World) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")
    tree = await world.host.get_tree(world.repository, sha, "apps/production")
    assert (tree.repository, tree.sha, tree.truncated) == (world.repository, sha, False)
    assert dict(tree.files) == {
        name: FILES[name] for name in (MANIFEST, "apps/production/logo.bin")
    }
    assert dict((await world.host.get_tree(world.repository, sha, "")).files) == FILES
    assert dict((await world.host.get_tree(world.repository, sha, "apps/nowhere")).files) == {}


async def test_a_tree_stays_as_it_was_at_its_commit(world: worlds.World) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")
    world.push("main", {MANIFEST: b"changed: true\n"}, "alice")
    assert (await world.host.get_tree(world.repository, sha, "")).files[MANIFEST] == FILES[MANIFEST]


async def test_history_is_newest_first_and_of_the_path(world: worlds.World) -> None:
    world.push("main", {MANIFEST: b"one\n"}, "alice", message="One")
    world.push("main", {"README.md": b"two\n"}, "alice", message="Two")
    newest = world.push("main", {MANIFEST: b"three\n"}, "bob", message="Three")
    found = await world.host.list_commits(world.repository, newest, "apps/production")
    assert [commit.message.strip() for commit in found][:2] == ["Three", "One"]
    assert found[0].sha == newest
    assert found[0].author == "bob"
    assert found[0].at.tzinfo is not None
    assert len(await world.host.list_commits(world.repository, newest, "", limit=2)) == 2


# Branches


async def test_a_branch_is_one_commit_on_its_base_with_our_trailer(world: worlds.World) -> None:
    base = await world.host.get_branch_sha(world.repository, "main")
    files = {MANIFEST: FIXED, "new/data.bin": b"\x00\x01", "new/empty": b"", "README.md": None}
    made = await world.host.ensure_branch(
        world.repository, BRANCH, base_sha=base, files=files, message="Fix", key=KEY
    )
    assert made == facts.BranchFacts(name=BRANCH, sha=made.sha, effect_key=KEY)
    assert await world.host.find_branch(world.repository, BRANCH) == made
    head, parent = (await world.host.list_commits(world.repository, made.sha, ""))[:2]
    assert head.message.strip() == f"Fix\n\nSelfheal-Effect: {KEY}"
    assert parent.sha == base
    expected = {**FILES, **files}
    assert dict((await world.host.get_tree(world.repository, made.sha, "")).files) == {
        name: content for name, content in expected.items() if content is not None
    }


async def test_a_branch_of_ours_is_adopted_whatever_its_tree(world: worlds.World) -> None:
    first = await fix(world)
    base = await world.host.get_branch_sha(world.repository, "main")
    second = await world.host.ensure_branch(
        world.repository,
        BRANCH,
        base_sha=base,
        files={MANIFEST: b"different\n"},
        message="Other",
        key=KEY,
    )
    assert second == first


async def test_a_branch_that_is_not_ours_conflicts_and_stays(world: worlds.World) -> None:
    first = await fix(world, key="another/1/PR_CREATION_IN_PROGRESS/1/branch")
    with pytest.raises(errors.Conflict):
        await fix(world)
    assert await world.host.find_branch(world.repository, BRANCH) == first


async def test_a_persons_commit_takes_a_branch_from_us(world: worlds.World) -> None:
    await fix(world)
    sha = world.push(BRANCH, {MANIFEST: b"by hand\n"}, "alice")
    assert await world.host.find_branch(world.repository, BRANCH) == facts.BranchFacts(
        name=BRANCH, sha=sha, effect_key=None
    )
    with pytest.raises(errors.Conflict):
        await fix(world)


async def test_branches_are_listed_by_prefix_and_deleted_twice(world: worlds.World) -> None:
    for number in (1, 2):
        await fix(world, branch=f"selfheal/x-r{number}a1")
    assert set(await world.host.list_branches(world.repository, "selfheal/x-")) == {
        "selfheal/x-r1a1",
        "selfheal/x-r2a1",
    }
    await world.host.delete_branch(world.repository, "selfheal/x-r1a1")
    await world.host.delete_branch(world.repository, "selfheal/x-r1a1")
    assert await world.host.find_branch(world.repository, "selfheal/x-r1a1") is None
    assert list(await world.host.list_branches(world.repository, "selfheal/")) == [
        "selfheal/x-r2a1"
    ]
    assert list(await world.host.list_branches(world.repository, "nothing/")) == []


# Pull requests


async def test_a_pull_request_is_opened_once(world: worlds.World) -> None:
    made = await pull(world, reviewers=("alice",))
    assert (made.repository, made.state, made.branch, made.base) == (
        world.repository,
        OPEN,
        BRANCH,
        "main",
    )
    assert made.head_sha == (await fix(world)).sha
    assert made.labels == {"selfheal"}
    assert made.requested_reviewers == ("alice",)
    assert made.body.startswith("What and **why**.")
    assert made.body.rstrip().endswith(f"<!-- selfheal-effect: {PULL_KEY} -->")
    assert made.url.endswith(f"/pull/{made.number}")
    assert (made.reviews, made.person_comments, made.merge_sha, made.draft) == ((), 0, None, False)
    repeated = await world.host.ensure_pull_request(draft(world, reviewers=("alice",)))
    assert repeated == made
    assert world.count_pull_requests() == 1
    assert await world.host.find_pull_request(world.repository, BRANCH, PULL_KEY) == made


async def test_a_reviewer_who_may_not_review_is_no_obstacle(world: worlds.World) -> None:
    made = await pull(world, reviewers=("nobody-here",))
    assert made.state is OPEN


async def test_a_draft_is_a_draft(world: worlds.World) -> None:
    assert (await pull(world, draft=True)).draft


async def test_only_our_key_makes_it_ours(world: worlds.World) -> None:
    made = await pull(world)
    assert await world.host.find_pull_request(world.repository, BRANCH, PULL_KEY + "x") is None
    assert await world.host.find_pull_request(world.repository, "selfheal/other", PULL_KEY) is None
    await world.host.close_pull_request(world.repository, made.number)
    closed = await world.host.find_pull_request(world.repository, BRANCH, PULL_KEY)
    assert closed is not None
    assert (closed.number, closed.state) == (made.number, CLOSED)
    assert (await world.host.ensure_pull_request(draft(world))).number == made.number
    assert world.count_pull_requests() == 1


async def test_a_persons_pull_request_from_our_branch_is_not_taken(world: worlds.World) -> None:
    await fix(world)
    number = world.open_by_person(BRANCH, "alice")
    assert await world.host.find_pull_request(world.repository, BRANCH, PULL_KEY) is None
    with pytest.raises(errors.HandOver) as caught:
        await world.host.ensure_pull_request(draft(world))
    assert caught.value.reason == "PullRequestTaken"
    assert (await again(world, number)).author == "alice"


async def test_content_that_is_refused_goes_to_a_person(world: worlds.World) -> None:
    with pytest.raises(errors.HandOver):
        await world.host.ensure_pull_request(draft(world, branch="selfheal/nowhere"))
    with pytest.raises(errors.HandOver):
        await pull(world, base="nowhere")


async def test_many_are_read_at_once_and_missing_ones_are_absent(world: worlds.World) -> None:
    made = await pull(world)
    await fix(world, branch="selfheal/second", key="second")
    second = await world.host.ensure_pull_request(
        draft(world, branch="selfheal/second", key="second")
    )
    wanted = [
        (world.repository, made.number),
        (world.repository, second.number),
        (world.repository, 9999),
    ]
    found = await world.host.get_pull_requests([*wanted, (f"{world.repository}-nowhere", 1)])
    assert found == {wanted[0]: made, wanted[1]: second}
    assert await world.host.get_pull_requests([]) == {}
    with pytest.raises(errors.NotFound):
        await again(world, 9999)


async def test_closing_twice_is_fine(world: worlds.World) -> None:
    made = await pull(world)
    await world.host.close_pull_request(world.repository, made.number)
    await world.host.close_pull_request(world.repository, made.number)
    assert (await again(world, made.number)).state is CLOSED
    with pytest.raises(errors.NotFound):
        await world.host.close_pull_request(world.repository, 9999)


# People


async def test_reviews_name_the_person_the_verdict_and_the_commit(world: worlds.World) -> None:
    made = await pull(world, reviewers=("alice",))
    world.request_changes(made.number, "alice", "too much")
    asked = await again(world, made.number)
    assert [
        (review.by.name, review.is_person, review.state, review.sha, review.body)
        for review in asked.reviews
    ] == [("alice", True, facts.ReviewState.CHANGES_REQUESTED, made.head_sha, "too much")]
    assert not asked.reviews[0].by.is_operator
    assert dt.datetime.now(dt.UTC) - asked.reviews[0].at < dt.timedelta(days=3650)
    assert asked.review_decision == "CHANGES_REQUESTED"
    world.approve(made.number, "alice")
    approved = await again(world, made.number)
    assert [review.state.name for review in approved.reviews] == ["CHANGES_REQUESTED", "APPROVED"]
    assert approved.review_decision in (None, "APPROVED")
    assert approved.requested_reviewers == ()


async def test_a_foreign_push_leaves_the_approval_on_the_old_head(world: worlds.World) -> None:
    made = await pull(world)
    world.approve(made.number, "alice")
    sha = world.push(BRANCH, {"apps/production/more.yaml": b"more\n"}, "bob")
    after = await again(world, made.number)
    assert after.head_sha == sha
    assert [review.sha for review in after.reviews] == [made.head_sha]


async def test_required_reviews_decide(world: worlds.World) -> None:
    world.protect(reviews=2)
    made = await pull(world)
    assert made.review_decision == "REVIEW_REQUIRED"
    world.approve(made.number, "alice")
    assert (await again(world, made.number)).review_decision == "REVIEW_REQUIRED"
    world.approve(made.number, "bob")
    assert (await again(world, made.number)).review_decision == "APPROVED"


async def test_peoples_comments_and_labels_and_assignments_are_seen(world: worlds.World) -> None:
    made = await pull(world)
    await world.host.ensure_pull_request_comment(
        world.repository, made.number, marker="m/1", body="ours"
    )
    world.comment(made.number, "alice", "hm")
    world.label(made.number, "selfheal-keep")
    world.assign(made.number, "bob")
    seen = await again(world, made.number)
    assert seen.person_comments == 1
    assert seen.labels == {"selfheal", "selfheal-keep"}
    assert seen.assignees == ("bob",)


# Mirror and comments


async def test_the_phase_label_is_replaced_and_peoples_labels_stay(world: worlds.World) -> None:
    made = await pull(world)
    world.label(made.number, "selfheal-keep", "urgent")
    for phase in ("PR_CREATED", "PR_UNDER_REVIEW"):
        now = await again(world, made.number)
        await world.host.save_pull_request_mirror(
            now, label=f"selfheal/{phase}", status_block=f"**{phase}**"
        )
    seen = await again(world, made.number)
    assert seen.labels == {"selfheal", "selfheal-keep", "urgent", "selfheal/PR_UNDER_REVIEW"}
    assert "**PR_UNDER_REVIEW**" in seen.body
    assert "**PR_CREATED**" not in seen.body
    assert seen.body.count("<!-- selfheal-status -->") == 1
    assert seen.body.startswith("What and **why**.")
    assert await world.host.find_pull_request(world.repository, BRANCH, PULL_KEY) == seen


async def test_a_stale_reading_does_not_lose_what_a_person_edited(world: worlds.World) -> None:
    made = await pull(world)
    world.label(made.number, "selfheal-keep")
    world.edit_body(made.number, "alice", made.body.replace("What and **why**.", "Edited."))
    await world.host.save_pull_request_mirror(made, label="selfheal/PR_CREATED", status_block="one")
    seen = await again(world, made.number)
    assert seen.body.startswith("Edited.")
    assert seen.labels == {"selfheal", "selfheal-keep", "selfheal/PR_CREATED"}


async def test_a_mirror_that_stands_is_not_written_again(world: worlds.World) -> None:
    made = await pull(world)
    await world.host.save_pull_request_mirror(made, label="selfheal/PR_CREATED", status_block="one")
    seen = await again(world, made.number)
    writes = world.count_writes()
    await world.host.save_pull_request_mirror(seen, label="selfheal/PR_CREATED", status_block="one")
    await world.host.save_pull_request_mirror(made, label="selfheal/PR_CREATED", status_block="one")
    assert world.count_writes() == writes


async def test_the_mirror_goes_on_after_the_merge(world: worlds.World) -> None:
    made = await pull(world)
    await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    merged = await again(world, made.number)
    await world.host.save_pull_request_mirror(
        merged, label="selfheal/PR_MERGED", status_block="merged"
    )
    assert "selfheal/PR_MERGED" in (await again(world, made.number)).labels


async def test_a_comment_stands_once_and_is_edited_in_place(world: worlds.World) -> None:
    made = await pull(world)
    ensure = world.host.ensure_pull_request_comment
    first = await ensure(world.repository, made.number, marker="k/1", body="one")
    other = await ensure(world.repository, made.number, marker="k/11", body="other")
    assert await ensure(world.repository, made.number, marker="k/1", body="one") == first
    assert await ensure(world.repository, made.number, marker="k/1", body="two") == first
    assert other != first
    bodies = world.comments(made.number)
    assert [body.splitlines()[0] for body in bodies] == ["two", "other"]
    assert "<!-- selfheal-effect: k/1 -->" in bodies[0]


# Checks


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, facts.ChecksState.PENDING),
        ({"ci/test": "success"}, facts.ChecksState.SUCCESS),
        ({"ci/test": "failure"}, facts.ChecksState.FAILURE),
        ({"ci/test": "pending"}, facts.ChecksState.PENDING),
        ({"ci/test": "success", "optional": "failure"}, facts.ChecksState.SUCCESS),
    ],
)
async def test_only_required_checks_count(
    world: worlds.World, states: dict[str, str], expected: facts.ChecksState
) -> None:
    world.protect(checks=("ci/test",))
    await world.host.get_repository(world.repository)
    made = await pull(world)
    world.set_checks(made.number, states)
    assert (await again(world, made.number)).required_checks is expected


async def test_without_required_checks_there_are_none(world: worlds.World) -> None:
    made = await pull(world)
    world.set_checks(made.number, {"optional": "failure"})
    assert (await again(world, made.number)).required_checks is facts.ChecksState.NONE


# Merging


@pytest.mark.parametrize("method", ["squash", "merge", "rebase"])
async def test_a_merge_is_delivered_to_its_base(world: worlds.World, method: str) -> None:
    made = await pull(world)
    sha = await world.host.merge_pull_request(made, sha=made.head_sha, method=method)
    merged = await again(world, made.number)
    assert (merged.state, merged.merge_sha, merged.merged_by) == (MERGED, sha, made.author)
    assert await world.host.get_branch_sha(world.repository, "main") == sha
    assert (await world.host.get_tree(world.repository, sha, "")).files == {
        **FILES,
        MANIFEST: FIXED,
    }
    assert await world.host.merge_pull_request(made, sha=made.head_sha, method=method) == sha
    await world.host.close_pull_request(world.repository, made.number)
    assert (await again(world, made.number)).state is MERGED


async def test_what_others_merged_meanwhile_stays(world: worlds.World) -> None:
    made = await pull(world)
    world.push("main", {"README.md": b"newer\n"}, "alice")
    sha = await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    files = (await world.host.get_tree(world.repository, sha, "")).files
    assert (files["README.md"], files[MANIFEST]) == (b"newer\n", FIXED)


async def test_a_person_may_merge(world: worlds.World) -> None:
    made = await pull(world)
    sha = world.merge_by_person(made.number, "alice")
    merged = await again(world, made.number)
    assert (merged.state, merged.merge_sha, merged.merged_by) == (MERGED, sha, "alice")


async def test_a_moved_head_is_not_merged(world: worlds.World) -> None:
    made = await pull(world)
    world.push(BRANCH, {MANIFEST: b"by hand\n"}, "alice")
    with pytest.raises(errors.Conflict):
        await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    assert (await again(world, made.number)).state is OPEN


async def test_a_closed_one_is_not_merged(world: worlds.World) -> None:
    made = await pull(world)
    await world.host.close_pull_request(world.repository, made.number)
    with pytest.raises(errors.Conflict):
        await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")


async def test_a_conflict_of_content_is_seen_and_goes_to_a_person(world: worlds.World) -> None:
    made = await pull(world)
    assert made.mergeable is not False
    world.push("main", {MANIFEST: b"memory: 96Mi\n"}, "alice")
    assert (await again(world, made.number)).mergeable is False
    with pytest.raises(errors.HandOver) as caught:
        await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    assert caught.value.reason == "NotMergeable"


@pytest.mark.parametrize("demand", [{"reviews": 1}, {"checks": ("ci/test",)}])
async def test_what_the_repository_demands_is_not_gone_round(
    world: worlds.World, demand: dict[str, Sequence[str] | int]
) -> None:
    world.protect(**demand)  # type: ignore[arg-type]
    made = await pull(world)
    with pytest.raises(errors.HandOver) as caught:
        await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    assert caught.value.reason == "NotMergeable"
    world.approve(made.number, "alice")
    world.set_checks(made.number, {"ci/test": "success"})
    await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")
    assert (await again(world, made.number)).state is MERGED


async def test_a_method_that_is_switched_off_is_the_policys_fault(world: worlds.World) -> None:
    world.allow("squash")
    assert (await world.host.get_repository(world.repository)).merge_methods == {"squash"}
    made = await pull(world)
    with pytest.raises(errors.PolicyInvalid):
        await world.host.merge_pull_request(made, sha=made.head_sha, method="rebase")
    assert (await again(world, made.number)).state is OPEN


# Delivery


@pytest.mark.parametrize("strategy", ["Actions", "Deployments"])
async def test_delivery_is_followed_to_its_end(world: worlds.World, strategy: str) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")

    async def state() -> facts.DeliveryState:
        found = await world.host.get_delivery(world.repository, sha, strategy)
        assert found.revision == sha
        return found.state

    assert await state() is facts.DeliveryState.PENDING
    for wanted in (
        facts.DeliveryState.IN_PROGRESS,
        facts.DeliveryState.FAILURE,
        facts.DeliveryState.IN_PROGRESS,
        facts.DeliveryState.SUCCESS,
    ):
        world.deliver(strategy, sha, wanted)
        assert await state() is wanted


@pytest.mark.parametrize("strategy", ["Rollout", "ArgoCD", "Flux"])
async def test_other_strategies_have_no_word_here(world: worlds.World, strategy: str) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")
    found = await world.host.get_delivery(world.repository, sha, strategy)
    assert found.state is facts.DeliveryState.UNKNOWN


async def test_a_rollout_listens_to_commit_statuses(world: worlds.World) -> None:
    sha = await world.host.get_branch_sha(world.repository, "main")
    world.deliver("Rollout", sha, facts.DeliveryState.FAILURE)
    assert (
        await world.host.get_delivery(world.repository, sha, "Rollout")
    ).state is facts.DeliveryState.FAILURE
