"""Where a value that no source says yet may be added: patches, resources, values, a new patch."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from selfheal.remediation import appending, documents, editing, fitting, intents, masking, nested
from selfheal.remediation.edits import Edit, Operation, Refusal
from selfheal.remediation.intents import Candidate, Intent, Step
from selfheal.remediation.layouts import Layout, Root, RootKind

_REFERENCE = re.compile(r"\.Values((?:\.\w+)+)")
_IMAGE_PIECES: Mapping[str, str] = {"tag": "tag", "digest": "digest", "registry": "registry"}
_WORKLOAD_GROUPS = frozenset({"apps", "batch", ""})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Document:
    """A document that says something about an object; ``outer`` where it stands in a text."""

    name: str
    number: int
    value: Mapping[str, Any]
    outer: Edit | None = None


def _load(files: Mapping[str, bytes], name: str) -> tuple[Any, ...]:
    try:
        return documents.parse(files[name], name).values if name in files else ()
    except Refusal:
        return ()


def to_patches(
    root: Root, layout: Layout, files: Mapping[str, bytes], names: list[str], intent: Intent
) -> Iterator[Candidate]:
    """Iterate over documents of the object, the overlay's first, and last a patch of its own."""
    found = [entry for name in names for entry in _documents(files, name, intent)]
    for entry in found:
        edit = make_edit(entry.name, entry.number, entry.value, intent.path, intent.after)
        candidate = _apply(files, edit, entry.outer) if edit else None
        if candidate is not None:
            yield candidate
    own = [name for entry in found if (name := _name(entry.value)) in intent.identity.name]
    target = max(own, key=len, default=intent.identity.name)
    file = layout.kustomizations[root.path].file
    patch = _render_patch(intent, target)
    content = appending.append_to_list(files[file], file, "patches", patch) if patch else None
    if content is not None:
        yield Candidate(files={file: content}, what=f"{file}: a patch of its own")


def to_objects(
    root: Root, layout: Layout, files: Mapping[str, bytes], intent: Intent
) -> Iterator[Candidate]:
    """Return the one way to add an object: a file of its own, listed where that is needed."""
    content = yaml.safe_dump(dict(intent.after), sort_keys=False, width=200).encode()
    base = f"{intent.identity.name}-{intent.identity.kind.lower()}.yaml"
    if root.kind is RootKind.HELM:
        name = posixpath.join(root.path, "templates", base)
        if name not in files and b"{{" not in content:
            own = f"  namespace: {root.namespace}\n".encode()
            content = content.replace(own, b"  namespace: {{ .Release.Namespace }}\n", 1)
            yield Candidate(files={name: content}, what=f"{name}: new")
        return
    name = posixpath.join(root.path, base)
    file = layout.kustomizations[root.path].file
    listed = _list_resource(files[file], file, base) if name not in files else None
    if listed is not None:
        yield Candidate(files={name: content, file: listed}, what=f"{name}: new")


def _list_resource(content: bytes, file: str, entry: str) -> bytes | None:
    """Return a kustomization with one more resource, in whichever form it lists them."""
    listed = appending.append_to_list(content, file, "resources", f"{entry}\n")
    present = documents.parse(content, file).values[0].get("resources")
    if listed is not None or not present:
        return listed
    edit = Edit(
        file=file, document=0, path=("resources",), operation=Operation.SET, old=present,
        new=[*present, entry], reason="",
    )  # fmt: skip
    try:
        return editing.apply_edit(content, edit)
    except Refusal:
        return None


def _documents(files: Mapping[str, bytes], name: str, intent: Intent) -> Iterator[_Document]:
    for number, value in enumerate(_load(files, name)):
        if _is_about(value, intent):
            yield _Document(name=name, number=number, value=value)
        for path, text in fitting.iterate_scalars(value):
            for inner_number, inner in enumerate(nested.documents_inside(text)):
                if _is_about(inner, intent):
                    outer = Edit(
                        file=name, document=number, path=path, operation=Operation.SET, old=text,
                        new=text, reason="",
                    )  # fmt: skip
                    yield _Document(name=name, number=inner_number, value=inner, outer=outer)


def _is_about(value: Any, intent: Intent) -> bool:
    if not isinstance(value, Mapping) or value.get("kind") != intent.identity.kind:
        return False
    return bool(_name(value))


def _name(value: Mapping[str, Any]) -> str:
    metadata = value.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""


def make_edit(
    name: str, number: int, value: Any, path: tuple[Step, ...], after: Any
) -> Edit | None:
    """Return the edit that brings a value to a path of a document; None: not as an addition."""
    place, rest = intents.descend(value, path)
    if not rest:
        old = editing.look(value, place)
        if documents.same(old, after):
            return None
        return Edit(
            file=name, document=number, path=place, operation=Operation.SET, old=old, new=after,
            reason="",
        )  # fmt: skip
    if not isinstance(rest[0], str) or not isinstance(editing.look(value, place), Mapping):
        return None
    try:
        new = intents.build(rest[1:], after)
    except ValueError:
        return None
    empty = rest[0] in editing.look(value, place)
    return Edit(
        file=name, document=number, path=(*place, rest[0]), reason="",
        operation=Operation.SET if empty else Operation.ADD, old=None, new=new,
    )  # fmt: skip


def _apply(files: Mapping[str, bytes], edit: Edit, outer: Edit | None = None) -> Candidate | None:
    try:
        if outer is None:
            content = editing.apply_edit(files[edit.file], edit)
        else:
            content = nested.edit_inside(files[edit.file], outer, edit)
    except Refusal:
        return None
    path = (*(outer.path if outer else ()), *edit.path)
    what = f"{edit.file}: {'.'.join(map(str, path))}"
    return Candidate(files={edit.file: content}, what=what)


def _render_patch(intent: Intent, name: str) -> str | None:
    if intent.identity.group not in _WORKLOAD_GROUPS:
        return None  # lists of other kinds are not merged by name
    try:
        body = intents.build(intent.path, intent.after)
    except ValueError:
        return None
    head = {
        "apiVersion": intent.manifest["apiVersion"], "kind": intent.identity.kind,
        "metadata": {"name": name},
    }  # fmt: skip
    text = yaml.safe_dump({**head, **body}, sort_keys=False, width=200)
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    return f"patch: |-\n{indented}"


def list_values_files(
    root: Root, layout: Layout, files: Mapping[str, bytes]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return the values files of a release, the most specific first, each with its prefix.

    A subchart's defaults come last; the prefix is what its values are called above it.
    """
    chart = layout.charts[root.path]
    above = [name for name in (*reversed(root.values), chart.values_file) if name in files]
    found: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in above]
    for prefix, folder in chart.parts:
        name = posixpath.join(folder, "values.yaml")
        if folder and name in files:
            found.append((name, (prefix,)))
    return found


def to_values(
    root: Root, layout: Layout, files: Mapping[str, bytes], intent: Intent
) -> Iterator[Candidate]:
    """Iterate over places in values files: blocks that are rendered whole, then named fields."""
    listed = list_values_files(root, layout, files)
    wanted = [*_blocks(listed, files, intent), *_fields(root, layout, files, intent)]
    for name, path, after in wanted:
        values = _load(files, name)
        edit = make_edit(name, 0, values[0], path, after) if values else None
        candidate = _apply(files, edit) if edit else None
        if candidate is not None:
            yield candidate


def to_templates(root: Root, files: Mapping[str, bytes], intent: Intent) -> Iterator[Candidate]:
    """Iterate over templates of the object that say something literally there, or nothing."""
    for name in sorted(files):
        if not root.uses(name) or "templates" not in name.split("/"):
            continue
        if not name.endswith(documents.SUFFIXES):
            continue
        for number, value in enumerate(masking.load(files[name], name)):
            if not _is_about(value, intent):
                continue
            known = masking.with_names(value, intent.path)
            edit = make_edit(name, number, known, intent.path, intent.after)
            candidate = _apply_template(files, edit) if edit else None
            if candidate is not None:
                yield candidate


def _apply_template(files: Mapping[str, bytes], edit: Edit) -> Candidate | None:
    try:
        content = masking.edit_template(files[edit.file], edit)
    except Refusal:
        return None
    what = f"{edit.file}: {'.'.join(map(str, edit.path))} in the template"
    return Candidate(files={edit.file: content}, what=what)


Wanted = tuple[str, tuple[Step, ...], Any]


def _blocks(
    listed: list[tuple[str, tuple[str, ...]]], files: Mapping[str, bytes], intent: Intent
) -> Iterator[Wanted]:
    """Iterate over blocks of values that stand in the object as they are (``toYaml``)."""
    for length in range(len(intent.path), 0, -1):
        place, rest = intents.descend(intent.manifest, intent.path[:length])
        block = editing.look(intent.manifest, place)
        if rest or not isinstance(block, (dict, list)) or not block:
            continue
        for name, _ in listed:
            for number, value in enumerate(_load(files, name)):
                for path, found in fitting.iterate_blocks(value):
                    if number == 0 and documents.same(found, block):
                        yield name, (*path, *intent.path[length:]), intent.after


def _fields(
    root: Root, layout: Layout, files: Mapping[str, bytes], intent: Intent
) -> Iterator[Wanted]:
    """Iterate over fields that templates name and whose last key is on the way to the place."""
    chart = layout.charts[root.path]
    own = [name for name in (*reversed(root.values), chart.values_file) if name in files]
    found: list[tuple[int, Wanted]] = []
    readable = [part for part in chart.parts if part[1]]
    for prefix, folder in [("", chart.folder), *readable]:
        inside = [posixpath.join(folder, "values.yaml")] if prefix else []
        for reference in _references(files, folder):
            fitted = _fit_reference(reference, intent)
            if fitted is None:
                continue
            rest, after = fitted
            above = (prefix, *reference) if prefix else reference
            for name in own:
                found.append((len(rest), (name, (*above, *rest), after)))
            for name in inside:
                found.append((len(rest), (name, (*reference, *rest), after)))
    for _, wanted in sorted(found, key=lambda entry: entry[0]):
        yield wanted


def _references(files: Mapping[str, bytes], folder: str) -> list[tuple[str, ...]]:
    """Return the values that the templates of a chart name, each once."""
    inside = f"{folder}/templates/" if folder else "templates/"
    texts = (
        files[name].decode(errors="replace") for name in sorted(files) if name.startswith(inside)
    )
    found = [tuple(match[1:].split(".")) for text in texts for match in _REFERENCE.findall(text)]
    return list(dict.fromkeys(found))


def _fit_reference(
    reference: tuple[str, ...], intent: Intent
) -> tuple[tuple[Step, ...], Any] | None:
    last = reference[-1]
    places = [number for number, step in enumerate(intent.path) if step == last]
    if places:
        return intent.path[places[-1] + 1 :], intent.after
    if intent.key == "image" and last in _IMAGE_PIECES:
        piece = fitting.image_pieces(str(intent.after))[_IMAGE_PIECES[last]]
        return ((), piece) if piece else None
    fuzzy = last.lower().endswith(intent.key.lower()) and not isinstance(intent.after, (dict, list))
    return ((), intent.after) if fuzzy and intent.key else None
