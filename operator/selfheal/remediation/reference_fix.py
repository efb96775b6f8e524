"""MissingReference: the one existing name that is clearly meant; else a person with exact steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.diagnosis import names
from selfheal.remediation import rendering, workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep, Proposal, Refusal

Path = tuple[PathStep, ...]
Missing = Mapping[str, Any]
_MAKERS: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": ("ConfigMap",),
    "Secret": ("Secret", "SealedSecret", "ExternalSecret"),
    "ServiceAccount": (),
}
_SOURCES = {
    "ConfigMap": (("configMapKeyRef", "configMapRef", "configMap"), ("name",)),
    "Secret": (("secretKeyRef", "secretRef", "secret"), ("name", "secretName")),
}


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the corrected references; Refusal ``NeedsPerson`` with the steps without one."""
    edits: list[Edit] = []
    notes: list[str] = []
    for missing in draft.finding.parameters["missing"]:
        near = missing.get("near") or _near_in_files(draft, missing)
        places = list(_places(draft, missing)) if near else []
        if not places:
            raise Refusal("NeedsPerson", _steps(draft, missing))
        what = missing.get("key") or missing["name"]
        note = f"{what} -> {near}: the only name near it that exists"
        edits += [draft.set(path, near, f"{what} does not exist; {near} does.") for path in places]
        notes.append(note)
    yield draft.propose(
        *edits,
        summary=f"Correct the reference to {draft.finding.parameters['object']}",
        risk="Medium",
        risk_reason="The name that exists differs by a slip of the pen; what it holds is not read.",
        arithmetic="; ".join(notes),
    )


def _places(draft: Draft, missing: Missing) -> Iterator[Path]:
    """Iterate over the paths of the source that name what is missing."""
    if missing["kind"] not in _SOURCES:
        return
    root = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
    fields, name_fields = _SOURCES[missing["kind"]]
    for path, source in _references(draft.look(root), root, fields):
        named = [field for field in name_fields if source.get(field) == missing["name"]]
        if not named or source.get("optional"):
            continue
        key = missing.get("key")
        if key is None:
            yield (*path, named[0])
        elif source.get("key") == key:
            yield (*path, "key")
        else:
            for index, item in enumerate(source.get("items") or ()):
                if item.get("key") == key:
                    yield (*path, "items", index, "key")


def _references(
    value: Any, path: Path, fields: tuple[str, ...]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key in fields and isinstance(child, Mapping):
                yield (*path, key), child
            yield from _references(child, (*path, key), fields)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _references(child, (*path, index), fields)


def _near_in_files(draft: Draft, missing: Missing) -> str | None:
    """Return what the repository declares near it: objects of this namespace, keys of one."""
    found: list[str] = []
    for _, _, manifest in rendering.iterate_manifests(draft.files, ""):
        metadata = manifest.get("metadata") or {}
        space = metadata.get("namespace", draft.bundle.namespace)
        if manifest.get("kind") not in _MAKERS.get(missing["kind"], ()):
            continue
        if space != draft.bundle.namespace:
            continue
        name = str(metadata.get("name"))
        if missing.get("key") is None:
            found.append(name)
        elif name == missing["name"]:
            found += _keys(manifest)
    wanted = missing.get("key") or missing["name"]
    return names.only_near(str(wanted), found)


def _keys(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of keys; never a value."""
    spec = manifest.get("spec") or {}
    found = [
        *(manifest.get("data") or {}), *(manifest.get("stringData") or {}),
        *(spec.get("encryptedData") or {}),
    ]  # fmt: skip
    listed = spec.get("data")
    entries = listed if isinstance(listed, list) else ()
    return [str(key) for key in (*found, *(entry.get("secretKey") for entry in entries)) if key]


def _steps(draft: Draft, missing: Missing) -> str:
    space, kind, name = draft.bundle.namespace, missing["kind"], missing["name"]
    key = missing.get("key")
    where = f"{draft.source.file} (document {draft.source.document})"
    if kind == "ServiceAccount":
        make = f"kubectl -n {space} create serviceaccount {name}"
    elif kind.endswith("Class"):  # PriorityClass, RuntimeClass: of the whole cluster
        make = f"let who runs the cluster make the {kind} {name}"
    elif key:
        make = f"add the key {key} to {kind} {name} in namespace {space}"
    elif kind == "Secret":
        make = (
            f"create Secret {name} in namespace {space} by what your team keeps secrets with "
            "(External Secrets, Sealed Secrets, Vault); a credential never goes to Git"
        )
    else:
        make = f"add ConfigMap {name} to the repository"
    return (
        f"{draft.finding.cause} Nothing that exists is near enough to be meant. A person has to: "
        f"1. {make}, or correct the name in {where}; 2. let it be delivered; the kubelet tries "
        "again by itself."
    )
