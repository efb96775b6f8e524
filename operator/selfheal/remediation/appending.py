"""Append an entry to a list at the top of a document without touching another byte."""

from __future__ import annotations

from typing import Any

import yaml

from selfheal.remediation import documents
from selfheal.remediation.edits import Refusal


def append_to_list(content: bytes, name: str, key: str, entry: str) -> bytes | None:
    """Return the file with an entry (YAML text, lines ended) appended to the list at ``key``.

    A list that is not there yet is begun at the end. None where it is written in another form.
    """
    before = documents.parse(content, name)
    if len(before.values) != 1 or not isinstance(before.values[0], dict):
        return None
    node = documents.find_node(before.nodes[0], (key,))
    ending = "\r\n" if "\r\n" in before.text else "\n"
    if node is None:
        text = _finish(before.text, ending) + _render(entry, 0, ending, head=f"{key}:{ending}")
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        text = _insert(before.text, node, entry, ending)
    else:
        return None
    return text.encode() if _is_appended(before, text, key, entry) else None


def _finish(text: str, ending: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}{ending}"


def _render(entry: str, indent: int, ending: str, head: str = "") -> str:
    first, *rest = entry.splitlines()
    lines = [f"- {first}", *(f"  {line}" if line else "" for line in rest)]
    return head + "".join(f"{' ' * indent}{line}{ending}" if line else ending for line in lines)


def _insert(text: str, node: yaml.SequenceNode, entry: str, ending: str) -> str:
    """Insert after the last line of the list that says something."""
    lines = text.split("\n")
    last = node.end_mark.line if node.end_mark.column else node.end_mark.line - 1
    last = min(last, len(lines) - 1)
    while not lines[last].strip() or lines[last].lstrip().startswith("#"):
        last -= 1
    before = "\n".join(lines[: last + 1])
    after = "\n".join(lines[last + 1 :])
    added = _render(entry, node.start_mark.column, ending)
    return _finish(before if last + 1 == len(lines) else f"{before}\n", ending) + added + after


def _is_appended(before: documents.File, text: str, key: str, entry: str) -> bool:
    try:
        after = documents.parse(text.encode(), "the appended file").values
        added: Any = documents.parse(entry.encode(), "the entry").values[0]
    except Refusal:
        return False
    intended = documents.copy_plain(before.values[0])
    intended[key] = [*(intended.get(key) or []), added]
    return len(after) == 1 and documents.same(after[0], intended)
