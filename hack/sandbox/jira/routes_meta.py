"""Routes on the server, people, projects and lists.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/ : groups Server info, Myself, Users, User search,
Projects, Issue types, Issue priorities, Workflow statuses, Issue resolutions, Issue fields, Permissions.
"""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from hack.sandbox.jira import render
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.state import PRIORITIES, RESOLUTIONS, Account, Project
from hack.sandbox.jira.web import Ctx, page, reply

PERMISSIONS = {"BROWSE_PROJECTS": "browse", "CREATE_ISSUES": "edit", "EDIT_ISSUES": "edit",
               "TRANSITION_ISSUES": "edit", "ADD_COMMENTS": "edit", "LINK_ISSUES": "edit",
               "DELETE_ISSUES": "edit", "ASSIGN_ISSUES": "edit", "EDIT_OWN_COMMENTS": "edit",
               "DELETE_OWN_COMMENTS": "edit"}
FIELD_TYPES = {"summary": "string", "description": "string", "issuetype": "issuetype",
               "project": "project", "priority": "priority", "labels": "array", "assignee": "user",
               "reporter": "user"}


async def server_info(ctx: Ctx) -> web.Response:
    cloud = ctx.version == "3"
    version = [1001, 0, 0] if cloud else [10, 3, 0]
    return reply({"baseUrl": ctx.base, "version": "1001.0.0-SNAPSHOT" if cloud else "10.3.0",
                  "versionNumbers": version, "deploymentType": "Cloud" if cloud else "Server",
                  "buildNumber": 100200, "serverTime": render.when(ctx.store.now()),
                  "serverTitle": "Sandbox Jira"})


async def myself(ctx: Ctx) -> web.Response:
    return reply(ctx.show.user(ctx.who.account_id))


async def user(ctx: Ctx) -> web.Response:
    query = ctx.request.query
    for who in ctx.store.accounts.values():
        key, have = ("accountId", who.account_id) if ctx.version == "3" else ("username", who.name)
        if query.get(key) == have:
            return reply({**(ctx.show.user(who.account_id) or {}), **_expanded_groups(ctx, who)})
    raise JiraError(404, "Specified user does not exist or you do not have required permissions")


def _group(ctx: Ctx, name: str) -> dict[str, str]:
    """A group's name bean: groupId on Cloud only."""
    if ctx.version == "2":
        return {"name": name, "self": f"{ctx.show.api}/group?groupname={name}"}
    group_id = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    return {"name": name, "groupId": group_id, "self": f"{ctx.show.api}/group?groupId={group_id}"}


def _expanded_groups(ctx: Ctx, who: Account) -> dict[str, Any]:
    """`expand=groups` of Get user: a list wrapper with size and items."""
    if "groups" not in ctx.request.query.get("expand", "").split(","):
        return {}
    items = [_group(ctx, name) for name in who.groups]
    return {"groups": {"size": len(items), "items": items}, "expand": "groups,applicationRoles"}


async def user_groups(ctx: Ctx) -> web.Response:
    """Get user groups (Cloud, api-group-users): an array of name beans; 404 for an unknown user."""
    wanted = ctx.request.query.get("accountId")
    if not wanted:
        raise JiraError(400, "The query parameter 'accountId' is required.")
    who = ctx.store.accounts.get(wanted)
    if who is None:
        raise JiraError(404, "Specified user does not exist or you do not have required permissions")
    return reply([_group(ctx, name) for name in who.groups])


async def user_search(ctx: Ctx) -> web.Response:
    name = "query" if ctx.version == "3" else "username"
    wanted = ctx.request.query.get(name) or ctx.request.query.get("accountId") or ""
    if not wanted:
        raise JiraError(400, "The query parameter is required.")
    hits = [a for a in ctx.store.accounts.values()
            if wanted == a.account_id or any(word.lower().startswith(wanted.lower())
                                             for word in [a.name, a.email, *a.display.split()])]
    start, size = ctx.number("startAt", 0), ctx.number("maxResults", 50)
    return reply([ctx.show.user(a.account_id) for a in hits][start:start + size])


def _visible(ctx: Ctx) -> list[Project]:
    return [p for p in ctx.store.projects.values() if ctx.who.may(p.key, "browse")]


def _project(ctx: Ctx) -> Project:
    return ctx.store.project(ctx.request.match_info["project"], ctx.who)


async def project(ctx: Ctx) -> web.Response:
    found = _project(ctx)
    return reply({**ctx.show.project(found), "description": "", "components": [], "versions": [],
                  "roles": {}, "assigneeType": "UNASSIGNED",
                  "issueTypes": [ctx.show.issue_type(t) for t in found.issue_types]})


async def project_search(ctx: Ctx) -> web.Response:
    rows = [ctx.show.project(p) for p in _visible(ctx)]
    return reply(page(rows, "values", ctx.number("startAt", 0), ctx.number("maxResults", 50)))


async def project_statuses(ctx: Ctx) -> web.Response:
    found = _project(ctx)
    statuses = [ctx.show.status(s) for s in found.workflow.statuses]
    return reply([{**ctx.show.issue_type(t), "statuses": statuses} for t in found.issue_types])


async def issue_types(ctx: Ctx) -> web.Response:
    known = {t["id"]: t for p in _visible(ctx) for t in p.issue_types}
    return reply([ctx.show.issue_type(t) for t in known.values()])


async def statuses(ctx: Ctx) -> web.Response:
    names = dict.fromkeys(s for p in _visible(ctx) for s in p.workflow.statuses)
    return reply([ctx.show.status(s) for s in names])


async def status(ctx: Ctx) -> web.Response:
    wanted = ctx.request.match_info["status"]
    for name, key in ctx.store.status_ids.items():
        if wanted in (name, key):
            return reply(ctx.show.status(name))
    raise JiraError(404, f"The status '{wanted}' does not exist.")


async def priorities(ctx: Ctx) -> web.Response:
    return reply([ctx.show.priority(p) for p in PRIORITIES])


async def resolutions(ctx: Ctx) -> web.Response:
    return reply([{"id": str(10000 + n), "name": r, "self": f"{ctx.show.api}/resolution/{10000 + n}"}
                  for n, r in enumerate(RESOLUTIONS)])


async def fields(ctx: Ctx) -> web.Response:
    names = [*FIELD_TYPES, "status", "created", "updated", "resolution", "resolutiondate", "creator",
             "issuelinks", "comment", "statuscategorychangedate"]
    return reply([{"id": n, "key": n, "name": n.capitalize(), "custom": False, "orderable": True,
                   "navigable": n != "comment", "searchable": True, "clauseNames": [n],
                   "schema": {"type": FIELD_TYPES.get(n, "string"), "system": n}} for n in names])


async def my_permissions(ctx: Ctx) -> web.Response:
    asked = ctx.words("permissions")
    if not asked and ctx.version == "3":
        raise JiraError(400, "The 'permissions' query parameter is required.")
    unknown = [a for a in asked if a not in PERMISSIONS]
    if unknown:
        raise JiraError(400, f"Unrecognized permission(s): {', '.join(unknown)}")
    key = ctx.request.query.get("projectKey")
    keys = [ctx.store.project(key, ctx.who).key] if key else [p.key for p in _visible(ctx)]
    return reply({"permissions": {
        a: {"id": str(n), "key": a, "name": a.replace("_", " ").capitalize(), "type": "PROJECT",
            "havePermission": any(ctx.who.may(k, PERMISSIONS[a]) for k in keys)}
        for n, a in enumerate(asked or PERMISSIONS)}})


async def create_types(ctx: Ctx) -> web.Response:
    rows = [ctx.show.issue_type(t) for t in _project(ctx).issue_types]
    key = "issueTypes" if ctx.version == "3" else "values"
    found = page(rows, key, ctx.number("startAt", 0), ctx.number("maxResults", 50, 200))
    if ctx.version == "3":
        del found["isLast"]
    return reply(found)


async def create_fields(ctx: Ctx) -> web.Response:
    wanted = ctx.request.match_info["type"]
    kinds = _project(ctx).issue_types
    if all(t["id"] != wanted for t in kinds):
        raise JiraError(404, f"No issue type with id '{wanted}' found.")
    rows = [_create_field(ctx, n, kinds, wanted) for n in FIELD_TYPES]
    key = "fields" if ctx.version == "3" else "values"
    found = page(rows, key, ctx.number("startAt", 0), ctx.number("maxResults", 50, 200))
    if ctx.version == "3":
        del found["isLast"]
    return reply(found)


def _create_field(ctx: Ctx, name: str, kinds: list[dict[str, str]], wanted: str) -> dict[str, Any]:
    bean: dict[str, Any] = {"required": name in ("summary", "issuetype", "project"),
                            "schema": {"type": FIELD_TYPES[name], "system": name}, "key": name,
                            "name": name.capitalize(), "fieldId": name,
                            "hasDefaultValue": name == "priority",
                            "operations": ["add", "set", "remove"] if name == "labels" else ["set"]}
    if name == "priority":
        bean["allowedValues"] = [ctx.show.priority(p) for p in PRIORITIES]
    if name == "issuetype":
        bean["allowedValues"] = [ctx.show.issue_type(t) for t in kinds if t["id"] == wanted]
    return bean
