"""What can be done to an issue: create, edit, move, delete. Checks first, then changes, all or nothing.

Source: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hack.sandbox.jira import adf
from hack.sandbox.jira.checks import (
    check_labels,
    check_priority,
    check_properties,
    check_summary,
    document,
    find_comment,
    issue_type,
    item,
    known_fields,
    unknown_field,
)
from hack.sandbox.jira.errors import JiraError, field_error
from hack.sandbox.jira.state import PRIORITIES, RESOLUTIONS, Account, Issue, Project, Store

TEXT_LIMIT = 32_767
SETTABLE = {"summary", "description", "priority", "labels", "assignee", "reporter"}
ON_CREATE = SETTABLE | {"project", "issuetype"}
ADF_WANTED = ("Operation value must be an Atlassian Document "
              "(see the Atlassian Document Format)")
TOO_LONG = "The entered text is too long. It exceeds the allowed limit of 32,767 characters."

Change = tuple[str, Any]  # attribute, new value


class Editor:
    """The issue operations of one account through one API version ("2" or "3")."""

    def __init__(self, store: Store, who: Account, version: str) -> None:
        self.store, self.who, self.version = store, who, version
        self.checks: dict[str, Callable[[Any], Any]] = {
            "summary": check_summary, "description": self.check_description,
            "priority": check_priority, "labels": check_labels,
            "assignee": self.check_user, "reporter": self.check_user,
        }

    # ---- create

    def create(self, body: dict[str, Any]) -> Issue:
        """POST /issue."""
        fields = body.get("fields")
        if not isinstance(fields, dict):
            raise JiraError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
        project = self._project(fields.get("project"))
        kind = issue_type(project, fields.get("issuetype"))
        if not self.who.may(project.key, "edit"):
            raise JiraError(403, errors={"project": "You do not have permission to create issues in "
                                                    "this project."})
        known_fields(fields, ON_CREATE)
        values = {n: self.checks[n](v) for n, v in fields.items() if n in SETTABLE}
        if not values.get("summary"):
            raise field_error("summary", "You must specify a summary of the issue.")
        properties = check_properties(body.get("properties"))
        now = self.store.now()
        issue = Issue(self.store.next_id("issue"), f"{project.key}-{project.next_number}", project.key,
                      kind, values["summary"], values.get("reporter") or self.who.account_id,
                      self.who.account_id, now, now, project.workflow.initial,
                      description=values.get("description"), status_since=now,
                      priority=values.get("priority") or "Medium", labels=values.get("labels") or [],
                      assignee=values.get("assignee"), properties=properties)
        for attribute, value in self._updates(issue, body.get("update"), set(fields)):
            setattr(issue, attribute, value)
        project.next_number += 1
        self.store.issues[issue.id] = issue
        self.store.reindex(issue)
        return issue

    def _project(self, ref: Any) -> Project:
        wanted = (ref.get("key") or ref.get("id")) if isinstance(ref, dict) else None
        for project in self.store.projects.values():
            if wanted in (project.key, project.id) and self.who.may(project.key, "browse"):
                return project
        raise field_error("project", "valid project is required")

    # ---- edit

    def edit(self, issue: Issue, body: dict[str, Any]) -> None:
        """PUT /issue/{key}: `fields`, `update` and `properties` in one, all or nothing."""
        fields = body.get("fields") or {}
        if not isinstance(fields, dict) or not any(
            k in body for k in ("fields", "update", "properties", "historyMetadata")
        ):
            raise JiraError(400, "one of 'fields' or 'update' required")
        known_fields(fields, SETTABLE)
        changes = [(n, self.checks[n](v)) for n, v in fields.items()]
        if ("summary", "") in changes:
            raise field_error("summary", "You must specify a summary of the issue.")
        changes += self._updates(issue, body.get("update"), set(fields))
        properties = check_properties(body.get("properties"))
        issue.properties = {**issue.properties, **properties}
        items = [item for change in changes for item in self._apply(issue, change)]
        if items or properties:
            self.store.record(issue, self.who, items)

    def _updates(self, issue: Issue, update: Any, taken: set[str]) -> list[Change]:
        """The `update` object: lists of one-key operations a field."""
        if update is None:
            return []
        if not isinstance(update, dict):
            raise JiraError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
        changes: list[Change] = []
        for name, operations in update.items():
            if name in taken:
                raise field_error(name, f"Field '{name}' cannot appear in both 'fields' and 'update'")
            if name not in SETTABLE:
                raise unknown_field(name)
            if not isinstance(operations, list):
                raise field_error(name, "data was not an array")
            changes.append((name, self._operations(issue, name, operations)))
        return changes

    def _operations(self, issue: Issue, name: str, operations: list[Any]) -> Any:
        value = list(issue.labels) if name == "labels" else None
        for operation in operations:
            if not isinstance(operation, dict) or len(operation) != 1:
                raise field_error(name, "each operation is an object with one key")
            verb, operand = next(iter(operation.items()))
            if verb == "set":
                value = self.checks[name](operand)
            elif name == "labels" and verb in ("add", "remove"):
                check_labels([operand])
                value = [x for x in value or [] if x != operand]
                if verb == "add":
                    value.append(operand)
            else:
                raise field_error(name, f"Operation '{verb}' is not supported for field '{name}'.")
        return value

    def _apply(self, issue: Issue, change: Change) -> list[dict[str, Any]]:
        name, value = change
        if name == "priority" and value is None:
            value = "Medium"
        old = getattr(issue, name)
        if old == value or (name == "labels" and sorted(old) == sorted(value)):
            return []
        setattr(issue, name, value)
        return [self._item(name, old, value)]

    def _item(self, name: str, old: Any, new: Any) -> dict[str, Any]:
        if name == "labels":
            return item(name, None, " ".join(sorted(old)), None, " ".join(sorted(new)))
        if name in ("assignee", "reporter"):
            shown = [getattr(self.store.account(x), "display", None) for x in (old, new)]
            return item(name, old, shown[0], new, shown[1])
        if name == "priority":
            ids = [str(PRIORITIES.index(x) + 1) for x in (old, new)]
            return item(name, ids[0], old, ids[1], new)
        return item(name, None, adf.to_text(old), None, adf.to_text(new))

    # ---- move

    def transition(self, issue: Issue, body: dict[str, Any]) -> None:
        """POST /issue/{key}/transitions: only one that is offered from the present status."""
        wanted = body.get("transition")
        if not isinstance(wanted, dict) or not wanted.get("id"):
            raise JiraError(400, "Missing 'transition' identifier")
        chosen = self.store.projects[issue.project].workflow.find(issue.status, str(wanted["id"]))
        if chosen is None:
            raise JiraError(400, f"It seems that you have tried to perform a workflow operation "
                                 f"(id {wanted['id']}) that is not valid for the current state of this "
                                 f"issue.")
        fields = dict(body.get("fields") or {})
        resolution = self._resolution(fields.pop("resolution", None), chosen.to)
        comment = self._transition_comment(body)
        known_fields(fields, set())  # the sandbox's transitions have no screen
        items = []
        if chosen.to != issue.status:
            ids = [self.store.status_id(s) for s in (issue.status, chosen.to)]
            items.append(item("status", ids[0], issue.status, ids[1], chosen.to))
            issue.status, issue.status_since = chosen.to, self.store.now()
        if resolution != issue.resolution:
            items.append(item("resolution", "10000" if issue.resolution else None, issue.resolution,
                              "10000" if resolution else None, resolution))
            issue.resolution = resolution
            issue.resolved = self.store.now() if resolution else None
        self.store.record(issue, self.who, items)
        if comment is not None:
            self.store.reindex(self._with_comment(issue, comment))

    @staticmethod
    def _resolution(given: Any, to: str) -> str | None:
        if to != "Done":
            return None
        if given is None:
            return "Done"
        name = given.get("name") if isinstance(given, dict) else None
        if name not in RESOLUTIONS:
            raise field_error("resolution", "The resolution value is invalid.")
        return str(name)

    def _transition_comment(self, body: dict[str, Any]) -> Any:
        update = dict(body.get("update") or {})
        operations = update.pop("comment", None)
        for name in update:
            raise unknown_field(name)
        if operations is None:
            return None
        try:
            given = operations[0]["add"]["body"]
        except (TypeError, KeyError, IndexError):
            raise field_error("comment", "an 'add' operation with a body is required") from None
        return self.check_body(given)

    def _with_comment(self, issue: Issue, body: Any) -> Issue:
        now = self.store.now()
        raw = {"id": self.store.next_id("comment"), "author": self.who.account_id, "body": body,
               "updateAuthor": self.who.account_id, "created": now, "updated": now, "properties": {}}
        issue.comments = [*issue.comments, raw]
        return issue

    # ---- comments

    def comment(self, issue: Issue, body: Any, properties: Any = None) -> dict[str, Any]:
        """Add a comment; 413 when the issue has its limit of comments."""
        if len(issue.comments) >= self.store.settings.max_comments:
            raise JiraError(413, "The issue has exceeded the limit of comments.")
        checked, kept = self.check_body(body), check_properties(properties)
        self._with_comment(issue, checked)
        issue.comments[-1]["properties"] = kept
        self.store.touch(issue)
        return issue.comments[-1]

    def update_comment(self, issue: Issue, comment_id: str, body: Any, properties: Any) -> dict[str, Any]:
        """Replace a comment's body; the properties that are given are set."""
        old = find_comment(issue, comment_id)
        new = {**old, "body": self.check_body(body), "updateAuthor": self.who.account_id,
               "updated": self.store.now(),
               "properties": {**old["properties"], **check_properties(properties)}}
        issue.comments = [new if c is old else c for c in issue.comments]
        self.store.touch(issue)
        return new

    def delete_comment(self, issue: Issue, comment_id: str) -> None:
        """Remove a comment."""
        old = find_comment(issue, comment_id)
        issue.comments = [c for c in issue.comments if c is not old]
        self.store.touch(issue)

    # ---- values

    def check_body(self, body: Any) -> Any:
        """A comment's body: ADF on v3, a string on v2."""
        if self.version == "2":
            if not isinstance(body, str) or not body.strip():
                raise field_error("comment", "Comment body can not be empty!")
        elif not isinstance(body, dict):
            raise field_error("comment", "Comment body is not valid!")
        else:
            document(body)
            if not body["content"]:
                raise field_error("comment", "Comment body can not be empty!")
        if len(adf.to_text(body)) > TEXT_LIMIT:
            raise field_error("comment", TOO_LONG)
        return body

    def check_description(self, value: Any) -> Any:
        """A description: ADF on v3, a string on v2, or null."""
        if value is None:
            return None
        if self.version == "2":
            if not isinstance(value, str):
                raise field_error("description", "Operation value must be a string")
        elif not isinstance(value, dict):
            raise field_error("description", ADF_WANTED)
        else:
            document(value)
        if len(adf.to_text(value)) > TEXT_LIMIT:
            raise field_error("description", TOO_LONG)
        return value

    def check_user(self, value: Any) -> str | None:
        """An account id from {"accountId"} on v3, {"name"} on v2, or null."""
        if value is None:
            return None
        key = "name" if self.version == "2" else "accountId"
        wanted = value.get(key) if isinstance(value, dict) else None
        if wanted is None and isinstance(value, dict) and key in value:
            return None
        for account in self.store.accounts.values():
            if wanted == (account.name if self.version == "2" else account.account_id):
                return account.account_id
        raise field_error("assignee", f"User '{wanted}' does not exist.")
