"""``selfheal once``: step every incident until it must wait, then say how things stand."""

from __future__ import annotations

import asyncio
import json
import pathlib
import sys
import time
from typing import Any

import click

from selfheal import logs, wiring
from selfheal.api.incident import Incident, Phase, Priority
from selfheal.cli import environment
from selfheal.domain import errors
from selfheal.engine.step import step
from selfheal.handlers import intake
from selfheal.intake.admission import Admission
from selfheal.settings import Settings

STEPS_AT_MOST = 200
WAITS_FOR_PEOPLE = frozenset(
    {Phase.PR_CREATED, Phase.PR_UNDER_REVIEW, Phase.INCIDENT_REQUIRES_HUMAN}
)


async def run_once(settings: Settings, namespace: str) -> dict[str, Any]:
    """Step all incidents of a namespace until each waits; return the documented result."""
    started = time.monotonic()
    runtime = await wiring.build(settings)
    failures: list[str] = []
    try:
        runtime = await runtime.identify()
        admission = Admission(runtime.deps.store, runtime.deps.clock)
        failures += await intake.build_rounds(runtime, admission, settings).poll_once()
        found = await runtime.deps.store.list_incidents(namespace)
        await asyncio.gather(*(_run_one(runtime, incident.key, failures) for incident in found))
        ended = await runtime.deps.store.list_incidents(namespace)
    finally:
        await runtime.close()
    return render_result(ended, failures, time.monotonic() - started)


async def _run_one(runtime: wiring.Runtime, key: str, failures: list[str]) -> None:
    for _ in range(STEPS_AT_MOST):
        requeue = await step(key, runtime.deps)
        if requeue.forget or requeue.after is None or requeue.after > 1:
            return
        await runtime.deps.clock.sleep(requeue.after)
    failures.append(f"{key}: did not come to rest within {STEPS_AT_MOST} steps")


def render_result(
    incidents: list[Incident] | Any, failures: list[str], duration: float
) -> dict[str, Any]:
    """Return success, incidents, counts, errors, usage and duration (seconds) as plain values."""
    phases: dict[str, int] = {}
    usage = {"modelCalls": 0, "inputTokens": 0, "outputTokens": 0, "cost": 0.0}
    rows = []
    for incident in incidents:
        status = incident.status
        phases[str(status.phase)] = phases.get(str(status.phase), 0) + 1
        usage["modelCalls"] += status.usage.model_calls
        usage["inputTokens"] += status.usage.input_tokens
        usage["outputTokens"] += status.usage.output_tokens
        usage["cost"] += status.usage.cost
        rows.append(
            {
                "name": incident.key,
                "phase": status.phase,
                "message": status.message,
                "class": status.diagnosis.class_ if status.diagnosis else None,
                "ticket": status.ticket.key if status.ticket else None,
                "pullRequest": status.pull_request.url if status.pull_request else None,
            }
        )
    return {
        "success": not failures,
        "incidents": rows,
        "counts": phases,
        "errors": failures,
        "usage": usage,
        "duration": round(duration, 3),
    }


@click.command()
@click.option("--namespace", default="production", help="Kubernetes namespace to monitor.")
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.HIGH.value,
    help="Minimum priority of tickets taken in (default: High); applied incidents always are.",
)
@click.option("--keywords", help="Comma-separated keywords of tickets taken in.")
@click.option("--dry-run", is_flag=True, help="Analyse, but write nothing outside.")
@click.option(
    "--log-level", type=environment.LEVELS, default="INFO", help="Logging level (default: INFO)."
)
@click.option("--log-dir", type=click.Path(path_type=pathlib.Path), default="logs")
@click.option(
    "--config-path",
    type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False),
    help="Folder with self_heal_agents.yaml and self_heal_tasks.yaml.",
)
@click.option("--output-file", type=click.Path(path_type=pathlib.Path), help="Result as JSON.")
def once(
    *,
    namespace: str,
    priority: str,
    keywords: str | None,
    dry_run: bool,
    log_level: str,
    log_dir: pathlib.Path,
    config_path: pathlib.Path | None,
    output_file: pathlib.Path | None,
) -> None:
    """Process incidents once: exit 0 all well, 2 some need a person, 1 error."""
    settings = environment.load_settings(
        log_level=log_level, log_dir=log_dir, dry_run=dry_run, config_path=config_path,
        intake_namespace=namespace, intake_priority=priority, intake_keywords=keywords,
    )  # fmt: skip
    logs.configure(log_level, log_dir)
    try:
        result = asyncio.run(run_once(settings, namespace))
    except errors.SelfHealError as error:
        raise click.ClickException(str(error)) from error
    text = json.dumps(result, indent=2, default=str)
    if output_file is not None:
        output_file.write_text(text)
    click.echo(text)
    if not result["success"]:
        sys.exit(1)
    waits = any(row["phase"] in WAITS_FOR_PEOPLE for row in result["incidents"])
    sys.exit(2 if waits else 0)
