"""Effects on the ticket."""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal import ports
from selfheal.domain import errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import TicketFacts
from selfheal.domain.machine import mirrors
from selfheal.engine import messages, observe
from selfheal.engine.context import Context
from selfheal.engine.deps import require_tracker
from selfheal.engine.outcome import NO_USAGE, Outcome

SEARCH_LAG = dt.timedelta(minutes=2)
"""Jira's search index catches up within seconds to minutes (libraries.md, After a crash)."""


async def create_ticket(context: Context, effect: Effect) -> Outcome:
    """Open the ticket; after a cut-off attempt search by label first, until the index caught up."""
    tracker = require_tracker(context.systems)
    label = f"selfheal-{context.uid}"
    intent = context.status.intent
    if intent is not None and intent.key != context.fresh_intent:  # it may have been tried before
        found = await tracker.find_tickets_by_label(label)
        if found:
            oldest = min(found, key=lambda ticket: (len(ticket.id), ticket.id))
            return _claimed(oldest)
        if context.now - intent.at < SEARCH_LAG:
            raise errors.Waiting(
                "TicketSearch",
                "An earlier attempt to open the ticket was cut off; waits until the search index "
                "shows it.",
                after=dt.timedelta(seconds=5),
            )
    draft = ports.TicketDraft(
        summary=messages.render_title(context.incident.spec.summary),
        description=messages.render_ticket(
            context.incident, context.status, context.spec.cluster_name
        ),
        priority=context.incident.spec.priority,
        labels=tuple(sorted(mirrors.compute_ticket_labels(context.view()))),
        mirror=mirrors.compute_ticket_mirror(context.view()),
    )
    return _claimed(await tracker.create_ticket(draft))


def _claimed(ticket: TicketFacts) -> Outcome:
    return Outcome(facts={"ticket": ticket, "claimed": True}, ref=ticket.key)


async def claim_ticket(context: Context, effect: Effect) -> Outcome:
    """Adopt a ticket: the first selfheal-<uid> label in its changelog wins, the loser withdraws."""
    tracker = require_tracker(context.systems)
    ticket = _ticket(context)
    label = f"selfheal-{context.uid}"
    labels = mirrors.compute_ticket_labels(context.view())
    if label not in ticket.labels:
        await tracker.save_mirror(ticket, mirrors.compute_ticket_mirror(context.view()), labels)
        ticket = await tracker.get_ticket(ticket.id)
    owners = [
        name
        for name in ticket.label_history
        if name in ticket.labels and not name.startswith("selfheal-phase-")
    ]
    if owners and owners[0] != label:
        raise errors.Stalled(
            f"spec.ticketKey: {ticket.key} was taken by another incident ({owners[0]}).",
            reason="TicketNotAdopted", system="jira",
        )  # fmt: skip
    return _claimed(ticket)


def _ticket(context: Context) -> TicketFacts:
    if context.facts.ticket is None:
        raise errors.Conflict("the ticket was not read in this step")
    return context.facts.ticket


async def move_ticket(context: Context, effect: Effect) -> Outcome:
    """Transition by the status of the phase, then read the changelog that closes the intent."""
    tracker = require_tracker(context.systems)
    ticket = _ticket(context)
    if effect.to is None or context.status.identity is None:
        raise errors.Conflict("a move without a destination")
    statuses = context.status.identity.statuses[effect.to.value]
    if ticket.status.casefold() not in [name.casefold() for name in statuses]:
        await tracker.transition_ticket(ticket, statuses)
        ticket = await _read_moved(tracker, ticket)
    return Outcome(facts={"ticket": ticket})


async def _read_moved(tracker: ports.IssueTracker, ticket: TicketFacts) -> TicketFacts:
    """Read a ticket that was just moved; a fault leaves the intent open, for the move stands."""
    try:
        return await tracker.get_ticket(ticket.id)
    except errors.Stalled as error:
        raise errors.UnknownOutcome(
            f"{ticket.key} was moved, and could not be read afterwards: {error.message}",
            system=error.system,
        ) from error


async def save_mirror(context: Context, effect: Effect) -> Outcome:
    """Bring property and label up to date in one write; the next step reads what stands."""
    view, ticket = context.view(), _ticket(context)
    mirror, labels = mirrors.compute_ticket_mirror(view), mirrors.compute_ticket_labels(view)
    await require_tracker(context.systems).save_mirror(ticket, mirror, labels)
    foreign = {name for name in ticket.labels if not name.startswith("selfheal-")}
    written = dataclasses.replace(ticket, mirror=mirror, labels=labels | foreign)
    return Outcome(facts={"ticket": written})


async def comment(context: Context, effect: Effect) -> Outcome:
    """Say a milestone; the marker makes it one comment however often it is repeated."""
    tracker = require_tracker(context.systems)
    ticket = context.status.ticket
    if ticket is None or effect.milestone is None:
        raise errors.Conflict("a comment without a ticket or milestone")
    found = await observe.read_proposal(context)
    explanation, usage, degraded = effect.why, NO_USAGE, None
    if effect.milestone.value == "verification":
        report = await context.systems.crew.explain_deployment(
            cause=context.status.diagnosis.cause if context.status.diagnosis else "",
            checks=tuple(context.facts.checks or ()),
            events=(),
            spent=context.status.usage,
        )
        usage, degraded = report.usage, report.degraded
        explanation = report.answer.explanation if report.answer else ""
    body = messages.render_milestone(
        effect.milestone, context.incident, context.status,
        proposal=found["proposal"], explanation=explanation,
    )  # fmt: skip
    identity = await tracker.ensure_comment(
        ticket.key, marker=effect.key, body=body, public=context.spec.tracker.public_comments
    )
    if effect.milestone.value == "pull-request" and context.status.pull_request is not None:
        pull = context.status.pull_request
        await tracker.ensure_remote_link(
            ticket.key, global_id=f"selfheal={pull.url}", url=pull.url,
            title=f"{pull.repository}#{pull.number}",
        )  # fmt: skip
    if effect.milestone.value == "handover" and context.spec.escalation.assignee:
        await tracker.assign_ticket(ticket.key, context.spec.escalation.assignee)
    return Outcome(ref=identity, usage=usage, degraded=degraded)


async def link_duplicate(context: Context, effect: Effect) -> Outcome:
    """Link the ticket as a duplicate of the primary's, where the primary has one."""
    ticket, primary = context.status.ticket, context.status.duplicate_of
    if ticket is None or primary is None:
        raise errors.Conflict("a link without a ticket or primary")
    try:
        other = (await context.deps.store.get_incident(primary)).status.ticket
    except errors.NotFound as error:
        raise errors.Conflict(f"{primary} is gone") from error
    if other is None:
        return Outcome()
    await require_tracker(context.systems).ensure_ticket_link(ticket.key, other.key)
    return Outcome(ref=other.key)
