"""Unified diffs as Git writes them, and the count of changed lines."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping

_NO_NEWLINE = "\\ No newline at end of file"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileChange:
    """How many lines a file gains and loses."""

    path: str
    added: int
    removed: int


def render_diff(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Return one diff of all changed files, sorted by path; ``git apply`` takes it."""
    return "".join(
        _render_file(path, before.get(path), after[path])
        for path in sorted(after)
        if before.get(path) != after[path]
    )


def count_changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[FileChange]:
    """Return the changed files with their counts, sorted by path."""
    found = []
    for path in sorted(after):
        if before.get(path) == after[path]:
            continue
        lines = list(_unified(before.get(path), after[path]))
        added = sum(line.startswith("+") for line in lines)
        removed = sum(line.startswith("-") for line in lines)
        found.append(FileChange(path=path, added=added, removed=removed))
    return found


def _unified(before: bytes | None, after: bytes) -> list[str]:
    old, new = _lines(before or b""), _lines(after)
    return list(difflib.unified_diff(old, new, n=3))[2:]


def _render_file(path: str, before: bytes | None, after: bytes) -> str:
    head = f"--- a/{path}\n" if before is not None else "--- /dev/null\n"
    text = f"{head}+++ b/{path}\n"
    for line in _unified(before, after):
        text += line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n"
    return text


def _lines(content: bytes) -> list[str]:
    """Split at line feeds only: a carriage return is part of its line."""
    parts = content.decode("utf-8", errors="replace").split("\n")
    lines = [f"{part}\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
