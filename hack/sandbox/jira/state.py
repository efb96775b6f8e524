"""The tickets, people and projects in memory, with their search index and their file."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hack.sandbox.jira.errors import NOT_VISIBLE, JiraError
from hack.sandbox.jira.workflow import Transition, Workflow

PRIORITIES = ["Highest", "High", "Medium", "Low", "Lowest"]
RESOLUTIONS = ["Done", "Won't Do", "Duplicate", "Cannot Reproduce"]
INDEX_KEEP_MS = 600_000


@dataclass
class Account:
    """A person or a bot and what it may do; `access` is per project key, "*" for the others."""

    account_id: str
    name: str
    display: str
    email: str
    kind: str = "atlassian"  # or "app": a service account
    site_token: str = ""
    gateway_tokens: dict[str, list[str]] = field(default_factory=dict)  # token: scopes
    pat: str = ""
    access: dict[str, str] = field(default_factory=lambda: {"*": "edit"})
    time_zone: str = "UTC"
    groups: tuple[str, ...] = ()

    def may(self, project: str, what: str) -> bool:
        """Whether it may "browse" or "edit" in a project."""
        have = self.access.get(project, self.access.get("*", "none"))
        return have == "edit" or have == what


@dataclass
class Project:
    """A project with its workflow."""

    id: str
    key: str
    name: str
    kind: str  # software | service_desk
    issue_types: list[dict[str, str]]
    workflow: Workflow
    next_number: int = 1
    request_types: list[dict[str, str]] = field(default_factory=list)
    service_desk: str = ""


@dataclass
class Issue:
    """One ticket. Texts are ADF documents or wiki strings, as they were written."""

    id: str
    key: str
    project: str
    type_id: str
    summary: str
    reporter: str
    creator: str
    created: int
    updated: int
    status: str
    description: Any = None
    priority: str = "Medium"
    labels: list[str] = field(default_factory=list)
    assignee: str | None = None
    resolution: str | None = None
    resolved: int | None = None
    request_type: str | None = None
    status_since: int = 0
    comments: list[dict[str, Any]] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    remote_links: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Settings:
    """What tests turn; durations in seconds."""

    search_lag: float = 0.0
    page_token_seconds: float = 604_800.0  # tokens expire after 7 days (search/jql)
    rate_limit: int = 0  # requests a window and account; 0: none
    rate_window: float = 60.0
    max_comments: int = 5000
    page_size_max: int = 100


class Store:
    """All state. Not thread-safe: one event loop owns it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self.projects: dict[str, Project] = {}
        self.issues: dict[str, Issue] = {}
        self.links: list[dict[str, Any]] = []
        self.status_ids: dict[str, str] = {}
        self.settings = Settings()
        self.counters: dict[str, int] = {}
        self.index: dict[str, list[tuple[int, Issue | None]]] = {}
        self.dirty = False

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.clock() * 1000)

    def next_id(self, kind: str, start: int = 10000) -> str:
        """A fresh, increasing id of a kind."""
        self.counters[kind] = self.counters.get(kind, start - 1) + 1
        return str(self.counters[kind])

    def status_id(self, name: str) -> str:
        """The id of a status name, made at first use."""
        if name not in self.status_ids:
            self.status_ids[name] = self.next_id("status")
        return self.status_ids[name]

    def account(self, account_id: str | None) -> Account | None:
        """The account with this id."""
        return self.accounts.get(account_id) if account_id else None

    def issue(self, id_or_key: str, who: Account, what: str = "browse") -> Issue:
        """The issue, or 404 also for a missing permission to browse; 403 if it may not be edited."""
        found = self.issues.get(id_or_key) or next(
            (i for i in self.issues.values() if i.key == id_or_key.upper()), None
        )
        if found is None or not who.may(found.project, "browse"):
            raise JiraError(404, NOT_VISIBLE)
        if not who.may(found.project, what):
            raise JiraError(403, "You do not have permission to edit issues in this project.")
        return found

    def project(self, key_or_id: str, who: Account) -> Project:
        """The project, or 404 also for a missing permission."""
        for project in self.projects.values():
            if key_or_id in (project.key, project.id) and who.may(project.key, "browse"):
                return project
        raise JiraError(404, f"No project could be found with key '{key_or_id}'.")

    def record(self, issue: Issue, who: Account, items: list[dict[str, Any]]) -> None:
        """Add one changelog entry (none for no items) and touch the issue."""
        now = self.now()
        if items:
            entry = {"id": self.next_id("history", 10100), "author": who.account_id,
                     "created": now, "items": items}
            issue.history = [*issue.history, entry]
        self.touch(issue, now)

    def touch(self, issue: Issue, now: int | None = None) -> None:
        """Set `updated` and hand the issue to the search index."""
        issue.updated = self.now() if now is None else now
        self.reindex(issue)

    def reindex(self, issue: Issue) -> None:
        """Hand the present state to the index, which shows it after the search lag."""
        self.dirty = True
        snapshot = copy.copy(issue)
        snapshot.labels, snapshot.properties = list(issue.labels), dict(issue.properties)
        self._version(issue.id, snapshot)

    def _version(self, issue_id: str, snapshot: Issue | None) -> None:
        now = self.now()
        versions = self.index.setdefault(issue_id, [])
        versions.append((now, snapshot))
        horizon = now - max(INDEX_KEEP_MS, int(self.settings.search_lag * 2000))
        while len(versions) > 1 and versions[1][0] < horizon:
            versions.pop(0)

    def delete(self, issue: Issue) -> None:
        """Remove the issue; search forgets it after the lag."""
        del self.issues[issue.id]
        self.links = [x for x in self.links if issue.id not in (x["inward"], x["outward"])]
        self._version(issue.id, None)
        self.dirty = True

    def indexed(self, fresh: set[str] | None = None) -> list[Issue]:
        """What the search index shows now; ids in `fresh` are read without lag."""
        seen_until = self.now() - int(self.settings.search_lag * 1000)
        shown: list[Issue] = []
        for issue_id, versions in self.index.items():
            if fresh and issue_id in fresh:
                current = self.issues.get(issue_id)
            else:
                current = next((v for at, v in reversed(versions) if at <= seen_until), None)
            if current is not None:
                shown.append(current)
        return shown

    def dump(self) -> dict[str, Any]:
        """Everything but the settings as plain JSON."""
        return {
            "accounts": [dataclasses.asdict(a) for a in self.accounts.values()],
            "projects": [dataclasses.asdict(p) for p in self.projects.values()],
            "issues": [dataclasses.asdict(i) for i in self.issues.values()],
            "links": self.links, "statusIds": self.status_ids, "counters": self.counters,
        }

    def load(self, data: dict[str, Any]) -> None:
        """Replace everything by a dump."""
        self.accounts = {a["account_id"]: Account(**a) for a in data["accounts"]}
        self.projects = {}
        for raw in data["projects"]:
            flow = raw["workflow"]
            arrows = [Transition(**t) for t in flow["transitions"]]
            self.projects[raw["key"]] = Project(
                **{**raw, "workflow": Workflow(flow["statuses"], arrows)}
            )
        self.issues = {i["id"]: Issue(**i) for i in data["issues"]}
        self.links, self.status_ids = data["links"], data["statusIds"]
        self.counters = data["counters"]
        self.index = {i.id: [(0, copy.deepcopy(i))] for i in self.issues.values()}

    def save(self, path: Path) -> None:
        """Write the dump whole or not at all."""
        partial = path.with_suffix(path.suffix + ".partial")
        partial.write_text(json.dumps(self.dump()))
        os.replace(partial, path)
        self.dirty = False
