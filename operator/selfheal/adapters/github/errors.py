"""Translation of everything that PyGithub and requests raise into ``domain.errors``.

Rate limits, status codes: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
and .../rate-limits-for-the-rest-api. Only the server's answer enters a message, never a request,
so that no token can.
"""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Mapping
from typing import Any

import github
import jwt
import requests
import urllib3.exceptions

from selfheal.domain import errors

SYSTEM = "GitHub"

# "If the response has no Retry-After, wait for at least one minute" (rate limits, see above).
_LEAST_WAIT = dt.timedelta(minutes=1)

_SLOW_DOWN = (
    "api rate limit exceeded",
    "secondary rate limit",
    "abuse detection",
    "was submitted too quickly",
    "please wait a few minutes before you try again",
)


class RefusedError(Exception):
    """A 405 or 422: the request was understood and refused; callers read ``text`` and decide.

    It never crosses the port: ``Session`` turns what is left of it into HandOver.
    """

    def __init__(self, status: int, text: str) -> None:
        """Keep status and the server's words."""
        super().__init__(text)
        self.status, self.text = status, text

    def says(self, *words: str) -> bool:
        """Return whether any of the words occurs in the answer, without regard to case."""
        return any(word in self.text.lower() for word in words)


def translate(exc: Exception, *, writing: bool) -> Exception:
    """Return our error for a foreign one; ``writing``: the request could have changed something."""
    if isinstance(exc, errors.SelfHealError | RefusedError):
        return exc
    if isinstance(exc, github.GithubException):
        return _from_answer(exc, writing=writing)
    if isinstance(exc, jwt.PyJWTError):
        message = "privateKey of the App cannot be read; put its PEM file into the Secret"
        return errors.Unauthorized(message, system=SYSTEM)
    if isinstance(exc, requests.RequestException):
        return _from_transport(exc, writing=writing)
    # Half an answer, or one that is not GitHub's (a proxy's page): the client stumbles over it.
    return _cut_off(f"unusable answer ({type(exc).__name__})", writing=writing)


def unusable(exc: Exception, *, writing: bool) -> errors.Transient:
    """Return the error for a successful answer that lacks what GitHub documents."""
    return _cut_off(f"unusable answer ({type(exc).__name__}: {exc})", writing=writing)


def answer_text(data: Any) -> str:
    """Return message and details of an error body in one line of at most 500 characters."""
    if not isinstance(data, Mapping):
        return str(data or "no details")[:500]
    parts = [str(data.get("message") or data.get("data") or "no details")]
    details = data.get("errors")
    for item in details if isinstance(details, list) else [details] if details else []:
        if isinstance(item, Mapping):
            words = [item.get("message"), item.get("field"), item.get("code")]
            parts.append(" ".join(str(word) for word in words if word))
        else:
            parts.append(str(item))
    return "; ".join(parts)[:500]


def from_graphql(fault: Mapping[str, Any], headers: Mapping[str, Any]) -> Exception:
    """Return our error for one error of a GraphQL answer."""
    text = answer_text(fault)
    kind = fault.get("type")
    if kind == "RATE_LIMITED":
        wait = retry_after({key.lower(): str(value) for key, value in headers.items()})
        return errors.RateLimited(
            f"GitHub asks to slow down: {text}", system=SYSTEM, retry_after=wait
        )
    if kind in ("FORBIDDEN", "INSUFFICIENT_SCOPES"):
        return errors.Forbidden(_forbidden(text, {}), system=SYSTEM)
    if kind == "NOT_FOUND":
        return errors.NotFound(f"GitHub: {text}")
    return RefusedError(200, text)


def _from_answer(exc: github.GithubException, *, writing: bool) -> Exception:
    status, text = exc.status, answer_text(exc.data)
    headers = {key.lower(): str(value) for key, value in (exc.headers or {}).items()}
    if _is_rate_limit(status, headers, text):
        wait = retry_after(headers)
        return errors.RateLimited(
            f"GitHub asks to slow down: {text}", system=SYSTEM, retry_after=wait
        )
    if status == 401:
        return errors.Unauthorized(
            f"GitHub refuses the credentials ({text}); renew the token in the Secret", system=SYSTEM
        )
    if status == 403:
        return errors.Forbidden(_forbidden(text, headers), system=SYSTEM)
    if status == 404:
        return errors.NotFound(f"GitHub: {text}")
    if status == 409:
        if "repository is empty" in text.lower():
            return errors.Stalled(
                "the repository has no commit yet", reason="RepositoryEmpty", system=SYSTEM
            )
        return errors.Conflict(f"GitHub: {text}")
    if status in (405, 422):
        return RefusedError(status, text)
    if status == 503:
        return errors.Transient(
            f"GitHub is not available ({text})", system=SYSTEM, retry_after=_seconds(headers)
        )
    if status >= 500:
        return _cut_off(f"error {status} ({text})", writing=writing)
    return errors.Stalled(
        f"GitHub answers {status}: {text}", reason="UnexpectedAnswer", system=SYSTEM
    )


def _from_transport(exc: requests.RequestException, *, writing: bool) -> Exception:
    if isinstance(exc, requests.exceptions.SSLError):
        return errors.Unreachable(
            "the certificate of the code host is not trusted; check baseURL and the CA bundle",
            system=SYSTEM,
        )
    if isinstance(exc, requests.exceptions.ConnectTimeout) or _never_connected(exc):
        return errors.Unreachable(
            "the code host cannot be reached; check baseURL, DNS and network policy", system=SYSTEM
        )
    return _cut_off(type(exc).__name__, writing=writing)


def _never_connected(exc: requests.RequestException) -> bool:
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )


def _cut_off(what: str, *, writing: bool) -> errors.Transient:
    if writing:
        return errors.UnknownOutcome(f"a write to GitHub was cut off: {what}", system=SYSTEM)
    return errors.Transient(f"reading from GitHub failed: {what}", system=SYSTEM)


def _forbidden(text: str, headers: Mapping[str, str]) -> str:
    needed = headers.get("x-accepted-github-permissions")
    return f"GitHub forbids this ({text})" + (f"; the token needs {needed}" if needed else "")


def _is_rate_limit(status: int, headers: Mapping[str, str], text: str) -> bool:
    if status == 429:
        return True
    if status not in (403, 422):
        return False
    if any(words in text.lower() for words in _SLOW_DOWN):
        return True
    return status == 403 and (
        "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    )


def retry_after(headers: Mapping[str, str]) -> dt.timedelta:
    """Return how long the server's (lower-case) headers ask to wait; a minute if they do not say.

    The reset time is compared with the server's own Date, so that our clock may be wrong.
    """
    seconds = _seconds(headers)
    if seconds is not None:
        return seconds
    reset, date = headers.get("x-ratelimit-reset", ""), headers.get("date", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit() and date:
        try:
            there = email.utils.parsedate_to_datetime(date).timestamp()
        except ValueError:
            return _LEAST_WAIT
        return max(dt.timedelta(seconds=int(reset) - there + 1), dt.timedelta(seconds=1))
    return _LEAST_WAIT


def _seconds(headers: Mapping[str, str]) -> dt.timedelta | None:
    value = headers.get("retry-after", "")
    return dt.timedelta(seconds=int(value)) if value.isdigit() else None
