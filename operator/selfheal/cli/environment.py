"""Settings for a command: flags over the environment, and one clear line where they are wrong."""

from __future__ import annotations

import click
import pydantic

from selfheal.settings import LOG_LEVELS, Settings

LEVELS = click.Choice(LOG_LEVELS.strip("^$()").split("|"))


def load_settings(**flags: object) -> Settings:
    """Return the settings; flags that were not given (None, False) leave the environment's word.

    Raises click.ClickException that names each wrong field and never shows a value.
    """
    given = {name: value for name, value in flags.items() if value not in (None, False)}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{render_name(str(entry['loc'][0]))}: {entry['msg']}"
            for entry in error.errors(include_input=False, include_url=False)
        )
        raise click.ClickException(f"settings: {problems}") from error


def render_name(field: str) -> str:
    """Return the environment variable of a field; pure."""
    return field if field.isupper() else f"SELFHEAL_{field.upper()}"
