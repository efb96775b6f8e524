"""ANALYSIS_COMPLETE to FIX_GENERATED: from the cause to a proposal that passed every guard."""

from __future__ import annotations

import dataclasses

from selfheal.api.incident import Phase
from selfheal.api.policy import Mode
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, Stall, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.machine import recovery
from selfheal.domain.view import View

FAILURES_THAT_SUSPEND = 3
"""Failed verifications in a row after which a class is not fixed any more (api.md, Modes)."""


def analysed(view: View) -> Decision:
    """ANALYSIS_COMPLETE: the policy allows a fix for this class."""
    if view.status.diagnosis is None:
        return precondition(view, "a diagnosis")
    if view.dry:
        return _preview(view)
    early = (
        recovery.duplicate(view) or recovery.recovered(view) or view.comment(Milestone.DIAGNOSIS)
    )
    if early is not None:
        return early
    refused = _refused_by_policy(view)
    return refused or Advance(
        to=Phase.FIX_GENERATION_IN_PROGRESS, why="the policy allows a fix for this class"
    )


def precondition(view: View, missing: str) -> Decision:
    """Rest in a phase that was entered without what it needs, and say so once."""
    needs = f"{view.phase} needs {missing}, which this incident does not have."
    said = view.comment(Milestone.PRECONDITION)
    if said is not None:
        return Act(effect=dataclasses.replace(said.effect, why=needs))
    return Stall(
        reason="PreconditionMissing",
        message=f"{needs} Move the ticket "
        "to an earlier status, or to Done if the work is finished.",
        pauses_clock=False,
    )


def _preview(view: View) -> Decision:
    fixable = view.repository is not None and _refused_by_policy(view) is None
    attempt = _preview_attempt(view) if fixable and view.status.fix is None else None
    if attempt is not None:
        return view.act(EffectKind.GENERATE_FIX, attempt=attempt)
    return Wait(
        reason="DryRun",
        message="Dry run: rests here; the would-be change stands in status.fix.preview.",
        after=view.poll_ticket,
        pauses_clock=True,
    )


def _preview_attempt(view: View) -> int | None:
    """Preview once; an attempt that a crash cut off is spent if it may have asked a model."""
    spent, intent = view.status.attempts.fix, view.status.intent
    if intent is None or intent.kind != EffectKind.GENERATE_FIX:
        return 1 if spent == 0 else None
    if not (view.facts.policy.cut_off and view.facts.policy.has_model):
        return max(spent, 1)
    return spent + 1 if spent < view.policy.attempts.fix else None


def _refused_by_policy(view: View) -> Decision | None:
    diagnosis = view.status.diagnosis
    namespace = view.incident.metadata.namespace
    assert diagnosis is not None  # noqa: S101 - callers have checked
    allowed = view.policy.guards.classes
    if allowed and diagnosis.class_ not in allowed:
        return Escalate(
            reason="ClassNotAllowed",
            message=f"The policy (guards.classes) allows no fix for {diagnosis.class_}.",
        )
    if view.facts.policy.failed_verifications >= FAILURES_THAT_SUSPEND:
        return Escalate(
            reason="ClassSuspended",
            message=f"The last {view.facts.policy.failed_verifications} fixes of class "
            f"{diagnosis.class_} failed verification; fixes of this class are suspended. Once "
            "that is understood, allow them again: kubectl patch selfhealingpolicy "
            f"{view.incident.spec.policy_ref} --subresource=status --type=merge -p "
            f'\'{{"status":{{"failures":{{"{diagnosis.class_}":null}}}}}}\'',
        )
    if view.repository is None:
        return Stall(
            reason="NoRepository",
            message=f"No repository is mapped to namespace {namespace}. Add it under "
            "code.repositories[].match.namespaces of the policy.",
        )
    return None


def generating(view: View) -> Decision:
    """FIX_GENERATION_IN_PROGRESS: a proposal passed render, comparison, dry run and guards."""
    if view.status.diagnosis is None:
        return precondition(view, "a diagnosis")
    spent = view.status.attempts.fix
    proposal = view.fact("proposal") if spent else None
    if proposal is not None and proposal.refused is None:
        return Advance(to=Phase.FIX_GENERATED, why=proposal.summary)
    if proposal is not None and spent >= view.policy.attempts.fix:
        return Escalate(reason=proposal.refused_reason or "NoSafeFix", message=proposal.refused)
    intent = view.status.intent
    open_ = intent is not None and intent.kind == EffectKind.GENERATE_FIX and proposal is None
    if open_ and not (view.facts.policy.cut_off and view.facts.policy.has_model):
        return view.act(EffectKind.GENERATE_FIX, attempt=max(spent, 1))
    if spent >= view.policy.attempts.fix:
        return Escalate(reason="AttemptsSpent", message="All attempts at a fix are spent.")
    return view.act(EffectKind.GENERATE_FIX, attempt=spent + 1)


def rests_at_suggestion(view: View) -> bool:
    """Say whether the mode ends the operator's work at FIX_GENERATED."""
    return view.phase is Phase.FIX_GENERATED and view.policy.mode is Mode.SUGGEST


def generated(view: View) -> Decision:
    """FIX_GENERATED: the mode allows a pull request."""
    if view.status.fix is None or view.status.fix.proposal_ref is None:
        return precondition(view, "a proposed fix")
    early = recovery.recovered(view) or view.comment(Milestone.FIX)
    if early is not None:
        return early
    if rests_at_suggestion(view):
        return Wait(
            reason="Suggested",
            message="The proposal stands in the ticket; mode Suggest ends here.",
            after=view.poll_ticket,
            pauses_clock=True,
        )
    return Advance(to=Phase.PR_CREATION_IN_PROGRESS, why="the mode allows a pull request")
