"""The class of an error is the policy; each keeps what its line in the tree promises."""

from __future__ import annotations

import datetime as dt

import pytest

from selfheal.domain import errors

WAIT = dt.timedelta(seconds=7)


def test_waiting_transient_and_hand_over_keep_what_they_were_told() -> None:
    waiting = errors.Waiting("Index", "not yet", after=WAIT)
    assert (waiting.reason, waiting.message, waiting.after) == ("Index", "not yet", WAIT)
    limited = errors.RateLimited("slow down", system="GitHub", retry_after=WAIT)
    assert (limited.message, limited.system, limited.retry_after) == ("slow down", "GitHub", WAIT)
    given = errors.HandOver("NoSource", "find it")
    assert (given.reason, given.message) == ("NoSource", "find it")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (errors.Stalled, "Stalled"), (errors.Unauthorized, "CredentialsRefused"),
        (errors.Forbidden, "PermissionDenied"), (errors.Unreachable, "Unreachable"),
        (errors.PolicyInvalid, "PolicyInvalid"), (errors.TransitionNotOffered, "TransitionNotOffered"),
    ],
)  # fmt: skip
def test_a_stall_has_a_reason_of_its_own_unless_one_is_named(kind, reason: str) -> None:
    assert issubclass(kind, errors.Stalled)
    assert kind("mend it").reason == reason
    assert kind("mend it", reason="Other", system="Jira").reason == "Other"


def test_what_is_passing_is_never_a_stall() -> None:
    assert issubclass(errors.UnknownOutcome, errors.Transient)
    assert not issubclass(errors.Transient, errors.Stalled)
