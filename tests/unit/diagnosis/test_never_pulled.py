"""A revision whose image never came is none to go back to, also when its pods are gone."""

from __future__ import annotations

import types
from typing import Any, cast

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.adapters.kube import events, targets
from selfheal.diagnosis import history
from selfheal.diagnosis.evidence import Item
from selfheal.diagnosis.reading import Reading


def event(reason: str, about: str, message: str = "", kind: str = "Pod") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"kind": kind, "name": about}}


FAILED = event("Failed", "web-6d4f-abcde", 'Failed to pull image "shop:unbuilt": not found')


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([FAILED], {"web-6d4f"}),
        ([FAILED, event("Started", "web-6d4f-xyzzy")], set()),
        ([event("Failed", "web-6d4f-abcde", "Error: ImageInspectError")], set()),
        ([event("Failed", "web-6d4f-abcde", "Failed to pull image", kind="ReplicaSet")], set()),
        ([event("Failed", "cart-1-abcde", "Failed to pull image")], set()),
        ([{"reason": "Failed", "message": "pull"}], set()),
        ([], set()),
    ],
)
def test_events_of_pods_that_are_gone_tell_it(listed: list[dict[str, Any]], expected: set[str]) -> None:
    sets = [{"metadata": {"name": name}} for name in ("web-6d4f", "web-7c5b")]
    target = cast("targets.Target", types.SimpleNamespace(replica_sets=sets))
    assert events.find_never_pulled(listed, target) == expected


def revisions(*, never_pulled: bool) -> list[Item]:
    before = make.replica_set(1, [make.container(image="shop:unbuilt")])
    if never_pulled:
        before.value["neverPulled"] = True  # type: ignore[index]
    return [make.replica_set(2, [make.container(image="shop:1")]), before]


def test_it_is_no_revision_to_go_back_to() -> None:
    there = history.read(Reading(bundle=make.bundle(*revisions(never_pulled=False))))
    assert there is not None
    assert [change.before for change in there.changes] == ["shop:unbuilt"]
    assert history.read(Reading(bundle=make.bundle(*revisions(never_pulled=True)))) is None
