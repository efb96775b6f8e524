"""``selfheal policy``: look at a policy before it is applied, or as it stands."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import click
import pydantic
import yaml

from selfheal.api import policy as api
from selfheal.cli.incident import with_runtime
from selfheal.domain import mapping


@click.group()
def policy() -> None:
    """Check policies."""


@policy.command()
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
)
def check(files: tuple[pathlib.Path, ...]) -> None:
    """Say what is wrong with the policies in FILES, by field; without FILES, with the cluster's.

    Files are checked without a cluster. Exit code 1 where something is wrong.
    """
    if files:
        found = {where: problems for file in files for where, problems in _check_file(file)}
    else:
        stored = with_runtime(lambda runtime: runtime.deps.store.list_policies())
        found = {one.metadata.name: mapping.check_policy(one.spec) for one in stored}
    if not found:
        raise click.ClickException(f"no {api.KIND} found")
    for where, problems in found.items():
        click.echo(f"{where}: {'wrong' if problems else 'valid'}")
        for problem in problems:
            click.echo(f"  spec.{problem}")
    if any(found.values()):
        raise SystemExit(1)


def _check_file(file: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
    try:
        documents = [
            one for one in yaml.safe_load_all(file.read_text()) if isinstance(one, Mapping)
        ]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: not YAML: {str(error).splitlines()[0]}") from error
    for document in documents:
        if document.get("kind") == api.KIND:
            name = (document.get("metadata") or {}).get("name", "?")
            yield f"{file}: {name}", check_spec(document.get("spec") or {})


def check_spec(spec: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a policy's spec, each with its field; pure."""
    try:
        return mapping.check_policy(api.PolicySpec.model_validate(spec))
    except pydantic.ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}"
            for entry in error.errors(include_input=False, include_url=False)
        ]
