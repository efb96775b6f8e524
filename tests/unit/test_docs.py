"""Documents follow the code: every reason to stall has a row, every phase a section, fields are current."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

from selfheal.api.incident import Phase

ROOT = pathlib.Path(__file__).resolve().parents[2]
RAISED = {
    "Stall",
    "Stalled",
    "Unauthorized",
    "Forbidden",
    "Unreachable",
    "PolicyInvalid",
    "TransitionNotOffered",
    "ConfigError",
}
ROOT_CLASS = "Stalled"
"""The default of the base class; every place that raises the base class itself gives its own."""


def find_stall_reasons() -> set[str]:
    """Return every reason that the code can put into the condition Stalled."""
    found: set[str] = set()
    for path in (ROOT / "operator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name(node.func) in RAISED:
                values = [word.value for word in node.keywords if word.arg == "reason"]
                found |= {text for value in values for text in _texts(value)}
            if isinstance(node, ast.Assign) and _name(node.targets[0]) == "default_reason":
                found |= set(_texts(node.value))
    return found - {ROOT_CLASS, ""}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.expr) -> list[str]:
    """Return the constants that an expression may give; pieces of an f-string are none."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    whole = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return [node.value] if whole else []  # type: ignore[attr-defined]


def test_every_reason_to_stall_has_a_row_that_says_what_mends_it() -> None:
    rows = re.findall(
        r"(?m)^\| `(\w+)` \| (.+) \| (.+) \|$", (ROOT / "docs/runbook.md").read_text()
    )
    reasons = find_stall_reasons()
    assert "TargetNotFound" in reasons
    named = {reason for reason, _, _ in rows}
    assert reasons - named == set()
    sources = "".join(path.read_text() for path in (ROOT / "operator").rglob("*.py"))
    assert [reason for reason in named if f'"{reason}"' not in sources] == []
    assert all(len(meaning) > 10 and len(mend) > 10 for _, meaning, mend in rows)


def test_every_phase_is_told() -> None:
    text = (ROOT / "docs/phases.md").read_text()
    assert [phase.value for phase in Phase if f"`{phase.value}`" not in text] == []


def test_field_references_are_current() -> None:
    command = [sys.executable, "hack/docgen.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []
