"""Fixes of the fault library in a closed loop on the real cluster: incident, pull request, delivery, verification.

A sample by default; ``SELFHEAL_FIXES=all`` runs every fault with a right fix in plain YAML, a third of them in Kustomize
and Helm too, and some for which nothing may be proposed. Several run at once; each test then looks at one row.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import pytest
from tests.e2e.faults import fix_rows, fixing

pytestmark = pytest.mark.e2e

WHOLE = os.environ.get("SELFHEAL_FIXES") == "all"
CASES = {f"{fault.name}-{layout}": (fault, layout) for fault, layout in fixing.choose(sample=not WHOLE)}
VERIFIED = 0.95
"""What the issue asks for: the verified share of the faults that have a right fix."""
Rows = Mapping[str, fix_rows.Row]


@pytest.fixture(scope="module")
def rows(pytestconfig: pytest.Config, installed: None) -> Rows:
    """Run all cases and say how far it is."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, flush=True)

    say(f"\n  {len(CASES)} incidents to their end, {fixing.AT_ONCE} at once")
    done = asyncio.run(fixing.run(list(CASES.values()), say=say))
    say(fix_rows.render(done))
    return dict(zip(CASES, done, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_incident(rows: Rows, name: str) -> None:
    row = rows[name]
    said = f"{row.phases} {row.trouble or row.stopped}\n{row.weakened or ''}\n{row.diff}"
    assert not row.wrong, said
    if not WHOLE:  # of the whole library the share below decides
        assert row.right, said


def test_the_share_that_is_verified(rows: Rows) -> None:
    figures = fix_rows.compute_figures(list(rows.values()))
    assert figures["verified_fix_rate"][0] >= VERIFIED, fix_rows.render(list(rows.values()))
    assert figures["wrong_fix_rate"][0] == 0
