"""``selfheal incident watch|diff|evidence``: follow an incident and read what it rests on."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from selfheal import wiring
from selfheal.api.evidence import DocumentType
from selfheal.api.incident import Incident, Phase
from selfheal.cli.incident import find_key, in_namespace, incident, with_runtime
from selfheal.domain import errors

ENDS = {Phase.INCIDENT_RESOLVED: 0, Phase.INCIDENT_REQUIRES_HUMAN: 2}
"""Where a watch ends, and its exit code."""

LOOK_SECONDS = 1.0


@incident.command()
@click.argument("name")
@in_namespace
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds after which it gives up.")
def watch(name: str, namespace: str, timeout: float | None) -> None:
    """Follow an incident, a line for each change, until it ends or needs a person.

    Exit code 0: resolved; 2: a person is needed; 1: not within the time-out.
    """
    ended = with_runtime(lambda runtime: _follow(runtime, find_key(name, namespace), timeout))
    if ended is None:
        raise click.ClickException(f"not at its end within {timeout:.0f} s")
    sys.exit(ENDS[ended])


async def _follow(runtime: wiring.Runtime, key: str, at_most: float | None) -> Phase | None:
    clock, shown = runtime.deps.clock, ""
    begun = clock.monotonic()
    while True:
        found = await runtime.deps.store.get_incident(key)
        line = _render_change(found)
        if line != shown:
            click.echo(f"{clock.now():%H:%M:%S}  {line}")
            shown = line
        if found.status.phase in ENDS:
            return found.status.phase
        if at_most is not None and clock.monotonic() - begun >= at_most:
            return None
        await clock.sleep(LOOK_SECONDS)


def _render_change(found: Incident) -> str:
    return f"{found.status.phase or '-':<28} {found.status.message}"


@incident.command()
@click.argument("name")
@in_namespace
def diff(name: str, namespace: str) -> None:
    """Print the change that an incident proposes, as a unified diff."""
    key = find_key(name, namespace)
    click.echo(with_runtime(lambda runtime: read_diff(runtime, key)), nl=False)


async def read_diff(runtime: wiring.Runtime, key: str) -> str:
    """Return the proposed diff; NotFound where nothing is proposed."""
    found = await runtime.deps.store.get_incident(key)
    fix = found.status.fix
    if fix is not None and fix.preview:
        return f"{fix.preview.rstrip()}\n"
    ref = fix.proposal_ref if fix is not None else None
    stored = await runtime.deps.store.find_document(found.metadata.namespace, ref) if ref else None
    text = stored.content.get("proposal", {}).get("diff", "") if stored is not None else ""
    if not text:
        raise errors.NotFound(f"{key} proposes no change ({found.status.phase})")
    return f"{text.rstrip()}\n"


@incident.command()
@click.argument("name")
@in_namespace
@click.option("--type", "kind", type=click.Choice([one.value for one in DocumentType]))
@click.option("--json", "as_json", is_flag=True, help="Print the documents whole, as JSON.")
def evidence(name: str, namespace: str, kind: str | None, *, as_json: bool) -> None:
    """List the documents of an incident: evidence, proposals, transcripts of models."""
    key = find_key(name, namespace)
    space, _, plain = key.partition("/")
    found = with_runtime(lambda runtime: runtime.deps.store.list_documents(space, plain))
    chosen = [one for one in found if kind in (None, one.type.value)]
    if as_json:
        wire = [
            {"name": one.name, "type": one.type.value, "content": one.content} for one in chosen
        ]
        click.echo(json.dumps(wire, indent=2, default=str))
        return
    for one in chosen:
        click.echo(
            f"{one.name:<64} {one.type.value:<12} run {one.run} attempt {one.attempt}  "
            f"{_summarise(one.content)}"
        )


def _summarise(content: Any) -> str:
    items = content.get("bundle", {}).get("items", content.get("items", ()))
    if items:
        return f"{len(items)} items"
    return ", ".join(sorted(content))[:80]
