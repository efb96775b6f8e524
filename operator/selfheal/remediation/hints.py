"""What annotations, labels and delivery objects say about an object's source. It only narrows."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation import charts, rendering
from selfheal.remediation.layouts import Root, RootKind

_DELIVERY = re.compile(rb"argoproj\.io/|toolkit\.fluxcd\.io/")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """An object of the repository that delivers a folder, of Argo CD or Flux."""

    kind: str
    name: str
    file: str
    path: str
    values: tuple[str, ...] = ()
    release: str = ""
    inline: bool = False  # carries values of its own


def find_declarations(files: Mapping[str, bytes], path: str) -> list[Declaration]:
    """Return the delivery objects below a path; pure, may be repeated."""
    likely = {name: content for name, content in files.items() if _DELIVERY.search(content)}
    found = []
    for name, _, value in rendering.iterate_manifests(likely, path):
        api = str(value.get("apiVersion", ""))
        if value["kind"] == "Application" and api.startswith("argoproj.io/"):
            found += list(_read_application(value, name))
        elif value["kind"] == "Kustomization" and api.startswith("kustomize.toolkit.fluxcd.io/"):
            folder = _clean(_look(value, "spec", "path"))
            found.append(Declaration(kind="Flux", name=_name(value), file=name, path=folder))
        elif value["kind"] == "HelmRelease" and api.startswith("helm.toolkit.fluxcd.io/"):
            found.append(_read_release(value, name))
    return found


def _look(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(value: Mapping[str, Any]) -> str:
    return str(_look(value, "metadata", "name"))


def _clean(path: Any) -> str:
    clean = posixpath.normpath(str(path or "."))
    return "" if clean == "." else clean.removeprefix("/")


def _read_application(value: Mapping[str, Any], file: str) -> Iterator[Declaration]:
    single = _look(value, "spec", "source")
    several = _look(value, "spec", "sources")
    for source in [single, *_list(several)]:
        if not isinstance(source, Mapping) or not source.get("path"):
            continue
        folder = _clean(source["path"])
        given = source.get("helm")
        helm: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        yield Declaration(
            kind="Argo CD", name=_name(value), file=file, path=folder,
            values=tuple(_values_path(folder, entry) for entry in _list(helm.get("valueFiles"))),
            release=str(helm.get("releaseName") or ""),
            inline=any(helm.get(key) for key in ("values", "valuesObject", "parameters")),
        )  # fmt: skip


def _values_path(folder: str, entry: Any) -> str:
    text = str(entry)
    if text.startswith("$"):
        return _clean(text.partition("/")[2])  # another source of the Application: the repository
    return _clean(text) if text.startswith("/") else _clean(posixpath.join(folder, text))


def _read_release(value: Mapping[str, Any], file: str) -> Declaration:
    chart = _look(value, "spec", "chart", "spec")
    entries = _list(_look(chart, "valuesFiles"))
    return Declaration(
        kind="Flux", name=_name(value), file=file, path=_clean(_look(chart, "chart")),
        values=tuple(_clean(entry) for entry in entries),
        release=str(_look(value, "spec", "releaseName") or ""),
        inline=bool(_look(value, "spec", "values") or _look(value, "spec", "valuesFrom")),
    )  # fmt: skip


def names_of(live: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of delivery objects that a running object carries."""
    metadata = live.get("metadata") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    tracking = str(annotations.get("argocd.argoproj.io/tracking-id", "")).partition(":")[0]
    marks = (
        "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
    )  # fmt: skip
    return frozenset(filter(None, [tracking, *(str(labels.get(mark) or "") for mark in marks)]))


def find_declaration(
    files: Mapping[str, bytes], path: str, live: Mapping[str, Any]
) -> Declaration | None:
    """Return the one delivery object that the running object names and that the tree holds."""
    names = names_of(live)
    if not names:
        return None
    found = [entry for entry in find_declarations(files, path) if entry.name in names]
    return found[0] if len(found) == 1 else None


def is_meant(root: Root, declaration: Declaration) -> bool:
    """Tell whether a declaration delivers a root."""
    return root.path == declaration.path


def is_named(root: Root, namespace: str) -> bool:
    """Tell whether a root lies in a folder, or has a values file, named like the namespace."""
    return namespace in root.path.split("/") or any(
        namespace in re.split(r"[/._]", name) or f"-{namespace}." in name for name in root.values
    )


def fits_origin(root: Root | None, files: Mapping[str, bytes], live: Mapping[str, Any]) -> bool:
    """Tell whether a source is what Kustomize's origin annotation or Helm's chart label says.

    None: a document as it stands, which carries neither.
    """
    metadata = live.get("metadata") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    said = str(annotations.get("config.kubernetes.io/origin", ""))
    origin = re.search(r"(?m)^path: (\S+)$", said)
    if "meta.helm.sh/release-name" in annotations or labels.get("helm.sh/chart"):
        return root is not None and root.kind is RootKind.HELM
    if origin is None:
        return True
    if root is None or root.kind is not RootKind.KUSTOMIZE:
        return False
    name = posixpath.normpath(posixpath.join(root.path, origin[1]))
    return name in files and root.uses(name)


def may_render(
    root: Root, files: Mapping[str, bytes], live: Mapping[str, Any], namespace: str
) -> bool:
    """Tell by texts alone whether a root may render an object; generous, it only saves work."""
    kind, name = str(live.get("kind")), str((live.get("metadata") or {}).get("name"))
    texts = {file: files[file] for file in files if root.uses(file)}
    if any(file.endswith(".tgz") for file in texts):
        return True
    kinds = re.compile(rb"kind[\"']?:\s*[\"']?" + re.escape(kind.encode()) + rb"\b")
    if not any(kinds.search(content) for content in texts.values()):
        return False
    if root.kind is RootKind.HELM:
        return True
    for file, content in texts.items():
        own = re.search(rb"(?m)^namespace:[ \t]*[\"']?([\w.-]+)", content)
        at_top = posixpath.dirname(file) == root.path and own is not None
        if at_top and own is not None and own[1].decode() != namespace and "kustomization" in file:
            return False
    names = re.compile(rb"name[\"']?:\s*[\"']?([\w.-]+)")
    return any(
        match.decode() in name for content in texts.values() for match in names.findall(content)
    )


def is_chart(root: Root, found: Mapping[str, charts.Chart], live: Mapping[str, Any]) -> bool:
    """Tell whether Helm's chart label, where there is one, names this chart or a part of it."""
    label = str(((live.get("metadata") or {}).get("labels") or {}).get("helm.sh/chart") or "")
    chart = found[root.path]
    names = [chart.name, *(prefix for prefix, _ in chart.parts)]
    names += [posixpath.basename(folder) for _, folder in chart.parts]
    return not label or any(label.startswith(f"{name}-") for name in names)
