"""Every case of ``pull_request_cases`` as a whole life with the real GitHub adapter, against the sandbox GitHub.

Tracker, cluster and clock are the scenario's; everything of the code host goes over HTTP, and people act over REST with
their own tokens. What emulate cannot show (rate limits, lost rights, 5xx, archived, queue) the proxy in front injects.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hack.sandbox.github import client
from tests.contract import code_host_worlds as worlds
from tests.scenario import pull_request_cases as cases
from tests.scenario.test_pull_request_faults import Wire
from tests.scenario.world import FILE, SOURCE, World, policy_spec, repository_spec

from selfheal.api.incident import Incident, Phase, Resolution
from selfheal.api.policy import Policy
from selfheal.domain import errors
from selfheal.engine.deps import Systems

pytestmark = pytest.mark.sandbox

FILES = {FILE: SOURCE.encode(), "README.md": b"# gitops\n"}
READS = ("/git/ref/", "/git/commits/", "/git/trees/", "/git/blobs/", "/pulls$", "/pulls/[0-9]+$", "/comments$", "$", "/branches/main$")
WRITES = (
    ("POST", "/git/trees$"), ("POST", "/git/commits$"), ("POST", "/git/refs$"), ("PATCH", "/git/refs/"),
    ("POST", "/pulls$"), ("PATCH", "/pulls/[0-9]+$"), ("POST", "/issues/[0-9]+/labels$"), ("POST", "/labels$"),
    ("PUT", "/labels$"), ("POST", "/comments$"), ("PUT", "/merge$"), ("POST", "/requested_reviewers$"),
)  # fmt: skip
LAST = (Phase.PR_MERGED, Phase.DEPLOYMENT_IN_PROGRESS)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Sandbox]:
    with worlds.Sandbox(tmp_path_factory.mktemp("github")) as running:
        yield running


@dataclasses.dataclass
class WireWorld(World):
    """The scenario's world with a code host that is reached over HTTP."""

    host: Any = None

    async def _connect(self, policy: Policy, incident: Incident) -> Systems:
        systems = await super()._connect(policy, incident)
        return dataclasses.replace(systems, code=self.process.wrap(self.host, "code"))


class WireLife:
    """A life against the sandbox."""

    def __init__(self, sandbox: worlds.Sandbox) -> None:
        self.sandbox, self.url = sandbox, sandbox.url
        self.side = worlds.SandboxWorld(sandbox, FILES)
        self.repository = self.side.repository
        self.world = WireWorld(host=self.side.host)
        self.wire = Wire()
        self.world.restart(self.wire)
        self.world.people.append(self._deliver)
        self.number = 1
        self.approved_by: list[str] = []
        self._delivered = False

    def ask(self, name: str, verb: str, path: str, body: Any = None) -> Any:
        return self.sandbox.ask(name, verb, f"/repos/{self.repository}{path}", body)

    def _deliver(self, world: World) -> None:
        """The pipeline: what is merged goes to the cluster."""
        if world.phase in LAST and not self._delivered:
            self._delivered = True
            world._schedule_delivery(self.files())

    def files(self, ref: str = "main") -> Mapping[str, bytes]:
        return client.read_tree(self.url, self.sandbox.tokens["alice"], self.repository, ref)

    async def break_calls(self, trouble: cases.Trouble, *, times: int, after: bool = False) -> None:
        answer = {"status": trouble.status, "headers": dict(trouble.headers), "body": trouble.body}
        when = "after" if after else "before"
        for verb, path in WRITES:
            self._fault(verb, f"^/repos/{self.repository}{path}", times=times, when=when, **answer)
        if trouble.writes_only:
            return
        for path in READS:
            self._fault("GET", f"^/repos/{self.repository}{path}", times=times, when=when, **answer)
        if trouble.status == 404:  # GraphQL says it in its own way
            missing = {"data": {"r0": None}, "errors": [{"type": "NOT_FOUND", "message": "Could not resolve"}]}
            answer = {"status": 200, "headers": {}, "body": json.dumps(missing)}
        self._fault("POST", "^/graphql$", times=times, when=when, **answer)

    def _fault(self, verb: str, path: str, **how: Any) -> None:
        client.fault(self.url, match={"method": verb, "path": path, "actor": "selfheal-bot"}, **how)

    async def mend(self) -> None:
        client.clear_faults(self.url)

    async def replay_writes(self) -> None:
        self.wire.replays = True

    def rewrite_base(self, files: Mapping[str, bytes]) -> None:
        entries = [
            {"path": path, "mode": "100644", "type": "blob", "content": text.decode()} for path, text in files.items()
        ]
        tree = self.ask("alice", "POST", "/git/trees", {"tree": entries})["sha"]
        body = {"message": "Rewritten", "tree": tree, "parents": []}
        sha = self.ask("alice", "POST", "/git/commits", body)["sha"]
        self.ask("alice", "PATCH", "/git/refs/heads/main", {"sha": sha, "force": True})

    def delete_branch(self) -> None:
        branch = self.ask("alice", "GET", f"/pulls/{self.number}")["head"]["ref"]
        self.ask("alice", "DELETE", f"/git/refs/heads/{branch}")

    def close(self) -> None:
        self.ask("alice", "PATCH", f"/pulls/{self.number}", {"state": "closed"})

    def set_queue(self) -> None:
        client.set_rules(self.url, self.repository, queue=True)

    def land_queue(self) -> None:
        if self.ask("alice", "GET", f"/pulls/{self.number}")["state"] != "open":
            return
        client.set_rules(self.url, self.repository, queue=False)
        self.side.merge_by_person(self.number, "bob")


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
async def test_it_ends_where_it_must_and_nothing_is_made_twice(sandbox: worlds.Sandbox, case: cases.Case) -> None:
    life = WireLife(sandbox)
    mapping = repository_spec(repository=life.repository, **case.mapping)
    try:
        await cases.live(life, case, policy_spec(**mapping))
    finally:
        client.clear_faults(sandbox.url)
        life.side.close()
    world = life.world
    assert world.phase is case.end
    if case.end is cases.HUMAN:
        assert world.status.handover is not None
        assert world.status.handover.reason == case.reason
    else:
        assert world.status.resolution is Resolution.FIXED
        assert b"memory: 64Mi" not in life.files()[FILE]
    assert life.side.count_pull_requests() == 1
    said = life.side.comments(1)
    markers = collections.Counter(re.findall(r"selfheal-effect: (\S+)", "\n".join(said)))
    assert set(markers.values()) <= {1}
    assert sum("/push-re" in marker for marker in markers) == case.revisions
    merged = life.ask("alice", "GET", "/pulls/1")
    if case.end is cases.RESOLVED:
        assert (merged["merged_by"]["login"] == "selfheal-bot") is case.merged_by_us
    assert sandbox.violations() == []


async def test_the_merge_queue_is_entered_with_the_approved_head_and_left(sandbox: worlds.Sandbox) -> None:
    life = WireLife(sandbox)
    life.set_queue()
    life.world.people.append(lambda world: cases._approve(life))
    life.world.file_incident(policy_spec(**repository_spec(repository=life.repository)))
    await life.world.run_until(lambda world: "merge queue" in world.status.message, steps=2000)
    pull = await life.world.host.get_pull_request(life.repository, 1)
    assert pull.queued
    for _ in range(2):
        await life.world.host.leave_merge_queue(life.repository, 1)
    assert not (await life.world.host.get_pull_request(life.repository, 1)).queued
    life.side.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_forced_move_whose_answer_is_lost_is_found_again(sandbox: worlds.Sandbox, when: str) -> None:
    life = WireLife(sandbox)
    host, repository, name = life.world.host, life.repository, "selfheal/production-checkout-r1a1"
    base = await host.get_branch_sha(repository, "main")
    made = await host.ensure_branch(repository, name, base_sha=base, files={"x": b"1"}, message="Fix", key="u/1")
    moved = life.side.push("main", {"README.md": b"# other\n"}, "bob")

    async def push() -> Any:
        return await host.push_revision(
            repository, name, head_sha=made.sha, parent_sha=moved, files={"x": b"2"}, message="Again", key="u/2"
        )

    client.fault(sandbox.url, match={"method": "POST", "path": "^/graphql$"}, when=when, status=502)
    with pytest.raises(errors.UnknownOutcome):
        await push()
    first = await push()
    assert await push() == first
    history = await host.list_commits(repository, first.sha, "")
    assert [commit.sha for commit in history[:2]] == [first.sha, moved]
    life.side.close()
