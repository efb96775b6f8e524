"""Which source fields may feed a rendered value: candidates, the likeliest first.

Nothing here knows what a template means. A candidate is only a guess that rendering proves or
refutes, so that it is enough to be generous and to look at the likeliest places first.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from selfheal.remediation import additions, documents, editing, fitting, nested
from selfheal.remediation.edits import Edit, Operation, Refusal
from selfheal.remediation.intents import Candidate, Intent
from selfheal.remediation.layouts import Layout, Root, RootKind

MOST = 40
"""Candidates of one intended change that are rendered at the most."""
_IMAGE_KEYS: Mapping[str, str] = {
    "newName": "name", "newTag": "tag", "digest": "digest", "tag": "tag", "name": "name",
    "repository": "name", "image": "name", "registry": "registry",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """A scalar that fits: what it must become, and how well it fits (small is good)."""

    rank: tuple[int, ...]
    edit: Edit
    inner: Edit | None = None


def find_candidates(
    root: Root, layout: Layout, files: Mapping[str, bytes], intent: Intent
) -> Iterator[Candidate]:
    """Iterate over candidates for one intent, each once; pure, may be repeated."""
    seen = set()
    for number, candidate in enumerate(_all(root, layout, files, intent)):
        if number >= MOST:
            return
        if tuple(candidate.files.items()) not in seen:
            seen.add(tuple(candidate.files.items()))
            yield candidate


def _all(
    root: Root, layout: Layout, files: Mapping[str, bytes], intent: Intent
) -> Iterator[Candidate]:
    names = order_files(root, layout, files)
    if not intent.path:
        yield from additions.to_objects(root, layout, files, intent)
        return
    if intent.key == "image":
        yield from _images(names, files, intent)
    if intent.before is not None:
        yield from _apply(_scalars(names, files, intent), files)
        yield from _lines(root, files, intent)
        yield from _contents(root, files, intent)
    if root.kind is RootKind.KUSTOMIZE:
        yield from additions.to_patches(root, layout, files, names, intent)
    else:
        yield from additions.to_values(root, layout, files, intent)
        yield from _templates(root, files, intent)
        yield from additions.to_templates(root, files, intent)


def order_files(root: Root, layout: Layout, files: Mapping[str, bytes]) -> list[str]:
    """Return the YAML files that may be edited, the most specific first."""
    if root.kind is RootKind.HELM:
        return [name for name, _ in additions.list_values_files(root, layout, files)]
    used = [name for name in files if root.uses(name) and name.endswith(documents.SUFFIXES)]
    named = {
        file for entry in layout.kustomizations.values() for file in (entry.file, *entry.files)
    }
    ranks = {folder: number for number, folder in enumerate(root.folders)}

    def rank(name: str) -> tuple[int, str]:
        return ranks.get(posixpath.dirname(name), len(ranks)), name

    return sorted((name for name in used if name in named), key=rank)


def _load(files: Mapping[str, bytes], name: str) -> tuple[Any, ...]:
    try:
        return documents.parse(files[name], name).values
    except Refusal:
        return ()


def _scalars(names: Iterable[str], files: Mapping[str, bytes], intent: Intent) -> Iterator[_Place]:
    for order, name in enumerate(names):
        for number, document in enumerate(_load(files, name)):
            for path, value in fitting.iterate_scalars(document):
                edit = _fit(intent, name, number, path, value)
                if edit is not None:
                    yield _Place(rank=_rank(intent, edit, order), edit=edit)
                for inner_number, inner in enumerate(nested.documents_inside(value)):
                    yield from _inside(
                        intent, name, number, path, value, inner_number, inner, order
                    )


def _inside(
    intent: Intent, name: str, number: int, path: fitting.Path, text: str, inner_number: int,
    inner: Any, order: int,
) -> Iterator[_Place]:  # fmt: skip
    for inner_path, value in fitting.iterate_scalars(inner):
        edit = _fit(intent, name, inner_number, inner_path, value)
        if edit is not None:
            outer = dataclasses.replace(edit, document=number, path=path, old=text, new=text)
            yield _Place(rank=_rank(intent, edit, order), edit=outer, inner=edit)


def _fit(intent: Intent, name: str, number: int, path: fitting.Path, value: Any) -> Edit | None:
    new = fitting.fit(value, intent.before, intent.after, intent.key)
    if new is None or not path:
        return None
    return Edit(
        file=name, document=number, path=path, operation=Operation.SET, old=value, new=new,
        reason="",
    )  # fmt: skip


def _rank(intent: Intent, edit: Edit, order: int) -> tuple[int, ...]:
    exact = documents.same(edit.old, intent.before)
    return (
        -fitting.count_common(edit.path, intent.keys), not exact, -len(str(edit.old)), order,
    )  # fmt: skip


def _apply(places: Iterable[_Place], files: Mapping[str, bytes]) -> Iterator[Candidate]:
    for place in sorted(places, key=lambda entry: entry.rank):
        edit = place.edit
        try:
            if place.inner is None:
                content = apply_shared(files[edit.file], edit)
            else:
                content = nested.edit_inside(files[edit.file], edit, place.inner)
        except Refusal:
            continue
        inner = place.inner.path if place.inner else ()
        yield Candidate(files={edit.file: content}, what=name_place(edit, inner))


def name_place(edit: Edit, inner: fitting.Path = ()) -> str:
    """Return file and field for people."""
    return f"{edit.file}: {'.'.join(str(step) for step in (*edit.path, *inner))}"


def apply_shared(content: bytes, edit: Edit) -> bytes:
    """Edit a scalar; one that an anchor shares is changed wherever the alias stands.

    Rendering shows what that changes; here it only has to be the one scalar.
    """
    try:
        return editing.apply_edit(content, edit)
    except Refusal:
        text = editing.replace_scalar(content, edit)
        if text is None:
            raise
        return text


def _images(
    names: Iterable[str], files: Mapping[str, bytes], intent: Intent
) -> Iterator[Candidate]:
    """Iterate over mappings that keep an image in parts; all parts that differ change together."""
    old, new = (fitting.image_pieces(str(entry or "")) for entry in (intent.before, intent.after))
    for name in names:
        for number, document in enumerate(_load(files, name)):
            for path, mapping in fitting.iterate_blocks(document):
                if not isinstance(mapping, Mapping):
                    continue
                parts = [
                    (key, old[piece], new[piece])
                    for key, piece in _pieces(mapping)
                    if str(mapping[key]) == old[piece] and old[piece] != new[piece] and new[piece]
                ]
                missing = "newName" not in mapping and mapping.get("name") == old["name"]
                if path[:1] == ("images",):
                    parts = [part for part in parts if part[0] != "name"]
                    if missing and old["name"] != new["name"]:
                        parts.append(("newName", "", new["name"]))
                candidate = _set_all(files[name], name, number, path, parts) if parts else None
                if candidate is not None:
                    yield candidate


def _pieces(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    hosted = "registry" in mapping
    pieces = [(key, piece) for key, piece in _IMAGE_KEYS.items() if key in mapping]
    return [(key, "path" if hosted and piece == "name" else piece) for key, piece in pieces]


def _set_all(
    content: bytes, name: str, number: int, path: fitting.Path, parts: list[tuple[str, str, str]]
) -> Candidate | None:
    for key, old, new in parts:
        operation = Operation.SET if old else Operation.ADD
        edit = Edit(
            file=name, document=number, path=(*path, key), operation=operation, old=old or None,
            new=new, reason="",
        )  # fmt: skip
        try:
            content = apply_shared(content, edit)
        except Refusal:
            return None
    keys = ", ".join(key for key, _, _ in parts)
    return Candidate(files={name: content}, what=f"{name}: {'.'.join(map(str, path))} {keys}")


def _lines(root: Root, files: Mapping[str, bytes], intent: Intent) -> Iterator[Candidate]:
    """Iterate over lines ``KEY=value`` of the files that generators read."""
    for name in sorted(root.files):
        if name not in files or name.endswith(documents.SUFFIXES):
            continue
        lines = files[name].decode("utf-8", errors="surrogateescape").split("\n")
        for number, line in enumerate(lines):
            key, equals, rest = line.partition("=")
            value = rest.removesuffix("\r")
            new = fitting.fit(value, intent.before, intent.after, intent.key) if equals else None
            if new is None or (key.strip() != intent.key and value != str(intent.before)):
                continue
            ending = rest[len(value) :]
            changed = [*lines[:number], f"{key}={new}{ending}", *lines[number + 1 :]]
            content = "\n".join(changed).encode("utf-8", errors="surrogateescape")
            yield Candidate(files={name: content}, what=f"{name}: {key}")


def _contents(root: Root, files: Mapping[str, bytes], intent: Intent) -> Iterator[Candidate]:
    """Iterate over files whose whole content is the value."""
    if not isinstance(intent.before, str) or not isinstance(intent.after, str):
        return
    for name in sorted(root.files):
        if name in files and files[name] == intent.before.encode():
            yield Candidate(files={name: intent.after.encode()}, what=f"{name}: its content")


def _templates(root: Root, files: Mapping[str, bytes], intent: Intent) -> Iterator[Candidate]:
    """Iterate over lines of templates that say the value literally under its key."""
    if intent.before is None or not str(intent.before):
        return
    old, new = str(intent.before), str(intent.after)
    token = re.compile(rf"(?<![\w./:-]){re.escape(old)}(?![\w./:-])")
    for name in sorted(files):
        if not root.uses(name) or "templates" not in name.split("/"):
            continue
        lines = files[name].decode("utf-8", errors="surrogateescape").split("\n")
        for number, line in enumerate(lines):
            said = line.strip().removeprefix("- ").startswith(f"{intent.key}:")
            if not said or len(token.findall(line)) != 1:
                continue
            changed = token.sub(lambda _: new, line)
            text = "\n".join([*lines[:number], changed, *lines[number + 1 :]])
            content = text.encode("utf-8", errors="surrogateescape")
            yield Candidate(files={name: content}, what=f"{name}: line {number + 1}")
