"""Field references of the kinds, made from the models: `python hack/docgen.py [--check]`.

Everything between the markers of docs/incident.md and docs/policy.md is written; --check only compares.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- generated: fields -->", "<!-- end of generated -->"
PAGES = {
    "docs/incident.md": "crds/selfhealingincidents.yaml",
    "docs/policy.md": "crds/selfhealingpolicies.yaml",
}


def read_schema(path: pathlib.Path) -> dict[str, Any]:
    crd = yaml.safe_load(path.read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def walk(schema: dict[str, Any], prefix: str) -> list[tuple[str, str, str, str]]:
    """Return path, type, default and description of every field below a schema."""
    rows = []
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}.{name}"
        item = field.get("items")
        shape = f"list of {item.get('type', 'any')}" if item else field.get("type", "any")
        if "enum" in field:
            shape = " \\| ".join(str(value) for value in field["enum"])
        default = "required" if name in required else render(field.get("default"))
        rows.append((path, shape, default, field.get("description", "").replace("|", "\\|").replace("\n", " ")))
        rows += walk(item or field, f"{path}[]" if item else path)
        extra = field.get("additionalProperties")
        if isinstance(extra, dict):
            rows += walk(extra, f"{path}.<name>")
    return rows


def render(value: Any) -> str:
    return "" if value is None else f"`{value}`"


def table(crd: str) -> str:
    schema = read_schema(ROOT / crd)
    lines = ["| field | type | default | what it is |", "| --- | --- | --- | --- |"]
    for part in ("spec", "status"):
        for path, shape, default, words in walk(schema["properties"][part], part):
            lines.append(f"| `{path}` | {shape} | {default} | {words} |")
    return "\n".join(lines)


def compute(page: str, crd: str) -> str:
    text = (ROOT / page).read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page}: the markers {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{table(crd)}\n\n{END}{after}"


def main() -> int:
    stale = [page for page, crd in PAGES.items() if (ROOT / page).read_text() != compute(page, crd)]
    if "--check" in sys.argv:
        for page in stale:
            print(f"{page} is not current: run python hack/docgen.py", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        (ROOT / page).write_text(compute(page, PAGES[page]))
        print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
