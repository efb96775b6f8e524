"""Jira's error collection as an exception."""

from __future__ import annotations

from typing import Any

# https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes
NOT_VISIBLE = "Issue does not exist or you do not have permission to see it."


class JiraError(Exception):
    """An answer with a status code and an ErrorCollection (or, if given, another body)."""

    def __init__(
        self,
        status: int,
        *messages: str,
        errors: dict[str, str] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, messages, errors)
        self.status = status
        self.body = body or {"errorMessages": list(messages), "errors": errors or {}}
        self.headers = headers or {}


def field_error(field: str, message: str) -> JiraError:
    """A 400 that names one field."""
    return JiraError(400, errors={field: message})
