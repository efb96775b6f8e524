"""``selfheal operator``: the long-running operator."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import click
import pydantic

from selfheal import logs, runner
from selfheal.settings import LOG_LEVELS, Settings

LEVELS = click.Choice(LOG_LEVELS.strip("^$()").split("|"))


@click.command()
@click.option("--log-level", type=LEVELS, help="Logging level (default: INFO).")
@click.option("--log-dir", type=click.Path(path_type=pathlib.Path), help="Folder for log files.")
@click.option("--read-only", is_flag=True, help="Stop every outside write.")
@click.option("--dry-run", is_flag=True, help="Analysis only, for all incidents.")
@click.option(
    "--config-path",
    type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False),
    help="Folder with self_heal_agents.yaml and self_heal_tasks.yaml.",
)
def operator(**flags: object) -> None:
    """Watch incidents and heal them until stopped."""
    try:
        settings = Settings(**{k: v for k, v in flags.items() if v not in (None, False)})  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
        click.echo(f"selfheal operator: settings: {problems}", err=True)
        sys.exit(1)
    logs.configure(settings.log_level, settings.log_dir)
    asyncio.run(runner.run_operator(settings))
