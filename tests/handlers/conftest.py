"""The operator under kopf's own runner, against a small API server, with steps that are recorded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import yaml
from tests.handlers.api_server import Threaded

from selfheal.adapters.kube import connection
from selfheal.engine.deps import Deps
from selfheal.engine.requeue import ASLEEP, Requeue
from selfheal.handlers import incidents, lifecycle, runner
from selfheal.settings import Settings

PATIENCE = 20.0
"""Seconds after which something that was waited for counts as never coming."""

Behaviour = Callable[[str, Deps], Awaitable[Requeue]]


class Recorder:
    """What was stepped and what was observed, with a way to wait for either."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.observed: list[int] = []
        self.changed = asyncio.Event()
        self.behaviour: Behaviour | None = None

    async def step(self, key: str, deps: Deps) -> Requeue:
        self.steps.append(key)
        self.changed.set()
        return ASLEEP if self.behaviour is None else await self.behaviour(key, deps)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what was recorded holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_observed(self, version: str) -> None:
        """Wait until the watch event of this resourceVersion went through the handler."""
        await self.until(lambda: any(seen >= int(version) for seen in self.observed))


class Running:
    """A running operator."""

    def __init__(self, api: Threaded, recorder: Recorder, port: int) -> None:
        self.api, self.recorder, self.port = api, recorder, port
        self.metrics_port = free_port()
        self.stop = asyncio.Event()

    @property
    def health(self) -> str:
        return f"http://127.0.0.1:{self.port}/healthz"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def api(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Threaded]:
    """An API server, and the kubeconfig of both kopf and our own client pointing at it."""
    threaded = Threaded()
    await threaded.call(threaded.server.start())
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "small", "cluster": {"server": threaded.server.url}}],
        "users": [{"name": "operator", "user": {"token": "of-the-test"}}],
        "contexts": [{"name": "small", "context": {"cluster": "small", "user": "operator"}}],
        "current-context": "small",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(connection, "KUBECONFIG", str(path))
    yield threaded
    await threaded.close()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Steps are recorded instead of taken; the handler's observations too."""
    found = Recorder()
    real = incidents.observe

    async def observe(**kwargs: Any) -> None:
        await real(**kwargs)
        found.observed.append(int(kwargs["body"]["metadata"]["resourceVersion"]))
        found.changed.set()

    monkeypatch.setattr(lifecycle, "step", found.step)
    monkeypatch.setattr(incidents, "observe", observe)
    return found


@pytest.fixture
def start(api: Threaded, recorder: Recorder) -> Callable[[], Any]:
    """Return what runs the operator for the length of a block."""

    @contextlib.asynccontextmanager
    async def run() -> AsyncIterator[Running]:
        running = Running(api, recorder, free_port())
        settings = Settings(liveness_port=running.port, metrics_port=running.metrics_port)
        before = api.server.watches
        task = asyncio.create_task(runner.run_operator(settings, running.stop))
        try:
            await api.until(lambda server: server.watches > before, PATIENCE)
            yield running
        finally:
            running.stop.set()
            async with asyncio.timeout(PATIENCE):
                await task

    return run
