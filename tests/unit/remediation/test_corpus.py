"""Edits over the corpus: nothing but the edited place changes, and what is loaded is what was meant."""

from __future__ import annotations

import difflib
import os.path
from typing import Any

import pytest
from tests.unit.remediation import corpus
from tests.unit.remediation.corpus import Manifest

from selfheal.remediation import documents, editing
from selfheal.remediation.edits import Edit, Operation

MANIFESTS = corpus.build()
F = "x.yaml"
SETS = {
    "memory": (("resources", "limits", "memory"), "64Mi", "128Mi"),
    "image": (("image",), "nginx:9.9", "nginx:1.27.1"),
    "port": (("readinessProbe", "httpGet", "port"), 8081, 8080),
    "period": (("readinessProbe", "periodSeconds"), 2, 10),
}
PROBE = {"httpGet": {"path": "/healthz", "port": 8080}, "failureThreshold": 30}
ADDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "probe": (("startupProbe",), PROBE),
    "limit": (("resources", "limits", "cpu"), "500m"),
    "request": (("resources", "requests", "memory"), "64Mi"),
}


def test_the_corpus_is_large_varied_and_readable() -> None:
    assert len({manifest.content for manifest in MANIFESTS}) == len(MANIFESTS) >= 200
    rare = {(name, value): corpus.count(MANIFESTS, name, value) for name, values in corpus.FEATURES.items() for value in values}
    assert {feature: number for feature, number in rare.items() if number < 10} == {}
    for manifest in MANIFESTS:
        value = documents.parse(manifest.content, F).values[manifest.document]
        assert corpus.read(value, (*manifest.container, "resources", "limits", "memory")) == "64Mi"


def change(manifest: Manifest, edit: Edit) -> tuple[list[str], list[str]]:
    """Apply an edit and check its data; return the lines that went and that came."""
    after = editing.apply_edit(manifest.content, edit)
    intended = [documents.copy_plain(value) for value in documents.parse(manifest.content, F).values]
    intended[edit.document] = editing.apply_to_value(intended[edit.document], edit)
    assert documents.same(list(documents.parse(after, F).values), intended)
    old, new = manifest.content.decode().split("\n"), after.decode().split("\n")
    went: list[str] = []
    came: list[str] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            went += old[a:b]
            came += new[c:d]
    return went, came


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: str(manifest.number))
def test_a_value_is_set_and_only_its_characters_change(manifest: Manifest) -> None:
    for path, old, new in SETS.values():
        edit = Edit(file=F, document=manifest.document, path=(*manifest.container, *path), operation=Operation.SET, old=old, new=new, reason="")
        went, came = change(manifest, edit)
        assert came == [line.replace(str(old), str(new)) for line in went]
        assert len(came) == 1


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: str(manifest.number))
def test_a_block_is_added_and_nothing_else_moves(manifest: Manifest) -> None:
    for path, new in ADDS.values():
        edit = Edit(file=F, document=manifest.document, path=(*manifest.container, *path), operation=Operation.ADD, old=None, new=new, reason="")
        went, came = change(manifest, edit)
        if went:  # a line in flow style is the only one that may change, and only by an insertion
            assert (len(went), len(came)) == (1, 1)
            assert "{" in went[0]
            kept = os.path.commonprefix([went[0], came[0]])  # noqa: RUF071 - characters are meant
            assert came[0].endswith(went[0][len(kept) :])
        else:
            assert 1 <= len(came) <= 6
        crlf = manifest.features["ending"] == "crlf"
        assert all(line.endswith("\r") is crlf for line in came)
