"""Real faults on the real cluster: class, cause and target, silence about the healthy, no wrong fix.

A sample of the classes by default; ``SELFHEAL_FAULTS=all`` runs the whole library. All faults run at once, in namespaces
of their own; each test then looks at one result.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.contract import cluster_access
from tests.e2e.faults import judging, library, running, scanning

pytestmark = pytest.mark.e2e

WHOLE = os.environ.get("SELFHEAL_FAULTS") == "all"
FAULTS = [fault for fault in library.load_all() if WHOLE or fault.sample]
SHARE_RIGHT = 0.95
"""What the issue asks for: class and cause of the whole library."""


@pytest.fixture(scope="module")
def results(pytestconfig: pytest.Config) -> dict[str, running.Result]:
    """Run all faults and say how far it is."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(text, flush=True)

    say(f"\n  {len(FAULTS)} faults on the cluster, up to {running.AT_ONCE} at once")
    done = asyncio.run(running.run(FAULTS, say=say, rounds=3 if WHOLE else 1))
    return {result.fault.name: result for result in done}


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_fault(results: dict[str, running.Result], name: str) -> None:
    result = results[name]
    verdict = judging.judge(result)
    shown = judging.summarise(result.looks[0].bundle) if result.looks else "    (nothing was looked at)"
    if verdict.problems:
        pytest.fail("\n".join([result.fault.why, *verdict.problems, shown]), pytrace=False)


def test_the_share_that_is_right(results: dict[str, running.Result]) -> None:
    verdicts = [judging.judge(result) for result in results.values()]
    right = [one for one in verdicts if one.class_right and one.cause_right]
    assert len(right) >= SHARE_RIGHT * len(verdicts)
    assert not [name for name, result in results.items() if judging.judge(result).wrong_fix]


def test_a_scan_names_each_of_eight_faults_in_a_namespace_once() -> None:
    async def once() -> scanning.Scan:
        async with running.field(lambda text: None) as ground:
            return await scanning.measure(ground, namespaces=1, rounds=1)

    scan = asyncio.run(once())
    assert (scan.found, len(scan.rows)) == (8, 8), [(row.target, row.finding) for row in scan.rows]


@pytest.fixture(autouse=True, scope="module")
def cluster() -> None:
    """Refuse to start where no cluster answers."""

    async def answers() -> bool:
        api = await cluster_access.connect_or_none()
        if api is not None:
            await api.close()
        return api is not None

    if not asyncio.run(answers()):
        pytest.fail("no cluster answers: make cluster-up", pytrace=False)
