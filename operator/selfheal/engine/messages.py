"""What people read: ticket, milestone comments, pull request. Pure; small Markdown dialect.

Every text leaves redacted: reports, causes and the lines around an edit may hold a credential.
"""

from __future__ import annotations

import datetime as dt

from selfheal import redaction
from selfheal.api.incident import CheckStatus, Incident, IncidentStatus, Phase
from selfheal.domain.effects import Milestone
from selfheal.domain.facts import ProposalFacts
from selfheal.engine import escaping, handover_pack

DIFF_LIMIT = 6000
"""Characters of a diff in a comment; the pull request has the whole."""


def render_ticket(incident: Incident, status: IncidentStatus, cluster: str) -> str:
    """Return the description of a new ticket."""
    target = status.target
    what = f"{target.kind} `{target.name}`" if target else "not known yet"
    lines = [
        incident.spec.description or incident.spec.summary,
        "",
        f"- Incident: `{incident.key}`" + (f" in cluster `{cluster}`" if cluster else ""),
        f"- Target: {what}",
        "",
        "The selfheal operator works on this ticket. Move it to *Needs Human Intervention* to take "
        "over, and back to hand it to the operator again.",
    ]
    return redaction.redact_text("\n".join(lines))


def render_title(text: str) -> str:
    """Return the one line that a ticket or pull request is called by."""
    return redaction.redact_text(text)


def render_milestone(
    milestone: Milestone,
    incident: Incident,
    status: IncidentStatus,
    *,
    proposal: ProposalFacts | None,
    explanation: str = "",
) -> str:
    """Return the text of a milestone comment."""
    text = _RENDERERS[milestone](incident, status, proposal)
    return redaction.redact_text(f"{text}\n\n{explanation}" if explanation else text)


def _triage(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    return (
        "**Which workload is meant?** No name in this ticket matches a workload of namespace "
        f"`{incident.metadata.namespace}`. Set `spec.targetRef` of incident `{incident.key}`, or "
        "name the workload in a comment and move the ticket back to its first status."
    )


def _diagnosis(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    found = status.diagnosis
    if found is None:
        return "No diagnosis."
    lines = [
        f"**Cause: {found.class_}** ({found.confidence:.0%}, by {found.by})",
        "",
        found.cause,
    ]
    if found.summary and found.summary != found.cause:
        lines += ["", found.summary]
    lines += ["", f"- Evidence: `kubectl get shev {found.evidence_ref}`"]
    return "\n".join(lines)


def _fix(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    fix = status.fix
    if fix is None:
        return "No fix."
    lines = [f"**Proposed fix: {fix.summary}**", "", f"- Risk: {fix.risk}"]
    lines += [f"- {change.path}: +{change.added} -{change.removed}" for change in fix.files]
    lines += [f"- Rollback: {fix.rollback}"]
    if proposal is not None:
        lines += ["", "```diff", proposal.diff[:DIFF_LIMIT].rstrip("\n"), "```"]
    return "\n".join(lines)


def _pull_request(
    incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None
) -> str:
    pull = status.pull_request
    if pull is None:
        return "No pull request."
    return f"**Review needed:** [{pull.repository}#{pull.number}]({pull.url})"


def _revision(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    pull, fix = status.pull_request, status.fix
    if pull is None or fix is None:
        return "No pull request."
    lines = [
        f"**Revised: {fix.summary}**",
        "",
        f"- Commit `{pull.head_sha[:12]}` of [{pull.repository}#{pull.number}]({pull.url}), which "
        "waits for a person's review",
        f"- Risk: {fix.risk}",
        f"- Rollback: {fix.rollback}",
    ]
    return "\n".join(lines)


def _approval(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    pull = status.pull_request
    if pull is None:
        return "No pull request."
    return f"**Approved:** [{pull.repository}#{pull.number}]({pull.url}) is ready to be merged."


def _reminder(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    pull = status.pull_request
    where = f"[{pull.repository}#{pull.number}]({pull.url})" if pull else "its pull request"
    part = "merge" if status.phase is Phase.PR_APPROVED else "review"
    return f"**Reminder:** {where} still waits for a person to {part} it."


def _deployment(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    deployment = status.deployment
    revision = deployment.revision if deployment else ""
    return f"**Live:** commit `{revision}` is rolled out. Verification starts."


def _verification(
    incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None
) -> str:
    known = status.verification
    checks = known.checks if known else []
    rows = [line for check in checks for line in _measured(check)]
    said = "**Verified:** every check held through the stability window."
    return "\n".join([said, "", *rows, *_by_hand(status)])


def _verdict(value: bool | None) -> str:
    return "not evaluated" if value is None else ("holds" if value else "fails")


def _handover(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    measured = [*_checks(status), *_by_hand(status)]
    return handover_pack.render(incident, status, measured=measured)


def _checks(status: IncidentStatus) -> list[str]:
    """Return what was measured of the fix, where it was merged."""
    known = status.verification
    merged = status.pull_request is not None and status.pull_request.merge_sha is not None
    if known is None or not merged:
        return []
    begun = known.started_at is not None  # else what was seen last is of before the fix
    return [line for check in known.checks for line in _measured(check)[: 2 if begun else 1]]


def _by_hand(status: IncidentStatus) -> list[str]:
    """Return how a merged fix is taken back by who has only Git; nothing where that is done."""
    pull, revert = status.pull_request, status.revert
    if pull is None or pull.merge_sha is None or (revert is not None and revert.state == "Merged"):
        return []
    command = f"git revert {pull.merge_sha}"
    return [f"- To take it back with Git alone: `{command}`, with `-m 1` if it is a merge commit"]


def render_revert(incident: Incident, status: IncidentStatus, why: str) -> str:
    """Return the body of the pull request that takes a fix back; ``why`` empty: a person asked."""
    pull, ticket, fix = status.pull_request, status.ticket, status.fix
    reason = "A person asked for it with `selfheal rollback`."
    if why:
        reason = f"The fix did not prove itself: {escaping.escape(why)}"
    lines = [f"This takes {pull.url if pull else 'a fix'} back. {reason}", ""]
    lines += [f"- Taken back: {escaping.escape(fix.summary)}"] if fix else []
    lines += [
        *_checks(status),
        f"- Incident: {escaping.code(incident.key)}",
    ]
    lines += [f"- Ticket: {escaping.link(ticket.key, ticket.url)}"] if ticket else []
    lines += ["", "Merged, it brings the files back to what they were before the fix."]
    return redaction.redact_text("\n".join(lines))


def _measured(check: CheckStatus) -> list[str]:
    """Return what a check was before the fix and after it: when, and what was seen."""
    before = _seen(check.before, check.before_message, check.before_at, "at")
    since = check.holds_since or check.fails_since
    after = _seen(check.after, check.message, since, "since")
    return [f"- {check.name} before the fix: {before}", f"- {check.name} after it: {after}"]


def _seen(holds: bool | None, message: str, at: dt.datetime | None, word: str) -> str:
    when = f" {word} {at:%Y-%m-%d %H:%M:%S} UTC" if at is not None and holds is not None else ""
    said = f". {escaping.line(message)}" if message and holds is not None else ""
    return f"{_verdict(holds)}{when}{said}"


def _precondition(
    incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None
) -> str:
    return (
        f"**{status.phase} cannot be worked on.** Move the ticket to an earlier status, or to Done "
        "if the work is finished."
    )


def _closed(incident: Incident, status: IncidentStatus, proposal: ProposalFacts | None) -> str:
    ending = status.resolution or "by a person"
    return (
        f"Incident `{incident.key}` ended ({ending}); this pull request is closed. Label it "
        "`selfheal-keep` and reopen it to keep it."
    )


_RENDERERS = {
    Milestone.TRIAGE: _triage,
    Milestone.DIAGNOSIS: _diagnosis,
    Milestone.FIX: _fix,
    Milestone.PULL_REQUEST: _pull_request,
    Milestone.REVISION: _revision,
    Milestone.APPROVAL: _approval,
    Milestone.REMINDER: _reminder,
    Milestone.DEPLOYMENT: _deployment,
    Milestone.VERIFICATION: _verification,
    Milestone.HANDOVER: _handover,
    Milestone.PRECONDITION: _precondition,
    Milestone.CLOSED: _closed,
}


def render_commit_message(summary: str, incident: Incident, status: IncidentStatus) -> str:
    """Return the commit message of a fix, without its trailer."""
    cause = status.diagnosis.cause if status.diagnosis else incident.spec.summary
    ticket = f"\n\nTicket: {status.ticket.key}" if status.ticket else ""
    text = f"{escaping.line(summary)}\n\n{escaping.line(cause)}{ticket}"
    return redaction.redact_text(text)
