"""Every answer of the API server becomes the error whose class is the policy."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from selfheal.adapters.kube import failures
from selfheal.domain import errors


def status(message: str = "no", **details: Any) -> str:
    return json.dumps({"kind": "Status", "message": message, "details": details})


@pytest.mark.parametrize(
    ("code", "body", "method", "kind"),
    [
        (401, status(), "GET", errors.Unauthorized),
        (403, status(), "GET", errors.Forbidden),
        (404, status(name="x"), "GET", errors.NotFound),
        (409, status(), "PATCH", errors.Conflict),
        (422, status(), "PATCH", errors.Stalled),
        (400, "not json", "POST", errors.Stalled),
        (429, status(), "GET", errors.RateLimited),
        (410, status(), "GET", errors.Transient),
        (500, status(), "GET", errors.Transient),
        (503, status(), "PATCH", errors.Transient),
        (500, status(), "PATCH", errors.UnknownOutcome),
        (504, "[]", "POST", errors.UnknownOutcome),
    ],
)
def test_statuses(code: int, body: str, method: str, kind: type[Exception]) -> None:
    error = failures.translate_status(code, body, method=method, what="PATCH /x")
    assert type(error) is kind


def test_an_unknown_kind_is_no_missing_object() -> None:
    error = failures.translate_status(404, "404 page not found", method="GET", what="GET /apis/x")
    assert isinstance(error, errors.Stalled)
    assert error.reason == "KindUnknown"
    assert "crds/" in error.message


def test_refusals_carry_the_servers_words() -> None:
    error = failures.translate_status(422, status("spec.x: must be y"), method="PATCH", what="W")
    assert "spec.x: must be y" in str(error)


def test_a_wish_to_slow_down_is_kept() -> None:
    error = failures.translate_status(429, "", method="GET", what="GET /x", retry_after="7")
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == dt.timedelta(seconds=7)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), ("-1", 0.0), ("99999", 3600.0), ("", None), ("soon", None)]
)
def test_retry_after(text: str, seconds: float | None) -> None:
    wanted = None if seconds is None else dt.timedelta(seconds=seconds)
    assert failures.parse_retry_after(text) == wanted


@pytest.mark.parametrize(
    ("error", "method", "kind"),
    [
        (ConnectionRefusedError(), "PATCH", errors.Unreachable),
        (TimeoutError(), "GET", errors.Transient),
        (TimeoutError(), "PATCH", errors.UnknownOutcome),
        (ConnectionResetError(), "POST", errors.UnknownOutcome),
    ],
)
def test_no_answer(error: Exception, method: str, kind: type[Exception]) -> None:
    assert type(failures.translate_transport(error, method=method, what="x")) is kind
