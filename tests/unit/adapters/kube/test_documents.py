"""Which stored documents of an incident go when it keeps too much."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from selfheal.adapters.kube import documents
from selfheal.api import evidence

SIZE = 60 * 1024


def stored(name: str, *, run: int, type_: str = "Evidence", uid: str = "u", size: int = SIZE, created: str = "1") -> dict[str, Any]:
    owner = {"kind": "SelfHealingIncident", "uid": uid}
    content = base64.b64encode(b"x" * size).decode()
    return {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": {"run": run, "type": type_, "created": created, "content": content}}


@pytest.mark.parametrize(
    ("kept", "excess"),
    [
        ([stored("a", run=1), stored("b", run=2)], []),
        ([stored(str(number), run=1, created=str(number)) for number in range(3)] + [stored("n", run=2), stored("m", run=2)], ["0"]),
        (
            [stored("old", run=1), stored("talk", run=2, type_="Transcript"), stored("mid", run=2), stored("new", run=3), stored("newer", run=3), stored("six", run=3)],
            ["talk", "old"],
        ),
        ([stored(str(number), run=3) for number in range(9)], []),
        ([stored("a", run=1), *(stored(str(number), run=1, uid="other") for number in range(9))], []),
    ],
)
def test_transcripts_go_first_then_the_oldest_run_never_the_present_one(kept: list[Any], excess: list[str]) -> None:
    run = max(one["spec"]["run"] for one in kept)
    assert documents.choose_excess(kept, "u", run) == excess
    left = [one for one in kept if one["metadata"]["name"] not in excess and one["metadata"]["ownerReferences"][0]["uid"] == "u"]
    present = all(one["spec"]["run"] == run for one in left)
    assert present or len(left) * SIZE <= evidence.MAX_INCIDENT_BYTES
