"""One sandbox GitHub for all tests of this folder, a repository of its own for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import github
import pytest
import requests
from hack.sandbox.github import client
from tests.contract import code_host_worlds as worlds

BOT, ALICE, READER = "sandbox-operator-token", "sandbox-alice-token", "sandbox-reader-token"
FILES = {"apps/deploy.yaml": b"memory: 64Mi\n", "README.md": b"# gitops\n"}


@dataclasses.dataclass
class Place:
    """One repository of the sandbox, seen by raw HTTP and by PyGithub."""

    base: str
    name: str

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = BOT, **headers: str
    ) -> requests.Response:
        """One request below the repository (or from the root, where ``path`` starts with //)."""
        url = self.base + (path[1:] if path.startswith("//") else f"/repos/{self.name}{path}")
        sent = {"Authorization": f"Bearer {token}", **headers}
        return requests.request(method, url, json=body, headers=sent, timeout=10)

    def connect(self, token: str = BOT) -> Any:
        """The repository in PyGithub, which neither waits nor repeats."""
        made = github.Github(
            auth=github.Auth.Token(token),
            base_url=self.base,
            retry=None,
            seconds_between_requests=0,
            seconds_between_writes=0,
        )
        return made.get_repo(self.name)

    def push(self, branch: str, files: dict[str, bytes | None], token: str = BOT) -> str:
        return client.put_files(self.base, token, self.name, files, "Change", branch=branch)

    def branch(self, name: str, files: dict[str, bytes | None]) -> str:
        start = client.head(self.base, BOT, self.name)
        made = self.ask("POST", "/git/refs", {"ref": f"refs/heads/{name}", "sha": start})
        assert made.status_code == 201, made.text
        return self.push(name, files)

    def open(self, branch: str, files: dict[str, bytes | None], token: str = BOT) -> int:
        """A pull request that changes these files."""
        self.branch(branch, files)
        body = {"title": "Fix", "head": branch, "base": "main"}
        made = self.ask("POST", "/pulls", body, token=token)
        assert made.status_code == 201, made.text
        return int(made.json()["number"])

    def graph(self, query: str) -> dict[str, Any]:
        """What GraphQL answers, whatever it is."""
        answer = self.ask("POST", "//graphql", {"query": query})
        return dict(answer.json())


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Sandbox]:
    with worlds.Sandbox(tmp_path_factory.mktemp("github")) as running:
        yield running


@pytest.fixture
def place(sandbox: worlds.Sandbox) -> Iterator[Place]:
    yield Place(sandbox.url, sandbox.add_repository(FILES))
    client.clear_faults(sandbox.url)
