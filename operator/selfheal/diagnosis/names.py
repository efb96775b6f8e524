"""Names that differ by a slip of the pen: of objects, keys, variables, files, hosts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

NEAR = 0.75
"""Least difflib ratio of two names, and of each pair of their parts."""

_PART = re.compile(r"[-_./]+")
_NUMBER = re.compile(r"\d+")


def only_near(wanted: str, names: Iterable[str]) -> str | None:
    """Return the one existing name that the wanted one clearly means; None: none, or a tie.

    Names are compared part by part, so that ``db-prod`` never means ``db-dev``; numbers must agree.
    """
    scores = sorted(((_score(wanted, name), name) for name in {*names} - {wanted}), reverse=True)
    near = [entry for entry in scores if entry[0] >= NEAR]
    if not near or (len(near) > 1 and near[0][0] - near[1][0] < 0.05):
        return None
    return near[0][1]


def _score(wanted: str, name: str) -> float:
    if _NUMBER.findall(wanted) != _NUMBER.findall(name):
        return 0.0
    one, other = _parts(wanted), _parts(name)
    if one == other or "".join(one) == "".join(other):
        return 1.0
    pairs = zip(one, other, strict=True) if len(one) == len(other) else ()
    whole = _ratio("".join(one), "".join(other))
    parts = [_ratio(*pair) for pair in pairs]
    return min([whole, *parts]) if parts else (whole if whole >= 0.9 else 0.0)


def _parts(name: str) -> list[str]:
    return [part for part in _PART.split(name.lower()) if part]


def _ratio(one: str, other: str) -> float:
    if sorted(one) == sorted(other) and len(one) > 2:  # letters that changed places
        return max(0.9, difflib.SequenceMatcher(None, one, other).ratio())
    return difflib.SequenceMatcher(None, one, other).ratio()
