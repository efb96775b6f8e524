"""Byte-preserving edits of YAML: change, reload, compare, and refuse whatever differs.

A scalar on one line is replaced where it stands, which keeps its quotes; everything else is done
by yaml-edit. Either way the result is parsed again and must equal the intended data, and no byte
outside the edited place may differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
import yaml_edit

from selfheal.remediation import documents, growing
from selfheal.remediation.edits import Edit, Operation, PathStep, Refusal

_ANCHOR = re.compile(r"&\S+[ \t]+")


def apply_edits(files: Mapping[str, bytes], edits: Iterable[Edit]) -> dict[str, bytes]:
    """Return the new content of every changed file; Refusal when an edit cannot be made."""
    changed: dict[str, bytes] = {}
    for edit in edits:
        content = changed.get(edit.file, files.get(edit.file))
        if content is None:
            raise Refusal("SourceNotFound", f"{edit.file} is not in the repository.")
        changed[edit.file] = apply_edit(content, edit)
    return changed


def apply_edit(content: bytes, edit: Edit) -> bytes:
    """Make one edit; Refusal ``EditImpossible`` when no way keeps everything else as it is."""
    before = documents.parse(content, edit.file)
    if not edit.path:
        return growing.append_document(before, edit)
    if edit.document >= len(before.values):
        raise Refusal("EditImpossible", f"{edit.file} has no document {edit.document}.")
    value = documents.copy_plain(before.values[edit.document])
    intended = list(before.values)
    intended[edit.document] = apply_to_value(value, edit)
    ways: tuple[Callable[[documents.File, Edit], str | None], ...] = (
        _in_place,
        growing.append_items,
        _by_library,
    )
    for way in ways:
        text = way(before, edit)
        if text is not None and _accept(before, text, intended, edit):
            return text.encode()
    raise Refusal(
        "EditImpossible",
        f"{_name(edit)} cannot be changed without touching something else: it may be shared by an "
        "anchor or written in a form that is not edited here.",
    )


def apply_to_value(root: Any, edit: Edit) -> Any:
    """Make an edit in loaded data, in place, and return it; Refusal without ``old``."""
    parent = root
    for depth, step in enumerate(edit.path[:-1]):
        if edit.operation is Operation.ADD and isinstance(parent, dict) and step not in parent:
            raise Refusal(
                "EditImpossible", f"{_name(edit)}: {edit.path[: depth + 1]} is not there."
            )
        parent = _child(parent, step, edit)
    last = edit.path[-1]
    if edit.operation is Operation.ADD:
        if not isinstance(parent, dict) or last in parent:
            raise Refusal("SourceChanged", f"{_name(edit)} is there already.")
    elif not documents.same(_child(parent, last, edit), edit.old):
        raise Refusal("SourceChanged", f"{_name(edit)} is not {edit.old!r} any more.")
    parent[last] = documents.copy_plain(edit.new)
    return root


def _child(parent: Any, step: PathStep, edit: Edit) -> Any:
    try:
        return parent[step]
    except (KeyError, IndexError, TypeError) as error:
        raise Refusal("SourceChanged", f"{_name(edit)} is not there any more.") from error


def _name(edit: Edit) -> str:
    return f"{edit.file} document {edit.document} {'.'.join(map(str, edit.path))}"


def replace_scalar(content: bytes, edit: Edit) -> bytes | None:
    """Replace a scalar where it is written, wherever an anchor shares it; None: it is none.

    Only for callers that prove the result by other means: every alias changes with it.
    """
    before = documents.parse(content, edit.file)
    text = _in_place(before, edit)
    if text is None:
        return None
    after = documents.parse(text.encode(), edit.file)
    place = look(after.values[edit.document], edit.path)
    return text.encode() if documents.same(place, edit.new) else None


def look(value: Any, path: tuple[PathStep, ...]) -> Any:
    """Return the value at a path that exists."""
    for step in path:
        value = value[step]
    return value


def _in_place(before: documents.File, edit: Edit) -> str | None:
    if edit.operation is not Operation.SET:
        return None
    node = documents.find_node(before.nodes[edit.document], edit.path)
    if not isinstance(node, yaml.ScalarNode) or isinstance(edit.new, (dict, list)):
        return None
    if node.start_mark.line != node.end_mark.line:
        return None
    start, end = node.start_mark.index + before.shift, node.end_mark.index + before.shift
    anchor = _ANCHOR.match(before.text, start, end)
    start = anchor.end() if anchor else start
    return before.text[:start] + render_scalar(edit.new, node.style) + before.text[end:]


def render_scalar(value: Any, style: str | None) -> str:
    """Render a scalar on one line, in the quotes that stood there where the value is a string."""
    if not isinstance(value, str):
        return json.dumps(value)
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style == '"' or not _is_plain(value):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is_plain(value: str) -> bool:
    """Tell whether a string reads back as itself without quotes, in block and in flow style."""
    try:
        loaded = documents.parse(f"a: {value}\nb: {{c: {value}}}\n".encode(), "value").values
    except (Refusal, UnicodeEncodeError):
        return False
    return loaded == ({"a": value, "b": {"c": value}},)


def _by_library(before: documents.File, edit: Edit) -> str | None:
    """Edit with yaml-edit 0.2.0; None when it cannot follow the path. Beta: used only here."""
    try:
        stream = yaml_edit.YamlFile.parse(before.text)
        written, prefix = before.places[edit.document]
        node: Any = stream[written].root()
        for step in (*prefix, *edit.path[:-1]):
            node = _collection(node).get(step)
        _collection(node).set(edit.path[-1], edit.new)
        return str(stream)
    except (yaml_edit.YamlError, AttributeError, IndexError, TypeError, ValueError):
        return None


def _collection(node: Any) -> Any:
    """Return a node as mapping or sequence; an empty one is falsy, so ``or`` would not do."""
    mapping = node.as_mapping()
    return node.as_sequence() if mapping is None else mapping


def _accept(before: documents.File, text: str, intended: list[Any], edit: Edit) -> bool:
    try:
        after = documents.parse(text.encode(), edit.file)
    except (Refusal, UnicodeEncodeError):
        return False
    equal = documents.same(list(after.values), intended)
    return equal and _outside_untouched(before, text, edit)


def _outside_untouched(before: documents.File, text: str, edit: Edit) -> bool:
    """Tell whether only the lines of the edited value changed; an addition only inserts."""
    old = before.text
    if edit.operation is Operation.ADD:
        start = end = _common_prefix(old, text)
    else:
        node = documents.find_node(before.nodes[edit.document], edit.path)
        if node is None:
            return False
        start = old.rfind("\n", 0, node.start_mark.index + before.shift) + 1
        end = old.find("\n", node.end_mark.index + before.shift - 1)
        end = len(old) if end < 0 else end
    kept = old[end:]
    return len(text) >= start + len(kept) and text.startswith(old[:start]) and text.endswith(kept)


def _common_prefix(one: str, other: str) -> int:
    length = min(len(one), len(other))
    for index in range(length):
        if one[index] != other[index]:
            return index
    return length
