"""The GitHub adapter where the wire or the rights fail, against the sandbox; and its query, as published.

What is cut off after it took effect must be found again by the next call, never done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import graphql
import pytest
from hack.sandbox.github import client, install
from tests.contract import code_host_worlds as worlds

from selfheal import ports
from selfheal.adapters import github
from selfheal.adapters.github import queries
from selfheal.api import policy
from selfheal.domain import errors, facts

KEY = "0a1b2c/1/PR_CREATION_IN_PROGRESS/1"
BRANCH = "selfheal/production-checkout-0a1b2c3d-r1a1"
FILES = {"apps/deploy.yaml": b"memory: 64Mi\n"}

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Sandbox]:
    with worlds.Sandbox(tmp_path_factory.mktemp("github")) as running:
        yield running


@pytest.fixture
def world(sandbox: worlds.Sandbox) -> Iterator[worlds.SandboxWorld]:
    made = worlds.SandboxWorld(sandbox, FILES)
    yield made
    client.clear_faults(sandbox.url)
    made.close()


@pytest.fixture
def connect(sandbox: worlds.Sandbox) -> Iterator[Callable[[str], github.GitHubCodeHost]]:
    made: list[github.GitHubCodeHost] = []

    def make(token: str) -> github.GitHubCodeHost:
        spec = policy.CodeSpec.model_validate({"baseURL": sandbox.url})
        made.append(github.connect(spec, {"token": token}))
        return made[-1]

    yield make
    for host in made:
        host.close()


def draft(world: worlds.World) -> ports.PullRequestDraft:
    return ports.PullRequestDraft(
        repository=world.repository,
        base="main",
        branch=BRANCH,
        title="t",
        body="b",
        key=KEY,
        labels=("selfheal",),
    )


async def branch(world: worlds.World) -> facts.BranchFacts:
    base = await world.host.get_branch_sha(world.repository, "main")
    change: dict[str, bytes | None] = {"apps/deploy.yaml": b"memory: 128Mi\n"}
    return await world.host.ensure_branch(
        world.repository, BRANCH, base_sha=base, files=change, message="Fix", key=KEY
    )


async def pull(world: worlds.World) -> facts.PullRequestFacts:
    await branch(world)
    return await world.host.ensure_pull_request(draft(world))


async def comment(world: worlds.World) -> str:
    number = (await pull(world)).number
    return await world.host.ensure_pull_request_comment(
        world.repository, number, marker="m", body="b"
    )


async def mirror(world: worlds.World) -> frozenset[str]:
    made = await pull(world)
    await world.host.save_pull_request_mirror(made, label="selfheal/PR_CREATED", status_block="one")
    return (await world.host.get_pull_request(world.repository, made.number)).labels


async def merge(world: worlds.World) -> str:
    made = await pull(world)
    return await world.host.merge_pull_request(made, sha=made.head_sha, method="squash")


EFFECTS = [
    (branch, "POST", "/git/refs$"),
    (pull, "POST", "/pulls$"),
    (pull, "POST", "/issues/[0-9]+/labels$"),
    (comment, "POST", "/comments$"),
    (mirror, "PATCH", "/pulls/[0-9]+$"),
    (mirror, "POST", "/labels$"),
    (mirror, "PUT", "/labels$"),
    (merge, "PUT", "/merge$"),
]


@pytest.mark.parametrize(
    "how", [{"kind": "drop"}, {"status": 502}, {"status": 504, "kind": "html"}]
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("effect", "verb", "path"), EFFECTS)
async def test_a_write_that_is_cut_off_is_done_once_in_the_end(
    world: worlds.SandboxWorld, sandbox: worlds.Sandbox, how: dict[str, Any], when: str,
    effect: Callable[[worlds.World], Any], verb: str, path: str,
) -> None:  # fmt: skip
    client.fault(
        sandbox.url,
        match={"method": verb, "path": world.repository + ".*" + path},
        when=when,
        **how,
    )
    with pytest.raises(errors.UnknownOutcome):
        await effect(world)
    first = await effect(world)
    assert await effect(world) == first
    assert len(await world.host.list_branches(world.repository, "selfheal/")) == 1
    if effect is not branch:
        assert world.count_pull_requests() == 1
    if effect is comment:
        assert len(world.comments(1)) == 1
    if effect is mirror:
        assert first == {"selfheal", "selfheal/PR_CREATED"}


async def test_a_refused_token_says_so(
    world: worlds.SandboxWorld, connect: Callable[[str], github.GitHubCodeHost]
) -> None:
    with pytest.raises(errors.Unauthorized) as caught:
        await connect("not-a-token-of-anyone").get_repository(world.repository)
    assert "not-a-token-of-anyone" not in str(caught.value)


async def test_a_right_that_is_missing_is_told(
    world: worlds.SandboxWorld, connect: Callable[[str], github.GitHubCodeHost]
) -> None:
    reader = connect("sandbox-reader-token")
    base = await reader.get_branch_sha(world.repository, "main")
    with pytest.raises(errors.Forbidden):
        await reader.ensure_branch(
            world.repository, BRANCH, base_sha=base, files={"x": b"y"}, message="m", key=KEY
        )


@pytest.mark.parametrize(
    "how",
    [
        {"status": 429, "headers": {"Retry-After": "7"}},
        {"status": 403, "headers": {"Retry-After": "7"}},
    ],
)
@pytest.mark.parametrize(("verb", "path"), [("GET", "/git/ref/"), ("POST", "/git/refs$")])
async def test_a_rate_limit_keeps_its_wait(
    world: worlds.SandboxWorld, sandbox: worlds.Sandbox, how: dict[str, Any], verb: str, path: str
) -> None:
    client.fault(sandbox.url, match={"method": verb, "path": world.repository + ".*" + path}, **how)
    with pytest.raises(errors.RateLimited) as caught:
        await branch(world)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 7
    await branch(world)


async def test_many_pull_requests_are_one_request(
    world: worlds.SandboxWorld, sandbox: worlds.Sandbox
) -> None:
    number = (await pull(world)).number
    before = len(client.requests_seen(sandbox.url))
    await world.host.get_pull_requests([(world.repository, number), (world.repository, 77)])
    assert [entry["path"] for entry in client.requests_seen(sandbox.url)[before:]] == ["/graphql"]


def test_the_query_is_valid_by_githubs_published_schema() -> None:
    schema = graphql.build_schema(
        install.graphql_schema().read_text(), assume_valid=True, assume_valid_sdl=True
    )
    query = graphql.parse(queries.build([("a/b", 1), ("a/b", 2), ("c/d", 3)]))
    assert graphql.validate(schema, query) == []
    for mutation in (queries.UPDATE_REFS, queries.ENQUEUE, queries.DEQUEUE):
        assert graphql.validate(schema, graphql.parse(mutation)) == []
