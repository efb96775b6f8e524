"""What placing a fix gives: the proposal with real files, and the objects as they will be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.remediation import documents, editing, rendered
from selfheal.remediation.edits import Edit, Operation, Proposal, Refusal, Source
from selfheal.remediation.rendered import Identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """A proposal whose files are real ones, and the objects that the source then renders to.

    ``manifest`` is the target; ``others`` are the further edited objects by file and document.
    """

    proposal: Proposal
    manifest: Mapping[str, Any]
    others: Mapping[tuple[str, int], Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def find_object(manifests: Sequence[Mapping[str, Any]], wanted: Identity) -> Mapping[str, Any]:
    """Return the object of an identity, whatever hash its name has now."""
    short = rendered.without_hash(wanted)
    for manifest in manifests:
        identity = rendered.identify(manifest)
        one = dataclasses.replace(rendered.without_hash(identity), namespace="")
        if one == dataclasses.replace(short, namespace=""):
            return manifest
    raise Refusal("ComparisonFailed", f"{wanted} is not rendered any more after the change.")


def list_consequences(
    source: Source, after: Mapping[str, Any], proposal: Proposal
) -> tuple[Edit, ...]:
    """Return what changes in the object besides the edits: names of what is generated for it."""
    expected = documents.copy_plain(source.manifest)
    for edit in proposal.edits:
        if (edit.file, edit.document) == (source.file, source.document) and edit.path:
            expected = editing.apply_to_value(expected, edit)
    return tuple(
        Edit(
            file=source.file, document=source.document, path=path, operation=Operation.SET,
            old=old, new=new, reason="The name follows the content.",
        )
        for path, old, new in _differences(expected, after, ())
    )  # fmt: skip


def _differences(
    one: Any, other: Any, path: tuple[str | int, ...]
) -> list[tuple[tuple[str | int, ...], Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys: Sequence[Any] = list(one)
    elif isinstance(one, list) and isinstance(other, list):
        keys = range(len(one))
    else:
        return [] if documents.same(one, other) else [(path, one, other)]
    return [found for key in keys for found in _differences(one[key], other[key], (*path, key))]
