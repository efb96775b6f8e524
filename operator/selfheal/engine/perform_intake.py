"""The one effect of intake: a question in a ticket that nobody can place."""

from __future__ import annotations

from collections.abc import Sequence

from selfheal import ports
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
