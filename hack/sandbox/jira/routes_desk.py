"""The Service Management subset: desks, request types, requests and their comments.

https://developer.atlassian.com/cloud/jira/service-desk/rest/
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from hack.sandbox.jira import adf, render, workflow
from hack.sandbox.jira.checks import find_comment
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.issues import Editor
from hack.sandbox.jira.state import Issue, Project
from hack.sandbox.jira.web import Ctx, reply


def _error(status: int, message: str) -> JiraError:
    """The service desk has an error body of its own."""
    return JiraError(status, body={"errorMessage": message,
                                   "i18nErrorMessage": {"i18nKey": "sd.error", "parameters": []}})


def _page(ctx: Ctx, rows: list[Any]) -> web.Response:
    start, limit = ctx.number("start", 0), ctx.number("limit", 50, 100)
    part = rows[start:start + limit]
    return reply({"size": len(part), "start": start, "limit": limit,
                  "isLastPage": start + len(part) >= len(rows), "values": part,
                  "_links": {"self": str(ctx.request.url), "base": ctx.api_base, "context": ""}})


def _desk(ctx: Ctx, key: str) -> Project:
    for project in ctx.store.projects.values():
        names = (project.service_desk, project.key, f"projectKey:{project.key}")
        if project.service_desk and key in names and ctx.who.may(project.key, "browse"):
            return project
    raise _error(404, "The specified Service Desk does not exist.")


def _desk_bean(ctx: Ctx, project: Project) -> dict[str, Any]:
    return {"id": project.service_desk, "projectId": project.id, "projectName": project.name,
            "projectKey": project.key,
            "_links": {"self": f"{ctx.api_base}/rest/servicedeskapi/servicedesk/{project.service_desk}"}}


async def info(ctx: Ctx) -> web.Response:
    now = ctx.store.now()
    return reply({"version": "sandbox", "platformVersion": "1001.0.0", "buildChangeSet": "sandbox",
                  "isLicensedForUse": True, "buildDate": {"iso8601": render.when(now),
                                                          "epochMillis": now}})


async def desks(ctx: Ctx) -> web.Response:
    return _page(ctx, [_desk_bean(ctx, p) for p in ctx.store.projects.values()
                       if p.service_desk and ctx.who.may(p.key, "browse")])


async def desk(ctx: Ctx) -> web.Response:
    return reply(_desk_bean(ctx, _desk(ctx, ctx.request.match_info["desk"])))


async def request_types(ctx: Ctx) -> web.Response:
    project = _desk(ctx, ctx.request.match_info["desk"])
    return _page(ctx, [{"id": t["id"], "name": t["name"], "description": "", "helpText": "",
                        "issueTypeId": t["issueTypeId"], "serviceDeskId": project.service_desk,
                        "groupIds": []} for t in project.request_types])


async def create(ctx: Ctx) -> web.Response:
    """Request fields are plain text or wiki, also on Cloud (isAdfRequest is not in this subset)."""
    body = await ctx.body()
    project = _desk(ctx, str(body.get("serviceDeskId", "")))
    kind = next((t for t in project.request_types if t["id"] == str(body.get("requestTypeId"))), None)
    if kind is None:
        raise _error(400, "The specified Request Type does not exist.")
    values = body.get("requestFieldValues")
    if not isinstance(values, dict) or not values.get("summary"):
        raise _error(400, "summary: You must specify a summary of the issue.")
    unknown = set(values) - {"summary", "description"}
    if unknown:
        raise _error(400, f"Fields are not valid for this request type: {', '.join(sorted(unknown))}")
    if not ctx.who.may(project.key, "edit"):
        raise _error(403, "You do not have permission to create requests in this Service Desk.")
    fields = {"project": {"key": project.key}, "issuetype": {"id": kind["issueTypeId"]}, **values}
    made = Editor(ctx.store, ctx.who, "2").create({"fields": fields})
    made.request_type = kind["id"]
    return reply(_request_bean(ctx, made), 201)


def _request(ctx: Ctx, what: str = "browse") -> Issue:
    issue = ctx.issue(what)
    if issue.request_type is None:
        raise _error(404, "The request does not exist or you do not have permission to see it.")
    return issue


def _date(ms: int) -> dict[str, Any]:
    return {"iso8601": render.when(ms), "jira": render.when(ms), "epochMillis": ms}


def _request_bean(ctx: Ctx, issue: Issue) -> dict[str, Any]:
    project = ctx.store.projects[issue.project]
    values = {"summary": issue.summary, "description": adf.to_text(issue.description)}
    kind = workflow.category(issue.status)["key"]
    return {"issueId": issue.id, "issueKey": issue.key, "summary": issue.summary,
            "requestTypeId": issue.request_type, "serviceDeskId": project.service_desk,
            "createdDate": _date(issue.created), "reporter": ctx.show.user(issue.reporter),
            "requestFieldValues": [{"fieldId": k, "label": k.capitalize(), "value": v}
                                   for k, v in values.items()],
            "currentStatus": {"status": issue.status, "statusDate": _date(issue.status_since),
                              "statusCategory": str(kind).upper()},
            "_links": {"web": f"{ctx.base}/browse/{issue.key}", "agent": f"{ctx.base}/browse/{issue.key}",
                       "self": f"{ctx.api_base}/rest/servicedeskapi/request/{issue.id}",
                       "jiraRest": f"{ctx.show.api}/issue/{issue.id}"}}


async def request(ctx: Ctx) -> web.Response:
    return reply(_request_bean(ctx, _request(ctx)))


def _comment(ctx: Ctx, raw: dict[str, Any]) -> dict[str, Any]:
    return {"id": raw["id"], "body": adf.to_text(raw["body"]), "public": render.public(raw),
            "author": ctx.show.user(raw["author"]), "created": _date(raw["created"])}


async def comments(ctx: Ctx) -> web.Response:
    """`public` and `internal` choose; both default to true."""
    wanted = {n: ctx.request.query.get(n, "true") == "true" for n in ("public", "internal")}
    rows = [c for c in _request(ctx).comments if wanted["public" if render.public(c) else "internal"]]
    return _page(ctx, [_comment(ctx, c) for c in rows])


async def comment(ctx: Ctx) -> web.Response:
    return reply(_comment(ctx, find_comment(_request(ctx), ctx.request.match_info["comment"])))


async def comment_add(ctx: Ctx) -> web.Response:
    issue, body = _request(ctx, "edit"), await ctx.body()
    shown = body.get("public", True)
    if not isinstance(shown, bool) or not isinstance(body.get("body"), str) or not body["body"]:
        raise _error(400, "A comment needs a body; public is true or false.")
    properties = [] if shown else [{"key": "sd.public.comment", "value": {"internal": True}}]
    made = Editor(ctx.store, ctx.who, "2").comment(issue, body["body"], properties)
    return reply(_comment(ctx, made), 201)
