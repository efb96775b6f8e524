"""What of the evidence is kept with a diagnosis that is too large."""

from __future__ import annotations

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.engine import documents


def test_what_a_finding_quotes_and_the_target_are_left_out_last(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Item(id="object/Deployment/web", kind=ItemKind.OBJECT, value={"x": "x" * 900})
    quoted, other, small = make.log("q" * 800), make.log("o" * 500, previous=False), make.pod()
    monkeypatch.setattr(documents, "MAX_BUNDLE_BYTES", 2600)
    content = documents.bundle_to_json(make.bundle(target, quoted, other, small), keep=(quoted.id,))
    assert [entry["id"] for entry in content["items"]] == [target.id, quoted.id, small.id]
    assert content["gaps"] == [f"{other.id}: left out, too large"]
    monkeypatch.setattr(documents, "MAX_BUNDLE_BYTES", 1200)
    content = documents.bundle_to_json(make.bundle(target, quoted, other, small), keep=(quoted.id,))
    assert [entry["id"] for entry in content["items"]] == [quoted.id]
