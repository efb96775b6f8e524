"""Objects besides the target that a fix edits: each is proven, and looked for when delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.engine.context import Context
from selfheal.remediation import compare, documents
from selfheal.remediation.edits import Edit, Proposal, Refusal, Source

NO_DRY_RUN = frozenset({"Role", "RoleBinding"})
"""Kinds whose dry run the API server refuses to who does not hold the rights that they grant."""

Manifest = Mapping[str, Any]
Place = tuple[str, int]


def list_places(proposal: Proposal, source: Source) -> list[Place]:
    """Return file and document of every edited object but the target's own."""
    own = (source.file, source.document)
    places = dict.fromkeys((edit.file, edit.document) for edit in proposal.edits)
    return [place for place in places if place != own]


async def prove(
    context: Context, files: Mapping[str, bytes], proposal: Proposal, source: Source
) -> list[dict[str, Any]]:
    """Prove every other object of a proposal as the target is proven; return how each will be.

    Refusal ``Drifted``, ``ComparisonFailed`` or ``DryRunRefused``. May be repeated.
    """
    found = []
    for place in list_places(proposal, source):
        before = _document(files, place)
        after = _document({**files, **proposal.files}, place)
        if after is None:
            raise Refusal("ComparisonFailed", f"{place[0]} loses a document by the change.")
        edits = [edit for edit in proposal.edits if (edit.file, edit.document) == place]
        if before is None:
            await _prove_new(context, after)
        else:
            await _prove_changed(context, proposal, place, before, after, edits)
        found.append({"file": place[0], "document": place[1], "manifest": after})
    return found


async def _prove_changed(
    context: Context,
    proposal: Proposal,
    place: Place,
    before: Manifest,
    after: Manifest,
    edits: Sequence[Edit],
) -> None:
    live = await _find(context, before)
    if live is None:
        raise Refusal("Drifted", f"{_name(before)} is in Git, but not in the cluster.")
    compare.check_equivalence(rendered_before=before, rendered_after=after, live=live, edits=edits)
    if before.get("kind") in NO_DRY_RUN:
        return
    source = Source(file=place[0], document=place[1], manifest=before)
    await _dry_run(context, compare.intended_manifest(live, proposal, source))


async def _prove_new(context: Context, after: Manifest) -> None:
    if await _find(context, after) is not None:
        raise Refusal("Drifted", f"{_name(after)} is in the cluster already, but not in Git.")
    manifest = documents.copy_plain(after)
    manifest["metadata"]["namespace"] = context.namespace
    await _dry_run(context, manifest)


async def _dry_run(context: Context, manifest: Manifest) -> None:
    answer = await context.deps.cluster.dry_run_update(manifest)
    if not answer.accepted:
        raise Refusal("DryRunRefused", f"The API server refuses the change: {answer.message}")


async def carry(context: Context, content: Mapping[str, Any], edits: Sequence[Edit]) -> bool:
    """Tell whether every other object of a stored proposal shows its change (repeatable)."""
    for entry in content.get("related") or ():
        place = (entry["file"], entry["document"])
        own = [edit for edit in edits if (edit.file, edit.document) == place]
        live = await _find(context, entry["manifest"])
        if live is None or not compare.carries_change(live, entry["manifest"], own):
            return False
    return True


async def carries_change(
    context: Context, live: Manifest, content: Mapping[str, Any], proposal: Proposal
) -> bool:
    """Tell whether the target and every other object of a stored proposal show the change."""
    related = content.get("related") or []
    places = {(entry["file"], entry["document"]) for entry in related}
    own = [edit for edit in proposal.edits if (edit.file, edit.document) not in places]
    shown = compare.carries_change(live, content["after"], own) if own or not related else True
    return shown and await carry(context, content, proposal.edits)


async def _find(context: Context, manifest: Manifest) -> Manifest | None:
    return await context.deps.cluster.find_manifest(
        context.namespace, str(manifest.get("apiVersion")), str(manifest.get("kind")),
        str(manifest["metadata"]["name"]),
    )  # fmt: skip


def _document(files: Mapping[str, bytes], place: Place) -> Manifest | None:
    file, number = place
    values = documents.parse(files[file], file).values if file in files else ()
    if number >= len(values) or not isinstance(values[number], Mapping):
        return None
    found: Manifest = documents.copy_plain(values[number])
    return found


def _name(manifest: Manifest) -> str:
    return f"{manifest.get('kind')} {(manifest.get('metadata') or {}).get('name')}"
