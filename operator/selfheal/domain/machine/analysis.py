"""INCIDENT_DETECTED and ANALYSIS_IN_PROGRESS: target, ticket, cause."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Phase
from selfheal.api.policy import AgentsWhen
from selfheal.domain.decisions import Advance, Decision, Escalate, Stall, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.machine import recovery
from selfheal.domain.view import View

RETRY_ANALYSIS = dt.timedelta(seconds=10)
"""Pause between two analyses: evidence such as back-off events needs time to appear."""

TRIAGE_ATTEMPTS = 2
"""Attempts a run at the most: the second one only where a crash cut the first one off."""


def detected(view: View) -> Decision:
    """INCIDENT_DETECTED: the target is known and the ticket exists."""
    early = _ticket(view) or _ask_agent(view) or _target(view)
    return early or Advance(to=Phase.ANALYSIS_IN_PROGRESS, why="target and ticket are known")


def _ticket(view: View) -> Decision | None:
    if not view.tracked or view.status.ticket is not None:
        return None
    wanted = view.incident.spec.ticket_key
    if wanted is None:
        return view.act(EffectKind.CREATE_TICKET)
    ticket = view.ticket()
    if ticket is None:
        return Stall(
            reason="TicketMissing",
            message=f"spec.ticketKey: {wanted} does not exist or the account may not see it.",
        )
    others = [
        label for label in _owner_labels(view, ticket.labels) if label != f"selfheal-{view.uid}"
    ]
    if others:
        return Stall(
            reason="TicketNotAdopted",
            message=f"spec.ticketKey: {wanted} belongs to another incident ({others[0]}). Name "
            "another ticket, or delete that incident first.",
        )
    if view.fact("adoption_refused"):
        return Stall(reason="TicketNotAdopted", message=view.facts.adoption_refused or "")
    return view.act(EffectKind.CLAIM_TICKET)


def _ask_agent(view: View) -> Decision | None:
    """With a model the JIRA Monitor reads every new incident, also one whose target is known."""
    asks = view.facts.policy.has_model and view.policy.agents.when is AgentsWhen.ALWAYS
    return _triage_attempt(view) if asks else None


def _triage_attempt(view: View) -> Decision | None:
    """Ask once a run; an attempt that a crash cut off is spent if it may have asked a model."""
    spent, intent = view.status.attempts.triage, view.status.intent
    if intent is None or intent.kind != EffectKind.TRIAGE:
        return view.act(EffectKind.TRIAGE, attempt=1) if spent == 0 else None
    if not (view.facts.policy.cut_off and view.facts.policy.has_model):
        return view.act(EffectKind.TRIAGE, attempt=max(spent, 1))
    return view.act(EffectKind.TRIAGE, attempt=spent + 1) if spent < TRIAGE_ATTEMPTS else None


def _owner_labels(view: View, labels: frozenset[str]) -> list[str]:
    special = ("selfheal-phase-", "selfheal-released", "selfheal-keep")
    return sorted(
        label for label in labels if label.startswith("selfheal-") and not label.startswith(special)
    )


def _target(view: View) -> Decision | None:
    if view.status.target is None:
        return triage(view)
    workload = view.fact("workload")
    if workload.exists:
        return None
    if view.status.target_seen:
        return recovery.gone(view)
    target = view.status.target
    return Stall(
        reason="TargetNotFound",
        message=f"spec.targetRef: {target.kind} {target.name} does not exist in namespace "
        f"{view.incident.metadata.namespace}. Create it, or file an incident for the right one.",
        pauses_clock=False,
    )


def triage(view: View) -> Decision:
    """Find the target by names that exist in the cluster, then by the agent, then ask."""
    attempt = _triage_attempt(view)
    if attempt is not None:
        return attempt
    asked = view.comment(Milestone.TRIAGE)
    return asked or Wait(
        reason="TargetUnknown",
        message="No target was found in the text. Set spec.targetRef, or name the workload in a "
        "comment of the ticket and move it back to the first status.",
        after=view.poll_ticket,
    )


def analysing(view: View) -> Decision:
    """ANALYSIS_IN_PROGRESS: a diagnosis above the threshold is stored."""
    missing = _target(view)
    if missing is not None:
        return missing
    if view.status.diagnosis is not None:
        return Advance(
            to=Phase.ANALYSIS_COMPLETE,
            why=f"{view.status.diagnosis.class_}: {view.status.diagnosis.cause}",
        )
    spent = view.status.attempts.analysis
    found = view.fact("diagnosis") if spent else None
    if found is None:
        return _attempt(view, spent)
    if found.not_failing:
        return _not_failing(view)
    if spent >= view.policy.attempts.analysis:
        return Escalate(
            reason="NoCause",
            message=found.failure or "No cause was found above the threshold of confidence.",
        )
    return _retry(view, spent, found.at)


def _attempt(view: View, spent: int) -> Decision:
    """Begin an attempt; one that a crash cut off is spent if it may have asked a model."""
    intent = view.status.intent
    open_ = intent is not None and intent.kind == EffectKind.ANALYSE
    if open_ and not (view.facts.policy.cut_off and view.facts.policy.has_model):
        return view.act(EffectKind.ANALYSE, attempt=max(spent, 1))
    if spent >= view.policy.attempts.analysis:
        return Escalate(reason="AttemptsSpent", message="All attempts of the analysis are spent.")
    return view.act(EffectKind.ANALYSE, attempt=spent + 1)


def _retry(view: View, spent: int, since: dt.datetime | None) -> Decision:
    due = (since or view.now) + RETRY_ANALYSIS
    if since is not None and view.now < due:
        return Wait(
            reason="AnalysisRetry",
            message="No cause yet; evidence is collected again in a moment.",
            after=due - view.now,
        )
    return view.act(EffectKind.ANALYSE, attempt=spent + 1)


def _not_failing(view: View) -> Decision:
    """Watch a target that looks healthy: recovered, failing again, or not reproducible."""
    ended = recovery.recovered(view)
    if ended is not None:
        return ended
    view.need("checks")
    since = recovery.holding_since(view)
    spent = view.status.attempts.analysis
    if since is None and spent < view.policy.attempts.analysis:
        return _retry(view, spent, view.facts.diagnosis.at if view.facts.diagnosis else None)
    if since is not None and view.now - since >= view.policy.verification.stable_for:
        return Escalate(
            reason="NotReproducible", message="The target is healthy; nothing fails to be mended."
        )
    return Wait(
        reason="NotFailing",
        message="The target looks healthy; it is watched through the stability window.",
        after=dt.timedelta(seconds=10),
    )
