"""Time and calls a phase over 20 incidents of mixed classes, on the real cluster and the sandbox.

The first of each class lives alone, so that every call in its time is known to be its own; the
others live several at once. Prints tables; ``--json FILE`` writes the figures. Starts what it needs
by itself; what is up stays.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hack import world  # noqa: E402

from bench import calls, watching  # noqa: E402
from selfheal.api.incident import Phase  # noqa: E402
from selfheal.cli import trial  # noqa: E402

CASES = ("oom", "bad-tag", "wrong-repository", "wrong-probe")
AT_ONCE = 4
PATIENCE = 300.0
LOOK = 2.0
"""Seconds between two looks of a trial by kubectl; more often, the looks take what is measured."""
SYSTEMS = ("kubernetes", "jira", "github", "model")
CHAIN = [phase.value for phase in Phase if phase is not Phase.INCIDENT_REQUIRES_HUMAN]
ANALYSED = Phase.ANALYSIS_COMPLETE.value
ANALYSIS = CHAIN[: CHAIN.index(ANALYSED)]
Figures = dict[str, tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Incident:
    """One incident, as its trial reported it and as the watch saw it."""

    case: str
    row: dict[str, Any]
    life: watching.Life
    namespace: str
    begun: float
    ended: float

    def seconds(self) -> dict[str, float]:
        """Return how long it stayed in each phase that it left."""
        entered = self.life.entered()
        moments = [*entered.values()]
        return {
            phase: later - at
            for phase, at, later in zip(entered, moments, moments[1:], strict=False)
        }

    def to_analysis(self) -> float | None:
        """Return the time from ``kubectl apply`` to ANALYSIS_COMPLETE."""
        at = self.life.entered().get(ANALYSED)
        return at - self.life.applied if at is not None else None


def prepare() -> None:
    """Bring cluster, image and sandbox up, and install the operator."""
    for words in (
        ["hack.cluster", "up"],
        ["hack.cluster", "operator-image"],
        ["hack.sandbox", "up"],
    ):
        subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=True, stdout=sys.stderr)
    world.install(namespaces=["production"], say=say)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def live(sandbox: trial.Sandbox, watch: watching.Watch, case: str, namespace: str) -> Incident:
    """Let one incident live from its folder to its end."""
    begun = time.time()
    result = trial.run(
        sandbox, ROOT / "examples" / case, namespace=namespace, approve=True, timeout=PATIENCE,
        say=lambda text: None,
    )  # fmt: skip
    (row,) = result["incidents"]
    life = watch.lives[namespace, row["incident"]]
    say(f"  {namespace:<14} {case:<18} {row['class']} {row['phase']} {time.time() - begun:.0f} s")
    return Incident(case, row, life, namespace, begun, time.time())


def live_all(sandbox: trial.Sandbox, watch: watching.Watch, number: int) -> list[Incident]:
    """Let the first of each class live alone, then the others several at once."""
    lives = [(CASES[n % len(CASES)], f"bench-{os.getpid()}-{n}") for n in range(number)]
    try:
        alone = [live(sandbox, watch, *one) for one in lives[: len(CASES)]]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            return alone + list(
                pool.map(lambda one: live(sandbox, watch, *one), lives[len(CASES) :])
            )
    finally:
        for _, namespace in lives:
            trial.clear(sandbox, namespace)


def count_calls(
    alone: Sequence[Incident], box: dict[str, str]
) -> collections.Counter[tuple[str, str]]:
    """Return the calls of incidents that lived alone, by phase and system."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for one in alone:
        status = one.life.status
        subject = calls.Subject(
            namespace=one.namespace,
            uid=(status.get("identity") or {}).get("uid", ""),
            ticket=status.get("ticket") or {},
            pull=(status.get("pullRequest") or {}).get("number"),
            begun=one.life.applied,
            ended=one.ended,
        )
        made = calls.collect(subject, box)
        found += calls.count_by_phase(made, one.life.entered())
        for phase, number in watching.count_model_calls(one.life).items():
            found[phase, "model"] += number
    return found


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def show_phases(
    incidents: Sequence[Incident], made: collections.Counter[tuple[str, str]], alone: int
) -> None:
    """Print seconds and calls a phase."""
    print(f"\n{'':<28} {'':>4} {'seconds':>16}   calls of an incident alone")
    heads = " ".join(f"{name:>10}" for name in SYSTEMS)
    print(f"{'phase':<28} {'n':>4} {'p50':>8} {'p95':>8}  {heads}")
    for phase in CHAIN:
        spent = [one.seconds()[phase] for one in incidents if phase in one.seconds()]
        times = (
            f"{statistics.median(spent):>8.2f} {percentile(spent, 0.95):>8.2f}"
            if spent
            else f"{'':>17}"
        )
        row = " ".join(f"{made[phase, name] / alone:>10.1f}" for name in SYSTEMS)
        print(f"{phase:<28} {len(spent):>4} {times}  {row}")


def show_patches(incidents: Sequence[Incident]) -> None:
    """Print every kind of status patch up to ANALYSIS_COMPLETE, and how many incidents wrote it."""
    kinds = collections.Counter(
        patch.describe() for one in incidents for patch in one.life.up_to(ANALYSED)
    )
    print(f"\nstatus patches up to {ANALYSED}")
    for what, number in kinds.items():
        print(f"{number:>4}  {what}")


def compute_figures(
    incidents: Sequence[Incident], made: collections.Counter[tuple[str, str]], alone: int
) -> Figures:
    """Return the figures; a system whose journal says nothing is left out."""
    analysed = [spent for one in incidents if (spent := one.to_analysis()) is not None]
    patches = [len(one.life.up_to(ANALYSED)) for one in incidents]
    resolved = sum(one.row["resolved"] for one in incidents)
    found: Figures = {
        "apply_to_analysis_p50_s": (round(statistics.median(analysed), 3), "s"),
        "apply_to_analysis_p95_s": (round(percentile(analysed, 0.95), 3), "s"),
        "status_patches_to_analysis_max": (max(patches), "patches"),
        "incidents_resolved": (resolved, f"of {len(incidents)}"),
    }
    for name in SYSTEMS:
        total = sum(number for (_, system), number in made.items() if system == name)
        if total or name == "model":
            found[f"{name}_calls_per_incident"] = (round(total / alone, 1), "calls, alone")
            begun = sum(made[phase, name] for phase in ANALYSIS)
            found[f"{name}_calls_to_analysis"] = (round(begun / alone, 1), "calls, alone")
    for phase in CHAIN[:-1]:
        spent = [one.seconds()[phase] for one in incidents if phase in one.seconds()]
        if spent:
            found[f"{phase.lower()}_p50_s"] = (round(statistics.median(spent), 3), "s")
            found[f"{phase.lower()}_p95_s"] = (round(percentile(spent, 0.95), 3), "s")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=20)
    parser.add_argument("--json", type=pathlib.Path)
    words = parser.parse_args()
    prepare()
    box = world.sandbox()
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    trial.POLL = LOOK
    watch = watching.Watch()
    try:
        incidents = live_all(sandbox, watch, words.incidents)
    finally:
        watch.close()
    alone = incidents[: len(CASES)]
    made = count_calls(alone, box)
    show_phases(incidents, made, len(alone))
    show_patches(incidents)
    figures = compute_figures(incidents, made, len(alone))
    print()
    for name, (value, unit) in figures.items():
        print(f"{name:<36} {value} {unit}")
    if words.json:
        shaped = {name: {"value": value, "unit": unit} for name, (value, unit) in figures.items()}
        words.json.write_text(json.dumps({"figures": shaped}, indent=2) + "\n")
    return 0 if figures["incidents_resolved"][0] == len(incidents) else 1


if __name__ == "__main__":
    sys.exit(main())
