"""What a root renders to: its objects by identity, and how two renderings differ."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.remediation import changes, documents
from selfheal.remediation.edits import PathStep, Refusal

_SEPARATOR = re.compile(r"(?m)^---(?=[ \t\r\n]|\Z)[ \t]*(?:#.*)?\r?\n?")
_OPAQUE = re.compile(r"(?m)^kind:[ \t]*[\"']?CustomResourceDefinition\b")
_HASHED = re.compile(r"^(.+)-[2456789bcdfghkmt]{10}$")
_GENERATED = frozenset({"ConfigMap", "Secret"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What an object is called, without the version of its API."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return what a person calls it."""
        return f"{self.kind} {self.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One leaf of one object that differs from what is wanted; both values as text."""

    identity: Identity
    path: tuple[PathStep, ...]
    now: str
    wanted: str


def split(output: str) -> tuple[str, ...]:
    """Return the documents of a renderer's output as texts; empty ones are left out."""
    return tuple(text for text in _SEPARATOR.split(output) if _parse(text) is not None)


@functools.lru_cache(maxsize=2048)
def _parse(text: str) -> Any:
    """Load one document; a definition of a kind is large and never changed, so it stays text."""
    if _OPAQUE.search(text):
        name = hashlib.sha256(text.encode()).hexdigest()
        return {"kind": "CustomResourceDefinition", "metadata": {"name": name}}
    values = documents.parse(text.encode(), "the rendered source").values
    value = values[0] if values else None
    if value is not None and not (isinstance(value, Mapping) and value.get("kind")):
        raise Refusal("SourceUnreadable", "The source renders to something that is no object.")
    return value


def load(text: str) -> dict[str, Any]:
    """Return the object of a document, as a copy of one's own."""
    loaded: dict[str, Any] = documents.copy_plain(_parse(text))
    return loaded


def identify(manifest: Mapping[str, Any]) -> Identity:
    """Return the identity of an object."""
    metadata = manifest.get("metadata") or {}
    return Identity(
        group=str(manifest.get("apiVersion", "")).rpartition("/")[0],
        kind=str(manifest.get("kind")),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name")),
    )


def without_hash(identity: Identity) -> Identity:
    """Return the identity of a generated object without the hash of its content."""
    hashed = _HASHED.match(identity.name) if identity.kind in _GENERATED else None
    return dataclasses.replace(identity, name=hashed[1]) if hashed else identity


def virtual_files(texts: Sequence[str], folder: str) -> dict[str, bytes]:
    """Return rendered objects as files, one each, as if they stood below a folder.

    Secrets and definitions of kinds are left out: nothing may be edited there.
    """
    files: dict[str, bytes] = {}
    for text in texts:
        identity = identify(_parse(text))
        if identity.kind in ("Secret", "CustomResourceDefinition"):
            continue
        stem = f"{identity.kind}-{identity.name}".lower()
        number = sum(name.startswith(f"{_place(folder, stem)}.") for name in files)
        files[f"{_place(folder, stem)}.{number}.yaml"] = text.encode()
    return files


def _place(folder: str, stem: str) -> str:
    return f"{folder}/~rendered/{stem}" if folder else f"~rendered/{stem}"


def is_virtual(name: str) -> bool:
    """Tell whether a path is one of ``virtual_files``."""
    return "~rendered/" in name


def by_identity(manifests: Sequence[Mapping[str, Any]]) -> dict[Identity, Any]:
    """Return objects by identity, with the hashes that Kustomize puts into names taken out.

    A generated ConfigMap changes its name with its content, and so do those who refer to it; none
    of that is a change of its own.
    """
    names = {}
    for manifest in manifests:
        identity = identify(manifest)
        short = without_hash(identity).name
        if short != identity.name:
            names[identity.name] = short
    plain = [_rename(manifest, names) if names else manifest for manifest in manifests]
    return {identify(manifest): manifest for manifest in plain}


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _rename(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rename(entry, names) for entry in value]
    return names.get(value, value) if isinstance(value, str) else value


def find_changes(now: Mapping[Identity, Any], wanted: Mapping[Identity, Any]) -> frozenset[Change]:
    """Return every leaf in which two renderings differ."""
    return frozenset(_iterate_changes(now, wanted))


def _iterate_changes(
    now: Mapping[Identity, Any], wanted: Mapping[Identity, Any]
) -> Iterator[Change]:
    for identity in {**now, **wanted}:
        one, other = now.get(identity), wanted.get(identity)
        if documents.same(one, other):
            continue
        if one is None or other is None:
            yield Change(identity=identity, path=(), now=_text(one), wanted=_text(other))
            continue
        for leaf in changes.compare_values(one, other):
            yield Change(
                identity=identity, path=leaf.path, now=_text(leaf.before), wanted=_text(leaf.after)
            )


def _text(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"
