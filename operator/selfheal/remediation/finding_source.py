"""Finding the document that a running object came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfheal.remediation import documents, rendering, workloads
from selfheal.remediation.edits import Refusal, Source


def find_source(
    files: Mapping[str, bytes], *, path: str, manifest: Mapping[str, Any], namespace: str
) -> Source:
    """Find a running object in the mapped path by API group, kind, name and namespace.

    A document without a namespace counts, but one that names the namespace goes before it.
    Refusal ``SourceNotFound``, or ``SourceAmbiguous`` with the candidates. May be repeated.
    """
    found = find_among(rendering.iterate_manifests(files, path), manifest, namespace)
    return choose(found, path=path, manifest=manifest, namespace=namespace)


def choose(
    found: Sequence[Source], *, path: str, manifest: Mapping[str, Any], namespace: str
) -> Source:
    """Return the only source; Refusal ``SourceNotFound`` or ``SourceAmbiguous``."""
    where = path or "the root"
    wanted = workloads.describe(manifest)
    if not found:
        raise Refusal(
            "SourceNotFound",
            f"No file below {where} declares {wanted} for namespace {namespace} as plain YAML.",
        )
    if len(found) > 1:
        names = ", ".join(f"{source.file} document {source.document}" for source in found)
        raise Refusal("SourceAmbiguous", f"{wanted} is declared {len(found)} times: {names}.")
    return found[0]


def find_among(
    manifests: Iterable[tuple[str, int, Mapping[str, Any]]],
    manifest: Mapping[str, Any],
    namespace: str,
) -> list[Source]:
    """Return what declares an object: those that name its namespace, else those that name none."""
    wanted = workloads.describe(manifest)
    exact, bare = [], []
    for file, number, value in manifests:
        if workloads.describe(value) != wanted or _group(value) != _group(manifest):
            continue
        own = (value.get("metadata") or {}).get("namespace")
        source = Source(file=file, document=number, manifest=documents.copy_plain(value))
        if own == namespace:
            exact.append(source)
        elif own is None:
            bare.append(source)
    return exact or bare


def _group(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("apiVersion", "")).rpartition("/")[0]
