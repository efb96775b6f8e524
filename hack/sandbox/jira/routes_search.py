"""Search: v3 by token pages, the removed v3 search, and Data Center's startAt search.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/
The old paths are gone: https://developer.atlassian.com/changelog/#CHANGE-2046
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from hack.sandbox.jira import jql
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.web import BAD_PAYLOAD, Ctx, reply

UNBOUNDED = ("Unbounded JQL queries are not allowed here. Please add a search restriction to your "
             "query.")
ALLOWED = {"jql", "nextPageToken", "maxResults", "fields", "expand", "properties", "fieldsByKeys",
           "failFast", "reconcileIssues"}


@dataclass
class Cursor:
    """What a page token stands for."""

    query: str
    account: str
    start: int
    expires: float


TOKENS: web.AppKey[dict[str, Cursor]] = web.AppKey("tokens", dict)


async def removed(ctx: Ctx) -> web.Response:
    """410 of the old search."""
    raise JiraError(410, "The requested API has been removed. Please migrate to the "
                         "/rest/api/3/search/jql API. A full migration guideline is available at "
                         "https://developer.atlassian.com/changelog/#CHANGE-2046")


async def _asked(ctx: Ctx) -> dict[str, Any]:
    """The parameters, from the query string (GET) or the body (POST), with types checked."""
    if ctx.request.method == "GET":
        query = ctx.request.query
        asked: dict[str, Any] = {n: ctx.words(n) for n in
                                 ("fields", "expand", "properties", "reconcileIssues")}
        asked.update({n: query[n] for n in ("jql", "nextPageToken") if n in query})
        asked["maxResults"] = ctx.number("maxResults", 50)
        return asked
    body = await ctx.body()
    if set(body) - ALLOWED:
        raise JiraError(400, BAD_PAYLOAD)
    asked = {**body, "maxResults": body.get("maxResults", 50)}
    if isinstance(asked["maxResults"], bool) or not isinstance(asked["maxResults"], int):
        raise JiraError(400, BAD_PAYLOAD)
    for name in ("fields", "properties", "reconcileIssues"):
        if not isinstance(asked.setdefault(name, []) or [], list):
            raise JiraError(400, BAD_PAYLOAD)
    expand = asked.get("expand") or []
    asked["expand"] = expand.split(",") if isinstance(expand, str) else expand
    return asked


async def search(ctx: Ctx) -> web.Response:
    """GET and POST /search/jql."""
    asked = await _asked(ctx)
    text = asked.get("jql") or ""
    query = jql.parse(text, ctx.store, ctx.who)
    if not query.restricted:
        raise JiraError(400, UNBOUNDED)
    fresh = {str(x) for x in asked["reconcileIssues"] or []}
    if len(fresh) > 50:
        raise JiraError(400, "reconcileIssues accepts at most 50 ids.")
    start = _start(ctx, asked.get("nextPageToken"), text)
    most = ctx.store.settings.page_size_max
    size = max(1, min(asked["maxResults"] or 50, most))
    found = query.run(ctx.store.indexed(fresh))
    shown = [_bean(ctx, i, asked) for i in found[start:start + size]]
    answer: dict[str, Any] = {"issues": shown, "isLast": start + size >= len(found)}
    if not answer["isLast"]:
        answer["nextPageToken"] = _token(ctx, text, start + size)
    return reply(answer)


def _bean(ctx: Ctx, issue: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Without `fields` only the id comes ("the default is id")."""
    if not asked["fields"] or asked["fields"] == ["id"]:
        return {"id": issue.id}
    return ctx.show.issue(issue, asked["fields"], set(asked["expand"]), asked["properties"])


def _token(ctx: Ctx, text: str, start: int) -> str:
    token = secrets.token_urlsafe(24)
    tokens = ctx.request.app[TOKENS]
    now = ctx.store.clock()
    for old in [t for t, c in tokens.items() if c.expires <= now]:
        del tokens[old]
    tokens[token] = Cursor(text, ctx.who.account_id, start,
                           now + ctx.store.settings.page_token_seconds)
    return token


def _start(ctx: Ctx, token: str | None, text: str) -> int:
    if not token:
        return 0
    cursor = ctx.request.app[TOKENS].get(token)
    if cursor is None or cursor.expires <= ctx.store.clock() or cursor.query != text or (
        cursor.account != ctx.who.account_id
    ):
        raise JiraError(400, "The provided next page token is invalid or expired.")
    return cursor.start


async def count(ctx: Ctx) -> web.Response:
    """POST /search/approximate-count."""
    query = jql.parse(str((await ctx.body()).get("jql") or ""), ctx.store, ctx.who)
    if not query.restricted:
        raise JiraError(400, UNBOUNDED)
    return reply({"count": len(query.run(ctx.store.indexed()))})


async def search_dc(ctx: Ctx) -> web.Response:
    """GET and POST /rest/api/2/search of Data Center."""
    if ctx.request.method == "GET":
        body: dict[str, Any] = {"jql": ctx.request.query.get("jql", ""), "fields": ctx.words("fields"),
                                "expand": ctx.words("expand"), "startAt": ctx.number("startAt", 0),
                                "maxResults": ctx.number("maxResults", 50, 1000)}
    else:
        body = await ctx.body()
    start, size = int(body.get("startAt") or 0), min(int(body.get("maxResults", 50)), 1000)
    found = jql.parse(body.get("jql") or "", ctx.store, ctx.who).run(ctx.store.indexed())
    shown = [ctx.show.issue(i, body.get("fields"), set(body.get("expand") or []), default="*navigable")
             for i in found[start:start + size]]
    return reply({"expand": "schema,names", "startAt": start, "maxResults": size, "total": len(found),
                  "issues": shown})
