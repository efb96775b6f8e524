"""The child process that holds repositories, branches, pull requests and reviews: npm `emulate`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pathlib
import socket
from typing import Any

import aiohttp
import yaml

from hack.sandbox.github import install, state

SPARES = 200
"""Tokens of one account: emulate refuses each after 5,000 requests an hour, and a test run needs more."""


def spare(token: str, number: int) -> str:
    """One of the tokens by which a sandbox token goes on to emulate."""
    return f"{token}-{number % SPARES}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Emulate:
    """emulate on a free loopback port; links in its answers carry the proxy's address."""

    def __init__(self, public_url: str, folder: pathlib.Path) -> None:
        self.public_url, self.folder = public_url, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._calls = itertools.count()
        self.http: aiohttp.ClientSession
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        seed = {
            "tokens": {
                spare(token, number): {"login": login, "scopes": ["repo", "workflow"]}
                for token, login in state.TOKENS.items()
                for number in range(SPARES)
            },
            "github": {
                "users": [{"login": login} for login in state.TOKENS.values()],
                "repos": [{"owner": state.OWNER, "name": "gitops", "auto_init": True}],
            },
        }
        (self.folder / "seed.yaml").write_text(yaml.safe_dump(seed))
        log = (self.folder / "emulate.log").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            str(install.binary("emulate")), "start", "-p", str(self.port), "-s", "github",
            "--seed", str(self.folder / "seed.yaml"), "--base-url", self.public_url,
            stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip
        self.http = aiohttp.ClientSession(auto_decompress=True)
        await self._wait()
        for login in ("selfheal-bot", "alice", "bob"):
            await self.add_collaborator(state.OWNER, "gitops", login)

    async def _wait(self) -> None:
        async with asyncio.timeout(30):
            while True:
                if self._process.returncode is not None:
                    raise RuntimeError((self.folder / "emulate.log").read_text()[-800:])
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.http.get(self.url):
                        return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self.http.close()
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def add_collaborator(self, owner: str, name: str, login: str) -> None:
        await self.call("PUT", f"/repos/{owner}/{name}/collaborators/{login}", {"permission": "push"})

    def authorization(self, token: str) -> str:
        """The header by which a sandbox token goes on to emulate."""
        return f"Bearer {spare(token, next(self._calls))}"

    async def call(self, method: str, path: str, body: Any = None, *, token: str = "sandbox-owner-token") -> Any:
        """A request of the sandbox's own, as the owner; None on 404."""
        headers = {"Authorization": self.authorization(token), "Accept": "application/vnd.github+json"}
        data = None if body is None else json.dumps(body)
        async with self.http.request(method, self.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            if answer.status == 404:
                return None
            return json.loads(text) if text else {}
