"""Image references as container runtimes read them: host, path, tag and digest."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

DEFAULT_HOST = "docker.io"
FORBIDDEN_TAGS = frozenset({"latest", ""})
"""Tags that no fix ever sets (incidents.md, rule 4)."""

SIMILARITY = 0.8
"""Least difflib ratio at which two names count as a slip of the pen."""

_PATH = re.compile(
    r"^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$"
)
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")
_VERSION = re.compile(r"^(v?)(\d+(?:\.\d+)*)(.*)$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """An image reference; ``name`` is the text before tag and digest exactly as written."""

    name: str
    host: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def repository(self) -> str:
        """Return the normalised repository, for example ``docker.io/library/nginx``."""
        return f"{self.host}/{self.path}"

    @property
    def valid(self) -> bool:
        """Tell whether the distribution specification allows path and tag."""
        tag_fine = self.tag is None or bool(_TAG.match(self.tag))
        return bool(_PATH.match(self.path)) and tag_fine

    def with_tag(self, tag: str) -> str:
        """Return the reference as written with another tag and no digest."""
        return f"{self.name}:{tag}"


def parse(text: str) -> Reference:
    """Split a reference, never fails (``valid`` tells); as github.com/distribution/reference."""
    rest, _, digest = text.partition("@")
    head, slash, last = rest.rpartition("/")
    stem, _, tag = last.partition(":")
    name = f"{head}{slash}{stem}"
    first, _, remainder = name.partition("/")
    if remainder and ("." in first or ":" in first or first == "localhost"):
        host, path = first, remainder
    else:
        host, path = DEFAULT_HOST, name
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and "/" not in path:
        path = f"library/{path}"
    return Reference(name=name, host=host, path=path, tag=tag or None, digest=digest or None)


def nearest_tag(wanted: str, tags: Iterable[str]) -> str | None:
    """Return the existing tag nearest to the wanted one, never ``latest``; None: none is near.

    A version of the same variant (same text after the number) comes first: the highest one not
    above the wanted, within the same major version before others, else the lowest above. Without
    a comparable version: the one tag that differs by a slip of the pen.
    """
    usable = sorted({tag for tag in tags if tag not in FORBIDDEN_TAGS})
    return _nearest_version(wanted, usable) or only_similar(wanted, usable)


def same_major(one: str, other: str) -> bool:
    """Tell whether two tags are versions with the same first number."""
    first, second = _VERSION.match(one), _VERSION.match(other)
    return bool(first and second and _numbers(first)[0] == _numbers(second)[0])


def newest_tag(tags: Iterable[str]) -> str | None:
    """Return the highest plain version among tags; None where there is none."""
    found = [(match, tag) for tag in tags if (match := _VERSION.match(tag)) and not match.group(3)]
    return max(found, key=lambda entry: (_numbers(entry[0]), entry[1]))[1] if found else None


def _numbers(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part) for part in found.group(2).split("."))


def _nearest_version(wanted: str, tags: Iterable[str]) -> str | None:
    target = _VERSION.match(wanted)
    if target is None:
        return None
    goal, found = _numbers(target), []
    for tag in tags:
        match = _VERSION.match(tag)
        if match and match.group(1) == target.group(1) and match.group(3) == target.group(3):
            found.append((_numbers(match), tag))
    found.sort(key=lambda entry: (entry[0], len(entry[1])))
    for pool in ([entry for entry in found if entry[0][0] == goal[0]], found):
        below = [tag for numbers, tag in pool if numbers <= goal]
        above = [tag for numbers, tag in pool if numbers > goal]
        if below or above:
            return _as_exact(goal, found, below[-1]) if below else above[0]
    return None


def _as_exact(goal: tuple[int, ...], found: Sequence[tuple[tuple[int, ...], str]], tag: str) -> str:
    """Return the tag with as many numbers as the wanted one that stands for the chosen, if any."""
    chosen = next(numbers for numbers, name in found if name == tag)
    short = [name for numbers, name in found if numbers == chosen[: len(goal)]]
    return short[0] if short else tag


def only_similar(wanted: str, names: Iterable[str]) -> str | None:
    """Return the one name that is clearly more similar than the others; None: none, or a tie."""
    return _best({name: _ratio(wanted, name) for name in names})


def only_near_repository(wanted: str, repositories: Iterable[str]) -> str | None:
    """Return the one repository each of whose parts is similar; None: none, or a tie.

    Parts are compared one by one, so that a long common host makes no two names alike.
    """
    parts = wanted.split("/")
    scores = {}
    for name in repositories:
        others = name.split("/")
        if len(others) == len(parts):
            scores[name] = min(map(_ratio, parts, others))
    return _best(scores)


def is_near_repository(wanted: str, other: str) -> bool:
    """Tell whether another repository differs by a slip of the pen at the most."""
    return other != wanted and only_near_repository(wanted, [other]) is not None


def _ratio(one: str, other: str) -> float:
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    # two letters that changed places are one slip, however short the name
    return max(ratio, SIMILARITY) if _are_swapped(one, other) else ratio


def _are_swapped(one: str, other: str) -> bool:
    places = [index for index, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1]
    if len(one) != len(other) or len(places) != 2 or places[1] - places[0] != 1:
        return False
    first, second = places
    return one[first] == other[second] and one[second] == other[first]


def _best(scores: Mapping[str, float]) -> str | None:
    near = sorted(
        ((score, name) for name, score in scores.items() if score >= SIMILARITY), reverse=True
    )
    if not near or (len(near) > 1 and near[0][0] - near[1][0] < 1e-9):
        return None
    return near[0][1]
