"""The sandbox's delivery: a commit is judged by what it changed, and everything is applied all the same."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import pytest
from hack.sandbox.delivery import __main__ as delivery
from hack.sandbox.delivery.units import Unit
from hack.sandbox.github import client

GOOD = {"apps/a/web.yaml": b"kind: A\n", "apps/b/web.yaml": b"kind: B\n"}


class Pipeline:
    """A delivery over a repository in memory; folders named in ``refusing`` cannot be applied."""

    def __init__(self, state: pathlib.Path) -> None:
        self.files: dict[str, bytes] = dict(GOOD)
        self.commits = 1
        self.refusing: set[str] = set()
        self.applied: list[str] = []
        self.reported: list[str] = []
        words = argparse.Namespace(state=state, github="", token="", repository="", branch="", path="apps")
        self.delivery = delivery.Delivery(words)

    def commit(self, **changed: bytes) -> None:
        self.files.update({f"apps/{name}/web.yaml": content for name, content in changed.items()})
        self.commits += 1

    def look(self) -> str:
        """Deliver the newest commit; return what was reported of it at last."""
        self.applied.clear()
        self.delivery.look()
        return self.reported[-1]

    def apply_file(self, _: delivery.Delivery, unit: Unit) -> str | None:
        name = unit.path.parent.name
        self.applied.append(name)
        return f"{name} is refused" if name in self.refusing else None


@pytest.fixture
def pipeline(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    made = Pipeline(tmp_path)
    monkeypatch.setattr(client, "head", lambda *_: f"{made.commits:040d}")
    monkeypatch.setattr(client, "read_tree", lambda *_: made.files)
    monkeypatch.setattr(client, "call", lambda *_: {"id": 1})

    def report(*words: Any) -> None:
        made.reported.append(f"{words[-2]}: {words[-1]}")

    monkeypatch.setattr(client, "set_status", report)
    monkeypatch.setitem(delivery.APPLY, "file", made.apply_file)
    return made


def test_a_new_commit_is_applied_once(pipeline: Pipeline) -> None:
    assert pipeline.look() == "success: applied"
    assert pipeline.applied == ["a", "b"]
    pipeline.look()
    assert pipeline.applied == []


def test_what_changed_comes_first_and_the_rest_is_applied_again(pipeline: Pipeline) -> None:
    pipeline.look()
    pipeline.commit(b=b"kind: C\n")
    assert pipeline.look() == "success: applied"
    assert pipeline.applied == ["b", "a"]


def test_a_broken_folder_fails_its_own_commit_and_nobody_elses(pipeline: Pipeline) -> None:
    pipeline.look()
    pipeline.refusing = {"a"}
    pipeline.commit(a=b"kind: Broken\n")
    assert pipeline.look() == "failure: a is refused"
    pipeline.commit(b=b"kind: C\n")
    assert pipeline.look() == "success: applied"
    assert sorted(pipeline.applied) == ["a", "b"]


def test_a_commit_that_changes_nothing_is_applied_all_the_same(pipeline: Pipeline) -> None:
    pipeline.look()
    pipeline.commit()
    assert pipeline.look() == "success: applied"
    assert pipeline.applied == ["a", "b"]


def test_it_resumes_after_a_restart(pipeline: Pipeline) -> None:
    pipeline.look()
    pipeline.refusing = {"a"}
    pipeline.delivery = delivery.Delivery(pipeline.delivery.words)
    pipeline.commit(b=b"kind: C\n")
    assert pipeline.look() == "success: applied"
