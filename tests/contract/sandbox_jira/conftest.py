from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import requests
from aiohttp import web
from hack.sandbox.jira import app as application
from hack.sandbox.jira import client, seed


class Clock:
    """Real enough to be a time, moved only by the test."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        self.now += 0.001  # every reading differs, as in life
        return self.now


class Site:
    def __init__(self, base: str, clock: Clock) -> None:
        self.base, self.clock = base, clock
        self.gateway = f"{base}/ex/jira/{seed.CLOUD_ID}"

    def call(self, method: str, path: str, body: object = None, user: str = "selfheal",
             **kw: object) -> requests.Response:
        return requests.request(method, f"{self.base}/rest/api/3{path}", json=body,
                                auth=client.credentials(user), timeout=5, **kw)

    def v2(self, method: str, path: str, body: object = None, **kw: object) -> requests.Response:
        return requests.request(method, f"{self.base}/rest/api/2{path}", json=body, timeout=5,
                                headers={"Authorization": f"Bearer {seed.BOT_PAT}"}, **kw)

    def ticket(self, project: str = "OPS", user: str = "alice", **kw: object) -> str:
        return client.create_ticket(self.base, user, project, "checkout is restarting", **kw)


@pytest.fixture(scope="module")
def _server() -> Iterator[Site]:
    clock, loop = Clock(), asyncio.new_event_loop()
    runner = web.AppRunner(application.make_app(clock=clock))

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{port}", clock)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.run_until_complete(runner.cleanup())
    loop.close()


@pytest.fixture
def site(_server: Site) -> Site:
    client.reset(_server.base)
    return _server
