"""Several changes of one source, each made on what the one before it left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep


@dataclasses.dataclass(frozen=True)
class More:
    """Entries to add at the end of a list, as it is by then."""

    entries: tuple[Any, ...]


Wanted = tuple[tuple[PathStep, ...], Any, str]


def in_turn(draft: Draft, wanted: Iterable[Wanted]) -> list[Edit]:
    """Return the edits that bring each value to its path; values that stand there are left out."""
    edits: list[Edit] = []
    for path, asked, why in wanted:
        value = asked
        if isinstance(asked, More):
            value = [*(draft.look(path) or ()), *asked.entries]
        if draft.look(path) == value:
            continue
        edit = draft.set(path, value, why)
        edits.append(edit)
        draft = draft.after(edit)
    return edits
