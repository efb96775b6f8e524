"""Fixtures of the GitHub adapter's tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from tests.unit.adapters.github.scripted import QUICK, TOKEN, Server

from selfheal.adapters import github
from selfheal.api import policy


@pytest.fixture
def server() -> Iterator[Server]:
    instance = Server()
    threading.Thread(
        target=instance.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    yield instance
    instance.shutdown()
    instance.server_close()


@pytest.fixture
def connect() -> Iterator[Callable[..., github.GitHubCodeHost]]:
    made: list[github.GitHubCodeHost] = []

    def make(
        url: str, credential: dict[str, str] | None = None, pace: github.Pace = QUICK
    ) -> github.GitHubCodeHost:
        spec = policy.CodeSpec.model_validate({"baseURL": url})
        made.append(github.connect(spec, credential or {"GITHUB_TOKEN": TOKEN}, pace=pace))
        return made[-1]

    yield make
    for host in made:
        host.close()
