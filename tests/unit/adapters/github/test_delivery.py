"""Several deliveries of one commit taken together."""

from __future__ import annotations

import pytest

from selfheal.adapters.github import delivery
from selfheal.domain import facts

S = facts.DeliveryState


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], S.PENDING),
        ([S.PENDING], S.PENDING),
        ([S.SUCCESS], S.SUCCESS),
        ([S.SUCCESS, S.SUCCESS], S.SUCCESS),
        ([S.SUCCESS, S.PENDING], S.IN_PROGRESS),
        ([S.SUCCESS, S.IN_PROGRESS], S.IN_PROGRESS),
        ([S.IN_PROGRESS, S.FAILURE], S.FAILURE),
    ],
)
def test_the_worst_counts(states: list[S], expected: S) -> None:
    assert delivery.together(states) is expected


@pytest.mark.parametrize(
    ("status", "conclusion", "expected"),
    [
        ("queued", None, S.PENDING),
        ("waiting", None, S.PENDING),
        ("in_progress", None, S.IN_PROGRESS),
        ("completed", "success", S.SUCCESS),
        ("completed", "skipped", S.SUCCESS),
        ("completed", "failure", S.FAILURE),
        ("completed", "cancelled", S.FAILURE),
        ("completed", "startup_failure", S.FAILURE),
    ],
)
def test_a_run_has_the_state_of_its_status_and_conclusion(
    status: str, conclusion: str | None, expected: S
) -> None:
    assert delivery.run_state({"status": status, "conclusion": conclusion}) is expected
