"""Words in command, arguments and variables of a container, and how one of them is replaced."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep

Path = tuple[PathStep, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """One text in the source: an item of command or args, or the value of a variable."""

    path: Path
    text: str
    variable: str | None = None

    def edit(self, draft: Draft, found: re.Match[str], new: str, reason: str) -> Edit:
        """Return the edit that replaces what was found in it."""
        text = self.text[: found.start()] + new + self.text[found.end() :]
        return draft.set(self.path, text, reason)


def places(draft: Draft, container: Path) -> Iterator[Place]:
    """Iterate over the texts of a container that may be corrected."""
    for field in ("command", "args"):
        for index, text in enumerate(draft.look((*container, field)) or ()):
            if isinstance(text, str):
                yield Place(path=(*container, field, index), text=text)
    for index, entry in enumerate(draft.look((*container, "env")) or ()):
        if isinstance(entry.get("value"), str):
            path = (*container, "env", index, "value")
            yield Place(path=path, text=entry["value"], variable=str(entry.get("name")))


def find_word(draft: Draft, container: Path, word: str) -> list[tuple[Place, re.Match[str]]]:
    """Return every place where a word stands by itself."""
    pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w-]|\.\w)")
    return [
        (place, match)
        for place in places(draft, container)
        for match in pattern.finditer(place.text)
    ]


def set_variable(draft: Draft, container: Path, name: str, flag: str, reason: str) -> Edit:
    """Return the edit that adds a flag to a variable, or the variable with it."""
    path: Path = (*container, "env")
    present: Any = draft.look(path)
    for index, entry in enumerate(present or ()):
        if entry.get("name") == name and isinstance(entry.get("value"), str):
            return draft.set((*path, index, "value"), f"{entry['value']} {flag}".strip(), reason)
    return draft.set(path, [*(present or ()), {"name": name, "value": flag}], reason)
