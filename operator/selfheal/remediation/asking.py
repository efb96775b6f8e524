"""What a reviewer plainly asks for: another value where the fix sets one, or another known fix.

Review text is untrusted. Nothing is taken from it but one quantity, or the name of a value that the
rules proposed themselves; file, field and target stay the fix's own, and every guard looks at the
result. What is not plain is a person's.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.api.meta import parse_quantity
from selfheal.remediation import diff, editing
from selfheal.remediation.edits import Edit, Proposal, Refusal

_QUANTITY = re.compile(
    r"(?<![\w.-])(?P<number>\d+(?:\.\d+)?)(?:(?P<unit>Ki|Mi|Gi|Ti|[kMGTm])(?![\w])"
    r"|\s(?P<word>cores?|CPUs?)\b)"
)
_ASKS = re.compile(
    r"\b(use|using|set|make|try|take|pick|prefer|want|raise|lower|increase|decrease|reduce|change|"
    r"bump|go with|should be|to)\b",
    re.IGNORECASE,
)
_DOUBTS = re.compile(
    r"\b(not|no|never|without|why|what|how|too|than|over|under|above|below|exceed|most|least|"
    r"maximum|minimum|if|unless|maybe|ignore|delete|remove)\b|n't\b|\?",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:instead of|rather than|from|not)\s+\S*\d\S*(?:\s+(?:cores?|CPUs?)\b)?", re.IGNORECASE
)
_SUGGESTION = re.compile(r"```suggestion[^\n]*\n(.*?)```", re.DOTALL)
_FENCE = re.compile(r"```.*?(?:```|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL)
_CLAUSES = re.compile(r"[;\n!]|[,.](?:\s|$)|\b(?:but|and|because|since)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One value that was plainly asked for; ``part`` is requests, limits, or not said."""

    resource: str  # memory or cpu
    value: str
    part: str | None = None


def find_asked(texts: Sequence[str], present: Proposal) -> Asked | None:
    """Return the one value asked for; None where none is. Refusal ``ReviewsDisagree`` for several.

    Values that the fix names itself are no request: people quote them.
    """
    known = {_amount(leaf.value) for leaf in _leaves(present.edits)}
    known |= {_amount(edit.old) for edit in present.edits}
    found = {
        (one.resource, _amount(one.value)): one
        for text in texts
        for one in _read(text)
        if _amount(one.value) not in known
    }
    if len(found) > 1:
        values = ", ".join(sorted(one.value for one in found.values()))
        raise Refusal("ReviewsDisagree", f"More than one value is asked for: {values}.")
    return next(iter(found.values()), None)


def _read(text: str) -> Iterator[Asked]:
    for block in _SUGGESTION.findall(text):
        for match in _QUANTITY.finditer(block):
            yield _asked(match, "")
    for clause in _asking_clauses(text):
        matches = list(_QUANTITY.finditer(clause))
        if len(matches) == 1:
            yield _asked(matches[0], clause)


def _asking_clauses(text: str) -> Iterator[str]:
    """Iterate over the clauses that ask for something; quotations and code are not the person's."""
    own = "\n".join(
        line for line in _FENCE.sub("", text).splitlines() if not line.lstrip().startswith(">")
    )
    for clause in _CLAUSES.split(own):
        plain = _ASIDE.sub("", clause)
        if _ASKS.search(plain) and not _DOUBTS.search(plain):
            yield plain


def _asked(match: re.Match[str], clause: str) -> Asked:
    unit = match["unit"] or ""
    part = next((p for p in ("request", "limit") if re.search(rf"\b{p}", clause, re.I)), None)
    return Asked(
        resource="cpu" if unit == "m" or match["word"] else "memory",
        value=f"{match['number']}{unit}",
        part=f"{part}s" if part else None,
    )


def _amount(value: Any) -> float | str:
    try:
        return parse_quantity(str(value))
    except ValueError:
        return str(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Leaf:
    """A scalar that an edit sets, with the whole path to it."""

    edit: Edit
    path: tuple[str | int, ...]
    value: Any


def _leaves(edits: Sequence[Edit]) -> Iterator[_Leaf]:
    for edit in edits:
        yield from _below(edit, edit.path, edit.new)


def _below(edit: Edit, path: tuple[str | int, ...], value: Any) -> Iterator[_Leaf]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _below(edit, (*path, key), child)
    else:
        yield _Leaf(edit=edit, path=path, value=value)


def with_value(proposal: Proposal, asked: Asked, *, files: Mapping[str, bytes]) -> Proposal:
    """Return the fix with the value that was asked for, at the places that it sets already.

    Refusal ``NotPartOfFix`` where it sets none, ``AgainstFix`` where the value would undo it. A
    request that the fix keeps equal to its limit goes with it.
    """
    leaves = [
        leaf
        for leaf in _leaves(proposal.edits)
        if "resources" in leaf.path and leaf.path[-1] == asked.resource
    ]
    parts = [asked.part] if asked.part else ["limits", "requests"]
    named = next((found for part in parts if (found := _of(leaves, part))), [])
    if not named:
        raise Refusal(
            "NotPartOfFix",
            f"{asked.value} is asked for, but the fix sets no {asked.resource} value of that kind.",
        )
    for leaf in named:
        _check_direction(leaf, asked.value)
    same = {_amount(leaf.value) for leaf in named}
    meant = [leaf for leaf in leaves if leaf in named or _amount(leaf.value) in same]
    edits = tuple(_set(edit, meant, asked.value) for edit in proposal.edits)
    changed = editing.apply_edits(files, edits)
    before = str(named[0].value)
    return dataclasses.replace(
        proposal,
        edits=edits,
        files=changed,
        diff=diff.render_diff(files, changed),
        summary=_reword(proposal.summary, before, asked.value),
        risk_reason=f"{proposal.risk_reason} The value {asked.value} is a reviewer's.",
        arithmetic=f"A reviewer asked for {asked.value} in place of {before}. Before that: "
        f"{proposal.arithmetic}",
    )


def _check_direction(leaf: _Leaf, value: str) -> None:
    """Refuse what would undo the fix: a raise stays a raise."""
    old, new, wanted = (_amount(one) for one in (leaf.edit.old, leaf.value, value))
    if isinstance(old, str) or isinstance(new, str) or isinstance(wanted, str):
        return  # nothing stood there, so there is no direction
    if (new > old) is not (wanted > old) or wanted == old:
        raise Refusal(
            "AgainstFix",
            f"{value} is asked for, but the fix goes from {leaf.edit.old} the other way.",
        )


def _of(leaves: Sequence[_Leaf], part: str) -> list[_Leaf]:
    return [leaf for leaf in leaves if part in leaf.path]


def _set(edit: Edit, meant: Sequence[_Leaf], value: str) -> Edit:
    new = copy.deepcopy(edit.new)
    for leaf in meant:
        if leaf.edit != edit:
            continue
        *steps, last = leaf.path[len(edit.path) :] or (None,)
        if last is None:
            new = value
            continue
        parent = new
        for step in steps:
            parent = parent[step]
        parent[last] = value
    return edit if new == edit.new else dataclasses.replace(edit, new=new)


def _reword(summary: str, before: str, value: str) -> str:
    pattern = rf"(?<![\w.]){re.escape(before)}(?![\w.])"
    reworded, count = re.subn(pattern, value, summary)
    return reworded if count else f"{summary} ({value}, as a reviewer asked)"


def find_named(texts: Sequence[str], others: Sequence[Proposal]) -> list[Proposal]:
    """Return the other known fixes whose new value a reviewer plainly asks for."""
    clauses = [clause for text in texts for clause in _asking_clauses(text)]
    return [
        proposal
        for proposal in others
        if any(_names(clause, leaf.value) for clause in clauses for leaf in _leaves(proposal.edits))
    ]


def _names(clause: str, value: Any) -> bool:
    text = str(value)
    forms = {text, text.rpartition(":")[2]} - {"", "true", "false", "True", "False", "None"}
    return any(re.search(rf"(?<![\w.-]){re.escape(form)}(?![\w-])", clause) for form in forms)
