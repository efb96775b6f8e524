"""Translates what the ``openai`` library and its transport raise into the errors of the port."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Mapping

import httpx2
import openai

from selfheal.domain import errors

_SYSTEM = "model"
_LONGEST_RETRY_AFTER = dt.timedelta(hours=1)
# Codes of OpenAI's error object that no waiting mends.
# https://platform.openai.com/docs/guides/error-codes
_QUOTA_SPENT = "insufficient_quota"
_TOO_LONG = "context_length_exceeded"


def translate(error: Exception, *, where: str) -> Exception:
    """Return the error of the port that says most; never with a body, which may echo the key."""
    if isinstance(error, openai.APIStatusError):
        return _translate_status(error, where=where)
    if isinstance(error, TimeoutError | openai.APITimeoutError | httpx2.TimeoutException):
        return errors.Transient(f"{where} did not answer in time", system=_SYSTEM)
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        return errors.Unreachable(
            f"{where} cannot be reached; check baseURL and network", system=_SYSTEM
        )
    # The library fails with AttributeError, IndexError, JSONDecodeError and the like on lies.
    return errors.Transient(
        f"{where} sent an answer that cannot be read ({type(error).__name__})", system=_SYSTEM
    )


def _translate_status(error: openai.APIStatusError, *, where: str) -> Exception:
    status = error.status_code
    code = str(error.code or "")
    if status == 401:
        return errors.Unauthorized(
            f"{where} refuses the API key (401); renew the Secret", system=_SYSTEM
        )
    if status == 403:
        return errors.Forbidden(
            f"{where} forbids the request (403); check the key's rights", system=_SYSTEM
        )
    if status == 404:
        return errors.PolicyInvalid(
            f"{where}: no such model or path (404); check baseURL and name", system=_SYSTEM
        )
    if status == 429 and code == _QUOTA_SPENT:
        return errors.Stalled(
            f"{where}: the account's quota is spent", reason="QuotaSpent", system=_SYSTEM
        )
    if status == 429:
        return errors.RateLimited(
            f"{where} asks us to slow down (429)",
            system=_SYSTEM,
            retry_after=parse_retry_after(error.response.headers),
        )
    if status >= 500 or status in (408, 409, 425):
        return errors.Transient(
            f"{where} failed ({status})",
            system=_SYSTEM,
            retry_after=parse_retry_after(error.response.headers),
        )
    detail = "the prompt is longer than its context" if code == _TOO_LONG else f"status {status}"
    return errors.Stalled(
        f"{where} refuses the request: {detail}", reason="RequestRefused", system=_SYSTEM
    )


def parse_retry_after(headers: Mapping[str, str]) -> dt.timedelta | None:
    """Return the server's wish, at most an hour; None where there is none or it cannot be read.

    Seconds or an HTTP date: RFC 9110, 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    try:
        wait = dt.timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        try:
            wait = email.utils.parsedate_to_datetime(text) - _date_of(headers)
        except (ValueError, TypeError):
            return None
    return max(dt.timedelta(0), min(wait, _LONGEST_RETRY_AFTER))


def _date_of(headers: Mapping[str, str]) -> dt.datetime:
    # The server's own Date, so that our clock need not agree with it.
    return email.utils.parsedate_to_datetime(headers.get("date", ""))
