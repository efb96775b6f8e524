"""The counting behind bench/fixes.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.faults import fix_rows, fixing, library

DIFF = """--- a/apps/x/manifests.yaml
+++ b/apps/x/manifests.yaml
@@ -1,4 +1,5 @@
 kind: Deployment
-memory: 64Mi
+memory: 128Mi
 spec:
+  added: 1"""


def row(**said: Any) -> fix_rows.Row:
    return fix_rows.Row(**{"fault": "one", "layout": "plain", "action": "fix", **said})


HEALED = {"pull": 1, "merged": True, "phases": ["PR_MERGED", "INCIDENT_RESOLVED"]}


def test_a_replaced_line_counts_once() -> None:
    assert fix_rows.count_lines(DIFF) == 2


def test_needed_lines_are_those_of_the_twin_in_new_files_too() -> None:
    assert fix_rows.count_needed({"a": b"x\ny\n"}, {"a": b"x\nz\n", "b": b"one\ntwo\n"}) == 3


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (b"livenessProbe: {}\n", b"", ["livenessProbe was taken away"]),
        (b"image: web:1\n", b"image: web:latest\n", [r":latest\b was brought in"]),
        (b"image: web:latest\n", b"image: web:latest\n", []),
        (b"a: 1\n", b"a: 2  # no :latest here\n", []),
    ],
)
def test_what_guards_less_is_found(before: bytes, after: bytes, found: list[str]) -> None:
    assert fix_rows.find_weakened({"a": before}, {"a": after}) == found


@pytest.mark.parametrize(
    ("said", "verified", "wrong", "right"),
    [
        (HEALED, True, False, True),
        ({**HEALED, "still_failing": True}, False, True, False),
        ({**HEALED, "weakened": ["limits was taken away"]}, False, True, False),
        ({**HEALED, "phases": ["PR_MERGED", fix_rows.PERSON]}, False, True, False),
        ({**HEALED, "phases": ["PR_MERGED", fix_rows.PERSON], "taken_back": True}, False, False, False),
        ({**HEALED, "phases": ["PR_MERGED"], "taken_back": True}, False, True, False),
        ({"phases": [fix_rows.PERSON]}, False, False, False),
        ({"action": "none", "phases": [fix_rows.RESOLVED]}, False, False, True),
        ({"action": "hand-over", "pull": 3, "phases": [fix_rows.PERSON]}, False, True, False),
    ],
)
def test_a_row_is_judged(said: dict[str, Any], verified: bool, wrong: bool, right: bool) -> None:
    one = row(**said)
    assert (one.verified, one.wrong, one.right) == (verified, wrong, right)


def test_figures_and_table() -> None:
    rows = [
        row(**HEALED, lines=3, needed=2),
        row(fault="two", layout="helm", phases=[fix_rows.PERSON], stopped="NotMergeable", needed=1),
        row(fault="three", action="none", trouble="the symptom did not show"),
    ]
    figures = {name: value for name, (value, _) in fix_rows.compute_figures(rows).items()}
    assert figures == {
        "verified_fix_rate": 0.5, "wrong_fix_rate": 0.0, "lines_changed_over_needed": 1.5, "faults_not_shown": 1.0,
        "taken_back": 0.0, "steps_by_hand": 0.0,
        "verified_fix_rate_plain": 1.0, "verified_fix_rate_helm": 0.0,
    }  # fmt: skip
    shown = fix_rows.render(rows)
    assert "INCIDENT_REQUIRES_HUMAN: NotMergeable" in shown
    assert "the symptom did not show" in shown
    assert json.loads(json.dumps(fix_rows.as_json(rows[0])))["verified"] is True


def test_each_fix_runs_plain_and_a_third_in_both_layouts() -> None:
    cases = fixing.choose()
    fixes = {fault.name for fault in library.load_all() if fault.action == "fix"}
    plain = [fault for fault, layout in cases if layout == "plain"]
    assert fixes < {fault.name for fault in plain}
    assert sum(fault.action != "fix" for fault in plain) == fixing.IDLE
    assert {layout for _, layout in cases} == {"plain", "kustomize", "helm"}
    assert {fault.name for fault, _ in fixing.choose(sample=True)} == set(fixing.SAMPLE)


def test_secrets_do_not_go_to_git() -> None:
    kept, secrets = fixing.without_secrets("kind: A\n---\nkind: Secret\n---\nkind: B")
    assert (kept, secrets) == ("kind: A\n---\nkind: B", "kind: Secret")
