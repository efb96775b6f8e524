"""``selfheal operator``: the long-running operator."""

from __future__ import annotations

import asyncio
import pathlib

import click

from selfheal import logs
from selfheal.api.incident import Priority
from selfheal.cli import environment
from selfheal.domain import errors
from selfheal.handlers import runner


@click.command()
@click.option("--log-level", type=environment.LEVELS, help="Logging level (default: INFO).")
@click.option("--log-dir", type=click.Path(path_type=pathlib.Path), help="Folder for log files.")
@click.option(
    "--poll-interval", type=float, help="Seconds between polls for new tickets (default: 300)."
)
@click.option("--namespace", "intake_namespace", help="Take tickets in for this namespace only.")
@click.option(
    "--priority",
    "intake_priority",
    type=click.Choice([priority.value for priority in Priority]),
    help="Least priority of tickets taken in (default: High); applied incidents always are.",
)
@click.option("--keywords", "intake_keywords", help="Comma-separated; any must occur in a ticket.")
@click.option("--read-only", is_flag=True, help="Stop every outside write.")
@click.option("--dry-run", is_flag=True, help="Analysis only, for all incidents.")
@click.option(
    "--config-path",
    type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False),
    help="Folder with self_heal_agents.yaml and self_heal_tasks.yaml.",
)
def operator(**flags: object) -> None:
    """Watch incidents and heal them until stopped."""
    settings = environment.load_settings(**flags)
    logs.configure(settings.log_level, settings.log_dir)
    try:
        asyncio.run(runner.run_operator(settings))
    except errors.SelfHealError as error:
        raise click.ClickException(str(error)) from error
