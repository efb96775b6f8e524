"""``selfheal rollback``: take the merged fix of an incident back."""

from __future__ import annotations

import click

from selfheal.cli.incident import with_runtime
from selfheal.engine import rollback as engine


@click.command()
@click.argument("incident")
@click.option("--yes", is_flag=True, help="Do it; without this it only says what it would do.")
def rollback(incident: str, *, yes: bool) -> None:
    """Take back the merged fix of INCIDENT (NAMESPACE/NAME).

    Opens the pull request that reverts it, and merges it where the repository lets the operator;
    else it says who has to. May be repeated.
    """
    if not yes:
        planned = with_runtime(lambda runtime: engine.plan(incident, runtime.deps))
        click.echo(f"Would take back {planned.pull_request}: {planned.summary}\n\n{planned.diff}")
        click.echo("Run it again with --yes to do it.")
        return
    done = with_runtime(lambda runtime: engine.roll_back(incident, runtime.deps))
    if done.revert is not None and done.revert.state == "Merged":
        click.echo(f"Taken back: {done.revert.url} is merged; delivery brings it to the cluster.")
    elif done.revert is not None:
        click.echo(
            f"Proposed: {done.revert.url}. The repository asks for a person's approval: approve "
            "and merge it there."
        )
