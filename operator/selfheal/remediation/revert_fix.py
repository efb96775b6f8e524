"""Back to what ran: the fields that changed before it broke get the values they had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.remediation import documents, image_fix, turns, workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep, Proposal, Refusal

Path = tuple[PathStep, ...]
_MASK = "***"


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the revert of what the evidence points at, then of all that may be the cause."""
    changed: Sequence[Mapping[str, Any]] = draft.finding.parameters.get("changed") or ()
    said = (
        str(draft.finding.parameters.get("line") or "") + draft.finding.cause.partition("Since")[0]
    )
    pointed = [change for change in changed if _is_named(change, said)]
    for chosen in (pointed, list(changed)):
        if chosen:
            try:
                edits = turns.in_turn(draft, _wanted(draft, chosen))
            except Refusal:
                continue  # a part of it cannot be taken back by an edit
            if edits:
                yield _proposal(draft, edits, chosen)


def _is_named(change: Mapping[str, Any], said: str) -> bool:
    """Tell whether the failure names the change: its variable, or a word that is new in it."""
    path = change["path"]
    if path[0] == "env":
        return path[1] in said
    before, after = set(_words(change["before"])), set(_words(change["after"]))
    return any(word in said for word in after - before if len(word) > 2)


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for child in value.values():
            yield from _words(child)
    elif isinstance(value, list):
        for child in value:
            yield from _words(child)
    elif value is not None:
        yield from str(value).split()


def _wanted(draft: Draft, changes: Sequence[Mapping[str, Any]]) -> list[turns.Wanted]:
    """Return what to set where; Refusal where a change cannot be taken back by an edit."""
    wanted: list[turns.Wanted] = []
    added: dict[Path, list[Any]] = {}
    for change in changes:
        base = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
        if change["container"] is not None:
            base = workloads.container_path(draft.source.manifest, change["container"])
        before, after = change["before"], change["after"]
        if change["path"][0] == "image" and not image_fix.is_allowed(str(before or "")):
            raise Refusal("LatestTag", f"{before} is not an image that a fix may set.")
        if change["path"][0] == "env":
            wanted += _variable(draft, (*base, "env"), change["path"][1], before, after, added)
        else:
            wanted += _value((*base, *change["path"]), before, after)
    for path, entries in added.items():
        why = "These variables were there when it ran."
        wanted.append((path, turns.More(tuple(entries)), why))
    return wanted


def _variable(
    draft: Draft, path: Path, name: str, before: Any, after: Any, added: dict[Path, list[Any]]
) -> Iterator[turns.Wanted]:
    """Yield what brings one variable back; missing ones are gathered and added together."""
    if _MASK in str(before):
        raise Refusal("TouchesSecret", f"The value of {name} is not known here.")
    present: list[Any] = draft.look(path) or []
    index = next((n for n, entry in enumerate(present) if entry.get("name") == name), None)
    if before is None:
        return  # a variable more hardly breaks anything, and taking it away may
    if index is None:
        added.setdefault(path, []).append(before)
    else:
        yield from _value((*path, index), before, after)


def _value(path: Path, before: Any, after: Any) -> Iterator[turns.Wanted]:
    """Yield what brings a value back, as deep as the two differ."""
    if documents.same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            yield from _value((*path, key), before[key], after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _value((*path, index), *pair)
    elif before is None:
        raise Refusal("ChangeNotAllowed", f"{path[-1]} was not there; a fix removes nothing.")
    else:
        yield path, before, "This is what ran before."


def _proposal(draft: Draft, edits: list[Edit], changes: Sequence[Mapping[str, Any]]) -> Proposal:
    names = ", ".join(".".join(change["path"]) for change in changes)
    well = bool(draft.finding.parameters.get("revertable"))
    return draft.propose(
        *edits,
        summary=f"Take back the change of {names} in {draft.bundle.target.name}",
        risk="Low" if well else "Medium",
        risk_reason="The revision before is still well with these values."
        if well
        else "The revision before ran with these values; whether it was well is not known.",
        arithmetic=f"{names}: back to the values of the revision that ran before",
    )
