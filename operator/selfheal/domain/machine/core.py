"""The chain of checks that every decision passes, then the rule of the phase."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from selfheal.api.incident import Phase
from selfheal.domain import clock, commands, lifecycle
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, Stall, Wait
from selfheal.domain.effects import Effect, EffectKind, Milestone
from selfheal.domain.facts import PullRequestState
from selfheal.domain.machine import (
    analysis,
    delivery,
    ending,
    fixing,
    merging,
    opening,
    recovery,
    review,
)
from selfheal.domain.machine.mirrors import mirror_pull_request, mirror_ticket
from selfheal.domain.view import View

LONG_RUNS = frozenset(
    {EffectKind.ANALYSE, EffectKind.GENERATE_FIX, EffectKind.REVISE, EffectKind.REAPPLY}
)

LOOKS_FOR_LEFTOVERS = dt.timedelta(minutes=30)
"""How long after the end pull requests of earlier runs are looked for."""

WAITS_FOR_PERSON = frozenset({Phase.PR_CREATED, Phase.PR_UNDER_REVIEW, Phase.PR_APPROVED})

Rule = Callable[[View], Decision]
Check = Callable[[View], Decision | None]

RULES: Mapping[Phase, Rule] = {
    Phase.INCIDENT_DETECTED: analysis.detected,
    Phase.ANALYSIS_IN_PROGRESS: analysis.analysing,
    Phase.ANALYSIS_COMPLETE: fixing.analysed,
    Phase.FIX_GENERATION_IN_PROGRESS: fixing.generating,
    Phase.FIX_GENERATED: fixing.generated,
    Phase.PR_CREATION_IN_PROGRESS: opening.creating,
    Phase.PR_CREATED: review.created,
    Phase.PR_UNDER_REVIEW: review.reviewing,
    Phase.PR_APPROVED: merging.approved,
    Phase.PR_MERGED: delivery.merged,
    Phase.DEPLOYMENT_IN_PROGRESS: delivery.deploying,
    Phase.DEPLOYMENT_COMPLETE: delivery.deployed,
    Phase.VERIFICATION_IN_PROGRESS: delivery.verifying,
    Phase.VERIFICATION_COMPLETE: delivery.verified,
    Phase.INCIDENT_RESOLVED: ending.resolved,
    Phase.INCIDENT_REQUIRES_HUMAN: ending.handed_over,
}


def decide(view: View) -> Decision:
    """Return what happens next. Pure; raises NeedFacts when a fact was not looked at."""
    for check in CHECKS:
        decision = check(view)
        if decision is not None:
            return decision
    decision = RULES[view.phase](view)
    return _mirrored(view, decision)


def _mirrored(view: View, decision: Decision) -> Decision:
    """Leave a phase, rest or work long in it only when its mirrors stand; a hand-over may at once.

    A long run whose intent is not saved yet goes first: the intent rides on the patch of the phase.
    """
    if isinstance(decision, Act):
        intent = view.status.intent
        saved = intent is not None and intent.key == decision.effect.key
        due = saved and decision.effect.kind in LONG_RUNS
    else:
        due = isinstance(decision, Advance | Wait)
    return (mirror_ticket(view) or mirror_pull_request(view) or decision) if due else decision


def check_suspended(view: View) -> Decision | None:
    """A suspended incident rests."""
    if view.incident.spec.suspend:
        return Wait(
            reason="Suspended", message="Suspended by spec.suspend; set it to false to go on.",
            pauses_clock=True,
        )  # fmt: skip
    return None


def check_policy(view: View) -> Decision | None:
    """Without a policy that can be used nothing is done and nothing is lost."""
    if view.facts.policy.problem:
        return Stall(reason="PolicyInvalid", message=view.facts.policy.problem)
    return None


def check_ticket_reachable(view: View) -> Decision | None:
    """A ticket that was deleted, moved away or locked is said, not replaced."""
    if view.facts.ticket_missing and view.phase is not Phase.INCIDENT_RESOLVED:
        key = view.status.ticket.key if view.status.ticket else view.incident.spec.ticket_key
        return Stall(
            reason="TicketMissing",
            message=f"Ticket {key} cannot be read: it was deleted, moved to another project, or "
            "the account may not see it. Restore it, or delete this incident and file a new one.",
        )
    return None


def check_ticket_owned(view: View) -> Decision | None:
    """A ticket that another incident owns by now is left to it: two never fight over one."""
    ticket = view.facts.ticket
    if ticket is None or view.status.ticket is None or view.dry:
        return None
    owners = [label for label in ticket.label_history if label in ticket.labels]
    if not owners or owners[0] == f"selfheal-{view.uid}":
        return None
    if view.phase is Phase.INCIDENT_RESOLVED:
        return ending.resolved(view)
    return Stall(
        reason="TicketTaken",
        message=f"Ticket {ticket.key} belongs to another incident (label {owners[0]}). Take that "
        "label off the ticket if this incident shall keep it, or delete this incident.",
    )


def check_read_only(view: View) -> Decision | None:
    """``suspend`` and ``--read-only`` stop every outside write, in dry runs too nothing is due."""
    stopped = view.policy.suspend or view.facts.policy.read_only
    if not stopped or view.phase is Phase.INCIDENT_RESOLVED or view.dry:
        return None
    return Wait(
        reason="ReadOnly",
        message="Outside writes are stopped (policy.suspend or --read-only); nothing is lost.",
        after=view.poll_ticket, pauses_clock=True,
    )  # fmt: skip


def check_detached(view: View) -> Decision | None:
    """Past ANALYSIS_COMPLETE a dry run only reads; what was begun waits until it ends."""
    if view.dry and view.is_at_least(Phase.FIX_GENERATION_IN_PROGRESS):
        return Wait(
            reason="DryRun", message="Dry run: nothing outside is written; it goes on afterwards.",
            after=view.poll_ticket, pauses_clock=True,
        )  # fmt: skip
    if view.dry and view.phase is Phase.INCIDENT_REQUIRES_HUMAN:
        return Wait(reason="DryRun", message="Dry run: waits for a person.", pauses_clock=True)
    return None


def check_open_move(view: View) -> Decision | None:
    """A move whose intent is saved is finished before anything else."""
    intent = view.status.intent
    if intent is None or intent.kind != EffectKind.MOVE_TICKET or not view.tracked:
        return None
    view.need("ticket")
    return view.act(EffectKind.MOVE_TICKET, to=intent.to, why=intent.why)


def check_closed(view: View) -> Decision | None:
    """Our open pull requests end with an incident that a person closed or resolved itself."""
    if view.phase is not Phase.INCIDENT_RESOLVED or view.dry:
        return None
    return _close_known(view) or _close_earlier(view)


def _close_known(view: View) -> Decision | None:
    known = view.status.pull_request
    if known is None or known.state != "Open":
        return None
    pull = view.pull()
    if pull is None or pull.state is not PullRequestState.OPEN or "selfheal-keep" in pull.labels:
        return None
    said = view.comment(Milestone.CLOSED, on=EffectKind.COMMENT_PULL_REQUEST)
    return said or view.act(
        EffectKind.CLOSE_PULL_REQUEST, number=pull.number, why="the incident was closed"
    )


def _close_earlier(view: View) -> Decision | None:
    """Close what earlier runs left; looked for only for a while, so that rest costs nothing."""
    recent = clock.compute_elapsed(view.status.clock, view.now) < LOOKS_FOR_LEFTOVERS
    if view.status.run == 1 or view.repository is None or not recent:
        return None
    return opening.close_leftovers(view, keep=None)


def check_queue(view: View) -> Decision | None:
    """A person who moves the ticket away from a queued pull request takes it out of the queue."""
    pull, moves = view.facts.pull_request, view.status.history
    if pull is None or not pull.queued or view.dry or not moves:
        return None
    last = moves[-1]
    taken = last.from_ is Phase.PR_APPROVED and last.by != lifecycle.OPERATOR
    return view.act(EffectKind.LEAVE_QUEUE, number=pull.number) if taken else None


def check_target_gone(view: View) -> Decision | None:
    """A target that went away before the merge ends the incident, if it stays away."""
    before_merge = view.is_at_least(Phase.ANALYSIS_COMPLETE) and not view.is_at_least(
        Phase.PR_MERGED
    )
    workload, pull = view.facts.workload, view.facts.pull_request
    merged = pull is not None and pull.state is PullRequestState.MERGED
    if not before_merge or view.dry or merged or workload is None or workload.exists:
        return None
    if not view.status.target_seen:
        return None
    gone = recovery.gone(view)
    return (check_timeout(view) or gone) if isinstance(gone, Stall) else gone


def check_timeout(view: View) -> Decision | None:
    """A phase that took too long is handed to a person."""
    limit = clock.compute_timeout(view.phase, view.policy, view.repository, view.status)
    resting = view.dry and view.phase is Phase.ANALYSIS_COMPLETE
    if limit is None or resting or view.status.duplicate_of:
        return None
    if fixing.rests_at_suggestion(view):
        return None
    if clock.compute_elapsed(view.status.clock, view.now) < limit:
        return None
    if view.phase is Phase.VERIFICATION_IN_PROGRESS:
        return delivery.failed(view, "the checks did not hold within the time allowed")
    minutes = int(limit.total_seconds() // 60)
    if view.phase is Phase.DEPLOYMENT_IN_PROGRESS and view.facts.carries_change:
        return delivery.failed(view, f"its rollout was not complete after {minutes} minutes")
    return Escalate(
        reason="Timeout",
        message=f"{view.phase} took longer than {minutes} minutes. Last state: "
        f"{view.status.message or 'none'}",
    )


def check_reminder(view: View) -> Decision | None:
    """Remind of a person's part once a phase, when half of its time has run (api.md)."""
    limit = clock.compute_timeout(view.phase, view.policy, view.repository, view.status)
    if view.phase not in WAITS_FOR_PERSON or limit is None or view.dry:
        return None
    elapsed = clock.compute_elapsed(view.status.clock, view.now)
    if elapsed < limit * clock.REMINDER_SHARE:
        return None
    left = int((limit - elapsed).total_seconds() // 60)
    on = EffectKind.COMMENT_TICKET if view.tracked else EffectKind.COMMENT_PULL_REQUEST
    return view.comment(
        Milestone.REMINDER, on=on, in_phase=True,
        why=f"It is handed over for a decision in {left} minutes.",
    )  # fmt: skip


def check_command(view: View) -> Decision | None:
    """A command by comment is answered, and obeyed where its author may command."""
    ticket = view.facts.ticket
    if ticket is None or view.status.ticket is None or not view.tracked:
        return None
    command = commands.find_open(view.status.ticket, ticket, view.policy.tracker.commands)
    if command is None:
        return None
    groups = view.fact("author_groups")
    verdict = commands.judge(command, groups, ticket, view.policy.tracker.commands)
    key = commands.compute_key(view.uid, command, verdict)
    return Act(effect=Effect(kind=EffectKind.OBEY_COMMAND, key=key))


CHECKS: tuple[Check, ...] = (
    check_suspended,
    check_policy,
    check_ticket_reachable,
    check_ticket_owned,
    check_read_only,
    check_detached,
    check_open_move,
    check_command,
    check_queue,
    check_closed,
    check_target_gone,
    check_timeout,
    check_reminder,
)
