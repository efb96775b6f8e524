"""``selfheal try FOLDER``: your own manifests with a fault, through the loop, on the sandbox."""

from __future__ import annotations

import json
import pathlib
import sys

import click

from selfheal.cli import trial, trial_manifests


@click.command("try")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--namespace", "-n", help="Namespace; default: made from the folder's name.")
@click.option("--approve", is_flag=True, help="Play the reviewer: approve the pull request.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for the whole.")
@click.option(
    "--sandbox",
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
    default=pathlib.Path(".cluster/sandbox.json"),
    show_default=True,
    help="Where the sandbox is; `make sandbox-up` writes it.",
)
def try_folder(
    *,
    folder: pathlib.Path,
    namespace: str | None,
    approve: bool,
    as_json: bool,
    timeout: float,
    sandbox: pathlib.Path,
) -> None:
    """Commit FOLDER to the sandbox repository, break the cluster with it, and follow its healing.

    Exit codes: 0 healthy and resolved, 2 a person is needed, 1 error.
    """
    say = (lambda text: click.echo(text, err=True)) if as_json else click.echo
    try:
        config = trial.Sandbox.load(sandbox)
        result = trial.run(
            config, folder, namespace=namespace, approve=approve, timeout=timeout, say=say
        )
    except trial_manifests.TrialError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result, indent=2) if as_json else trial_manifests.render(result))
    sys.exit(0 if all(row["resolved"] for row in result["incidents"]) else 2)
