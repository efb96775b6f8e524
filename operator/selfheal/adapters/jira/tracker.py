"""The port IssueTracker on Jira: Cloud by REST v3, Data Center by REST v2.

Documentation followed: https://developer.atlassian.com/cloud/jira/platform/rest/v3/ and
https://docs.atlassian.com/software/jira/docs/api/REST/8.20.0/.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from selfheal import ports
from selfheal.adapters.jira import checks, comments, creation, parse, transitions
from selfheal.adapters.jira.errors import SYSTEM, Refused, cut_off
from selfheal.adapters.jira.session import Session, quote
from selfheal.api.policy import TrackerSpec
from selfheal.domain import errors, facts

_FIELDS = "summary,description,status,project,priority,assignee,labels,updated,comment"
_BULK = 100  # issues a bulk fetch: "You can request up to 100 issues"
_CHANGED = 20_000  # tickets changed between two polls; there are never so many
_NEWEST = 100  # comments of a ticket
_EXPANDED = 100  # changelog entries that Cloud gives with an issue


_P = ParamSpec("_P")
_T = TypeVar("_T")
_Method = Callable[_P, Coroutine[Any, Any, _T]]


def _guard(*, writing: bool) -> Callable[[_Method[_P, _T]], _Method[_P, _T]]:
    """Let nothing foreign out of a method of the port; a write never raises NotFound."""

    def wrap(method: _Method[_P, _T]) -> _Method[_P, _T]:
        @functools.wraps(method)
        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return await method(*args, **kwargs)
            except errors.NotFound as exc:
                if writing:
                    raise errors.Conflict(f"gone, or no longer visible to us: {exc}") from exc
                raise
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
                what = f"an answer lacks what Jira documents ({type(exc).__name__}: {exc})"
                raise cut_off(what, writing=writing) from exc

        return call

    return wrap


def connect(spec: TrackerSpec, credential: Mapping[str, str]) -> JiraTracker:
    """Return the tracker of a policy; it connects, and faults are raised, by its first call.

    ``credential`` has the keys ATLASSIAN_TOKEN or token, and optionally ATLASSIAN_EMAIL or email,
    ATLASSIAN_CLOUD_ID or cloudId, and hosts (comma-separated; other hosts are refused).
    """
    return JiraTracker(Session(spec, credential), spec)


class JiraTracker:
    """See ``ports.IssueTracker`` for the contract of each method."""

    def __init__(self, session: Session, spec: TrackerSpec) -> None:
        """Serve one policy's tracker by one session."""
        self._session, self._spec = session, spec
        self._creator = creation.Creator(session, spec)
        self._commenter = comments.Commenter(session, spec)

    @_guard(writing=False)
    async def check(self, statuses: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """Return what is wrong, one sentence each that says what mends it; empty: fine."""
        return await checks.check(self._session, self._spec, self._creator, statuses)

    @_guard(writing=False)
    async def get_ticket(self, key_or_id: str) -> facts.TicketFacts:
        """Read a ticket with its whole status changelog, property, labels and newest comments."""
        params = {"fields": _FIELDS, "expand": "changelog", "properties": parse.PROPERTY}
        await self._session.me()
        try:
            issue = await self._session.read(f"issue/{quote(key_or_id)}", params)
        except errors.NotFound:
            # Jira also answers so to who is no longer logged in: then that is what is wrong.
            await self._session.me(fresh=True)
            raise
        return await self._parse(issue, whole=True)

    @_guard(writing=False)
    async def get_tickets(self, ids: Sequence[str]) -> Mapping[str, facts.TicketFacts]:
        """Read many tickets: bulk fetch on Cloud, GET by GET on Data Center; missing: absent."""
        if not self._session.cloud:
            return await self._get_each(ids)
        found: dict[str, facts.TicketFacts] = {}
        for start in range(0, len(ids), _BULK):
            body = {
                "issueIdsOrKeys": list(ids[start : start + _BULK]),
                "fields": _FIELDS.removesuffix(",comment").split(","),
                "expand": ["changelog"],
                "properties": [parse.PROPERTY],
            }
            answer = await self._session.read("issue/bulkfetch", body=body)
            for issue in answer.get("issues") or ():
                ticket = await self._parse(issue, whole=False)
                found[ticket.key if ticket.key in ids else ticket.id] = ticket
        return found

    @_guard(writing=False)
    async def search_tickets(self, jql: str, *, limit: int = 100) -> Sequence[str]:
        """Return keys by JQL; PolicyInvalid where Jira does not understand it."""
        # Without a field Cloud gives ids only; a field that is asked for brings the key along.
        return [str(issue["key"]) for issue in await self._search(jql, "summary", limit)]

    @_guard(writing=False)
    async def find_updates(self, within: dt.timedelta) -> Mapping[str, dt.datetime]:
        """Search the policy's project by ``updated``, relative to Jira's own clock, all pages."""
        minutes = math.ceil(within.total_seconds() / 60) + 1  # JQL has minute resolution
        project = _quoted(self._spec.project or "")
        jql = f"project = {project} AND updated >= -{minutes}m ORDER BY updated DESC"
        issues = await self._search(jql, "updated", _CHANGED)
        return {
            str(issue["id"]): parse.parse_time(str(issue["fields"]["updated"])) for issue in issues
        }

    async def _search(self, jql: str, fields: str, limit: int) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        place: dict[str, Any] = {}
        while len(found) < limit:
            path = "search/jql" if self._session.cloud else "search"
            params = {"jql": jql, "fields": fields, "maxResults": min(limit - len(found), 100)}
            page = await self._session.read(path, {**params, **place})
            issues = page.get("issues") or ()
            found += issues
            token = page.get("nextPageToken")
            place = {"nextPageToken": token} if self._session.cloud else {"startAt": len(found)}
            more = bool(token) if self._session.cloud else len(found) < page.get("total", 0)
            if not more or not issues:
                break
        return found[:limit]

    @_guard(writing=False)
    async def find_tickets_by_label(self, label: str) -> Sequence[facts.TicketFacts]:
        """Search by label, then read each by GET; what no longer has the label is left out."""
        where = f"labels = {_quoted(label)}"
        line = comments.marker_line(label)
        if creation.is_request(self._spec):
            # A request that was created, but not yet labelled: see Creator.
            where = f"({where} OR description ~ {_quoted(_quoted(label))})"
        if self._spec.project:
            where = f"project = {_quoted(self._spec.project)} AND {where}"
        keys = await self.search_tickets(f"{where} ORDER BY created ASC")
        tickets = (await self._get_each(keys)).values()
        return [
            ticket
            for ticket in tickets
            if label in ticket.labels or comments.last_line(ticket.description) == line
        ]

    @_guard(writing=True)
    async def create_ticket(self, draft: ports.TicketDraft) -> facts.TicketFacts:
        """Create with labels and property in the same call (a request: in a second one)."""
        key = await self._creator.create(draft)
        try:
            return await self.get_ticket(key)
        except (errors.Transient, errors.NotFound) as exc:
            # It exists; that it could not be read makes the outcome one to be observed.
            raise errors.UnknownOutcome(
                f"{key} was created, but could not be read: {exc}", system=SYSTEM
            ) from exc

    @_guard(writing=True)
    async def transition_ticket(
        self, ticket: facts.TicketFacts, to_statuses: Sequence[str]
    ) -> None:
        """Move to the first offered of the statuses, with a resolution where its screen has one."""
        await transitions.transition(self._session, ticket, to_statuses)

    @_guard(writing=True)
    async def save_mirror(
        self, ticket: facts.TicketFacts, mirror: facts.TicketMirror, labels: frozenset[str]
    ) -> None:
        """Write property and labels in one PUT; only the labels that the facts show are removed.

        So two that claim a ticket at once do not take each other's label off unseen.
        """
        ours = {name for name in ticket.labels if name.startswith(("selfheal-", "selfheal/"))}
        changes = [{"remove": name} for name in sorted(ours - labels)]
        changes += [{"add": name} for name in sorted(labels - ticket.labels)]
        body: dict[str, Any] = {
            "properties": [{"key": parse.PROPERTY, "value": parse.render_mirror(mirror)}]
        }
        if changes:
            body["update"] = {"labels": changes}
        await self._write("PUT", f"issue/{quote(ticket.key)}", body)

    @_guard(writing=True)
    async def ensure_comment(
        self, ticket_key: str, *, marker: str, body: str, public: bool = False
    ) -> str:
        """Post a comment, or edit ours with the same marker where its text differs."""
        return await self._commenter.ensure(ticket_key, marker=marker, body=body, public=public)

    @_guard(writing=True)
    async def ensure_remote_link(
        self, ticket_key: str, *, global_id: str, url: str, title: str
    ) -> None:
        """Create or update a remote link: Jira itself updates by globalId."""
        body = {"globalId": global_id[:255], "object": {"url": url, "title": title[:255]}}
        await self._write("POST", f"issue/{quote(ticket_key)}/remotelink", body)

    @_guard(writing=True)
    async def ensure_ticket_link(self, ticket_key: str, other_key: str) -> None:
        """Link as duplicate of the other ticket, unless they are linked so already."""
        answer = await self._session.read("issueLinkType")
        names = {
            str(kind["name"]).casefold(): str(kind["name"]) for kind in answer["issueLinkTypes"]
        }
        name = names.get("duplicate") or names.get("relates")
        if name is None:
            raise errors.PolicyInvalid(
                "Jira has no link type Duplicate; let an administrator add it under Issue linking",
                system=SYSTEM,
            )
        issue = await self._session.read(f"issue/{quote(ticket_key)}", {"fields": "issuelinks"})
        for link in issue["fields"].get("issuelinks") or ():
            other = link.get("outwardIssue") or link.get("inwardIssue") or {}
            if link["type"]["name"] == name and other.get("key") == other_key:
                return
        # The inward issue "duplicates" the outward one: Jira shows the outward name on the former.
        body = {
            "type": {"name": name},
            "inwardIssue": {"key": ticket_key},
            "outwardIssue": {"key": other_key},
        }
        await self._write("POST", "issueLink", body)

    @_guard(writing=True)
    async def assign_ticket(self, ticket_key: str, assignee: str) -> None:
        """Assign to an account id (Cloud) or user name (Data Center)."""
        body = {"accountId": assignee} if self._session.cloud else {"name": assignee}
        try:
            await self._session.write("PUT", f"issue/{quote(ticket_key)}/assignee", body)
        except Refused as exc:
            raise errors.PolicyInvalid(
                f"escalation.assignee: {assignee} cannot be assigned to {ticket_key}: {exc.text}",
                system=SYSTEM,
            ) from exc

    @_guard(writing=False)
    async def get_groups(self, user_id: str) -> frozenset[str]:
        """Return names and ids of a user's groups; empty for who is unknown.

        Cloud: "Get user groups" of api-group-users; Data Center: resource user, expanded by groups.
        """
        try:
            if self._session.cloud:
                groups = await self._session.read("user/groups", {"accountId": user_id})
            else:
                params = {"username": user_id, "expand": "groups"}
                user = await self._session.read("user", params)
                groups = (user.get("groups") or {}).get("items") or ()
        except errors.NotFound:
            return frozenset()
        names = (group.get(name) for group in groups for name in ("name", "groupId"))
        return frozenset(str(name) for name in names if name)

    async def _get_each(self, keys: Sequence[str]) -> dict[str, facts.TicketFacts]:
        async def find(key: str) -> facts.TicketFacts | None:
            try:
                return await self.get_ticket(key)
            except errors.NotFound:
                return None

        found = await asyncio.gather(*(find(key) for key in keys))
        return {key: ticket for key, ticket in zip(keys, found, strict=True) if ticket}

    async def _parse(self, issue: Mapping[str, Any], *, whole: bool) -> facts.TicketFacts:
        histories = await self._histories(issue)
        comments_ = await self._comments(issue) if whole else ()
        me, site = await self._session.me(), await self._session.site()
        return parse.parse_ticket(issue, histories, comments_, me=me, base_url=site.base_url)

    async def _histories(self, issue: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        log = issue.get("changelog") or {}
        histories: list[Mapping[str, Any]] = log.get("histories") or []
        # Cloud cuts the expanded changelog at the newest hundred; Data Center gives it whole.
        whole = len(histories) if len(histories) < _EXPANDED else len(histories) + 1
        cut = len(histories) < log.get("total", whole)
        if not self._session.cloud or not cut:
            return histories
        return await self._session.read_pages(f"issue/{quote(issue['key'])}/changelog", "values")

    async def _comments(self, issue: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        embedded = issue["fields"].get("comment") or {}
        found: list[Mapping[str, Any]] = embedded.get("comments") or []
        if "total" in embedded and len(found) >= embedded["total"]:
            return sorted(found, key=lambda comment: str(comment["created"]))[-_NEWEST:]
        params = {"orderBy": "-created", "maxResults": _NEWEST}
        page = await self._session.read(f"issue/{quote(issue['key'])}/comment", params)
        return list(page.get("comments") or ())[:_NEWEST]

    async def _write(self, verb: str, path: str, body: Any) -> None:
        try:
            await self._session.write(verb, path, body)
        except Refused as exc:
            raise errors.Stalled(
                f"Jira refuses the change: {exc.text}", reason="RequestRefused", system=SYSTEM
            ) from exc


def _quoted(text: str) -> str:
    """Return text as a JQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
