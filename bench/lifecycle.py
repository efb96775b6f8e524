"""Times and calls a phase over 20 incidents of mixed classes, on the real cluster and the sandbox.

Prints a table; ``--json FILE`` writes the figures. Starts what it needs by itself.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import datetime as dt
import json
import pathlib
import statistics
import subprocess
import sys
import urllib.request
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hack import world  # noqa: E402

from selfheal.cli import trial  # noqa: E402

CASES = ("oom", "bad-tag", "wrong-repository", "wrong-probe")
AT_ONCE = 4


def prepare() -> None:
    """Bring cluster, image and sandbox up, and install the operator; what is up stays."""
    for words in (
        [sys.executable, "-m", "hack.cluster", "up"],
        [sys.executable, "-m", "hack.cluster", "operator-image"],
        [sys.executable, "-m", "hack.sandbox", "up"],
    ):
        subprocess.run(words, cwd=ROOT, check=True, stdout=sys.stderr)
    world.install(namespaces=["production"], say=lambda text: print(text, file=sys.stderr))


def measure(sandbox: trial.Sandbox, number: int) -> dict[str, Any]:
    """One incident from its folder to its end."""
    case = CASES[number % len(CASES)]
    space = f"bench-{number}"
    result = trial.run(
        sandbox,
        ROOT / "examples" / case,
        namespace=space,
        approve=True,
        timeout=300,
        say=lambda text: None,
    )
    (row,) = result["incidents"]
    at = {entry["phase"]: dt.datetime.fromisoformat(entry["at"]) for entry in row["phases"]}
    begun, analysed = at["INCIDENT_DETECTED"], at.get("ANALYSIS_COMPLETE")
    return {
        "case": case, "row": row,
        "to_analysis": (analysed - begun).total_seconds() if analysed else None,
    }  # fmt: skip


def requests_of(url: str) -> int:
    with urllib.request.urlopen(f"{url}/_sandbox/requests", timeout=10) as answer:
        return len(json.load(answer))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--incidents", type=int, default=20)
    parser.add_argument("--json", type=pathlib.Path)
    words = parser.parse_args()
    prepare()
    box = world.sandbox()
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    before = {name: requests_of(box[name]) for name in ("jira", "github")}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(lambda number: measure(sandbox, number), range(words.incidents)))
    calls = {name: requests_of(box[name]) - before[name] for name in before}
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    for entry in rows:
        for phase in entry["row"]["phases"]:
            seconds[phase["phase"]].append(phase["seconds"])
    print(f"{'phase':<28} {'n':>3} {'p50 s':>8} {'p95 s':>8}")
    for phase, values in seconds.items():
        p50, p95 = statistics.median(values), percentile(values, 0.95)
        print(f"{phase:<28} {len(values):>3} {p50:>8.2f} {p95:>8.2f}")
    for entry in rows:
        print(f"{entry['case']:<18} {entry['row']['class']:<18} {entry['row']['phase']}")
    analysed = [entry["to_analysis"] for entry in rows if entry["to_analysis"] is not None]
    resolved = sum(entry["row"]["resolved"] for entry in rows)
    figures = {
        "apply_to_analysis_p50_s": (round(statistics.median(analysed), 3), "s"),
        "apply_to_analysis_p95_s": (round(percentile(analysed, 0.95), 3), "s"),
        "incidents_resolved": (resolved, f"of {len(rows)}"),
        "jira_calls_per_incident": (round(calls["jira"] / len(rows), 1), "calls"),
        "github_calls_per_incident": (
            round(calls["github"] / len(rows), 1),
            "calls, with delivery's and the reviewer's",
        ),
    }
    for name, (value, unit) in figures.items():
        print(f"{name:<28} {value} {unit}")
    if words.json:
        shaped = {name: {"value": value, "unit": unit} for name, (value, unit) in figures.items()}
        words.json.write_text(json.dumps({"figures": shaped}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
