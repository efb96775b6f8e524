"""What every route shares: who calls, through which API, body, paging, and the refusal of errors."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from hack.sandbox.jira import seed
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.issues import Editor
from hack.sandbox.jira.render import Renderer
from hack.sandbox.jira.state import Account, Issue, Store

STORE: web.AppKey[Store] = web.AppKey("store", Store)
ACCOUNT: web.RequestKey[str] = web.RequestKey("account", str)
BAD_PAYLOAD = "Invalid request payload. Refer to the REST API documentation and try again."
UNAUTHORIZED = {"message": "Client must be authenticated to access this resource.", "status-code": 401}


@dataclass
class Ctx:
    """One authenticated request."""

    request: web.Request
    store: Store
    who: Account
    version: str  # "3" Cloud, "2" Data Center
    base: str  # the site's URL, for browse links
    api_base: str  # the site, or behind the gateway /ex/jira/<cloudId>: there `self` links lead

    @property
    def show(self) -> Renderer:
        """The beans of this API version."""
        return Renderer(self.store, self.version, self.api_base)

    @property
    def edit(self) -> Editor:
        """The operations of this account."""
        return Editor(self.store, self.who, self.version)

    def issue(self, what: str = "browse") -> Issue:
        """The issue of the path."""
        return self.store.issue(self.request.match_info["issue"], self.who, what)

    def number(self, name: str, default: int, most: int = 5000) -> int:
        """A non-negative integer parameter, capped."""
        raw = self.request.query.get(name, "")
        if not raw:
            return default
        try:
            return min(max(int(raw), 0), most)
        except ValueError:
            raise JiraError(400, f"'{raw}' is not a valid value for {name}") from None

    def words(self, name: str) -> list[str]:
        """A comma-separated or repeated parameter."""
        return [w.strip() for v in self.request.query.getall(name, []) for w in v.split(",") if w.strip()]

    async def body(self) -> dict[str, Any]:
        """The JSON object of the request; 415 and 400 as Jira."""
        found = await self.json()
        if not isinstance(found, dict):
            raise JiraError(400, BAD_PAYLOAD)
        return found

    async def json(self) -> Any:
        """Any JSON value."""
        if self.request.content_type != "application/json":
            raise JiraError(415, body={"message": "Unsupported Media Type", "status-code": 415})
        try:
            return json.loads(await self.request.text())
        except ValueError:
            raise JiraError(400, BAD_PAYLOAD) from None


Handler = Callable[[Ctx], Awaitable[web.Response]]


def reply(data: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.json_response(data, status=status)


def nothing() -> web.Response:
    """204."""
    return web.Response(status=204)


def page(items: list[Any], key: str, start: int, size: int) -> dict[str, Any]:
    """Jira's startAt page."""
    part = items[start:start + size]
    return {"startAt": start, "maxResults": size, "total": len(items),
            "isLast": start + len(part) >= len(items), key: part}


def site_of(request: web.Request) -> str:
    """The site's base URL as the caller reached it."""
    return f"{request.scheme}://{request.host}"


def wrap(handler: Handler, version: str, gateway: bool, anonymous: bool = False) -> Any:
    """An aiohttp handler: authenticate, limit, call, translate errors."""

    async def serve(request: web.Request) -> web.StreamResponse:
        store = request.app[STORE]
        try:
            if gateway and request.match_info["cloud"] != seed.CLOUD_ID:
                raise JiraError(404, body={"code": 404, "message": "Not Found"})
            who = authenticate(request, store, version, gateway)
            if who is None and not anonymous:
                raise _unauthorized(gateway)
            site = site_of(request)
            api_base = f"{site}/ex/jira/{seed.CLOUD_ID}" if gateway else site
            caller = who or Account("", "", "", "", access={})
            ctx = Ctx(request, store, caller, version, site, api_base)
            request[ACCOUNT] = ctx.who.name
            headers = _limit(request, store, ctx.who)
            response = await handler(ctx)
            response.headers.update(headers)
            return response
        except JiraError as error:
            return web.json_response(error.body, status=error.status,
                                     headers={**error.headers, "X-ARequestId": secrets.token_hex(8)})

    return serve


def _unauthorized(gateway: bool) -> JiraError:
    if gateway:
        return JiraError(401, body={"code": 401, "message": "Unauthorized"})
    return JiraError(401, body=UNAUTHORIZED,
                     headers={"WWW-Authenticate": 'OAuth realm="sandbox"'})


def authenticate(request: web.Request, store: Store, version: str, gateway: bool) -> Account | None:
    """The account of the Authorization header; None without one; 401 for a wrong one."""
    header = request.headers.get("Authorization", "")
    if not header:
        return None
    scheme, _, value = header.partition(" ")
    email, token = "", value.strip()
    if scheme.lower() == "basic":
        email, token = _basic(value, gateway)
    elif scheme.lower() != "bearer":
        raise _unauthorized(gateway)
    for who in store.accounts.values():
        if gateway and token in who.gateway_tokens and email in ("", who.email):
            _scope(request, who.gateway_tokens[token])
            return who
        if email and email == who.email and token == who.site_token and version == "3":
            return who
        if version == "2" and not gateway and token == who.pat and email in ("", who.name):
            return who
    raise _unauthorized(gateway)


def _basic(value: str, gateway: bool) -> tuple[str, str]:
    try:
        name, _, token = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unauthorized(gateway) from None
    if not name or not token:
        raise _unauthorized(gateway)
    return name, token


def _scope(request: web.Request, scopes: list[str]) -> None:
    """A scoped token needs the scope of the operation.

    https://developer.atlassian.com/cloud/jira/platform/scopes-for-oauth-2-3LO-and-forge-apps/
    """
    reads = request.method == "GET" or request.path.endswith(("/search/jql", "/bulkfetch"))
    desk = "/servicedeskapi/" in request.path
    wanted = ("read:" if reads else "write:") + ("servicedesk-request" if desk else "jira-work")
    if wanted not in scopes:
        raise JiraError(401, body={"code": 401, "message": "Unauthorized; scope does not match"})


def _limit(request: web.Request, store: Store, who: Account) -> dict[str, str]:
    """Rate limit headers and 429 (https://developer.atlassian.com/cloud/jira/platform/rate-limiting/)."""
    most = store.settings.rate_limit
    if not most:
        return {}
    window = store.settings.rate_window
    now = store.clock()
    spent: dict[str, list[float]] = request.app[BUCKETS]
    recent = [t for t in spent.get(who.account_id, []) if t > now - window]
    headers = {"X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(max(0, most - len(recent) - 1)),
               "X-RateLimit-NearLimit": str(len(recent) + 1 > most * 0.8).lower()}
    if len(recent) >= most:
        wait = max(1, int(recent[0] + window - now + 0.999))
        raise JiraError(429, "Rate limit exceeded", headers={
            **headers, "Retry-After": str(wait), "X-RateLimit-Reset": str(int(now + wait)),
            "RateLimit-Reason": "jira-burst-based"})
    spent[who.account_id] = [*recent, now]
    return headers


BUCKETS: web.AppKey[dict[str, list[float]]] = web.AppKey("buckets", dict)
