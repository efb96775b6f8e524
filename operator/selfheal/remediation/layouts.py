"""How the sources below a path are laid out: as they stand, Kustomize, Helm, or something else."""

from __future__ import annotations

import dataclasses
import enum
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation import charts, kustomizations
from selfheal.remediation.charts import Chart
from selfheal.remediation.kustomizations import Kustomization
from selfheal.remediation.rendering import is_below

_FOREIGN_NAMES: Mapping[str, str] = {
    "jsonnetfile.json": "Jsonnet", "cdk8s.yaml": "cdk8s", "helmfile.yaml": "helmfile",
    "helmfile.yaml.gotmpl": "helmfile", "Pulumi.yaml": "Pulumi", "Tiltfile": "Tilt",
}  # fmt: skip
_FOREIGN_SUFFIXES: Mapping[str, str] = {
    ".jsonnet": "Jsonnet", ".libsonnet": "Jsonnet", ".cue": "CUE", ".dhall": "Dhall",
    ".k": "KCL", ".tf": "Terraform",
}  # fmt: skip


_RANDOM = re.compile(
    rb"\{\{[^}]*\b(?:rand\w+|gen[A-Z]\w+|uuidv4|now|shuffle|htpasswd|bcrypt|encryptAES)\b"
)


class RootKind(enum.Enum):
    """What renders a root."""

    KUSTOMIZE = "Kustomize"
    HELM = "Helm"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Root:
    """One thing that is rendered as a whole: an overlay, or a chart with its values files."""

    kind: RootKind
    path: str
    folders: tuple[str, ...]  # what it is rendered from, nearest first
    files: tuple[str, ...] = ()  # single files elsewhere that it needs
    values: tuple[str, ...] = ()  # Helm: values files handed in, in order
    release: str = ""
    namespace: str = ""
    links: tuple[tuple[str, str], ...] = ()  # Helm: dependency below charts/, the folder meant
    problem: str = ""  # why it is not rendered here

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        more = f" with {', '.join(self.values)}" if self.values else ""
        return f"{self.kind.value} {self.path or '.'}{more}"

    def uses(self, name: str) -> bool:
        """Tell whether a file may change what it renders to."""
        if name in self.files or name in self.values:
            return True
        if self.kind is RootKind.KUSTOMIZE:
            return posixpath.dirname(name) in self.folders
        return any(not folder or name.startswith(f"{folder}/") for folder in self.folders)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What lies below a path; ``plain`` are the files that are applied as they are."""

    path: str
    plain: Mapping[str, bytes]
    kustomizations: Mapping[str, Kustomization]
    charts: Mapping[str, Chart]
    foreign: tuple[str, ...]  # sources of generators that are not run here

    @property
    def rendered(self) -> bool:
        """Return whether anything has to be rendered."""
        return bool(self.kustomizations or self.charts)


def detect(files: Mapping[str, bytes], path: str) -> Layout:
    """Look at names and references below a path; pure, may be repeated."""
    known = kustomizations.find_kustomizations(files, path)
    found = charts.find_charts(files, path)
    covered = kustomizations.covered_files(files, known)
    for folder, chart in found.items():
        covered |= {name for name in files if is_below(name, folder)}
        covered |= set(charts.find_values_files(files, chart, path))
    plain = {name: content for name, content in files.items() if name not in covered}
    return Layout(
        path=path, plain=plain, kustomizations=known, charts=found,
        foreign=tuple(_find_foreign(files, path)),
    )  # fmt: skip


def _find_foreign(files: Mapping[str, bytes], path: str) -> Iterator[str]:
    for name in sorted(files):
        base = posixpath.basename(name)
        tool = _FOREIGN_NAMES.get(base) or _FOREIGN_SUFFIXES.get(posixpath.splitext(base)[1])
        if tool is None and base in kustomizations.NAMES and b"helmCharts" in files[name]:
            tool = "Kustomize's Helm plugin"
        if tool is not None and is_below(name, path):
            yield f"{name} ({tool})"


def kustomize_roots(layout: Layout) -> list[Root]:
    """Return the kustomizations that may be delivered, those first that no other one uses."""
    roots = []
    for folder in kustomizations.find_delivered(layout.kustomizations):
        parts = kustomizations.close_over(folder, layout.kustomizations)
        roots.append(
            Root(
                kind=RootKind.KUSTOMIZE, path=folder, folders=tuple(part.folder for part in parts),
                files=tuple(name for part in parts for name in part.files),
                problem=next(filter(None, map(_find_problem, parts)), ""),
            )
        )  # fmt: skip
    return roots


def _find_problem(part: Kustomization) -> str:
    if part.plugins:
        return f"{part.file} uses the plugin {part.plugins[0]}, which is not run here."
    if part.remote:
        return (
            f"{part.file} refers to {part.remote[0]}, which is not below the mapped path; nothing "
            "is fetched from elsewhere."
        )
    return ""


def helm_root(layout: Layout, chart: Chart, values: tuple[str, ...], live: Mapping[str, Any],
              namespace: str) -> Root:  # fmt: skip
    """Return a release of a chart as the running object names it."""
    problem = ""
    if chart.missing:
        problem = (
            f"{posixpath.join(chart.folder, charts.CHART_FILE)} needs {chart.missing[0]}, which is "
            "not in the repository; nothing is fetched from elsewhere."
        )
    folders = tuple(charts.close_over(chart, layout.charts))
    links = tuple(link for folder in folders for link in _links(layout, folder))
    return Root(
        kind=RootKind.HELM, path=chart.folder, folders=folders, values=values,
        release=find_release(live) or chart.name, namespace=namespace, links=links, problem=problem,
    )  # fmt: skip


def _links(layout: Layout, folder: str) -> tuple[tuple[str, str], ...]:
    return layout.charts[folder].links if folder in layout.charts else ()


def find_release(live: Mapping[str, Any]) -> str:
    """Return the name of the Helm release that a running object names; empty: none."""
    metadata = live.get("metadata") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    tracking = str(annotations.get("argocd.argoproj.io/tracking-id", "")).partition(":")[0]
    known = (
        annotations.get("meta.helm.sh/release-name"),
        labels.get("helm.toolkit.fluxcd.io/name"),
        tracking,
        labels.get("app.kubernetes.io/instance"),
        labels.get("release"),
    )
    return str(next(filter(None, known), ""))


def is_random(root: Root, files: Mapping[str, bytes]) -> bool:
    """Tell whether a root may render something else each time, as charts with passwords do."""
    if root.kind is not RootKind.HELM:
        return False
    return any(_RANDOM.search(content) for name, content in files.items() if root.uses(name))
