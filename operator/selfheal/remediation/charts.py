"""Helm charts of a tree: their parts, and the values files that a release may be made with."""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from selfheal.remediation import documents
from selfheal.remediation.edits import Refusal
from selfheal.remediation.rendering import is_below

CHART_FILE = "Chart.yaml"
MOST_PAIRED = 5
"""Values files up to which pairs of them are tried as well."""
_VALUES_NAME = re.compile(r"(?:^|.*[._-])values(?:[._-].*)?\.ya?ml$")
_VALUES_FOLDER = re.compile(r"(?:^|/)(?:values|environments|envs)(?:/|$)")
_LOCAL = "file://"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart; ``parts`` are prefix of the values and folder of each of its subcharts."""

    folder: str
    name: str
    version: str
    library: bool
    parts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # folder below charts/, folder that is meant
    missing: tuple[str, ...] = ()  # dependencies that are neither here nor below charts/

    @property
    def values_file(self) -> str:
        """Return the path of its default values."""
        return posixpath.join(self.folder, "values.yaml")


def find_charts(files: Mapping[str, bytes], path: str) -> dict[str, Chart]:
    """Return the charts below a path that are not part of another one, by folder."""
    folders = sorted(
        posixpath.dirname(name)
        for name in files
        if posixpath.basename(name) == CHART_FILE and is_below(name, path)
    )
    whole = set(folders)
    return {
        folder: chart
        for folder in folders
        if not _is_part(folder, whole) and (chart := _describe(files, folder)) is not None
    }


def _is_part(folder: str, folders: set[str]) -> bool:
    above, name = posixpath.split(posixpath.dirname(folder))
    return name == "charts" and above in folders


def _read(files: Mapping[str, bytes], name: str) -> Mapping[str, Any] | None:
    try:
        values = documents.parse(files[name], name).values if name in files else ()
    except Refusal:
        return None
    return values[0] if values and isinstance(values[0], Mapping) else None


def _describe(files: Mapping[str, bytes], folder: str) -> Chart | None:
    content = _read(files, posixpath.join(folder, CHART_FILE))
    if content is None:
        return None
    parts, links, missing = [], [], []
    declared = content.get("dependencies")
    for entry in declared if isinstance(declared, list) else ():
        if not isinstance(entry, Mapping):
            continue  # Helm will say what is wrong with it
        name = str(entry.get("name"))
        prefix, repository = str(entry.get("alias") or name), str(entry.get("repository") or "")
        place = posixpath.join(folder, "charts", name)
        local = posixpath.normpath(posixpath.join(folder, repository.removeprefix(_LOCAL)))
        if posixpath.join(place, CHART_FILE) in files:
            parts.append((prefix, place))
        elif any(other.startswith(f"{place}-") and other.endswith(".tgz") for other in files):
            parts.append((prefix, ""))  # packed: only the values above it can be changed
        elif repository.startswith(_LOCAL) and posixpath.join(local, CHART_FILE) in files:
            parts.append((prefix, local))
            links.append((place, local))
        else:
            missing.append(f"{name} ({repository or 'no repository'})")
    return Chart(
        folder=folder, name=str(content.get("name")), version=str(content.get("version")),
        library=content.get("type") == "library", parts=(*parts, *_vendored(files, folder, parts)),
        links=tuple(links), missing=tuple(missing),
    )  # fmt: skip


def _vendored(
    files: Mapping[str, bytes], folder: str, parts: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return subcharts that lie below charts/ without being declared."""
    known = {place for _, place in parts}
    inside = posixpath.join(folder, "charts")
    places = sorted(
        posixpath.dirname(name)
        for name in files
        if posixpath.basename(name) == CHART_FILE
        and posixpath.dirname(posixpath.dirname(name)) == inside
    )
    return [(posixpath.basename(place), place) for place in places if place not in known]


def close_over(chart: Chart, charts: Mapping[str, Chart]) -> list[str]:
    """Return the folders that a chart is rendered from: its own, and those it links to."""
    found: list[str] = []
    queue = [chart.folder]
    while queue:
        folder = queue.pop(0)
        if folder not in found:
            found.append(folder)
            queue += [target for _, target in charts[folder].links] if folder in charts else []
    return found


def find_values_files(files: Mapping[str, bytes], chart: Chart, path: str) -> list[str]:
    """Return the files that may be handed to a release of the chart, besides its defaults."""
    charts = {posixpath.dirname(name) for name in files if posixpath.basename(name) == CHART_FILE}
    found = []
    for name in sorted(files):
        folder = posixpath.dirname(name)
        if not is_below(name, path) or not name.endswith((".yaml", ".yml")):
            continue
        if name == chart.values_file or posixpath.basename(name) == CHART_FILE:
            continue
        within = next((above for above in _above(folder) if above in charts), None)
        inside = within == chart.folder
        if within is not None and not inside:
            continue
        relative = name[len(chart.folder) :].strip("/") if inside else name
        if inside and relative.startswith(("templates/", "charts/", "crds/")):
            continue
        if _VALUES_NAME.match(posixpath.basename(name)) or _VALUES_FOLDER.search(folder):
            found.append(name)
    return found


def _above(folder: str) -> list[str]:
    """Return a folder and those above it, nearest first."""
    found = [folder]
    while folder:
        folder = posixpath.dirname(folder)
        found.append(folder)
    return found


def combine(values_files: list[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return what a release may have been given: none or one file; then pairs, if few."""
    alone: list[tuple[str, ...]] = [(), *((name,) for name in values_files)]
    few = values_files if len(values_files) <= MOST_PAIRED else []
    return alone, list(itertools.permutations(few, 2))
