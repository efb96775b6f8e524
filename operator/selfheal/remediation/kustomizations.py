"""Kustomizations of a tree: what each is made of, and which one is delivered."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation import documents
from selfheal.remediation.edits import Refusal
from selfheal.remediation.rendering import is_below

NAMES = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_FOLDERS_OR_FILES = (
    "resources", "bases", "components", "generators", "transformers", "validators",
    "configurations", "crds",
)  # fmt: skip
_PATCHES = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
_PLUGINS = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kustomization:
    """One kustomization file; ``folders`` and ``files`` are what it refers to, as paths."""

    folder: str
    file: str
    content: Mapping[str, Any]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    remote: tuple[str, ...]  # references that are not in the tree

    @property
    def component(self) -> bool:
        """Return whether it is a part that is only used by others."""
        return self.content.get("kind") == "Component"

    @property
    def plugins(self) -> tuple[str, ...]:
        """Return the fields that need a program which is not run here."""
        return tuple(name for name in _PLUGINS if name in self.content)


def find_kustomizations(files: Mapping[str, bytes], path: str) -> dict[str, Kustomization]:
    """Return the readable kustomizations below a path by folder; pure, may be repeated."""
    places = {
        posixpath.dirname(name): name
        for name in sorted(files)
        if posixpath.basename(name) in NAMES and is_below(name, path)
    }
    found = {}
    for folder, name in places.items():
        content = _read(files[name], name)
        if content is not None:
            found[folder] = _resolve(content, folder, name, files, set(places))
    return found


def _read(content: bytes, name: str) -> Mapping[str, Any] | None:
    try:
        values = documents.parse(content, name).values
    except Refusal:
        return None
    value = values[0] if values else {}
    return value if isinstance(value, Mapping) else None


def _resolve(
    content: Mapping[str, Any], folder: str, name: str, files: Mapping[str, bytes], places: set[str]
) -> Kustomization:
    folders, own, remote = [], [], []
    for reference in _references(content):
        target = posixpath.normpath(posixpath.join(folder, reference))
        target = "" if target == "." else target
        if target in places:
            folders.append(target)
        elif target in files:
            own.append(target)
        else:
            remote.append(reference)
    return Kustomization(
        folder=folder, file=name, content=content, folders=tuple(dict.fromkeys(folders)),
        files=tuple(dict.fromkeys(own)), remote=tuple(dict.fromkeys(remote)),
    )  # fmt: skip


def _references(content: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the paths that a kustomization names; inline YAML is none."""
    for field in (*_FOLDERS_OR_FILES, "patchesStrategicMerge"):
        for entry in _entries(content, field):
            if isinstance(entry, str) and "\n" not in entry and "{" not in entry:
                yield entry
    for field in _PATCHES:
        for entry in _entries(content, field):
            if isinstance(entry, Mapping) and isinstance(entry.get("path"), str):
                yield entry["path"]
    for field in _GENERATORS:
        for entry in _entries(content, field):
            if isinstance(entry, Mapping):
                yield from _sources(entry)
    schema = content.get("openapi")
    if isinstance(schema, Mapping) and isinstance(schema.get("path"), str):
        yield schema["path"]


def _entries(content: Mapping[str, Any], field: str) -> list[Any]:
    value = content.get(field)
    return value if isinstance(value, list) else []


def _sources(generator: Mapping[str, Any]) -> Iterator[str]:
    single = [generator["env"]] if "env" in generator else []
    for entry in [*_entries(generator, "envs"), *single]:
        yield str(entry)
    for entry in _entries(generator, "files"):
        yield str(entry).partition("=")[2] or str(entry)


def close_over(folder: str, known: Mapping[str, Kustomization]) -> list[Kustomization]:
    """Return a kustomization and all it is made of, nearest first."""
    found: dict[str, Kustomization] = {}
    queue = [folder]
    while queue:
        place = queue.pop(0)
        if place not in found and place in known:
            found[place] = known[place]
            queue += known[place].folders
    return list(found.values())


def find_delivered(known: Mapping[str, Kustomization]) -> list[str]:
    """Return the folders that stand for themselves, those first that no other one uses."""
    used = {target for entry in known.values() for target in entry.folders}
    own = [folder for folder, entry in sorted(known.items()) if not entry.component]
    return [folder for folder in own if folder not in used] + [f for f in own if f in used]


def covered_files(files: Mapping[str, bytes], known: Mapping[str, Kustomization]) -> set[str]:
    """Return the files that belong to a kustomization and are therefore not applied as they are."""
    named = {name for entry in known.values() for name in (entry.file, *entry.files)}
    return named | {name for name in files if posixpath.dirname(name) in known}
