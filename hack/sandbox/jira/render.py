"""Jira's JSON beans, for Cloud v3 ("3") and Data Center v2 ("2")."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hack.sandbox.jira import adf, workflow
from hack.sandbox.jira.state import PRIORITIES, Issue, Project, Store
from hack.sandbox.jira.workflow import Transition

CHANGELOG_RECENT = 100  # expand=changelog: the recent entries only; the rest is paged


def when(ms: int) -> str:
    """2026-11-23T05:09:05.123+0000."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}+0000"


class Renderer:
    """Beans as one API version at one base URL shows them."""

    def __init__(self, store: Store, version: str, base: str) -> None:
        self.store, self.version = store, version
        self.api = f"{base}/rest/api/{version}"

    def user(self, account_id: str | None) -> dict[str, Any] | None:
        """A user bean: accountId on Cloud, name and key on Data Center."""
        who = self.store.account(account_id)
        if who is None:
            return None
        common = {"displayName": who.display, "active": True, "timeZone": who.time_zone,
                  "emailAddress": who.email, "avatarUrls": {}}
        if self.version == "2":
            return {"self": f"{self.api}/user?username={who.name}", "name": who.name,
                    "key": f"JIRAUSER{who.account_id[-5:]}", **common}
        return {"self": f"{self.api}/user?accountId={who.account_id}", "accountId": who.account_id,
                "accountType": who.kind, **common}

    def text(self, body: Any) -> Any:
        """ADF on v3, a string on v2."""
        if body is None:
            return None
        if self.version == "2":
            return adf.to_text(body)
        return adf.from_text(body) if isinstance(body, str) else body

    def status(self, name: str) -> dict[str, Any]:
        """A status bean."""
        key = self.store.status_id(name)
        kind = workflow.category(name)
        return {"self": f"{self.api}/status/{key}", "id": key, "name": name, "description": "",
                "iconUrl": "", "statusCategory": {"self": f"{self.api}/statuscategory/{kind['id']}",
                                                  **kind}}

    def priority(self, name: str) -> dict[str, Any]:
        """A priority bean."""
        key = str(PRIORITIES.index(name) + 1)
        return {"self": f"{self.api}/priority/{key}", "id": key, "name": name, "iconUrl": ""}

    def project(self, project: Project) -> dict[str, Any]:
        """A short project bean."""
        return {"self": f"{self.api}/project/{project.id}", "id": project.id, "key": project.key,
                "name": project.name, "projectTypeKey": project.kind, "simplified": False}

    def issue_type(self, raw: dict[str, str]) -> dict[str, Any]:
        """An issue type bean."""
        return {"self": f"{self.api}/issuetype/{raw['id']}", "id": raw["id"], "name": raw["name"],
                "description": "", "subtask": False, "iconUrl": ""}

    def transition(self, t: Transition, with_fields: bool = False) -> dict[str, Any]:
        """A transition bean."""
        bean: dict[str, Any] = {"id": t.id, "name": t.name, "to": self.status(t.to),
                                "hasScreen": False, "isGlobal": t.sources is None,
                                "isInitial": False, "isAvailable": True, "isConditional": False}
        if self.version == "2":
            bean = {k: bean[k] for k in ("id", "name", "to")}
        if with_fields:
            bean["fields"] = {}
        return bean

    def comment(self, issue: Issue, raw: dict[str, Any], properties: bool = False) -> dict[str, Any]:
        """A comment bean; jsdPublic in service projects."""
        bean = {"self": f"{self.api}/issue/{issue.id}/comment/{raw['id']}", "id": raw["id"],
                "author": self.user(raw["author"]), "body": self.text(raw["body"]),
                "updateAuthor": self.user(raw["updateAuthor"]), "created": when(raw["created"]),
                "updated": when(raw["updated"])}
        if self.version == "3" and self.store.projects[issue.project].kind == "service_desk":
            bean["jsdPublic"] = public(raw)
        if properties:
            bean["properties"] = [{"key": k, "value": v} for k, v in raw["properties"].items()]
        return bean

    def history(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A changelog entry."""
        return {"id": raw["id"], "author": self.user(raw["author"]), "created": when(raw["created"]),
                "items": [dict(item) for item in raw["items"]]}

    def links(self, issue: Issue) -> list[dict[str, Any]]:
        """The issue links as seen from one end."""
        beans = []
        for link in self.store.links:
            for end, other in (("inward", "outward"), ("outward", "inward")):
                if link[end] != issue.id:
                    continue
                far = self.store.issues[link[other]]
                beans.append({"id": link["id"], "self": f"{self.api}/issueLink/{link['id']}",
                              "type": link_type(self.api, link["type"]),
                              f"{other}Issue": {"id": far.id, "key": far.key,
                                                "self": f"{self.api}/issue/{far.id}",
                                                "fields": {"summary": far.summary,
                                                           "status": self.status(far.status),
                                                           "priority": self.priority(far.priority)}}})
        return beans

    def fields(self, issue: Issue) -> dict[str, Any]:
        """All fields of an issue."""
        project = self.store.projects[issue.project]
        kind = next(t for t in project.issue_types if t["id"] == issue.type_id)
        comments = [self.comment(issue, c) for c in issue.comments]
        done = issue.resolution
        return {
            "summary": issue.summary, "description": self.text(issue.description),
            "issuetype": self.issue_type(kind), "project": self.project(project),
            "status": self.status(issue.status), "priority": self.priority(issue.priority),
            "labels": sorted(issue.labels), "assignee": self.user(issue.assignee),
            "reporter": self.user(issue.reporter), "creator": self.user(issue.creator),
            "created": when(issue.created), "updated": when(issue.updated),
            "statuscategorychangedate": when(issue.status_since or issue.created),
            "resolution": {"id": "10000", "name": done, "self": f"{self.api}/resolution/10000"}
            if done else None,
            "resolutiondate": when(issue.resolved) if issue.resolved else None,
            "issuelinks": self.links(issue),
            "comment": {"comments": comments, "maxResults": len(comments), "total": len(comments),
                        "startAt": 0},
        }

    def issue(self, issue: Issue, fields: list[str] | None, expand: set[str],
              properties: list[str] | None = None, default: str = "*all") -> dict[str, Any]:
        """An issue bean with the chosen fields, expansions and properties."""
        bean: dict[str, Any] = {"expand": "renderedFields,names,schema,operations,editmeta,changelog",
                                "id": issue.id, "self": f"{self.api}/issue/{issue.id}",
                                "key": issue.key}
        bean["fields"] = choose(self.fields(issue), fields or [default])
        if "changelog" in expand:
            bean["changelog"] = self.changelog(issue)
        if "transitions" in expand:
            flow = self.store.projects[issue.project].workflow
            bean["transitions"] = [self.transition(t) for t in flow.offered(issue.status)]
        if properties:
            wanted = set(issue.properties) if "*all" in properties else set(properties)
            bean["properties"] = {k: v for k, v in issue.properties.items() if k in wanted}
        return bean

    def changelog(self, issue: Issue) -> dict[str, Any]:
        """expand=changelog: Cloud shows the most recent first, Data Center all, oldest first."""
        histories = issue.history
        if self.version == "3":
            histories = list(reversed(histories))[:CHANGELOG_RECENT]
        return {"startAt": 0, "maxResults": len(histories), "total": len(issue.history),
                "histories": [self.history(h) for h in histories]}


def choose(have: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """Jira's `fields` parameter: names, *all, *navigable, and -name to leave out."""
    out: dict[str, Any] = {}
    if any(w in ("*all", "*navigable") for w in wanted) or all(w.startswith("-") for w in wanted):
        out = {k: v for k, v in have.items() if "*all" in wanted or k != "comment"}
    for name in wanted:
        if name in have:
            out[name] = have[name]
    for name in wanted:
        if name.startswith("-"):
            out.pop(name[1:], None)
    return out


LINK_TYPES = {"Blocks": ("10000", "is blocked by", "blocks"),
              "Duplicate": ("10002", "is duplicated by", "duplicates"),
              "Relates": ("10003", "relates to", "relates to")}


def link_type(api: str, name: str) -> dict[str, Any]:
    """An issue link type bean."""
    key, inward, outward = LINK_TYPES[name]
    return {"id": key, "name": name, "inward": inward, "outward": outward,
            "self": f"{api}/issueLinkType/{key}"}


def public(comment: dict[str, Any]) -> bool:
    """Whether customers see it: sd.public.comment {"internal": true} hides it."""
    value = comment["properties"].get("sd.public.comment")
    return not (isinstance(value, dict) and value.get("internal") in (True, "true"))
