"""Fixes of the fault library, closed loop: incident, pull request, delivery, verification.

Needs the installed operator and the sandbox (``make demo`` or ``make test`` have started them).
Prints a table and the figures; ``--json FILE`` writes both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hack import world  # noqa: E402
from tests.e2e.faults import fix_rows, fixing  # noqa: E402


def main() -> int:
    # an end from outside cleans up, too: asyncio cancels the run once, and waits for what it clears
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    words = parse_words()
    os.environ.setdefault("KUBECONFIG", str(ROOT / ".cluster" / "kubeconfig"))
    cases = fixing.choose(layout=words.layout, only=words.only)
    if not cases:
        print("no fault has such a name", file=sys.stderr)
        return 2
    world.install(namespaces=["production"], say=say)
    rows = asyncio.run(fixing.run(cases, say=say, at_once=words.at_once))
    print(fix_rows.render(rows))
    if words.json:
        figures = {
            name: {"value": value, "unit": unit}
            for name, (value, unit) in fix_rows.compute_figures(rows).items()
        }
        written = {"figures": figures, "rows": [fix_rows.as_json(row) for row in rows]}
        words.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of faults' names")
    parser.add_argument("--layout", choices=("plain", "kustomize", "helm"))
    parser.add_argument("--at-once", type=int, default=fixing.AT_ONCE)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
