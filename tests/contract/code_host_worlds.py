"""The two worlds in which the CodeHost contract is tried: in memory, and the sandbox GitHub."""

from __future__ import annotations

import datetime as dt
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hack.sandbox.github import client
from tests.fakes import code_host

from selfheal import ports
from selfheal.adapters import github
from selfheal.adapters.github import marks
from selfheal.api import policy
from selfheal.domain import facts

Change = Mapping[str, bytes | None]

ROOT = pathlib.Path(__file__).parents[2]

_CHECKS = {
    "success": facts.ChecksState.SUCCESS,
    "failure": facts.ChecksState.FAILURE,
    "pending": facts.ChecksState.PENDING,
}
_STATUS = {
    facts.DeliveryState.IN_PROGRESS: "in_progress",
    facts.DeliveryState.FAILURE: "failure",
    facts.DeliveryState.SUCCESS: "success",
}
_RUN: dict[facts.DeliveryState, dict[str, str | None]] = {
    facts.DeliveryState.IN_PROGRESS: {"status": "in_progress", "conclusion": None},
    facts.DeliveryState.FAILURE: {"status": "completed", "conclusion": "failure"},
    facts.DeliveryState.SUCCESS: {"status": "completed", "conclusion": "success"},
}


class World(Protocol):
    """A host under test and what people (ann, bob) and pipelines do on the other side of it."""

    host: ports.CodeHost
    repository: str

    def close(self) -> None: ...
    def protect(
        self, *, reviews: int = 0, checks: Sequence[str] = (), strict: bool = False
    ) -> None: ...
    def allow(self, *methods: str) -> None: ...
    def push(self, branch: str, files: Change, name: str, message: str = "Change") -> str: ...
    def open_by_person(self, branch: str, name: str) -> int: ...
    def approve(self, number: int, name: str) -> None: ...
    def request_changes(
        self, number: int, name: str, body: str, *, comments: Mapping[str, str] | None = None
    ) -> None: ...
    def title(self, number: int) -> str: ...
    def author_of(self, sha: str) -> str: ...
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
        self.comment = self.fake.comment
        self.label = self.fake.label
        self.assign = self.fake.assign
        self.edit_body = self.fake.edit_body
        self.merge_by_person = self.fake.merge_by_person
        self.comments = self.fake.comments

    def close(self) -> None:
        """Nothing is held."""

    def request_changes(
        self, number: int, name: str, body: str, *, comments: Mapping[str, str] | None = None
    ) -> None:
        self.fake.request_changes(number, name, body, comments=list((comments or {}).values()))

    def title(self, number: int) -> str:
        return self.fake.repo().titles[number]

    def author_of(self, sha: str) -> str:
        """The fake has no addresses: whoever signs off is the author."""
        found = marks.signer(self.fake.repo().commits[sha].message) or {}
        return f"{found.get('name')} <{found.get('email')}>"

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


class Sandbox:
    """The sandbox GitHub as a process of these tests, which checks every request it gets."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self.url = ""
        self.tokens = {
            name: f"sandbox-{name}-token" for name in ("operator", "alice", "bob", "owner")
        }

    def __enter__(self) -> Sandbox:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = ["--host", "127.0.0.1", "--port", str(port), "--state", str(self._folder / "state")]
        command = [sys.executable, "-m", "hack.sandbox.github", *words, "--validate"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + 120  # the first start may have to fetch packages
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._folder / "log").read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def ask(self, name: str, verb: str, path: str, body: Any = None) -> Any:
        """Do as a person does; what the server refuses fails the test."""
        answer = client.call(self.url, self.tokens[name], verb, path, body)
        assert answer is not None, f"{verb} {path}: 404"
        return answer

    def add_repository(self, files: Mapping[str, bytes]) -> str:
        """Make a repository with one more commit of these files."""
        self._count += 1
        repository = client.create_repository(self.url, f"gitops-{self._count}")
        client.put_files(self.url, self.tokens["alice"], repository, files, "Begin")
        return repository

    def violations(self) -> list[str]:
        """Return what the operator's requests broke of GitHub's published description."""
        return [fault for fault in client.violations(self.url) if fault.startswith("selfheal-bot:")]

    def run_workflow(self, repository: str, sha: str, state: facts.DeliveryState) -> None:
        """Let a newer run of one workflow be in this state."""
        body = {
            "repository": repository,
            "head_sha": sha,
            "workflow_id": 1,
            "name": "deploy",
            **_RUN[state],
        }
        client.call(self.url, "", "POST", "/_sandbox/runs", body)

    def count_writes(self) -> int:
        """Count what the operator wrote so far, reads by GraphQL apart."""
        return sum(
            entry["actor"] == "selfheal-bot"
            and entry["method"] != "GET"
            and "graphql" not in entry["path"]
            for entry in client.requests_seen(self.url)
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SandboxWorld:
    """The adapter against the sandbox; people act over REST with their own tokens."""

    def __init__(self, sandbox: Sandbox, files: Mapping[str, bytes]) -> None:
        self._sandbox = sandbox
        self.repository = sandbox.add_repository(files)
        self._path = f"/repos/{self.repository}"
        spec = policy.CodeSpec.model_validate({"baseURL": sandbox.url})
        self._connected = github.connect(spec, {"GITHUB_TOKEN": sandbox.tokens["operator"]})
        self.host: ports.CodeHost = self._connected

    def close(self) -> None:
        self._connected.close()

    def protect(
        self, *, reviews: int = 0, checks: Sequence[str] = (), strict: bool = False
    ) -> None:
        demanded = {"required_approving_review_count": reviews} if reviews else None
        body = {
            "required_status_checks": {"strict": strict, "contexts": list(checks)}
            if checks
            else None,
            "enforce_admins": True,
            "required_pull_request_reviews": demanded,
            "restrictions": None,
        }
        self._sandbox.ask("owner", "PUT", f"{self._path}/branches/main/protection", body)

    def allow(self, *methods: str) -> None:
        fields = {
            "merge": "allow_merge_commit",
            "squash": "allow_squash_merge",
            "rebase": "allow_rebase_merge",
        }
        body = {field: method in methods for method, field in fields.items()}
        self._sandbox.ask("owner", "PATCH", self._path, body)

    def push(self, branch: str, files: Change, name: str, message: str = "Change") -> str:
        token = self._sandbox.tokens[name]
        return client.put_files(
            self._sandbox.url, token, self.repository, files, message, branch=branch
        )

    def open_by_person(self, branch: str, name: str) -> int:
        body = {"title": "Mine", "body": "mine", "head": branch, "base": "main"}
        return int(self._sandbox.ask(name, "POST", f"{self._path}/pulls", body)["number"])

    def approve(self, number: int, name: str) -> None:
        self._sandbox.ask(
            name, "POST", f"{self._path}/pulls/{number}/reviews", {"event": "APPROVE"}
        )

    def request_changes(
        self, number: int, name: str, body: str, *, comments: Mapping[str, str] | None = None
    ) -> None:
        review: dict[str, Any] = {"event": "REQUEST_CHANGES", "body": body}
        if comments:
            review["comments"] = [
                {"path": path, "position": 1, "body": text}
                for path, text in comments.items()
            ]
        self._sandbox.ask(name, "POST", f"{self._path}/pulls/{number}/reviews", review)

    def comment(self, number: int, name: str, body: str) -> None:
        self._sandbox.ask(name, "POST", f"{self._path}/issues/{number}/comments", {"body": body})

    def label(self, number: int, *names: str) -> None:
        self._sandbox.ask(
            "alice", "POST", f"{self._path}/issues/{number}/labels", {"labels": names}
        )

    def assign(self, number: int, name: str) -> None:
        body = {"assignees": [name]}
        self._sandbox.ask(name, "POST", f"{self._path}/issues/{number}/assignees", body)

    def edit_body(self, number: int, name: str, body: str) -> None:
        self._sandbox.ask(name, "PATCH", f"{self._path}/pulls/{number}", {"body": body})

    def merge_by_person(self, number: int, name: str) -> str:
        body = {"merge_method": "merge"}
        return str(
            self._sandbox.ask(name, "PUT", f"{self._path}/pulls/{number}/merge", body)["sha"]
        )

    def set_checks(self, number: int, states: Mapping[str, str]) -> None:
        head = self._sandbox.ask("alice", "GET", f"{self._path}/pulls/{number}")["head"]["sha"]
        for context, state in states.items():
            body = {"context": context, "state": state}
            self._sandbox.ask("alice", "POST", f"{self._path}/statuses/{head}", body)

    def deliver(self, strategy: str, sha: str, state: facts.DeliveryState) -> None:
        if strategy == "Rollout":
            body = {"context": "deploy", "state": _STATUS[state]}
            self._sandbox.ask("alice", "POST", f"{self._path}/statuses/{sha}", body)
        elif strategy == "Actions":
            self._sandbox.run_workflow(self.repository, sha, state)
        else:
            self._deploy(sha, state)

    def author_of(self, sha: str) -> str:
        found = self._sandbox.ask("alice", "GET", f"{self._path}/git/commits/{sha}")["author"]
        return f"{found['name']} <{found['email']}>"

    def title(self, number: int) -> str:
        found = self._sandbox.ask("alice", "GET", f"{self._path}/pulls/{number}")
        return str(found["title"])

    def comments(self, number: int) -> Sequence[str]:
        found = self._sandbox.ask("alice", "GET", f"{self._path}/issues/{number}/comments")
        return [comment["body"] for comment in found]

    def count_pull_requests(self) -> int:
        return len(self._sandbox.ask("alice", "GET", f"{self._path}/pulls?state=all"))

    def count_writes(self) -> int:
        return self._sandbox.count_writes()

    def _deploy(self, sha: str, state: facts.DeliveryState) -> None:
        path = f"{self._path}/deployments"
        body = {
            "ref": sha,
            "environment": "production",
            "auto_merge": False,
            "required_contexts": [],
        }
        number = self._sandbox.ask("alice", "POST", path, body)["id"]
        self._sandbox.ask("alice", "POST", f"{path}/{number}/statuses", {"state": _STATUS[state]})
