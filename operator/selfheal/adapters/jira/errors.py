"""Translation of everything that ``jira`` and ``requests`` raise into ``domain.errors``.

Status codes: https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes; rate
limits: https://developer.atlassian.com/cloud/jira/platform/rate-limiting/. Only the server's own
words enter a message, never a request, so that no token can.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
from collections.abc import Mapping
from typing import Any

import jira
import requests
import urllib3.exceptions

from selfheal.domain import errors

SYSTEM = "Jira"

_LONGEST_RETRY_AFTER = dt.timedelta(hours=1)
_TAG = re.compile(r"<[^>]*>")


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A 400: understood and refused; callers decide what it means. It never crosses the port."""

    def __init__(self, text: str, fields: Mapping[str, str]) -> None:
        """Keep the server's words, and those about single fields."""
        super().__init__(text)
        self.text, self.fields = text, fields


def translate(exc: Exception, *, writing: bool, login: str) -> Exception:
    """Return our error for a foreign one.

    ``writing``: the request could have changed something; ``login``: the kind of login, in words.
    """
    if isinstance(exc, errors.SelfHealError | Refused):
        return exc
    if isinstance(exc, jira.JIRAError):
        return _from_status(exc, writing=writing, login=login)
    if isinstance(exc, requests.RequestException):
        return _from_transport(exc, writing=writing)
    # A deadline of ours, half an answer, or an answer that lacks what Jira documents.
    return cut_off(f"unusable answer ({type(exc).__name__})", writing=writing)


def cut_off(what: str, *, writing: bool) -> errors.Transient:
    """Return the error for a call whose end we did not see."""
    if writing:
        return errors.UnknownOutcome(f"a write to Jira was cut off: {what}", system=SYSTEM)
    return errors.Transient(f"reading from Jira failed: {what}", system=SYSTEM)


def not_jira(what: str) -> errors.PolicyInvalid:
    """Return the error for something at the address that is not Jira's REST API."""
    return errors.PolicyInvalid(
        f"the address of the tracker does not answer as Jira ({what}): set tracker.baseURL to the "
        "address of the site with its context path, and let no log-in page stand before it",
        reason="NotJira",
        system=SYSTEM,
    )


def _from_status(exc: jira.JIRAError, *, writing: bool, login: str) -> Exception:
    status = exc.status_code or 0
    response = exc.response
    # `response` itself is false for every error: requests.Response is true only below 400.
    found = response.headers if response is not None else {}
    headers = {key.lower(): str(value) for key, value in found.items()}
    body = read_body(exc)
    text = answer_text(body, exc)
    strip(exc)
    if status == 401 and "scope" in text.lower():
        # The gateway says so to a token that is good, but lacks a scope.
        return errors.Forbidden(
            f"Jira's gateway: {text}; give the token the scopes read:jira-work, write:jira-work, "
            "read:jira-user, and for a service desk read: and write:servicedesk-request",
            system=SYSTEM,
        )
    if status == 401:
        return errors.Unauthorized(
            f"Jira refuses the credentials (401: {text}), which were used as {login}",
            system=SYSTEM,
        )
    if status == 429:
        return errors.RateLimited(
            "Jira asks to slow down (429)", system=SYSTEM, retry_after=retry_after(headers)
        )
    if status == 403:
        return errors.Forbidden(_forbidden(text, headers, login), system=SYSTEM)
    if status == 404:
        # Only Jira's own words say that an object is missing; a wrong address answers 404 too.
        return errors.NotFound(f"Jira: {text}") if _is_jiras(body) else not_jira("404")
    if status == 409:
        return errors.Conflict(f"Jira: {text}")
    if status in (400, 413, 422):
        return Refused(text, _fields(body))
    if status == 503:
        return errors.Transient(
            f"Jira is not available (503: {text})", system=SYSTEM, retry_after=retry_after(headers)
        )
    if status >= 500:
        return cut_off(f"error {status}: {text}", writing=writing)
    if status == 408:
        return cut_off("408", writing=writing)
    return not_jira(f"{status}: {text}")


def _from_transport(exc: requests.RequestException, *, writing: bool) -> Exception:
    if isinstance(exc, requests.exceptions.TooManyRedirects):
        return not_jira("it redirects elsewhere")
    if isinstance(exc, requests.exceptions.SSLError):
        return errors.Unreachable(
            "the certificate of the Jira site is not trusted; check tracker.baseURL and the CA "
            "bundle",
            system=SYSTEM,
        )
    if isinstance(exc, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError) or (
        _never_connected(exc)
    ):
        return errors.Unreachable(
            "the Jira site cannot be reached; check tracker.baseURL, DNS and network policy",
            system=SYSTEM,
        )
    if isinstance(
        exc,
        requests.exceptions.InvalidURL
        | requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema,
    ):
        return errors.PolicyInvalid("tracker.baseURL is not a URL", system=SYSTEM)
    if isinstance(exc, requests.exceptions.InvalidHeader):
        return errors.Unauthorized(
            "the token in the Secret has characters that no token has; renew it", system=SYSTEM
        )
    return cut_off(type(exc).__name__, writing=writing)


def _never_connected(exc: requests.RequestException) -> bool:
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )


def _forbidden(text: str, headers: Mapping[str, str], login: str) -> str:
    if "x-authentication-denied-reason" in headers:
        return (
            "Jira wants a person to pass its CAPTCHA before it lets this account in: log in once "
            "in a browser"
        )
    return (
        f"Jira forbids this (403: {text}); give the account that is used as {login} the right in "
        "the project, and the token its scope"
    )


def strip(exc: jira.JIRAError) -> None:
    """Take headers and bodies off: they may hold a session's cookie, and ``str`` prints them."""
    exc.response = exc.request = exc.headers = None
    exc.text = (exc.text or "")[:200]


def read_body(exc: jira.JIRAError) -> Any:
    """Return the JSON of an error's answer, or None where it has none."""
    if exc.response is None:
        return None
    try:
        return json.loads(exc.response.text)
    except ValueError:
        return None


def answer_text(body: Any, exc: jira.JIRAError) -> str:
    """Return the words of an error body in one line of at most 500 characters."""
    words: list[str] = []
    if isinstance(body, Mapping):
        listed = body.get("errorMessages")
        words += [str(item) for item in listed] if isinstance(listed, list) else []
        words += [f"{name}: {word}" for name, word in _fields(body).items()]
        for name in ("errorMessage", "message", "error_description", "error"):
            if not words and body.get(name):
                words.append(str(body[name]))
    text = "; ".join(words) or _TAG.sub(" ", exc.text or "")
    return " ".join(text.split())[:500] or "no details"


def _fields(body: Any) -> dict[str, str]:
    found = body.get("errors") if isinstance(body, Mapping) else None
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def _is_jiras(body: Any) -> bool:
    return isinstance(body, Mapping) and bool({"errorMessages", "errorMessage"} & body.keys())


def retry_after(headers: Mapping[str, str]) -> dt.timedelta | None:
    """Return the server's wish from its (lower-case) headers, at most an hour; None: it has none.

    Seconds or an HTTP date (RFC 9110, 10.2.3); else ``X-RateLimit-Reset``, an ISO time. Times are
    compared with the server's own Date, so that our clock need not agree with it.
    """
    text = headers.get("retry-after", "").strip()
    try:
        if text.isdigit():
            wait = dt.timedelta(seconds=int(text))
        elif text:
            wait = email.utils.parsedate_to_datetime(text) - _date_of(headers)
        else:
            reset = dt.datetime.fromisoformat(headers.get("x-ratelimit-reset", ""))
            wait = reset - _date_of(headers)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(dt.timedelta(0), min(wait, _LONGEST_RETRY_AFTER))


def _date_of(headers: Mapping[str, str]) -> dt.datetime:
    return email.utils.parsedate_to_datetime(headers.get("date", ""))
