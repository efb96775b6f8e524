"""Every answer of GitHub and every fault of the way becomes the most specific error of ours."""

from __future__ import annotations

import datetime as dt
from typing import Any

import github
import pytest
import requests
import urllib3

from selfheal.adapters.github import errors as translation
from selfheal.domain import errors


def answer(
    status: int, message: str = "", headers: dict[str, str] | None = None, **more: Any
) -> Exception:
    return github.GithubException(status, {"message": message, **more}, headers or {}, message)


def never_connected() -> Exception:
    pool = urllib3.HTTPConnectionPool("nowhere")
    cause = urllib3.exceptions.NewConnectionError(pool, "refused")  # type: ignore[arg-type]
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/", cause))


LIMIT = {
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": "1795413598",
    "Date": "Mon, 23 Nov 2026 05:58:58 GMT",
}


@pytest.mark.parametrize(
    ("exc", "reading", "writing"),
    [
        (answer(401, "Bad credentials"), errors.Unauthorized, errors.Unauthorized),
        (answer(403, "Resource not accessible by integration"), errors.Forbidden, errors.Forbidden),
        (answer(403, "x", {"Retry-After": "30"}), errors.RateLimited, errors.RateLimited),
        (answer(403, "API rate limit exceeded for user"), errors.RateLimited, errors.RateLimited),
        (
            answer(403, "You have exceeded a secondary rate limit."),
            errors.RateLimited,
            errors.RateLimited,
        ),
        (answer(422, "was submitted too quickly"), errors.RateLimited, errors.RateLimited),
        (answer(429, "Too many"), errors.RateLimited, errors.RateLimited),
        (answer(404, "Not Found"), errors.NotFound, errors.NotFound),
        (answer(409, "Reference update failed"), errors.Conflict, errors.Conflict),
        (answer(409, "Git Repository is empty."), errors.Stalled, errors.Stalled),
        (answer(405, "not mergeable"), translation.RefusedError, translation.RefusedError),
        (answer(422, "Validation Failed"), translation.RefusedError, translation.RefusedError),
        (answer(410, "Issues are disabled"), errors.Stalled, errors.Stalled),
        (answer(500, "oops"), errors.Transient, errors.UnknownOutcome),
        (answer(502), errors.Transient, errors.UnknownOutcome),
        (answer(503), errors.Transient, errors.Transient),
        (requests.ReadTimeout("slow"), errors.Transient, errors.UnknownOutcome),
        (requests.ConnectionError("reset by peer"), errors.Transient, errors.UnknownOutcome),
        (requests.ConnectTimeout("slow"), errors.Unreachable, errors.Unreachable),
        (never_connected(), errors.Unreachable, errors.Unreachable),
        (requests.exceptions.SSLError("self-signed"), errors.Unreachable, errors.Unreachable),
        (ValueError("half JSON"), errors.Transient, errors.UnknownOutcome),
        (AttributeError("'list' object"), errors.Transient, errors.UnknownOutcome),
    ],
)
def test_each_fault_has_its_error(exc: Exception, reading: type, writing: type) -> None:
    assert type(translation.translate(exc, writing=False)) is reading
    assert type(translation.translate(exc, writing=True)) is writing


def test_errors_of_ours_pass_as_they_are() -> None:
    ours = errors.Conflict("x")
    assert translation.translate(ours, writing=True) is ours


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({key.lower(): value for key, value in LIMIT.items()}, 1795413598 - 1795413538 + 1),
        ({**{key.lower(): value for key, value in LIMIT.items()}, "date": "no date"}, 60),
        (
            {
                **{key.lower(): value for key, value in LIMIT.items()},
                "x-ratelimit-reset": "1795413000",
            },
            1,
        ),
        ({"x-ratelimit-remaining": "12", "x-ratelimit-reset": "1795413598"}, 60),
        ({}, 60),
    ],
)
def test_the_wait_is_the_servers_by_its_own_clock(headers: dict[str, str], seconds: int) -> None:
    assert translation.retry_after(headers) == dt.timedelta(seconds=seconds)


def test_a_rate_limit_carries_its_wait_whatever_the_case_of_headers() -> None:
    found = translation.translate(answer(403, "API rate limit exceeded", LIMIT), writing=False)
    assert isinstance(found, errors.RateLimited)
    assert found.retry_after == dt.timedelta(seconds=61)


def test_a_missing_right_is_named() -> None:
    headers = {"X-Accepted-GitHub-Permissions": "contents=write"}
    found = translation.translate(answer(403, "Resource not accessible", headers), writing=True)
    assert isinstance(found, errors.Forbidden)
    assert "contents=write" in found.message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]},
            "Validation Failed; head invalid",
        ),
        (
            {"message": "Validation Failed", "errors": ["No commits"]},
            "Validation Failed; No commits",
        ),
        ({"message": "Validation Failed", "errors": "one"}, "Validation Failed; one"),
        ({"data": "<html>"}, "<html>"),
        (None, "no details"),
    ],
)
def test_the_words_of_an_answer_are_read_in_all_its_shapes(data: Any, text: str) -> None:
    assert translation.answer_text(data) == text


def test_a_long_answer_is_cut() -> None:
    assert len(translation.answer_text({"message": "x" * 9000})) == 500
