"""Rendering of plain YAML: the documents below a path, as they stand."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.remediation import documents
from selfheal.remediation.edits import Refusal


def is_below(path: str, folder: str) -> bool:
    """Tell whether a repository path is a folder or below it, without leaving it by dots."""
    clean = posixpath.normpath(path)
    if clean.startswith(("..", "/")) or clean != path:
        return False
    root = folder.strip("/")
    root = posixpath.normpath(root) if root else ""
    return root in ("", ".") or clean == root or clean.startswith(f"{root}/")


def iterate_manifests(
    files: Mapping[str, bytes], path: str
) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Iterate over file, document number and manifest below a path, in the order of paths.

    A file that is not readable YAML (for example a template) is left out, unless it is the path
    itself: then Refusal ``SourceUnreadable``.
    """
    for name in sorted(files):
        if not name.endswith(documents.SUFFIXES) or not is_below(name, path):
            continue
        try:
            values = documents.parse(files[name], name).values
        except Refusal:
            if name == path.strip("/"):
                raise
            continue
        for number, value in enumerate(values):
            if isinstance(value, Mapping) and value.get("kind"):
                yield name, number, value


def render_plain(files: Mapping[str, bytes], path: str) -> Sequence[Mapping[str, Any]]:
    """Return all documents of the plain YAML files below a path; pure, may be repeated."""
    return [documents.copy_plain(value) for _, _, value in iterate_manifests(files, path)]
