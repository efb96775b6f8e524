"""Every foreign error becomes the most specific of ours, and none brings a secret along."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests
import urllib3.exceptions
from jira import JIRAError

from selfheal.adapters.jira import errors as translation
from selfheal.domain import errors

SECRET = "s3cr3t-token"


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> JIRAError:
    response = requests.Response()
    response.status_code = status
    text = body if isinstance(body, str) else json.dumps(body or {"errorMessages": ["sorry"]})
    response._content = text.encode()
    response.headers.update({"Set-Cookie": f"JSESSIONID={SECRET}", **(headers or {})})
    response.request = requests.Request(
        "GET", "https://x.y", headers={"Authorization": f"Bearer {SECRET}"}
    ).prepare()
    return JIRAError(text, status_code=status, url="https://x.y", response=response)


def translate(exc: Exception, *, writing: bool = False) -> Exception:
    return translation.translate(exc, writing=writing, login="a kind of login")


@pytest.mark.parametrize("writing", [True, False])
@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (400, translation.Refused, translation.Refused),
        (401, errors.Unauthorized, errors.Unauthorized),
        (403, errors.Forbidden, errors.Forbidden),
        (404, errors.NotFound, errors.NotFound),
        (405, errors.PolicyInvalid, errors.PolicyInvalid),
        (408, errors.Transient, errors.UnknownOutcome),
        (409, errors.Conflict, errors.Conflict),
        (410, errors.PolicyInvalid, errors.PolicyInvalid),
        (413, translation.Refused, translation.Refused),
        (429, errors.RateLimited, errors.RateLimited),
        (500, errors.Transient, errors.UnknownOutcome),
        (502, errors.Transient, errors.UnknownOutcome),
        (503, errors.Transient, errors.Transient),
        (504, errors.Transient, errors.UnknownOutcome),
    ],
)
def test_status_decides(status: int, read: type, write: type, writing: bool) -> None:
    assert type(translate(answer(status), writing=writing)) is (write if writing else read)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_no_secret_in_any_message_or_chain(status: int) -> None:
    foreign = answer(status)
    ours = translate(foreign)
    assert SECRET not in f"{ours} {ours!r} {vars(ours)} {foreign} {foreign!r} {vars(foreign)}"


def test_401_says_which_log_in_it_was() -> None:
    assert "a kind of login" in str(translate(answer(401)))


def test_401_for_a_scope_is_a_missing_right() -> None:
    body = {"code": 401, "message": "Unauthorized; scope does not match"}
    found = translate(answer(401, body))
    assert isinstance(found, errors.Forbidden)
    assert "write:jira-work" in found.message


def test_403_for_a_captcha_says_how_to_pass_it() -> None:
    headers = {"X-Authentication-Denied-Reason": "CAPTCHA_CHALLENGE; login-url=https://x.y/login"}
    assert "CAPTCHA" in str(translate(answer(403, headers=headers)))


@pytest.mark.parametrize("body", ["<html>404</html>", {"code": 404, "message": "Not Found"}, "[]"])
def test_404_of_something_else_is_not_a_missing_ticket(body: Any) -> None:
    found = translate(answer(404, body))
    assert isinstance(found, errors.PolicyInvalid)
    assert found.reason == "NotJira"


def test_words_of_the_answer_are_kept_in_one_line() -> None:
    body = {"errorMessages": ["first\nsecond"], "errors": {"labels": "not on the screen"}}
    found = translate(answer(400, body))
    assert isinstance(found, translation.Refused)
    assert found.text == "first second; labels: not on the screen"
    assert found.fields == {"labels": "not on the screen"}
    assert str(translate(answer(409, {"message": "busy"}))) == "Jira: busy"
    assert "Bad gateway" in str(translate(answer(502, "<html><h1>Bad gateway</h1></html>")))
    assert len(str(translate(answer(409, {"errorMessages": ["x" * 9000]})))) < 600


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"Retry-After": "999999"}, 3600),
        ({"Retry-After": "Mon, 23 Nov 2026 05:01:00 GMT"}, 60),
        ({"Retry-After": "Mon, 23 Nov 2026 04:00:00 GMT"}, 0),
        ({"X-RateLimit-Reset": "2026-11-23T05:00:20Z"}, 20),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_wish_of_the_server_is_read(headers: dict[str, str], seconds: int | None) -> None:
    found = translate(answer(429, headers={"Date": "Mon, 23 Nov 2026 05:00:00 GMT", **headers}))
    assert isinstance(found, errors.RateLimited)
    assert found.retry_after == (None if seconds is None else dt.timedelta(seconds=seconds))


def pool_error(reason: Exception) -> requests.ConnectionError:
    pool: Any = None
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/", reason))


@pytest.mark.parametrize(
    ("exc", "read", "write"),
    [
        (requests.ConnectTimeout(), errors.Unreachable, errors.Unreachable),
        (requests.exceptions.SSLError(), errors.Unreachable, errors.Unreachable),
        (requests.exceptions.ProxyError(), errors.Unreachable, errors.Unreachable),
        (
            pool_error(urllib3.exceptions.NewConnectionError(None, "refused")),  # type: ignore[arg-type]
            errors.Unreachable,
            errors.Unreachable,
        ),
        (requests.ReadTimeout(), errors.Transient, errors.UnknownOutcome),
        (requests.ConnectionError("reset"), errors.Transient, errors.UnknownOutcome),
        (requests.exceptions.ChunkedEncodingError(), errors.Transient, errors.UnknownOutcome),
        (requests.exceptions.JSONDecodeError("", "", 0), errors.Transient, errors.UnknownOutcome),
        (requests.TooManyRedirects(), errors.PolicyInvalid, errors.PolicyInvalid),
        (requests.exceptions.InvalidURL(), errors.PolicyInvalid, errors.PolicyInvalid),
        (requests.exceptions.MissingSchema(), errors.PolicyInvalid, errors.PolicyInvalid),
        (requests.exceptions.InvalidHeader(), errors.Unauthorized, errors.Unauthorized),
        (KeyError("key"), errors.Transient, errors.UnknownOutcome),
    ],
)
def test_transport_decides(exc: Exception, read: type, write: type) -> None:
    assert type(translate(exc)) is read
    assert type(translate(exc, writing=True)) is write


def test_our_own_errors_pass() -> None:
    ours = errors.Conflict("x")
    assert translate(ours) is ours
