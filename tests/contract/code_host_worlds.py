"""The two worlds in which the CodeHost contract is tried: in memory, and the sandbox GitHub."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.fakes import code_host

from selfheal import ports
from selfheal.domain import facts

Change = Mapping[str, bytes | None]

_CHECKS = {
    "success": facts.ChecksState.SUCCESS,
    "failure": facts.ChecksState.FAILURE,
    "pending": facts.ChecksState.PENDING,
}


class World(Protocol):
    """A host under test and what people (ann, bob) and pipelines do on the other side of it."""

    host: ports.CodeHost
    repository: str

    def close(self) -> None: ...
    def protect(self, *, reviews: int = 0, checks: Sequence[str] = ()) -> None: ...
    def allow(self, *methods: str) -> None: ...
    def push(self, branch: str, files: Change, name: str, message: str = "Change") -> str: ...
    def open_by_person(self, branch: str, name: str) -> int: ...
    def approve(self, number: int, name: str) -> None: ...
    def request_changes(self, number: int, name: str, body: str) -> None: ...
    def comment(self, number: int, name: str, body: str) -> None: ...
    def label(self, number: int, *names: str) -> None: ...
    def assign(self, number: int, name: str) -> None: ...
    def edit_body(self, number: int, name: str, body: str) -> None: ...
    def merge_by_person(self, number: int, name: str) -> str: ...
    def set_checks(self, number: int, states: Mapping[str, str]) -> None: ...
    def deliver(self, strategy: str, sha: str, state: facts.DeliveryState) -> None: ...
    def comments(self, number: int) -> Sequence[str]: ...
    def count_pull_requests(self) -> int: ...
    def count_writes(self) -> int: ...


class Still:
    """A clock that stands still."""

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps here")


class FakeWorld:
    """The fake, whose people are methods of it."""

    repository = "acme/gitops"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.fake = code_host.FakeCodeHost(Still())
        self.fake.add_repository(self.repository, files)
        self.host: ports.CodeHost = self.fake
        self.protect = self.fake.protect
        self.allow = self.fake.allow
        self.push = self.fake.push
        self.approve = self.fake.approve
        self.request_changes = self.fake.request_changes
        self.comment = self.fake.comment
        self.label = self.fake.label
        self.assign = self.fake.assign
        self.edit_body = self.fake.edit_body
        self.merge_by_person = self.fake.merge_by_person
        self.comments = self.fake.comments

    def close(self) -> None:
        """Nothing is held."""

    def open_by_person(self, branch: str, name: str) -> int:
        draft = ports.PullRequestDraft(
            repository=self.repository,
            base="main",
            branch=branch,
            title="Mine",
            body="mine",
            key="",
        )
        return self.fake.open_by_person(draft, name)

    def set_checks(self, number: int, states: Mapping[str, str]) -> None:
        required = self.fake.repositories[self.repository].required
        present = [_CHECKS[states[name]] for name in required if name in states]
        if present:
            self.fake.set_checks(number, present[0])

    def deliver(self, strategy: str, sha: str, state: facts.DeliveryState) -> None:
        self.fake.set_delivery(sha, state, strategy=strategy)

    def count_pull_requests(self) -> int:
        return self.fake.created["pull_request"]

    def count_writes(self) -> int:
        return sum(self.fake.created.values())
