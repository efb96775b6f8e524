"""What really changed between two sets of files: leaves by path, and whole documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation import documents, workloads
from selfheal.remediation.edits import PathStep

Path = tuple[PathStep, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf:
    """One value that differs; None: not there. ``path`` names list items by their name."""

    path: Path
    before: Any
    after: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentChange:
    """One document that differs; ``before`` None: new, ``after`` None: gone."""

    file: str
    number: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Return the document as it was, or as it is where it is new."""
        return self.after or {} if self.before is None else self.before

    @property
    def name(self) -> str:
        """Return kind and name for people."""
        return workloads.describe(self.manifest)

    def leaves(self) -> Iterator[Leaf]:
        """Iterate over the values that differ."""
        return compare_values(self.before or {}, self.after or {})


def compare_documents(
    before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> Iterator[DocumentChange]:
    """Iterate over the documents that differ, by their number in the file."""
    for file in sorted(after):
        old, new = _values(before.get(file), file), _values(after[file], file)
        for number in range(max(len(old), len(new))):
            one = old[number] if number < len(old) else None
            other = new[number] if number < len(new) else None
            if not documents.same(one, other):
                yield DocumentChange(
                    file=file, number=number, before=_mapping(one), after=_mapping(other)
                )


def _values(content: bytes | None, file: str) -> tuple[Any, ...]:
    return () if content is None else documents.parse(content, file).values


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def compare_values(before: Any, after: Any, path: Path = ()) -> Iterator[Leaf]:
    """Iterate over leaves that differ; a list of named entries is compared by name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from compare_values(before.get(key), after.get(key), (*path, key))
        return
    one, other = by_name(before), by_name(after)
    if one is not None and other is not None:
        if [name for name in one if name in other] != [name for name in other if name in one]:
            yield Leaf(path=path, before=before, after=after)  # order means something: init, env
        yield from compare_values(one, other, path)
    elif _aligned(before, after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from compare_values(*pair, (*path, index))
    elif not documents.same(before, after):
        yield from _split(before, after, path)


def _aligned(before: Any, after: Any) -> bool:
    """Tell whether two lists of mappings without names have as many entries each."""
    if not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        return False
    return bool(before) and all(isinstance(one, Mapping) for one in (*before, *after))


def _split(before: Any, after: Any, path: Path) -> Iterator[Leaf]:
    """Take apart what was added or removed as a block, so that each rule sees its own leaf."""
    block = by_name(before) or by_name(after) or before or after
    if (before is None or after is None) and isinstance(block, Mapping) and block:
        for key in block:
            one = block[key] if after is None else None
            other = block[key] if before is None else None
            yield from compare_values(one, other, (*path, key))
    else:
        yield Leaf(path=path, before=before, after=after)


def by_name(value: Any) -> dict[str, Any] | None:
    """Return a list of named entries as a mapping; None for anything else or for equal names."""
    if not isinstance(value, list) or not value:
        return None
    named = [entry for entry in value if isinstance(entry, Mapping) and "name" in entry]
    names = {str(entry["name"]): entry for entry in named}
    return names if len(names) == len(value) else None
