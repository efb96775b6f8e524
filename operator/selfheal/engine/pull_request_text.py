"""Title and body of a pull request. Pure.

Everything but our own words comes from outside: causes quote logs and events, names are tenants',
prose is a model's. It is shown literally (``escaping``), and redacted like all that leaves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from selfheal import redaction
from selfheal.api.incident import DiagnosisStatus, Incident, IncidentStatus
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.engine import escaping
from selfheal.remediation.edits import Proposal

TITLE_LIMIT = 200
EXCERPTS = 6
"""Items of evidence that are shown at the most; the stored document has all."""
EXCERPT_LINES = 5
EXCERPT_WIDTH = 240
EVIDENCE_LIMIT = 4000
TEXT_LIMIT = 2000


def render_title(title: str, status: IncidentStatus) -> str:
    """Return the title of a pull request: the ticket's key, and what the fix does."""
    prefix = f"{status.ticket.key}: " if status.ticket else ""
    return redaction.redact_text(f"{prefix}{escaping.line(title)}")[:TITLE_LIMIT]


def render_body(
    incident: Incident,
    status: IncidentStatus,
    proposal: Proposal,
    *,
    namespace: str = "selfheal-system",
    prose: str = "",
    finding: Finding | None = None,
    bundle: Bundle | None = None,
) -> str:
    """Return the body: cause, evidence, numbers, risk, rollback, contract, where to look.

    ``namespace`` is the operator's.
    """
    diagnosis = status.diagnosis
    cause = diagnosis.cause if diagnosis else incident.spec.summary
    lines = [
        escaping.prose(prose[:TEXT_LIMIT]) if prose else escaping.escape(proposal.summary),
        "",
        "## Why",
        "",
        escaping.escape(cause[:TEXT_LIMIT]),
        "",
        _certainty(diagnosis),
        "",
        *_evidence(finding, bundle),
        "## The numbers",
        "",
        escaping.escape(proposal.arithmetic) or "No number is changed.",
        "",
        "## Risk and rollback",
        "",
        f"**{escaping.escape(proposal.risk)}**: {escaping.escape(proposal.risk_reason)}",
        "",
        escaping.escape(proposal.rollback),
        "",
        "Once it is merged, one command takes it back: "
        f"{escaping.code(render_rollback(incident.key, namespace))}",
        "",
        "## Proved when",
        "",
        *_contract(status, proposal),
        "",
        "It passed the guards, the comparison with what runs, and the dry run of the API server. "
        "A later commit is told in a comment below; the title names the fix that stands.",
        "",
        _where(incident, status),
    ]
    return redaction.redact_text("\n".join(lines))


def render_rollback(key: str, namespace: str) -> str:
    """Return the one command that takes the fix of an incident back.

    Who may run commands in the operator's pod may take a fix back.
    """
    return f"kubectl -n {namespace} exec deploy/selfheal-operator -- selfheal rollback {key} --yes"


def _certainty(diagnosis: DiagnosisStatus | None) -> str:
    if diagnosis is None:
        return "No diagnosis."
    return f"Class `{diagnosis.class_}`, confidence {diagnosis.confidence:.2f}, by {diagnosis.by}."


def _contract(status: IncidentStatus, proposal: Proposal) -> list[str]:
    """Return the checks, each with what it was before the fix; they hold through the window."""
    known = {c.name: c.before for c in status.verification.checks} if status.verification else {}
    words = {None: "not evaluated yet", True: "holds already", False: "fails now"}
    return [f"- {escaping.code(name)}: {words[known.get(name)]}" for name in proposal.checks]


def _where(incident: Incident, status: IncidentStatus) -> str:
    ticket = status.ticket
    said = f", ticket {escaping.link(ticket.key, ticket.url)}" if ticket else ""
    ref = status.diagnosis.evidence_ref if status.diagnosis else None
    evidence = f", evidence {escaping.code(ref)}" if ref else ""
    return f"Incident {escaping.code(incident.key)}{said}{evidence}"


def _evidence(finding: Finding | None, bundle: Bundle | None) -> list[str]:
    """Return excerpts of what the diagnosis quotes, fenced so that none can break out."""
    if finding is None or bundle is None:
        return []
    by_id = {item.id: item for item in bundle.items}
    quoted = [by_id[name] for name in dict.fromkeys(finding.evidence) if name in by_id]
    if not quoted:
        return []
    shown = [line for item in quoted[:EXCERPTS] for line in _excerpt(item)]
    block = escaping.block(redaction.redact_text("\n".join(shown)).splitlines(),
                           limit=EVIDENCE_LIMIT)  # fmt: skip
    return ["## Evidence", "", block, ""]


def _excerpt(item: Item) -> list[str]:
    said = _say(item)
    return [f"{item.id}:", *(f"  {line[:EXCERPT_WIDTH]}" for line in said[-EXCERPT_LINES:])]


def _say(item: Item) -> Sequence[str]:
    value: Any = item.value
    if not isinstance(value, dict):
        return str(value).splitlines()
    if item.kind is ItemKind.LOG:
        return str(value.get("text", "")).splitlines()
    if item.kind is ItemKind.EVENT:
        return [f"{value.get('reason')} ({value.get('count')}x): {value.get('message')}"]
    if item.kind is ItemKind.POD:
        return _say_pod(value)
    return [json.dumps(value, default=str, sort_keys=True)]


def _say_pod(pod: dict[str, Any]) -> list[str]:
    """Return the state of each container, which is what a diagnosis rests on."""
    status = pod.get("status") or {}
    states = [
        f"{one.get('name')}: restarts {one.get('restartCount', 0)}, "
        f"state {json.dumps(one.get('state') or {}, default=str)}, "
        f"last {json.dumps(one.get('lastState') or {}, default=str)}"
        for one in status.get("containerStatuses") or ()
    ]
    return states or [f"phase {status.get('phase')}"]
