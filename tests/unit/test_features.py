"""docs/features.md tells the truth: what it calls done has a test that exists."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
STATUS = re.compile(r"done|issue [3-8]")


def read_rows(text: str) -> list[tuple[str, str, str]]:
    """Return feature, status and proof of every row below a head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in row) for row in rows]
    return [row for row in cells if row[0] != "feature" and set(row[0]) != {"-"}]  # type: ignore[misc]


def find_problem(row: tuple[str, ...]) -> str | None:
    """Return what is wrong with a row."""
    if len(row) != 3:
        return "a row has three cells"
    feature, status, proof = row
    if STATUS.fullmatch(status) is None:
        return f"{feature}: no status"
    if status != "done":
        return None
    found = NODE.fullmatch(proof)
    if found is None:
        return f"{feature}: done without a test"
    path, function = ROOT / found[1], found[2]
    if not path.is_file():
        return f"{feature}: there is no {found[1]}"
    names = {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return None if function in names else f"{feature}: {found[1]} has no {function}"


def test_every_feature_has_a_status_and_every_done_one_a_test() -> None:
    rows = read_rows((ROOT / "docs/features.md").read_text())
    assert len(rows) > 120
    assert [problem for row in rows if (problem := find_problem(row))] == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("a", "", ""), "no status"),
        (("a", "soon", ""), "no status"),
        (("a", "done", ""), "done without a test"),
        (("a", "done", "`tests/unit/test_nothing.py::test_a`"), "there is no"),
        (("a", "done", "`tests/unit/test_features.py::test_nothing`"), "has no test_nothing"),
        (("a", "done"), "three cells"),
    ],
)
def test_a_wrong_row_is_found(row: tuple[str, ...], problem: str) -> None:
    assert problem in str(find_problem(row))


def test_the_states_and_flags_of_the_original_all_have_a_row() -> None:
    text = (ROOT / "docs/features.md").read_text()
    words = [
        "INCIDENT_DETECTED",
        "ANALYSIS_IN_PROGRESS",
        "ANALYSIS_COMPLETE",
        "FIX_GENERATION_IN_PROGRESS",
        "FIX_GENERATED",
        "PR_CREATION_IN_PROGRESS",
        "PR_CREATED",
        "PR_UNDER_REVIEW",
        "PR_APPROVED",
        "PR_MERGED",
        "DEPLOYMENT_IN_PROGRESS",
        "DEPLOYMENT_COMPLETE",
        "VERIFICATION_IN_PROGRESS",
        "VERIFICATION_COMPLETE",
        "INCIDENT_RESOLVED",
        "INCIDENT_REQUIRES_HUMAN",
        "--poll-interval",
        "--namespace",
        "--priority",
        "--log-level",
        "--keywords",
        "--dry-run",
        "--config-path",
        "--output-file",
        "--help",
        "GITHUB_TOKEN",
        "ATLASSIAN_TOKEN",
        "ATLASSIAN_CLOUD_ID",
        "KUBECONFIG",
        "max_iter",
        "memory",
        "verbose",
        "allow_delegation",
        "self_healing_crew.log",
        "mcp_*.log",
        "test_self_heal.log",
        "self_heal_agents.yaml",
        "self_heal_tasks.yaml",
        "create_self_healing_crew",
    ]
    assert [word for word in words if word not in text] == []
