"""Several changes of one source, each made on what the one before it left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep

Wanted = tuple[tuple[PathStep, ...], Any, str]


def in_turn(draft: Draft, wanted: Iterable[Wanted]) -> list[Edit]:
    """Return the edits that bring each value to its path; values that stand there are left out."""
    edits: list[Edit] = []
    for path, value, why in wanted:
        if draft.look(path) == value:
            continue
        edit = draft.set(path, value, why)
        edits.append(edit)
        draft = draft.after(edit)
    return edits
