"""``selfheal incident move``: what a person does in the ticket, from the command line."""

from __future__ import annotations

import getpass
import uuid

import click

from selfheal import wiring
from selfheal.api.incident import Incident, Phase
from selfheal.cli.incident import find_key, in_namespace, incident, with_runtime
from selfheal.domain import errors, phases


@incident.command()
@click.argument("name")
@click.argument("phase", type=click.Choice([one.value for one in Phase], case_sensitive=False))
@in_namespace
def move(name: str, phase: str, namespace: str) -> None:
    """Move an incident's ticket to the status of PHASE; the operator obeys, as it obeys people.

    The ticket shows the account of the credentials; a comment says who ran the command. Without a
    tracker, the incident is marked instead.
    """
    key = find_key(name, namespace)
    click.echo(with_runtime(lambda runtime: move_incident(runtime, key, Phase(phase.upper()))))


async def move_incident(runtime: wiring.Runtime, key: str, phase: Phase) -> str:
    """Move the ticket, or mark the incident; return one line about it; repeated, a new move."""
    store = runtime.deps.store
    found = await store.get_incident(key)
    policy = await store.get_policy(found.spec.policy_ref)
    tracker = (await runtime.wiring.connect_policy(policy)).tracker
    nonce = uuid.uuid4().hex[:8]
    if tracker is None:
        await store.request_move(key, f"{phase}/{nonce}")
        return f"{key} is marked to go to {phase}; no tracker is configured"
    ticket = await tracker.get_ticket(_ticket_of(found))
    wanted = phases.resolve_statuses(policy.spec.tracker.statuses)[phase]
    if ticket.status in wanted:
        return f"{ticket.key} stands in {ticket.status!r} already"
    body = f"Moved to **{wanted[0]}** ({phase}) by `selfheal incident move`, run by `{_whoami()}`."
    await tracker.ensure_comment(ticket.key, marker=f"move/{nonce}", body=body)
    await tracker.transition_ticket(ticket, wanted)
    await store.poke_incident(key, nonce)
    return f"{ticket.key} moved from {ticket.status!r} to {wanted[0]!r}"


def _ticket_of(found: Incident) -> str:
    if found.status.ticket is None:
        raise errors.NotFound(f"{found.key} has no ticket yet")
    return found.status.ticket.id


def _whoami() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
