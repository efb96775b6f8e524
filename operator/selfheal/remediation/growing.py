"""Additions at an end, without touching another byte: items of a list, a document of a file."""

from __future__ import annotations

import json
from typing import Any

import yaml

from selfheal.remediation import documents
from selfheal.remediation.edits import Edit, Operation, Refusal


def append_items(before: documents.File, edit: Edit) -> str | None:
    """Return the text with items at the end of a list; None where the edit is something else."""
    old, new = edit.old, edit.new
    grows = edit.operation is Operation.SET and isinstance(old, list) and isinstance(new, list)
    if not grows or not old or len(new) <= len(old) or not documents.same(new[: len(old)], old):
        return None
    node: Any = documents.find_node(before.nodes[edit.document], edit.path)
    added = new[len(old) :]
    write = _append_flow if node.flow_style else _append_block
    return write(before, node, added)


def _append_flow(before: documents.File, node: yaml.SequenceNode, added: list[Any]) -> str:
    """Write ``[a, b]`` as ``[a, b, c]``, quoted as the last item is."""
    last = node.value[-1]
    end = last.end_mark.index + before.shift
    quote = last.style if isinstance(last, yaml.ScalarNode) and last.style in ("'", '"') else None
    texts = [_render_flow(item, quote) for item in added]
    return before.text[:end] + "".join(f", {text}" for text in texts) + before.text[end:]


def _render_flow(item: Any, quote: str | None) -> str:
    if quote == "'" and isinstance(item, str):
        return "'" + item.replace("'", "''") + "'"
    if quote == '"' or not isinstance(item, str):
        return json.dumps(item)
    text = yaml.safe_dump([item], default_flow_style=True, width=10**6).strip()
    return text[1:-1]


def _append_block(before: documents.File, node: yaml.SequenceNode, added: list[Any]) -> str:
    """Write the items below the last one, in its column."""
    column = node.start_mark.column
    end = _end_of_item(before, node.value[-1])
    dumped = yaml.safe_dump(added, sort_keys=False, default_flow_style=False, width=10**6)
    ending = "\r\n" if "\r\n" in before.text else "\n"
    lines = [f"{' ' * column}{line}{ending}" for line in dumped.splitlines()]
    head = before.text[:end]
    if head and not head.endswith("\n"):
        head += ending
    return head + "".join(lines) + before.text[end:]


def _end_of_item(before: documents.File, node: yaml.Node) -> int:
    """Return where the line after the last written one of a node begins."""
    last = node
    while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
        entry = last.value[-1]
        last = entry[1] if isinstance(entry, tuple) else entry
    found = before.text.find("\n", last.end_mark.index + before.shift)
    return len(before.text) if found < 0 else found + 1


def append_document(before: documents.File, edit: Edit) -> bytes:
    """Return the file with one more document; Refusal where the edit says something else."""
    if edit.operation is not Operation.ADD or edit.document != len(before.values):
        raise Refusal("EditImpossible", f"{edit.file}: only a new document can be added whole.")
    ending = "\r\n" if "\r\n" in before.text else "\n"
    dumped = yaml.safe_dump(documents.copy_plain(edit.new), sort_keys=False, width=10**6)
    head = before.text if before.text.endswith("\n") else before.text + ending
    text = head + f"---{ending}" + dumped.replace("\n", ending)
    after = documents.parse(text.encode(), edit.file)
    intended = [*before.values, edit.new]
    if not documents.same(list(after.values), documents.copy_plain(intended)):
        raise Refusal("EditImpossible", f"{edit.file}: a document cannot be added at its end.")
    return text.encode()
