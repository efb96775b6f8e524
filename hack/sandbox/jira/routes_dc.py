"""Routes of Data Center's REST API v2 that clients of it ask for beside those of both versions.

https://docs.atlassian.com/software/jira/docs/api/REST/9.17.0/ : resources project (getAllProjects, getProjectVersions,
getProjectComponents) and issue (getIssueWatchers, getIssueWorklog).
"""

from __future__ import annotations

from aiohttp import web

from hack.sandbox.jira.web import Ctx, page, reply


async def projects(ctx: Ctx) -> web.Response:
    """All that are visible, unpaged: the account's view, as getAllProjects says."""
    return reply([{**ctx.show.project(p), "expand": "description,lead,issueTypes,url,projectKeys"}
                  for p in ctx.store.projects.values() if ctx.who.may(p.key, "browse")])


async def nothing_of(ctx: Ctx) -> web.Response:
    """Versions and components: the sandbox's projects have none."""
    ctx.store.project(ctx.request.match_info["project"], ctx.who)
    return reply([])


async def watchers(ctx: Ctx) -> web.Response:
    """Who created or commented: Jira's autowatch, which is on by default."""
    issue = ctx.issue()
    names = dict.fromkeys([issue.creator, *(c["author"] for c in issue.comments)])
    return reply({"self": f"{ctx.show.api}/issue/{issue.key}/watchers",
                  "isWatching": ctx.who.account_id in names, "watchCount": len(names),
                  "watchers": [ctx.show.user(n) for n in names]})


async def worklogs(ctx: Ctx) -> web.Response:
    """Nobody logs work here."""
    ctx.issue()
    found = page([], "worklogs", ctx.number("startAt", 0), ctx.number("maxResults", 1048576, 1048576))
    del found["isLast"]
    return reply(found)
