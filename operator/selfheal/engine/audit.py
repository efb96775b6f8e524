"""Who or what moved an incident, when and why: incident, ticket, pull request in one timeline."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

from selfheal import redaction
from selfheal.api.incident import IncidentStatus, Phase
from selfheal.domain import errors
from selfheal.domain.facts import PullRequestFacts, TicketFacts
from selfheal.engine import escaping, setup
from selfheal.engine.deps import Deps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened; ``where`` is the evidence: a document, a commit or an address."""

    at: dt.datetime
    system: str  # incident, ticket, pull request, delivery
    by: str
    what: str
    where: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """All that is known, oldest first, and what could not be asked."""

    entries: tuple[Entry, ...]
    missing: tuple[str, ...] = ()


async def read_timeline(key: str, deps: Deps) -> Timeline:
    """Return the timeline of ``namespace/name``; reads only. A system that is down is named."""
    incident = await deps.store.get_incident(key)
    context = await setup.load(deps, incident)
    status, missing = incident.status, []
    ticket: TicketFacts | None = None
    pulls: list[PullRequestFacts] = []
    try:
        if status.ticket is not None and context.systems.tracker is not None:
            ticket = await context.systems.tracker.get_ticket(status.ticket.id)
    except (errors.SelfHealError, errors.NotFound) as error:
        missing.append(f"ticket: {error}")
    known, code = status.pull_request, context.systems.code
    numbers = [known.number] if known else []
    numbers += [status.revert.number] if known and status.revert else []
    for number in numbers:
        try:
            if known is not None and code is not None:
                pulls.append(await code.get_pull_request(known.repository, number))
        except (errors.SelfHealError, errors.NotFound) as error:
            missing.append(f"pull request {number}: {error}")
    return Timeline(entries=join(status, ticket, pulls), missing=tuple(missing))


def join(
    status: IncidentStatus, ticket: TicketFacts | None, pulls: list[PullRequestFacts]
) -> tuple[Entry, ...]:
    """Return the joined timeline, oldest first; texts of others in one redacted line. Pure."""
    found = [*_of_incident(status), *_of_delivery(status)]
    if ticket is not None:
        found += _of_ticket(ticket)
    for pull in pulls:
        found += _of_pull_request(pull, status)
    return tuple(sorted(map(_cleaned, found), key=lambda entry: entry.at))


def _cleaned(entry: Entry) -> Entry:
    return dataclasses.replace(
        entry,
        by=redaction.redact_text(escaping.line(entry.by)),
        what=redaction.redact_text(escaping.line(entry.what)),
    )


def _of_incident(status: IncidentStatus) -> Iterator[Entry]:
    evidence = {
        Phase.ANALYSIS_COMPLETE: status.diagnosis.evidence_ref if status.diagnosis else None,
        Phase.FIX_GENERATED: status.fix.proposal_ref if status.fix else None,
    }
    for move in status.history:
        what = f"{move.to}: {move.why}" if move.why else f"{move.to}"
        ref = evidence.get(move.to)
        where = f"shev/{ref}" if ref else ""
        yield Entry(at=move.at, system="incident", by=move.by, what=what, where=where)


def _of_delivery(status: IncidentStatus) -> Iterator[Entry]:
    deployment = status.deployment
    for move in status.history if deployment else ():
        if deployment and move.to is Phase.DEPLOYMENT_IN_PROGRESS:
            what = f"{deployment.strategy} of {deployment.revision}: {deployment.state}"
            where = deployment.url or ""
            yield Entry(
                at=move.at, system="delivery", by=deployment.strategy, what=what, where=where
            )


def _of_ticket(ticket: TicketFacts) -> Iterator[Entry]:
    for move in ticket.moves:
        what = f"{move.from_status} to {move.to_status}"
        yield Entry(
            at=move.at, system="ticket", by=move.by.name, what=what,
            where=f"{ticket.key} change {move.id}",
        )  # fmt: skip
    for comment in ticket.comments:
        if not comment.by.is_operator:
            yield Entry(
                at=comment.at, system="ticket", by=comment.by.name, what="commented",
                where=f"{ticket.key} comment {comment.id}",
            )  # fmt: skip


def _of_pull_request(pull: PullRequestFacts, status: IncidentStatus) -> Iterator[Entry]:
    for review in pull.reviews:
        what = f"review of {review.sha[:12]}: {review.state.value}"
        where = review.url or pull.url
        yield Entry(at=review.at, system="pull request", by=review.by.name, what=what, where=where)
    ours = status.pull_request is not None and status.pull_request.number == pull.number
    merged = [move.at for move in status.history if move.to is Phase.PR_MERGED]
    if ours and pull.merge_sha and merged:  # the host tells who and what, our history when
        yield Entry(
            at=merged[-1], system="pull request", by=pull.merged_by or "unknown",
            what=f"merged as {pull.merge_sha}", where=pull.url,
        )  # fmt: skip
