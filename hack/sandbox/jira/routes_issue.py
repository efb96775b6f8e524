"""Routes on issues, their changelog, comments, properties and links.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/ : groups Issues, Issue comments,
Issue properties, Issue remote links, Issue links.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from hack.sandbox.jira import checks, render
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.web import BAD_PAYLOAD, Ctx, nothing, page, reply

BULK_LIMIT = 100


async def create(ctx: Ctx) -> web.Response:
    made = ctx.edit.create(await ctx.body())
    return reply({"id": made.id, "key": made.key, "self": f"{ctx.show.api}/issue/{made.id}"}, 201)


async def get(ctx: Ctx) -> web.Response:
    bean = ctx.show.issue(ctx.issue(), ctx.words("fields"), set(ctx.words("expand")),
                          ctx.words("properties"))
    return reply(bean)


async def edit(ctx: Ctx) -> web.Response:
    issue = ctx.issue("edit")
    ctx.edit.edit(issue, await ctx.body())
    if ctx.version == "3" and ctx.request.query.get("returnIssue") == "true":
        return reply(ctx.show.issue(issue, [], set()))
    return nothing()


async def delete(ctx: Ctx) -> web.Response:
    ctx.store.delete(ctx.issue("edit"))
    return nothing()


async def assign(ctx: Ctx) -> web.Response:
    issue, body = ctx.issue("edit"), await ctx.body()
    ctx.edit.edit(issue, {"fields": {"assignee": body}})
    return nothing()


async def changelog(ctx: Ctx) -> web.Response:
    """Oldest first, paged; Cloud only."""
    size = ctx.number("maxResults", 100, ctx.store.settings.page_size_max)
    start = ctx.number("startAt", 0, 10**9)
    rows = [ctx.show.history(h) for h in ctx.issue().history]
    found = page(rows, "values", start, size)
    here = f"{ctx.show.api}/issue/{ctx.issue().key}/changelog"
    found["self"] = f"{here}?maxResults={size}&startAt={start}"
    if not found["isLast"]:
        found["nextPage"] = f"{here}?maxResults={size}&startAt={start + size}"
    return reply(found)


async def transitions(ctx: Ctx) -> web.Response:
    issue = ctx.issue()
    flow = ctx.store.projects[issue.project].workflow
    offered = flow.offered(issue.status) if ctx.who.may(issue.project, "edit") else []
    wanted = ctx.request.query.get("transitionId")
    shown = [ctx.show.transition(t, "transitions.fields" in ctx.words("expand"))
             for t in offered if wanted in (None, t.id)]
    return reply({"expand": "transitions", "transitions": shown})


async def transition(ctx: Ctx) -> web.Response:
    ctx.edit.transition(ctx.issue("edit"), await ctx.body())
    return nothing()


async def bulk_fetch(ctx: Ctx) -> web.Response:
    """POST issue/bulkfetch: at most 100; issues that are not found are simply left out."""
    body = await ctx.body()
    wanted = body.get("issueIdsOrKeys")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(w, str) for w in wanted):
        raise JiraError(400, "issueIdsOrKeys must not be empty.")
    if len(wanted) > BULK_LIMIT:
        raise JiraError(400, f"The number of issues exceeds the limit of {BULK_LIMIT}.")
    fields, expand, properties = (_strings(body, n) for n in ("fields", "expand", "properties"))
    found: dict[str, Any] = {}
    for one in wanted:
        try:
            issue = ctx.store.issue(one, ctx.who)
        except JiraError:
            continue
        found[issue.id] = ctx.show.issue(issue, fields, set(expand), properties, "*navigable")
    rows = sorted(found.values(), key=lambda i: int(i["id"]))  # "in ascending ID order"
    return reply({"issues": rows, "issueErrors": []})


def _strings(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise JiraError(400, BAD_PAYLOAD)
    return value


# ---- comments


async def comments(ctx: Ctx) -> web.Response:
    issue = ctx.issue()
    order = ctx.request.query.get("orderBy", "created")
    if order.lstrip("+-") != "created":
        raise JiraError(400, "orderBy must be created")
    rows = list(issue.comments)
    if order.startswith("-"):
        rows.reverse()
    with_properties = "properties" in ctx.words("expand")
    beans = [ctx.show.comment(issue, c, with_properties) for c in rows]
    found = page(beans, "comments", ctx.number("startAt", 0, 10**9),
                 ctx.number("maxResults", 100 if ctx.version == "3" else 1000))
    del found["isLast"]
    return reply(found)


async def comment_get(ctx: Ctx) -> web.Response:
    issue = ctx.issue()
    found = checks.find_comment(issue, ctx.request.match_info["comment"])
    return reply(ctx.show.comment(issue, found, "properties" in ctx.words("expand")))


async def comment_add(ctx: Ctx) -> web.Response:
    issue, body = ctx.issue("edit"), await ctx.body()
    _only(body, {"body", "visibility", "properties"})
    return reply(ctx.show.comment(issue, ctx.edit.comment(issue, body.get("body"),
                                                          body.get("properties"))), 201)


async def comment_update(ctx: Ctx) -> web.Response:
    issue, body = ctx.issue("edit"), await ctx.body()
    _only(body, {"body", "visibility", "properties", "id"})
    changed = ctx.edit.update_comment(issue, ctx.request.match_info["comment"], body.get("body"),
                                      body.get("properties"))
    return reply(ctx.show.comment(issue, changed))


async def comment_delete(ctx: Ctx) -> web.Response:
    ctx.edit.delete_comment(ctx.issue("edit"), ctx.request.match_info["comment"])
    return nothing()


def _only(body: dict[str, Any], allowed: set[str]) -> None:
    if set(body) - allowed:
        raise JiraError(400, BAD_PAYLOAD)


# ---- properties


async def property_keys(ctx: Ctx) -> web.Response:
    issue = ctx.issue()
    here = f"{ctx.show.api}/issue/{issue.id}/properties"
    return reply({"keys": [{"key": k, "self": f"{here}/{k}"} for k in issue.properties]})


async def property_get(ctx: Ctx) -> web.Response:
    key, issue = ctx.request.match_info["property"], ctx.issue()
    if key not in issue.properties:
        raise JiraError(404, f"The property {key} does not exist.")
    return reply({"key": key, "value": issue.properties[key]})


async def property_put(ctx: Ctx) -> web.Response:
    """201 when made, 200 when replaced; neither the changelog nor `updated` shows it."""
    issue, key = ctx.issue("edit"), checks.check_key(ctx.request.match_info["property"])
    value = checks.check_value(await ctx.json())
    fresh = key not in issue.properties
    issue.properties = {**issue.properties, key: value}
    ctx.store.reindex(issue)
    return reply({}, 201 if fresh else 200)


async def property_delete(ctx: Ctx) -> web.Response:
    issue, key = ctx.issue("edit"), ctx.request.match_info["property"]
    if key not in issue.properties:
        raise JiraError(404, f"The property {key} does not exist.")
    issue.properties = {k: v for k, v in issue.properties.items() if k != key}
    ctx.store.reindex(issue)
    return nothing()


# ---- links


async def remote_links(ctx: Ctx) -> web.Response:
    issue, wanted = ctx.issue(), ctx.request.query.get("globalId")
    rows = [_remote(ctx, issue.key, x) for x in issue.remote_links if wanted in (None, x["globalId"])]
    if wanted is None:
        return reply(rows)
    if not rows:
        raise JiraError(404, f"No remote link found with global id '{wanted}'.")
    return reply(rows[0])


async def remote_link_add(ctx: Ctx) -> web.Response:
    """Create, or update the one with the same globalId (200)."""
    issue, body = ctx.issue("edit"), await ctx.body()
    target = body.get("object")
    if not isinstance(target, dict) or not target.get("title") or not target.get("url"):
        wrong = [n for n in ("title", "url") if not isinstance(target, dict) or not target.get(n)]
        raise JiraError(400, errors={n: f"'{n}' is required." for n in wrong})
    known = next((x for x in issue.remote_links
                  if body.get("globalId") and x["globalId"] == body["globalId"]), None)
    key = known["id"] if known else ctx.store.next_id("remotelink")
    raw = {"id": key, "globalId": body.get("globalId"), "object": target,
           "relationship": body.get("relationship"), "application": body.get("application") or {}}
    issue.remote_links = [x for x in issue.remote_links if x is not known] + [raw]
    text = f"This issue links to \"{target['title']}\""
    ctx.store.record(issue, ctx.who, [] if known else
                     [checks.item("RemoteIssueLink", None, None, key, text)])
    return reply({"id": int(key), "self": f"{ctx.show.api}/issue/{issue.key}/remotelink/{key}"},
                 200 if known else 201)


async def remote_link_delete(ctx: Ctx) -> web.Response:
    issue, key = ctx.issue("edit"), ctx.request.match_info["link"]
    kept = [x for x in issue.remote_links if x["id"] != key]
    if len(kept) == len(issue.remote_links):
        raise JiraError(404, f"A remote link with id '{key}' does not exist.")
    issue.remote_links = kept
    ctx.store.record(issue, ctx.who, [checks.item("RemoteIssueLink", key, "link", None, None)])
    return nothing()


def _remote(ctx: Ctx, key: str, raw: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in raw.items() if v is not None}, "id": int(raw["id"]),
            "self": f"{ctx.show.api}/issue/{key}/remotelink/{raw['id']}"}


async def link_types(ctx: Ctx) -> web.Response:
    return reply({"issueLinkTypes": [render.link_type(ctx.show.api, n) for n in render.LINK_TYPES]})


async def link_add(ctx: Ctx) -> web.Response:
    body = await ctx.body()
    kind = body.get("type") or {}
    name = next((n for n, (i, _, _) in render.LINK_TYPES.items()
                 if n == kind.get("name") or i == kind.get("id")), None)
    if name is None:
        raise JiraError(404, f"No issue link type with name '{kind.get('name')}' found.")
    ends = {}
    for end in ("inward", "outward"):
        ref = body.get(f"{end}Issue") or {}
        ends[end] = ctx.store.issue(str(ref.get("key") or ref.get("id")), ctx.who, "edit")
    new = {"type": name, "inward": ends["inward"].id, "outward": ends["outward"].id}
    if all({k: x[k] for k in new} != new for x in ctx.store.links):
        ctx.store.links.append({"id": ctx.store.next_id("link"), **new})
        _, inward, outward = render.LINK_TYPES[name]
        _linked(ctx, ends["inward"], ends["outward"], outward)
        _linked(ctx, ends["outward"], ends["inward"], inward)
    return web.Response(status=201)


def _linked(ctx: Ctx, issue: Any, other: Any, words: str) -> None:
    text = f"This issue {words} {other.key}"
    ctx.store.record(issue, ctx.who, [checks.item("Link", None, None, other.key, text)])


async def link_delete(ctx: Ctx) -> web.Response:
    key = ctx.request.match_info["link"]
    found = next((x for x in ctx.store.links if x["id"] == key), None)
    if found is None:
        raise JiraError(404, f"No issue link with id '{key}' exists.")
    for end in ("inward", "outward"):
        ctx.store.issue(found[end], ctx.who, "edit")
    ctx.store.links.remove(found)
    ctx.store.dirty = True
    return nothing()
