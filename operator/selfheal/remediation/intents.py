"""What a fix means: which place of which rendered object gets which value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.remediation import documents, rendered
from selfheal.remediation.edits import Edit
from selfheal.remediation.rendered import Identity


@dataclasses.dataclass(frozen=True)
class Named:
    """A step into a list: the entry of this name."""

    name: str


Step = str | int | Named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intent:
    """One intended change of one rendered object; ``before`` None: nothing stands there.

    Without a path the object itself is to be added.
    """

    identity: Identity
    manifest: Mapping[str, Any]
    path: tuple[Step, ...]
    before: Any
    after: Any

    @property
    def key(self) -> str:
        """Return the last key on the way to the place."""
        return self.keys[-1] if self.keys else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys on the way, without list entries."""
        return tuple(step for step in self.path if isinstance(step, str))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """Changed source files that may bring an intended change about."""

    files: Mapping[str, bytes]
    what: str  # for people: which field of which file


def read_intents(edits: Sequence[Edit], files: Mapping[str, bytes]) -> list[Intent]:
    """Return edits of rendered objects as intents, their list steps by name where there is one."""
    found = []
    for edit in edits:
        manifest = rendered.load(files[edit.file].decode())
        if not edit.path:
            found.append(_read_addition(edit))
            continue
        found.append(
            Intent(
                identity=rendered.identify(manifest), manifest=manifest,
                path=name_steps(manifest, edit.path), before=edit.old, after=edit.new,
            )
        )  # fmt: skip
    return found


def _read_addition(edit: Edit) -> Intent:
    return Intent(
        identity=rendered.identify(edit.new), manifest=edit.new, path=(), before=None,
        after=edit.new,
    )  # fmt: skip


def name_steps(value: Any, path: Sequence[str | int]) -> tuple[Step, ...]:
    """Return a path with the entries of lists by name."""
    found: list[Step] = []
    for step in path:
        entry = value[step] if isinstance(step, int) else (value or {}).get(step)
        if isinstance(step, int) and isinstance(entry, Mapping) and "name" in entry:
            found.append(Named(str(entry["name"])))
        else:
            found.append(step)
        value = entry
    return tuple(found)


def descend(value: Any, path: Sequence[Step]) -> tuple[tuple[str | int, ...], tuple[Step, ...]]:
    """Follow a path as far as it exists; return that part as it stands, and the rest."""
    place: list[str | int] = []
    for number, step in enumerate(path):
        concrete = _find_step(value, step)
        if concrete is None:
            return tuple(place), tuple(path[number:])
        place.append(concrete)
        value = value[concrete]
    return tuple(place), ()


def _find_step(value: Any, step: Step) -> str | int | None:
    if isinstance(value, Mapping) and isinstance(step, str):
        return step if value.get(step) is not None else None
    if isinstance(value, list) and isinstance(step, Named):
        names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in value]
        return names.index(step.name) if step.name in names else None
    if isinstance(value, list) and isinstance(step, int):
        return step if step < len(value) else None
    return None


def build(rest: Sequence[Step], after: Any) -> Any:
    """Return what has to be added for the rest of a path; list entries only where they are named.

    ValueError: an entry that has only a number cannot be added.
    """
    value = documents.copy_plain(after)
    for step in reversed(rest):
        if isinstance(step, int):
            raise ValueError("an entry without a name cannot be added")
        value = [{"name": step.name, **value}] if isinstance(step, Named) else {step: value}
    return value
