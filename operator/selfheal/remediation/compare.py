"""Is the source what runs, is the change the intended one, and does the live object show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.api.meta import parse_quantity
from selfheal.remediation import documents, editing, workloads
from selfheal.remediation.edits import Edit, Operation, PathStep, Proposal, Refusal, Source

Path = tuple[PathStep, ...]

_MANAGED = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "selfLink")
_IDENTITY = ("name", "containerPort", "mountPath", "devicePath", "key", "port", "ip", "topologyKey")
_QUANTITIES = frozenset(
    {"limits", "requests", "hard", "capacity", "sizeLimit", "divisor", "default", "max", "min"}
)
_SCALED = ("spec", "replicas")  # an autoscaler may own it; no fix changes it
_SHOWN = frozenset({"image", "memory", "cpu", "port", "path", "scheme", "containerPort"})


def intended_manifest(
    live: Mapping[str, Any], proposal: Proposal, source: Source
) -> dict[str, Any]:
    """Return the live object with exactly the edits of its source applied, ready for an update.

    Managed metadata and status are left out, the uid stays as the precondition. Refusal
    ``Drifted`` when the live object does not have what an edit replaces. May be repeated.
    """
    result: dict[str, Any] = documents.copy_plain(live)
    result.pop("status", None)
    for key in _MANAGED:
        result.get("metadata", {}).pop(key, None)
    for edit in proposal.edits:
        if (edit.file, edit.document) == (source.file, source.document):
            _apply_live(result, source.manifest, edit)
    return result


def _apply_live(result: dict[str, Any], source: Mapping[str, Any], edit: Edit) -> None:
    path = to_live_path(source, result, edit.path)
    if path is None:
        raise Refusal("Drifted", f"The live object has no {_join(edit.path)}.")
    present = workloads.look(result, path)
    if edit.operation is Operation.SET and not _equal(edit.old, present, path):
        raise Refusal("Drifted", f"The live {_join(edit.path)} is {present}, not {edit.old}.")
    workloads.look(result, path[:-1])[path[-1]] = _merge(present, edit.new)


def _merge(live: Any, new: Any) -> Any:
    """Lay an added block over what the API server defaulted there."""
    if isinstance(live, dict) and isinstance(new, Mapping):
        return {**live, **{key: _merge(live.get(key), value) for key, value in new.items()}}
    return documents.copy_plain(new)


def to_live_path(source: Any, live: Any, path: Path) -> Path | None:
    """Translate a path of the source to the live object, where lists may hold more.

    None: not there. The last step of a mapping need not be there.
    """
    found: list[PathStep] = []
    for number, step in enumerate(path):
        if isinstance(live, Mapping):
            if step not in live and number < len(path) - 1:
                return None
            found.append(step)
            source = workloads.look(source, (step,))
            live = live.get(step)
            continue
        entry = workloads.look(source, (step,))
        index = _find_entry(entry, live, step)
        if index is None:
            return None
        found.append(index)
        source, live = entry, live[index]
    return tuple(found)


def _find_entry(entry: Any, live: Any, step: PathStep) -> int | None:
    return next(iter(_candidates(entry, live, step)), None)


def _candidates(entry: Any, live: Any, step: PathStep) -> list[int]:
    """Return where an entry of a source list may stand in the live list, by its identity."""
    if not isinstance(live, list):
        return []
    for key in _IDENTITY:
        if isinstance(entry, Mapping) and key in entry:
            return [
                index
                for index, other in enumerate(live)
                if isinstance(other, Mapping) and other.get(key) == entry[key]
            ]
    return [step] if isinstance(step, int) and step < len(live) else []


def check_equivalence(
    *,
    rendered_before: Mapping[str, Any],
    rendered_after: Mapping[str, Any],
    live: Mapping[str, Any],
    edits: Sequence[Edit],
) -> None:
    """Check that the source before is what runs and the source after is it plus exactly the edits.

    What the API server, admission or a controller adds to the live object is left aside. Refusal
    ``ComparisonFailed`` or ``Drifted`` with the path. May be repeated.
    """
    intended = documents.copy_plain(rendered_before)
    for edit in edits:
        intended = editing.apply_to_value(intended, edit)
    if not documents.same(intended, documents.copy_plain(rendered_after)):
        raise Refusal(
            "ComparisonFailed",
            f"{workloads.describe(rendered_before)} would change in more than the intended places.",
        )
    for path, wanted, found in _differences(_comparable(rendered_before), live, ()):
        detail = ""
        if path[-1] in _SHOWN:
            detail = f" (source {wanted}, running {found})"
        raise Refusal(
            "Drifted",
            f"{workloads.describe(live)} does not run what its source says at "
            f"{_join(path)}{detail}.",
        )


def _comparable(manifest: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = documents.copy_plain(manifest)
    result.pop("status", None)
    result.pop("apiVersion", None)  # another version of the same group may be stored
    metadata = result.get("metadata") or {}
    for key in (*_MANAGED, "namespace", "uid"):
        metadata.pop(key, None)
    return result


def carries_change(
    live: Mapping[str, Any], edits_manifest_after: Mapping[str, Any], edits: Sequence[Edit]
) -> bool:
    """Tell whether the live object shows every edited value; False without edits (repeatable)."""
    for edit in edits:
        path = to_live_path(edits_manifest_after, live, edit.path)
        if path is None or not _covers(edit.new, workloads.look(live, path), path):
            return False
    return bool(edits)


def _covers(wanted: Any, found: Any, path: Path) -> bool:
    return next(_differences(wanted, found, path), None) is None


def _differences(wanted: Any, found: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Iterate over what is wanted but not found; more on the found side does not count."""
    if wanted in (None, {}, [], "") and found in (None, {}, [], ""):
        return
    if path == _SCALED or wanted is None:
        return
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, found.get(key), (*path, key))
    elif isinstance(wanted, list) and isinstance(found, list):
        yield from _list_differences(wanted, found, path)
    elif not _equal(wanted, found, path):
        yield path, wanted, found


def _list_differences(
    wanted: list[Any], found: list[Any], path: Path
) -> Iterator[tuple[Path, Any, Any]]:
    identified = all(
        isinstance(entry, Mapping) and entry.keys() & set(_IDENTITY) for entry in wanted
    )
    if not identified and len(wanted) != len(found):
        yield path, wanted, found
    else:
        for number, entry in enumerate(wanted):
            places = _candidates(entry, found, number)
            if not any(_covers(entry, found[place], (*path, number)) for place in places):
                other = found[places[0]] if places else None
                yield from _differences(entry, other, (*path, number))


def _equal(one: Any, other: Any, path: Path) -> bool:
    if any(step in _QUANTITIES for step in path if isinstance(step, str)):
        try:
            return parse_quantity(str(one)) == parse_quantity(str(other))
        except ValueError:
            return str(one) == str(other)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _join(path: Path) -> str:
    return ".".join(str(step) for step in path)
