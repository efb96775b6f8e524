"""Checks of single values of an issue, with Jira's messages.

Source: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/
"""

from __future__ import annotations

import json
import re
from typing import Any

from hack.sandbox.jira import adf
from hack.sandbox.jira.errors import JiraError, field_error
from hack.sandbox.jira.state import PRIORITIES, Issue, Project

PROPERTY_LIMIT = 32_768
KEY_LIMIT = 255


def item(field: str, old: Any, old_text: Any, new: Any, new_text: Any) -> dict[str, Any]:
    """One item of a changelog entry."""
    return {"field": field, "fieldtype": "jira", "fieldId": field, "from": old,
            "fromString": old_text, "to": new, "toString": new_text}


def document(value: dict[str, Any]) -> None:
    """Refuse a document that breaks the published structure."""
    try:
        adf.validate(value)
    except adf.InvalidDocumentError:
        raise JiraError(400, "INVALID_INPUT") from None  # as Jira answers; it does not say where


def unknown_field(name: str) -> JiraError:
    """A 400: the field is not on the screen."""
    return field_error(name, f"Field '{name}' cannot be set. It is not on the appropriate screen, "
                             "or unknown.")


def known_fields(fields: dict[str, Any], allowed: set[str]) -> None:
    """Refuse fields that cannot be set here."""
    unknown = sorted(set(fields) - allowed)
    if unknown:
        raise unknown_field(unknown[0])


def issue_type(project: Project, ref: Any) -> str:
    """The id of one of the project's issue types."""
    ref = ref if isinstance(ref, dict) else {}
    for kind in project.issue_types:
        if ref.get("id") == kind["id"] or (ref.get("id") is None and ref.get("name") == kind["name"]):
            return kind["id"]
    message = "Specify a valid issue type" if ref else "Specify an issue type"
    raise field_error("issuetype", message)


def check_summary(value: Any) -> str:
    """One line of 1 to 255 characters (emptiness is told by the caller)."""
    if value is not None and not isinstance(value, str):
        raise field_error("summary", "Operation value must be a string")
    text = (value or "").strip()
    if "\n" in text or "\r" in text:
        raise field_error("summary", "The summary is invalid because it contains newline characters.")
    if len(text) > 255:
        raise field_error("summary", "Summary can't exceed 255 characters.")
    return text


def check_priority(value: Any) -> str | None:
    """A priority by id or name."""
    if value is None:
        return None
    ref = value if isinstance(value, dict) else {}
    for number, name in enumerate(PRIORITIES, 1):
        if ref.get("id") == str(number) or (ref.get("id") is None and ref.get("name") == name):
            return name
    raise field_error("priority", "Specify the Priority (id or name) in the string format")


def check_labels(value: Any) -> list[str]:
    """Labels have no spaces and at most 255 characters."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise field_error("labels", "data was not an array")
    for label in value:
        if not isinstance(label, str) or not label:
            raise field_error("labels", "string expected at index 0")
        if re.search(r"\s", label):
            raise field_error("labels", f"The label '{label}' contains spaces which is invalid.")
        if len(label) > 255:
            raise field_error("labels", f"The label '{label}' is too long (255 characters).")
    return list(dict.fromkeys(value))


def check_properties(value: Any) -> dict[str, Any]:
    """[{"key", "value"}] as of create, edit and comment."""
    if value is None:
        return {}
    if not isinstance(value, list) or any(
        not isinstance(p, dict) or set(p) != {"key", "value"} for p in value
    ):
        raise JiraError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
    return {check_key(p["key"]): check_value(p["value"]) for p in value}


def check_key(key: Any) -> str:
    """A property key of at most 255 characters."""
    if not isinstance(key, str) or not key or len(key) > KEY_LIMIT:
        raise JiraError(400, "The property key is invalid: it must have 1 to 255 characters.")
    return key


def check_value(value: Any) -> Any:
    """A valid, non-empty JSON value of at most 32768 characters."""
    if value is None or value == "":
        raise JiraError(400, "The property value must be a valid, non-empty JSON.")
    if len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) > PROPERTY_LIMIT:
        raise JiraError(400, "The property value is too long. The maximum length is 32768 characters.")
    return value


def find_comment(issue: Issue, comment_id: str) -> dict[str, Any]:
    """The comment or 404."""
    for comment in issue.comments:
        if comment["id"] == comment_id:
            return comment
    raise JiraError(404, f"Can not find a comment for the id: {comment_id}.")
