"""Edits of YAML that stands inside a scalar of YAML, as inline patches do."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from selfheal.remediation import documents, editing
from selfheal.remediation.edits import Edit, Operation, Refusal


def edit_inside(content: bytes, outer: Edit, inner: Edit) -> bytes:
    """Edit the document in the scalar at ``outer`` (its file, document and path), in place.

    Lines of a literal block that do not change keep their bytes. Refusal where it cannot be done.
    """
    before = documents.parse(content, outer.file)
    node = documents.find_node(before.nodes[outer.document], outer.path)
    if not isinstance(node, yaml.ScalarNode):
        raise Refusal("EditImpossible", f"{outer.file} has no text at that place.")
    changed = editing.apply_edit(node.value.encode(), inner).decode()
    if not node.value.endswith("\n"):
        changed = changed.rstrip("\n")
    whole = Edit(
        file=outer.file, document=outer.document, path=outer.path, operation=Operation.SET,
        old=node.value, new=changed, reason=inner.reason,
    )  # fmt: skip
    if node.style != "|":
        return editing.apply_edit(content, whole)
    text = _replace_lines(before, node, changed)
    after = documents.parse(text.encode(), outer.file)
    intended = [documents.copy_plain(value) for value in before.values]
    intended[outer.document] = editing.apply_to_value(intended[outer.document], whole)
    if not documents.same(list(after.values), intended):
        raise Refusal("EditImpossible", f"The text in {outer.file} cannot be changed in place.")
    return text.encode()


def _replace_lines(before: documents.File, node: yaml.ScalarNode, changed: str) -> str:
    lines = before.text.split("\n")
    first = node.start_mark.line + 1
    old, new = _lines(node.value), _lines(changed)
    written = lines[first : first + len(old)]
    shown = next((number for number, line in enumerate(old) if line.strip()), 0)
    margin = written[shown][: len(written[shown]) - len(written[shown].lstrip(" "))]
    margin = margin[: len(margin) - (len(old[shown]) - len(old[shown].lstrip(" ")))]
    ending = "\r" if written[shown].endswith("\r") else ""
    result: list[str] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, start, end, other_start, other_end in matcher.get_opcodes():
        if tag == "equal":
            result += written[start:end]
        else:
            added = new[other_start:other_end]
            result += [f"{margin}{line}{ending}" if line else ending for line in added]
    return "\n".join([*lines[:first], *result, *lines[first + len(old) :]])


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def documents_inside(value: Any) -> tuple[Any, ...]:
    """Return the documents that a text holds, where it holds objects or patches; else nothing."""
    if not isinstance(value, str) or not ("\n" in value or value.startswith(("[", "{"))):
        return ()
    try:
        found = documents.parse(value.encode(), "the text").values
    except (Refusal, UnicodeEncodeError):
        return ()
    return found if all(isinstance(entry, (dict, list)) for entry in found) else ()
