"""The right fixes of the fault library, laid out for Kustomize and Helm: each finds its place in the sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.contract import rendering
from tests.e2e.faults import layouts, library
from tests.unit.diagnosis import evidence_factory

from selfheal.engine import placing, sources
from selfheal.engine.placed import Placed
from selfheal.remediation import documents, rendered
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, Operation, Source

NAMESPACE = "shop"
EVERY = int(os.environ.get("SELFHEAL_SOURCES_EVERY", "3"))
"""Every third fault is tried in both layouts; 1: all of them."""
FAULTS = [fault for fault in library.load_all() if fault.action == "fix" and library.twin_text(fault)][::EVERY]


class NotAnEditError(Exception):
    """The twin takes something away, or is another object: no fix does that."""


def edits_between(name: str, one: Any, other: Any, path: tuple[str | int, ...] = ()) -> Iterator[Edit]:
    """Iterate over the edits of a rendered object that make it the other."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) - set(other):
            raise NotAnEditError(f"{path}: {set(one) - set(other)}")
        for key in other:
            if key in one:
                yield from edits_between(name, one[key], other[key], (*path, key))
            else:
                yield Edit(file=name, document=0, path=(*path, key), operation=Operation.ADD, old=None, new=other[key], reason="")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from edits_between(name, *pair, (*path, number))
    elif not documents.same(one, other):
        yield Edit(file=name, document=0, path=path, operation=Operation.SET, old=one, new=other, reason="")


async def place(fault: library.Fault, files: Mapping[str, bytes], wanted: list[dict[str, Any]]) -> Placed:
    """Place the difference between what files render to and the twin."""
    renderer = rendering.make_renderer()
    kind, _, name = fault.target.partition("/")
    found = {(one["kind"], one["metadata"]["name"]): one for one in library.parse(fault.manifests)}
    live = {**found[kind, name], "metadata": {**found[kind, name]["metadata"], "namespace": NAMESPACE}}
    located = await sources.locate(renderer, files, path="apps", live=live, namespace=NAMESPACE)
    rendered_now = {file: rendered.load(text.decode()) for file, text in located.files.items()}
    edits: list[Edit] = []
    twins = {(one["kind"], one["metadata"]["name"]): one for one in wanted}
    for file, manifest in rendered_now.items():
        twin = twins.pop((manifest["kind"], manifest["metadata"]["name"]), None)
        if twin is None:
            continue
        if "namespace" in manifest["metadata"]:
            twin = {**twin, "metadata": {**twin["metadata"], "namespace": NAMESPACE}}
        edits += edits_between(file, manifest, twin)
    draft = Draft(finding=rendering.find_oom(), bundle=evidence_factory.bundle(), source=located.source, files=located.files)
    gone = {(one["kind"], one["metadata"]["name"]) for one in rendered_now.values()} - {(one["kind"], one["metadata"]["name"]) for one in wanted}
    if gone:
        raise NotAnEditError(f"takes {gone} away")
    edits += [draft.add_document(twin, "") for twin in twins.values()]
    target = Source(file=located.source.file, document=0, manifest=located.source.manifest)
    assert target.manifest["kind"] == kind
    proposal = draft.propose(*edits, summary="", risk="Low", risk_reason="")
    return await placing.place(renderer, located, proposal)


@pytest.mark.parametrize("layout", ["kustomize", "helm"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_right_fix_has_a_place(fault: library.Fault, layout: str) -> None:
    objects = library.parse(fault.manifests)
    twin = library.twin_text(fault)
    assert twin is not None
    made = layouts.as_kustomize(objects, NAMESPACE) if layout == "kustomize" else layouts.as_helm(objects, "web")
    files = {f"apps/{NAMESPACE}/{name}": content for name, content in made.items()}
    try:
        placed = await place(fault, files, library.parse(twin))
    except NotAnEditError as error:
        pytest.skip(f"the twin is no set of edits: {error}")
    assert placed.proposal.files
    assert all(name.startswith(f"apps/{NAMESPACE}/") for name in placed.proposal.files)
