"""What a pipeline applies in one go: an overlay, a release of a chart, or a file as it stands."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import yaml

KUSTOMIZATION = "kustomization.yaml"
ENVIRONMENT_VALUES = "values-sandbox.yaml"
"""The pipeline's environment is called sandbox: where a chart has values for it, they are handed in."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """One thing to apply; `namespace` is the folder right below the delivered path."""

    kind: str  # kustomize | helm | file
    path: pathlib.Path
    namespace: str = ""
    release: str = ""

    @property
    def values(self) -> list[pathlib.Path]:
        found = self.path / ENVIRONMENT_VALUES
        return [found] if found.exists() else []


def find_units(root: pathlib.Path, path: str) -> list[Unit]:
    """Everything below a path, each file in exactly one unit."""
    charts = sorted(file.parent for file in root.rglob("Chart.yaml"))
    whole = [folder for folder in charts if not any(other in folder.parents for other in charts)]
    overlays = _overlays(root)
    found = [Unit("kustomize", folder) for folder in overlays.delivered]
    found += [Unit("helm", folder, _namespace(root / path, folder), _name(folder)) for folder in whole]
    for file in sorted(root.rglob("*")):
        covered = file.parent in overlays.folders or any(folder in file.parents for folder in whole)
        if file.suffix in (".yaml", ".yml") and not covered:
            found.append(Unit("file", file))
    return found


@dataclasses.dataclass(frozen=True)
class _Overlays:
    folders: frozenset[pathlib.Path]
    delivered: list[pathlib.Path]


def _overlays(root: pathlib.Path) -> _Overlays:
    """Kustomizations, and those of them that stand for themselves: no component, used by no other."""
    contents = {file.parent: _read(file) for file in sorted(root.rglob(KUSTOMIZATION))}
    used = {
        (folder / entry).resolve()
        for folder, content in contents.items()
        for field in ("resources", "bases", "components")
        for entry in content.get(field) or []
    }
    own = [folder for folder, content in contents.items() if content.get("kind") != "Component"]
    return _Overlays(frozenset(contents), [folder for folder in own if folder.resolve() not in used])


def _namespace(base: pathlib.Path, folder: pathlib.Path) -> str:
    return folder.relative_to(base).parts[0]


def _name(folder: pathlib.Path) -> str:
    return str(_read(folder / "Chart.yaml").get("name") or folder.name)


def _read(file: pathlib.Path) -> dict[str, Any]:
    """A file's content; one that cannot be read is left to the program that renders it."""
    try:
        content = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
