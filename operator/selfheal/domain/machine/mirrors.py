"""The mirrors of a phase on ticket and pull request, decided from facts."""

from __future__ import annotations

from selfheal.api.incident import Phase
from selfheal.domain.decisions import Act
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import TicketMirror
from selfheal.domain.view import View

LABEL_PREFIX = "selfheal/"

RELEASED = "selfheal-released"
"""Label of a ticket whose incident is gone; intake skips it."""


def compute_ticket_labels(view: View) -> frozenset[str]:
    """Return our labels of a ticket: who owns it, and the exact phase."""
    return frozenset({f"selfheal-{view.uid}", f"selfheal-phase-{view.phase}"})


def compute_ticket_mirror(view: View) -> TicketMirror:
    """Return the entity property of a ticket."""
    return TicketMirror(
        uid=view.uid,
        phase=view.phase,
        run=view.status.run,
        cluster=view.policy.cluster_name,
        cluster_uid=view.facts.policy.cluster_uid,
    )


def mirror_ticket(view: View) -> Act | None:
    """Return the write that brings property and label up to date, or None where they stand."""
    if not view.tracked or view.status.ticket is None:
        return None
    ticket = view.ticket()
    if ticket is None:
        return None
    ours = {label for label in ticket.labels if label.startswith("selfheal-")}
    wanted = compute_ticket_labels(view)
    if ticket.mirror == compute_ticket_mirror(view) and ours == wanted:
        return None
    return view.act(EffectKind.SAVE_TICKET_MIRROR)


def mirror_pull_request(view: View) -> Act | None:
    """Return the write that brings label and status block up to date, or None where they stand."""
    known = view.status.pull_request
    human = view.phase is Phase.INCIDENT_REQUIRES_HUMAN
    if known is None or view.dry or not (human or view.is_at_least(Phase.PR_CREATED)):
        return None
    pull = view.pull()
    if pull is None:
        return None
    labels = {label for label in pull.labels if label.startswith(LABEL_PREFIX)}
    block = render_status_block(view)
    if labels == {f"{LABEL_PREFIX}{view.phase}"} and block in pull.body.replace("\r\n", "\n"):
        return None
    return view.act(EffectKind.SAVE_PULL_REQUEST_MIRROR, number=pull.number)


def render_status_block(view: View) -> str:
    """Return the status block of the pull request's body, without its markers."""
    ticket = view.status.ticket
    where = f"[{ticket.key}]({ticket.url})" if ticket else "no ticket"
    return "\n".join(
        [
            "| selfheal | |",
            "| --- | --- |",
            f"| phase | `{view.phase}` |",
            f"| incident | `{view.incident.key}` run {view.status.run} |",
            f"| ticket | {where} |",
        ]
    )
