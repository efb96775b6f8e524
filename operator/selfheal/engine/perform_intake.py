"""The effects of intake: what is asked or told in tickets that it does not take in."""

from __future__ import annotations

from collections.abc import Sequence

from selfheal import ports
from selfheal.api.incident import Incident
from selfheal.domain.facts import TicketFacts


async def ask_namespace(
    tracker: ports.IssueTracker, ticket: TicketFacts, namespaces: Sequence[str]
) -> None:
    """Ask which namespace is meant; the key makes it one comment however often it is repeated."""
    named = ", ".join(f"`{name}`" for name in namespaces)
    body = (
        "**Which namespace is meant?** Nothing in this ticket names one of those that the operator "
        f"serves ({named}), nor one workload of theirs. Name one in a comment, for example "
        f"`namespace: {namespaces[0]}`, and it is taken up at the next poll."
    )
    await tracker.ensure_comment(ticket.key, marker=f"ticket/{ticket.id}/ask", body=body)


async def name_incident(tracker: ports.IssueTracker, key: str, incident: Incident) -> None:
    """Tell who filed a further ticket about an open incident where it is followed, once."""
    followed = incident.status.ticket.key if incident.status.ticket else ""
    body = (
        f"**{followed} is about this already**, as incident `{incident.key}`. Both are not worked "
        f"on at once: this ticket is taken up when {followed} is resolved, and closed if the "
        "workload is well then."
    )
    await tracker.ensure_comment(
        key, marker=f"ticket/{key}/followed/{incident.metadata.uid}", body=body
    )
