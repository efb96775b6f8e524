"""The files of a trial, and the words about its end; no call to anything outside."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from selfheal.remediation import layouts


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


def documents(text: str) -> list[dict[str, Any]]:
    """Return the objects of a file."""
    return [entry for entry in yaml.safe_load_all(text) if isinstance(entry, dict)]


def place_in_namespace(files: Mapping[str, bytes], namespace: str) -> dict[str, bytes]:
    """Return the files with the namespace set by lines, so that every other byte stays.

    An overlay has it from the kustomization that is delivered, a chart from its release.
    """
    layout = layouts.detect(files, "")
    placed = dict(files)
    for name in layout.plain:
        if name.endswith((".yaml", ".yml")):
            placed[name] = set_namespace(files[name].decode(), namespace).encode()
    used = {target for entry in layout.kustomizations.values() for target in entry.folders}
    for folder, entry in layout.kustomizations.items():
        if folder not in used and not entry.component:
            text = re.sub(r"(?m)^namespace:[^\n]*\n?", "", files[entry.file].decode())
            placed[entry.file] = f"namespace: {namespace}\n{text}".encode()
    return placed


def set_namespace(text: str, namespace: str) -> str:
    """Set ``metadata.namespace`` in every document of a file, leaving all other bytes alone."""
    parts = re.split(r"(?m)^(---[^\n]*\n)", text)
    return "".join(_set_subjects(_set_in_document(part, namespace), namespace) for part in parts)


def _set_subjects(part: str, namespace: str) -> str:
    """Let a RoleBinding mean the ServiceAccounts that move with it."""
    if not re.search(r"(?m)^kind:\s*RoleBinding\s*$", part):
        return part
    return re.sub(r"(\bnamespace:[ \t]*)[^\s,}]+", rf"\g<1>{namespace}", part)


def _set_in_document(part: str, namespace: str) -> str:
    flow = re.search(r"(?m)^metadata:\s*\{", part)
    if flow is not None:
        if re.search(r"(?m)^metadata:.*\bnamespace:", part):
            return re.sub(
                r"(?m)^(metadata:.*\bnamespace:\s*)[^\s,}]+", rf"\g<1>{namespace}", part, count=1
            )
        return part[: flow.end()] + f"namespace: {namespace}, " + part[flow.end() :]
    block = re.search(r"(?m)^metadata:[ \t]*\n((?:[ \t]+[^\n]*\n?|[ \t]*\n)+)", part)
    if block is None:
        return part
    body = block.group(1)
    indent = re.match(r"[ \t]+", body)
    spaces = indent.group(0) if indent else "  "
    named = re.search(rf"(?m)^{spaces}namespace:[^\n]*", body)
    line = f"{spaces}namespace: {namespace}"
    changed = body[: named.start()] + line + body[named.end() :] if named else f"{line}\n{body}"
    return part[: block.start(1)] + changed + part[block.end(1) :]


def render(result: dict[str, Any]) -> str:
    """Return the result for a person."""
    if not result["incidents"]:
        return str(result["message"])
    parts = []
    for row in result["incidents"]:
        lines = ["", f"incident {result['namespace']}/{row['incident']}"]
        lines += [f"  {entry['phase']:<28} {entry['seconds']:>8.2f} s" for entry in row["phases"]]
        lines += [
            f"  class         {row['class']} (confidence {row['confidence']}, by {row['by']})",
            f"  cause         {row['cause']}",
            f"  ticket        {row['ticket']}",
            f"  pull request  {row['pullRequest']}",
            f"  model         {row['modelCalls']} calls, cost {row['cost']}",
            f"  healthy       {'yes' if row['healthy'] else 'no'}",
        ]
        if row["message"]:
            lines.append(f"  message       {row['message']}")
        if row["diff"]:
            lines += ["", *(f"  {line}" for line in row["diff"].splitlines())]
        parts.append("\n".join(lines))
    return "\n".join(parts)
