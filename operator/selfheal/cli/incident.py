"""``selfheal incident``: look at incidents and nudge them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from selfheal import logs, wiring
from selfheal.api.incident import Incident
from selfheal.cli import environment
from selfheal.domain import errors

T = TypeVar("T")


def with_runtime(work: Callable[[wiring.Runtime], Awaitable[T]]) -> T:
    """Do one piece of work with the installed adapters; what fails is said in a line."""
    settings = environment.load_settings()

    async def run() -> T:
        runtime = await wiring.build(settings)
        try:
            return await work(runtime)
        finally:
            await runtime.close()

    logs.configure("ERROR", None)
    try:
        return asyncio.run(run())
    except errors.NotFound as error:
        raise click.ClickException(f"not found: {error}") from error
    except errors.SelfHealError as error:
        raise click.ClickException(str(error)) from error


@click.group()
def incident() -> None:
    """List, show, watch, move and poke incidents."""


in_namespace = click.option("--namespace", "-n", default="default", help="Its namespace.")


def find_key(name: str, namespace: str) -> str:
    """Return ``namespace/name``, where the name may say its namespace itself."""
    return name if "/" in name else f"{namespace}/{name}"


def render_row(found: Incident) -> str:
    """Return one line about an incident."""
    status = found.status
    ticket = status.ticket.key if status.ticket else "-"
    class_ = status.diagnosis.class_ if status.diagnosis else "-"
    return f"{found.key:<40} {status.phase or '-':<28} {class_:<18} {ticket:<10} {status.message}"


@incident.command("list")
@click.option("--namespace", "-n", help="Only this namespace.")
def list_(namespace: str | None) -> None:
    """List incidents, a line each."""
    for found in with_runtime(lambda runtime: runtime.deps.store.list_incidents(namespace)):
        click.echo(render_row(found))


@incident.command()
@click.argument("name")
@in_namespace
def show(name: str, namespace: str) -> None:
    """Show an incident's status as JSON."""
    key = find_key(name, namespace)
    found = with_runtime(lambda runtime: runtime.deps.store.get_incident(key))
    click.echo(json.dumps(found.status.to_wire(), indent=2))


@incident.command()
@click.argument("name")
@in_namespace
def poke(name: str, namespace: str) -> None:
    """Make the operator look at an incident now."""
    nonce, key = uuid.uuid4().hex[:8], find_key(name, namespace)
    with_runtime(lambda runtime: runtime.deps.store.poke_incident(key, nonce))
    click.echo(f"{key} poked")
