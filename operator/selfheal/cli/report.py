"""``selfheal metrics`` and ``selfheal report``: figures about the incidents of the cluster."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence

import click

from selfheal.api import meta
from selfheal.cli.incident import with_runtime
from selfheal.domain import figures
from selfheal.domain.figures import ClassFigures
from selfheal.web.metrics import Meter, render_json

HEAD = (
    "class",
    "incidents",
    "fixed",
    "resolved",
    "handed over",
    "wrong",
    "diagnosed p50",
    "resolved p95",
    "cost",
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as /metrics.json does.")
def metrics(*, as_json: bool) -> None:
    """Print the figures that the operator serves at /metrics, of the incidents that there are.

    What a running operator counts of itself (steps, calls) is only there.
    """
    meter = Meter()
    meter.incidents = with_runtime(lambda runtime: runtime.deps.store.list_incidents())
    found = [one for one in render_json(meter.registry) if one["labels"]]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        labels = ",".join(f'{name}="{value}"' for name, value in one["labels"].items())
        click.echo(f"{one['name']}{{{labels}}} {one['value']:g}")


@click.command()
@click.option(
    "--since", default="30d", show_default=True, help="Incidents filed since, as 12h or 30d."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def report(since: str, *, as_json: bool) -> None:
    """Print counts, rates, times and cost of each class of incidents."""
    begin = dt.datetime.now(dt.UTC) - parse_since(since)
    incidents = with_runtime(lambda runtime: runtime.deps.store.list_incidents())
    found = figures.measure(incidents, since=begin)
    if as_json:
        wire = {"since": begin.isoformat(), "classes": [one.to_wire() for one in found]}
        click.echo(json.dumps(wire, indent=2))
    else:
        click.echo(render(found))


def parse_since(text: str) -> dt.timedelta:
    """Read a duration; days are allowed here."""
    try:
        if text.endswith("d"):
            return dt.timedelta(days=float(text[:-1]))
        return meta.parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no duration, as 12h or 30d") from error


def render(found: Sequence[ClassFigures]) -> str:
    """Return a table; pure."""
    rows = [HEAD, *(_row(one) for one in found)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(HEAD))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _row(one: ClassFigures) -> tuple[str, ...]:
    diagnosed, resolved = one.times["diagnosed"], one.times["resolved"]
    share = f"{one.fixed} ({one.fixed / one.incidents:.0%})"
    return (
        one.name, str(one.incidents), share, str(one.resolved), str(one.handed_over),
        str(one.failed_verifications), _seconds(figures.percentile(diagnosed, 50)),
        _seconds(figures.percentile(resolved, 95)), f"{one.cost:.2f}",
    )  # fmt: skip


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"
