"""``selfheal audit``: who or what moved an incident, when, why, on whose evidence."""

from __future__ import annotations

import json

import click

from selfheal.cli.incident import with_runtime
from selfheal.engine import audit as engine


@click.command()
@click.argument("incident")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an entry a line.")
def audit(incident: str, *, as_json: bool) -> None:
    """Print one timeline of INCIDENT (NAMESPACE/NAME): its phases, ticket, reviews and delivery.

    Reads only. A system that cannot be asked is named at the end, and the exit code is 1.
    """
    found = with_runtime(lambda runtime: engine.read_timeline(incident, runtime.deps))
    for entry in found.entries:
        click.echo(_as_json(entry) if as_json else _as_line(entry))
    for missing in found.missing:
        click.echo(f"not asked: {missing}", err=True)
    if found.missing:
        raise SystemExit(1)


def _as_json(entry: engine.Entry) -> str:
    wire = {"at": entry.at.isoformat(), "system": entry.system, "by": entry.by}
    return json.dumps({**wire, "what": entry.what, "where": entry.where})


def _as_line(entry: engine.Entry) -> str:
    where = f"  [{entry.where}]" if entry.where else ""
    when = f"{entry.at:%Y-%m-%d %H:%M:%S}"
    return f"{when}  {entry.system:<12}  {entry.by:<16}  {entry.what}{where}"
