"""What `selfheal rollback` says; what it does is in tests/scenario/test_rollback.py."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from tests.fakes.store import FakeStore
from tests.unit.cli.runtime import install

from selfheal.api.incident import RevertStatus
from selfheal.cli import main
from selfheal.domain import errors
from selfheal.engine import rollback

PLANNED = rollback.Rollback(pull_request="https://code/7", summary="Raise the limit", diff="-memory: 128Mi\n+memory: 64Mi")


def say(monkeypatch: pytest.MonkeyPatch, *words: str, state: str | None = None, fault: Exception | None = None) -> str:
    async def answer(key: str, deps: object) -> rollback.Rollback:
        assert key == "shop/oom"
        if fault is not None:
            raise fault
        revert = RevertStatus(number=8, url="https://code/8", state=state) if state else None
        return rollback.Rollback(pull_request=PLANNED.pull_request, summary=PLANNED.summary, diff=PLANNED.diff, revert=revert)

    install(monkeypatch, FakeStore())
    monkeypatch.setattr(rollback, "plan", answer)
    monkeypatch.setattr(rollback, "roll_back", answer)
    return CliRunner().invoke(main, ["rollback", "shop/oom", *words]).output


def test_without_yes_it_shows_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    said = say(monkeypatch)
    assert said.startswith("Would take back https://code/7: Raise the limit\n\n-memory: 128Mi\n+memory: 64Mi\n")
    assert "--yes" in said


@pytest.mark.parametrize(("state", "words"), [("Merged", "Taken back: https://code/8"), ("Open", "approve and merge it there")])
def test_it_says_whether_a_person_is_still_needed(monkeypatch: pytest.MonkeyPatch, state: str, words: str) -> None:
    assert words in say(monkeypatch, "--yes", state=state)


def test_what_is_wrong_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = errors.HandOver("NotMerged", "No fix of shop/oom was merged: nothing is taken back.")
    assert say(monkeypatch, "--yes", fault=fault) == "Error: No fix of shop/oom was merged: nothing is taken back.\n"
