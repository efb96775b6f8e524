"""Webhooks: alerts become signals; Jira and GitHub only shorten a wait, polling stays the truth.

Nothing in a body is believed: an alert is admitted by the same rules as any signal, a notice of
Jira or GitHub names whom to look at, and the looking reads the outside again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

MAX_BODY = 1024 * 1024  # bytes; GitHub's deliveries may be larger, and are then polled

log = logging.getLogger("selfheal.hooks")

Admit = Callable[[bytes], Awaitable[tuple[int, list[str]]]]
"""Admit a request with alerts: how many were taken, and why others were left; -1: come again.

ValueError: the request cannot be read.
"""

Look = Callable[[str], Awaitable[int]]
"""Look at the incidents of a ticket key or pull request URL; how many there are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hooks:
    """The webhooks; a route whose secret is not set answers 404."""

    alert_token: str | None
    """Bearer token of Alertmanager."""
    signing_secret: str | None
    """Secret with which Jira and GitHub sign their notices."""
    admit: Admit
    look_at_ticket: Look
    look_at_pull: Look

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/hooks/alertmanager", self.take_alerts),
            web.post("/hooks/jira", self.take_jira),
            web.post("/hooks/github", self.take_github),
        ]

    async def take_alerts(self, request: web.Request) -> web.Response:
        """Take a group of alerts; 202 with what was taken and what was left, and why."""
        if self.alert_token is None:
            raise web.HTTPNotFound(text="alerts are not taken: set SELFHEAL_ALERT_TOKEN")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.alert_token.encode()):
            raise web.HTTPUnauthorized(text="the bearer token is not ours")
        try:
            taken, left = await self.admit(await request.read())
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if taken < 0:
            raise web.HTTPServiceUnavailable(
                text="too many signals wait", headers={"Retry-After": "30"}
            )
        return web.json_response({"taken": taken, "left": left}, status=202)

    async def take_jira(self, request: web.Request) -> web.Response:
        """Take a notice of Jira about an issue; its key is all that is read."""
        notice = await self._read_signed(request, "X-Hub-Signature")
        key = _text(notice, "issue", "key")
        return await self._look(self.look_at_ticket, key)

    async def take_github(self, request: web.Request) -> web.Response:
        """Take a notice of GitHub about a pull request; its URL is all that is read."""
        notice = await self._read_signed(request, "X-Hub-Signature-256")
        url = _text(notice, "pull_request", "html_url") or _text(notice, "issue", "html_url")
        return await self._look(self.look_at_pull, url)

    async def _look(self, look: Look, name: str) -> web.Response:
        return web.json_response({"looked": await look(name) if name else 0}, status=202)

    async def _read_signed(self, request: web.Request, header: str) -> Mapping[str, Any]:
        if self.signing_secret is None:
            raise web.HTTPNotFound(text="notices are not taken: set SELFHEAL_WEBHOOK_SECRET")
        body = await request.read()
        digest = hmac.new(self.signing_secret.encode(), body, hashlib.sha256).hexdigest()
        given = request.headers.get(header, "")
        if not hmac.compare_digest(given.encode(), f"sha256={digest}".encode()):
            raise web.HTTPUnauthorized(text=f"{header} does not fit the body and our secret")
        try:
            found = json.loads(body)
        except ValueError as error:
            raise web.HTTPBadRequest(text="the body is not JSON") from error
        return found if isinstance(found, Mapping) else {}


def build_app(hooks: Hooks) -> web.Application:
    """Return the application; bodies are bounded."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(hooks.routes())
    return app


async def serve(app: web.Application, port: int, host: str = "0.0.0.0") -> web.AppRunner:  # noqa: S104 - a pod's own address
    """Serve until ``cleanup`` of the runner that is returned."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
