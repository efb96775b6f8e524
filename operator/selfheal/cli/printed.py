"""``selfheal crd`` and ``selfheal completion``: texts that other tools read."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from selfheal.api import crdgen

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinitions of this version: selfheal crd | kubectl apply -f -."""
    click.echo("---\n".join(text for text in crdgen.render_crds().values()), nl=False)


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: source <(selfheal completion bash)."""
    root = context.find_root().command
    made = SHELLS[shell](root, {}, "selfheal", "_SELFHEAL_COMPLETE")
    click.echo(made.source())
