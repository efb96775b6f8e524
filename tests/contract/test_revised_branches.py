"""The contract of CodeHost where an open pull request gets another commit: fake, and GitHub over the wire."""

# ruff: noqa: F811
from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from tests.contract import code_host_worlds as worlds
from tests.contract.test_code_host import (
    BRANCH,
    FILES,
    MANIFEST,
    _as_published,  # noqa: F401 - holds here too
    again,
    github_sandbox,  # noqa: F401 - the fixture
    pull,
    world,  # noqa: F401 - the fixture
)

from selfheal.domain import errors, facts

KEY = "0a1b2c/1/PR_UNDER_REVIEW/1/push-revise"
SECOND = b"memory: 256Mi\r\n"

World = worlds.World


async def revise(
    world: World, made: facts.PullRequestFacts, *, parent: str | None = None, key: str = KEY,
    files: Mapping[str, bytes | None] | None = None,
) -> facts.BranchFacts:  # fmt: skip
    return await world.host.push_revision(
        world.repository, BRANCH, head_sha=made.head_sha, parent_sha=parent or made.head_sha,
        files=files or {MANIFEST: SECOND}, message="Raise memory further\n\nAsked for.", key=key,
    )  # fmt: skip


async def test_a_commit_on_top_is_made_once(world: World) -> None:
    made = await pull(world)
    first = await revise(world, made)
    assert await revise(world, made) == first
    after = await again(world, made.number)
    assert (after.head_sha, after.state) == (first.sha, facts.PullRequestState.OPEN)
    tree = await world.host.get_tree(world.repository, first.sha, "apps/production")
    assert tree.files[MANIFEST] == SECOND
    history = await world.host.list_commits(world.repository, first.sha, MANIFEST)
    assert [commit.sha for commit in history[:2]] == [first.sha, made.head_sha]
    assert f"Selfheal-Effect: {KEY}" in history[0].message
    assert (await world.host.find_branch(world.repository, BRANCH)) == first


async def test_a_commit_on_a_base_that_moved_replaces_ours(world: World) -> None:
    made = await pull(world)
    base = world.push("main", {MANIFEST: b"memory: 96Mi\n"}, "alice")
    assert (await again(world, made.number)).mergeable is False
    moved = await revise(world, made, parent=base)
    assert await revise(world, made, parent=base) == moved
    after = await again(world, made.number)
    assert (after.head_sha, after.mergeable) == (moved.sha, True)
    history = await world.host.list_commits(world.repository, moved.sha, MANIFEST)
    assert [commit.sha for commit in history[:2]] == [moved.sha, base]
    await world.host.merge_pull_request(after, sha=moved.sha, method="squash")


@pytest.mark.parametrize("onto", ["head", "base"])
async def test_a_head_that_a_person_made_is_never_moved(world: World, onto: str) -> None:
    made = await pull(world)
    base = await world.host.get_branch_sha(world.repository, "main")
    theirs = world.push(BRANCH, {"apps/production/more.yaml": b"more\n"}, "bob")
    with pytest.raises(errors.Conflict):
        await revise(world, made, parent=base if onto == "base" else None)
    assert await world.host.get_branch_sha(world.repository, BRANCH) == theirs


async def test_a_branch_that_is_gone_is_not_made_again(world: World) -> None:
    made = await pull(world)
    await world.host.delete_branch(world.repository, BRANCH)
    with pytest.raises(errors.Conflict):
        await revise(world, made)
    assert await world.host.find_branch(world.repository, BRANCH) is None


async def test_files_of_the_commit_before_can_go_back(world: World) -> None:
    made = await pull(world)
    added = await revise(world, made, files={"apps/production/new.yaml": b"new\n"})
    now = await again(world, made.number)
    back = {"apps/production/new.yaml": None, MANIFEST: FILES[MANIFEST]}
    last = await world.host.push_revision(
        world.repository, BRANCH, head_sha=added.sha, parent_sha=added.sha, files=back,
        message="Back", key="other/key",
    )  # fmt: skip
    assert now.head_sha == added.sha
    tree = await world.host.get_tree(world.repository, last.sha, "")
    assert tree.files == FILES


async def test_title_and_reviewers_are_renewed(world: World) -> None:
    made = await pull(world)
    world.request_changes(made.number, "alice", "use 256Mi")
    for _ in range(2):
        await world.host.save_pull_request_title(world.repository, made.number, title="OPS-1: more")
        await world.host.ask_review(world.repository, made.number, logins=["alice"])
    await world.host.ask_review(world.repository, made.number, logins=[])
    after = await again(world, made.number)
    assert after.requested_reviewers == ("alice",)
    assert world.title(made.number) == "OPS-1: more"


async def test_a_review_has_an_identity_and_its_comments(world: World) -> None:
    made = await pull(world)
    world.request_changes(made.number, "alice", "see below", comments={MANIFEST: "use 256Mi"})
    world.request_changes(made.number, "bob", "no")
    first, second = (await again(world, made.number)).reviews
    assert (first.body, first.comments, first.by.name) == ("see below", ("use 256Mi",), "alice")
    assert second.comments == ()
    assert len({first.id, second.id, ""}) == 3
    assert first.url.startswith("http")


async def test_a_repository_that_wants_the_newest_base_says_so(world: World) -> None:
    made = await pull(world)
    base = world.push("main", {"README.md": b"# other\n"}, "alice")
    assert not (await again(world, made.number)).behind, "it does not want it yet"
    world.protect(checks=("ci",), strict=True)
    after = await again(world, made.number)
    assert (after.behind, after.mergeable) == (True, True)
    await revise(world, made, parent=base)
    assert not (await again(world, made.number)).behind


async def test_a_commit_that_is_signed_off_is_the_signers(world: World) -> None:
    signer = await world.host.get_signer(world.repository)
    assert await world.host.get_signer(world.repository) == signer
    assert re.fullmatch(r"selfheal-bot <\d+\+selfheal-bot@users\.noreply\.[\w.]+>", signer)
    base = await world.host.get_branch_sha(world.repository, "main")
    made = await world.host.ensure_branch(
        world.repository, BRANCH, base_sha=base, files={MANIFEST: SECOND}, key=KEY,
        message=f"Raise memory\n\nKilled.\n\nSigned-off-by: {signer}",
    )  # fmt: skip
    assert made.effect_key == KEY
    commit = (await world.host.list_commits(world.repository, made.sha, MANIFEST))[0]
    last = commit.message.rstrip().rpartition("\n\n")[2].splitlines()
    assert last == [f"Signed-off-by: {signer}", f"Selfheal-Effect: {KEY}"]
    assert world.author_of(made.sha) == signer
