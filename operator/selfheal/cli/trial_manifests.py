"""The files of a trial, and the words about its end; no call to anything outside."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from selfheal.cli import trial_namespace
from selfheal.remediation import layouts

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")


class TrialError(Exception):
    """The trial cannot be made; the message says what is missing."""


def read_files(folder: pathlib.Path) -> dict[str, bytes]:
    """Return what a folder holds: its YAML files, or all files of a kustomization or chart."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts
    }
    if not is_rendered(found):
        found = {name: found[name] for name in found if name.endswith((".yaml", ".yml"))}
    if not found:
        raise TrialError(f"{folder} holds no .yaml files")
    return found


def is_rendered(files: Mapping[str, bytes]) -> bool:
    """Tell whether files hold a kustomization or a chart."""
    return layouts.detect(files, "").rendered


def list_objects(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return the objects of plain files, of Lists one by one; TrialError says what is wrong."""
    found: list[dict[str, Any]] = []
    for name, content in files.items():
        try:
            for entry in yaml.safe_load_all(content.decode()):
                found += _flatten(entry, name)
        except UnicodeDecodeError as error:
            raise TrialError(f"{name} is not UTF-8 text") from error
        except yaml.YAMLError as error:
            raise TrialError(_say_where(name, error)) from error
    return found


def _flatten(entry: Any, name: str) -> list[dict[str, Any]]:
    if entry is None:
        return []  # nothing between two lines ---
    if not isinstance(entry, dict) or "kind" not in entry or "apiVersion" not in entry:
        raise TrialError(f"{name} holds a document without apiVersion and kind")
    if str(entry["kind"]).endswith("List") and isinstance(entry.get("items"), list):
        return [one for item in entry["items"] for one in _flatten(item, name)]
    metadata = entry.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise TrialError(f"{name} holds a {entry['kind']} without metadata.name")
    return [entry]


def _say_where(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = f", line {mark.line + 1}" if mark is not None else ""
    return f"{name}{line} is no YAML: {problem}"


def name_namespace(folder: pathlib.Path) -> str:
    """Return the namespace of a folder: a DNS label made of its name."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())
    return f"try-{plain}"[:40].rstrip("-")


def list_wanted(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return kind and name of the workloads of the files; empty where they must be rendered."""
    if is_rendered(files):
        return []
    wanted = [
        (entry["kind"], entry["metadata"]["name"])
        for entry in list_objects(files)
        if entry["kind"] in WORKLOADS
    ]
    if not wanted:
        raise TrialError("the files hold no workload (Deployment, StatefulSet, DaemonSet, Job, …)")
    return wanted


def place_in_namespace(files: Mapping[str, bytes], namespace: str) -> dict[str, bytes]:
    """Return the files with the namespace set by lines, so that every other byte stays.

    An overlay has it from the kustomization that is delivered, a chart from its release.
    """
    layout = layouts.detect(files, "")
    placed = dict(files)
    for name in layout.plain:
        if name.endswith((".yaml", ".yml")):
            placed[name] = trial_namespace.set_namespace(files[name].decode(), namespace).encode()
    used = {target for entry in layout.kustomizations.values() for target in entry.folders}
    for folder, entry in layout.kustomizations.items():
        if folder not in used and not entry.component:
            text = re.sub(r"(?m)^namespace:[^\n]*\n?", "", files[entry.file].decode())
            placed[entry.file] = f"namespace: {namespace}\n{text}".encode()
    return placed


def render(result: Mapping[str, Any]) -> str:
    """Return the result for a person."""
    if not result["incidents"]:
        return str(result["message"])
    parts = [_render_row(result["namespace"], row) for row in result["incidents"]]
    resolved = sum(bool(row["resolved"]) for row in result["incidents"])
    parts.append(f"\n{resolved} of {len(result['incidents'])} incidents resolved")
    return "\n".join(parts)


def _render_row(namespace: str, row: Mapping[str, Any]) -> str:
    lines = ["", f"incident {namespace}/{row['incident']}"]
    lines += [f"  {entry['phase']:<28} {entry['seconds']:>8.2f} s" for entry in row["phases"]]
    total = sum(entry["seconds"] for entry in row["phases"])
    lines.append(f"  {'from filing to the last phase':<28} {total:>7.2f} s")
    model = f"{row['modelCalls']} calls, cost {row['cost']}" if row["modelCalls"] else "not called"
    diagnosed = f"{row['class']} (confidence {row['confidence']}, by {row['by']})"
    told = {
        "class": diagnosed if row["class"] else "none: no cause was found",
        "cause": row["cause"],
        "ticket": row["ticket"],
        "pull request": row["pullRequest"],
        "model": model,
        "healthy": "yes" if row["healthy"] else f"no: {row.get('symptom') or row.get('phase')}",
        "message": row["message"],
    }
    lines += [f"  {name:<13} {text}" for name, text in told.items() if text]
    if row["diff"]:
        lines += ["", *(f"  {line}" for line in row["diff"].splitlines())]
    return "\n".join(lines)
