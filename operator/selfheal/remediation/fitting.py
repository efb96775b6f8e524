"""Does a scalar of a source feed a rendered value, and what must it become for another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation import documents
from selfheal.remediation.edits import PathStep

Path = tuple[PathStep, ...]


def fit(value: Any, before: Any, after: Any, key: str) -> Any:
    """Return what a scalar must become so that ``before`` becomes ``after``; None: it does not fit.

    It fits when it is the value, or the only part of its text that differs, or assigns it
    (``KEY=value``). Whether it really feeds the value is for rendering to show.
    """
    if documents.same(value, before):
        return after
    if isinstance(value, bool) or value is None or not _is_scalar(before) or not _is_scalar(after):
        return None
    text, old, new = str(value), str(before), str(after)
    if text == f"{key}={old}":
        return f"{key}={new}"
    start = old.find(text) if text else -1
    while start >= 0:
        tail = len(old) - start - len(text)
        part = new[start : len(new) - tail]
        kept = new.startswith(old[:start]) and new.endswith(old[len(old) - tail :])
        if kept and len(new) > start + tail and part != text:
            return _like(part, value)
        start = old.find(text, start + 1)
    return None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _like(text: str, value: Any) -> Any:
    """Return a text in the type of the scalar that it replaces, where it can be read as that."""
    if isinstance(value, str):
        return text
    try:
        return type(value)(text)
    except ValueError:
        return text


def iterate_scalars(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Iterate over the scalars of loaded data with their paths."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if isinstance(key, str):
                yield from iterate_scalars(entry, (*path, key))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from iterate_scalars(entry, (*path, number))
    else:
        yield path, value


def iterate_blocks(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Iterate over the mappings and lists of loaded data with their paths, outer ones first."""
    if isinstance(value, Mapping):
        yield path, value
        for key, entry in value.items():
            if isinstance(key, str):
                yield from iterate_blocks(entry, (*path, key))
    elif isinstance(value, list):
        yield path, value
        for number, entry in enumerate(value):
            yield from iterate_blocks(entry, (*path, number))


def count_common(one: Path, keys: tuple[str, ...]) -> int:
    """Return how many keys at their ends a path and the keys of an intent share."""
    own = [step for step in one if isinstance(step, str)]
    count = 0
    while count < min(len(own), len(keys)) and own[-1 - count] == keys[-1 - count]:
        count += 1
    return count


def image_pieces(image: str) -> dict[str, str]:
    """Return the parts of an image reference under which sources keep them."""
    rest, _, digest = image.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    first, slash, path = name.partition("/")
    hosted = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return {
        "name": name, "tag": tag, "digest": digest,
        "registry": first if hosted else "", "path": path if hosted else name,
    }  # fmt: skip
