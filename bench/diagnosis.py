"""Accuracy and time of diagnosis over the fault library, and of scans; real cluster.

Rules only, or with ``--model-url`` and ``--model`` also what a model makes of the same evidence.

Prints a table; ``--json FILE`` writes the figures. Starts the cluster by itself. Single diagnoses
are timed one by one while the node starts what the other faults need; nothing is cached between.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import datetime as dt
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.faults import judging, library, running, scanning  # noqa: E402
from tests.evals import __main__ as evals  # noqa: E402
from tests.evals import incidents  # noqa: E402

PLANTED = {
    "injections_reaching_effect": (
        "tests/unit/agents/test_planted_instructions.py",
        "planted instructions",
    ),
    "leaks": ("tests/scenario/test_credentials.py", "searches for a planted credential in a sink"),
}


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end from outside cleans up, too
    words = parse_words()
    subprocess.run(
        [sys.executable, "-m", "hack.cluster", "up"], cwd=ROOT, check=True, stdout=sys.stderr
    )
    faults = [
        fault
        for fault in library.load_all()
        if not words.only or any(fault.name.startswith(one) for one in words.only)
    ]
    verdicts: list[tuple[running.Result, judging.Verdict]] = []

    def note(result: running.Result) -> None:
        verdicts.append((result, judging.judge(result)))
        if words.save and result.looks:
            incidents.save(result, words.save)
        if words.score:
            words.score.write_text(render(verdicts))

    if words.model_url and words.save is None:
        words.save = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-incidents-"))
    asyncio.run(running.run(faults, say=say, rounds=words.rounds, at_once=words.at_once, note=note))
    verdicts.sort(key=lambda one: one[0].fault.name)
    text = render(verdicts)
    print(text)
    if words.score:
        words.score.write_text(text)
    figures = compute_figures(verdicts)
    if not words.only:
        for name, namespaces in (("scan_8_faults_s", 1), ("scan_35_namespaces_s", 35)):
            scan = asyncio.run(measure_scan(namespaces))
            found = f"{scan.found} of {len(scan.wanted)} classes right, {len(scan.rows)} entries"
            figures[name] = (round(statistics.median(scan.seconds), 3), f"s, median of 5; {found}")
    if not words.only:
        for name, (suite, what) in PLANTED.items():
            figures[name] = count(suite, what)
    if words.model_url:
        asked = asyncio.run(ask_model(words))
        figures |= {f"model_{name}": (one["value"], one["unit"]) for name, one in asked.items()}
    for name, (value, unit) in figures.items():
        print(f"{name:<28} {value} {unit}")
    if words.json:
        shaped = {name: {"value": value, "unit": unit} for name, (value, unit) in figures.items()}
        words.json.write_text(json.dumps({"figures": shaped}, indent=2))
    return 0


async def measure_scan(namespaces: int) -> scanning.Scan:
    async with running.field(say) as ground:
        return await scanning.measure(ground, namespaces=namespaces)


def count(suite: str, what: str) -> tuple[int, str]:
    """Run the tests that plant something; how often it came through, of how many tries."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [sys.executable, "-m", "pytest", "-q", suite, f"--junitxml={report.name}"]
        subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr)
        found = xml.etree.ElementTree.parse(report.name).iter("property")
        totals: collections.Counter[str] = collections.Counter()
        for one in found:
            totals[one.attrib["name"]] += int(one.attrib["value"])
    return totals["succeeded"], f"of {totals['tried']} {what}"


async def ask_model(words: argparse.Namespace) -> dict[str, Any]:
    """What the agents make of the evidence that the rules saw: accuracy, tokens, cost, time."""
    chosen = incidents.load_all(words.save)
    more = {"url": words.model_url, "key": os.environ.get("OPENAI_API_KEY"), "runs": 1}
    asked = argparse.Namespace(**{**vars(words), **more})
    return evals.compute_figures(await evals.run(chosen, asked))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of names of faults; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="diagnoses of each fault")
    parser.add_argument("--score", type=pathlib.Path, help="write the table with what went wrong")
    parser.add_argument("--save", type=pathlib.Path, help="folder for incidents of tests/evals")
    parser.add_argument("--model-url", help="endpoint, for example http://host:8091/v1")
    parser.add_argument("--model", help="its name; OPENAI_API_KEY is its key, if any")
    parser.add_argument("--input-price", type=float, default=0.0, help="of a million tokens")
    parser.add_argument("--output-price", type=float, default=0.0, help="of a million tokens")
    parser.add_argument("--at-once", type=int, default=running.AT_ONCE)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


Judged = Sequence[tuple[running.Result, judging.Verdict]]


def render(verdicts: Judged) -> str:
    """A table of classes, then each fault that is not right, with its evidence."""
    rows: dict[str, list[judging.Verdict]] = collections.defaultdict(list)
    for result, verdict in verdicts:
        rows[result.fault.class_].append(verdict)
    lines = [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M}",
        "",
        f"{'class':<26} {'n':>3} {'class':>6} {'cause':>6} {'target':>7} {'quiet':>6} {'same':>5}",
    ]
    for name, of_class in sorted(rows.items()):
        counts = [
            sum(getattr(one, what) for one in of_class)
            for what in ("class_right", "cause_right", "target_right", "quiet", "repeatable")
        ]
        lines.append(
            f"{name:<26} {len(of_class):>3} {counts[0]:>6} {counts[1]:>6} {counts[2]:>7} "
            f"{counts[3]:>6} {counts[4]:>5}"
        )
    for result, verdict in verdicts:
        state = "WRONG" if verdict.problems else "right"
        lines.append(f"\n## {result.fault.name}: {state}")
        lines += [f"  - {problem}" for problem in verdict.problems]
        if verdict.problems and result.looks:
            look = result.looks[0]
            lines += [
                f"    finding: {judging.describe(one, look.failing)}" for one in look.findings
            ]
            lines.append(f"    {look.seconds:.2f} s")
            lines.append(judging.summarise(look.bundle))
        elif result.looks:
            look = result.looks[0]
            best = look.findings[0] if look.findings else None
            lines.append(f"    {judging.describe(best, look.failing)} ({look.seconds:.2f} s)")
    return "\n".join(lines) + "\n"


def compute_figures(verdicts: Judged) -> dict[str, tuple[float, str]]:
    number = len(verdicts)
    shown = [one for one in verdicts if not one[0].trouble]
    seconds = sorted(look.seconds for result, _ in shown for look in result.looks)
    idle = [verdict for result, verdict in verdicts if result.fault.action != "fix"]
    return {
        "faults": (number, "faults"),
        "class_accuracy": (share(one.class_right for _, one in verdicts), "share"),
        "cause_accuracy": (share(one.cause_right for _, one in verdicts), "share"),
        "all_of_rounds_same": (share(one.repeatable for _, one in verdicts), "share"),
        "raised_for_healthy": (sum(not one.quiet for _, one in verdicts), "faults"),
        "wrong_fix_on_no_action": (sum(one.wrong_fix for one in idle), f"of {len(idle)}"),
        "evidence_to_finding_p50_s": (round(statistics.median(seconds), 3), "s"),
        "evidence_to_finding_p95_s": (round(percentile(seconds, 0.95), 3), "s"),
    }


def share(values: collections.abc.Iterable[bool]) -> float:
    listed = list(values)
    return round(sum(listed) / len(listed), 3)


def percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


if __name__ == "__main__":
    sys.exit(main())
