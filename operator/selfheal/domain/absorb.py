"""From facts to status: identities and results that were observed are written down. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from selfheal.api.incident import (
    CheckStatus,
    DeploymentStatus,
    DiagnosedBy,
    DiagnosisStatus,
    FileChange,
    FixStatus,
    IncidentStatus,
    Phase,
    PullRequestStatus,
    RevertStatus,
    TicketStatus,
    VerificationStatus,
)
from selfheal.api.policy import RepositorySpec
from selfheal.domain import phases
from selfheal.domain.derive import NEVER, newest_id
from selfheal.domain.facts import (
    CheckResult,
    DiagnosisFacts,
    Facts,
    ProposalFacts,
    PullRequestState,
)
from selfheal.domain.machine.verdicts import is_approved, wants_changes

ANSWERED_LIMIT = 100
"""Reviews remembered as answered: the bound of the status field."""


def absorb(
    status: IncidentStatus,
    facts: Facts,
    *,
    repository: RepositorySpec | None,
    minimum_confidence: float,
    now: dt.datetime,
) -> IncidentStatus:
    """Return the status with what was observed in this step. May be repeated."""
    status = _target(status, facts, now)
    status = _ticket(status, facts)
    status = _diagnosis(status, facts, minimum_confidence)
    status = _duplicate(status, facts)
    status = _fix(status, facts)
    status = _pushed(_pull_request(status, facts), facts)
    status = _deployment(status, facts, repository)
    if facts.revert is not None:
        status = status.evolve(
            revert=RevertStatus(
                number=facts.revert.number, url=facts.revert.url, state=facts.revert.state.value
            )
        )
    return _verdict(_verification(status, facts.checks, now))


def _target(status: IncidentStatus, facts: Facts, now: dt.datetime) -> IncidentStatus:
    if status.target is None and facts.target is not None:
        status = status.evolve(target=facts.target)
    if facts.workload is None:
        return status
    if facts.workload.exists:
        return status.evolve(target_seen=True, target_gone_since=None)
    if status.target_seen and status.target_gone_since is None:
        return status.evolve(target_gone_since=now)
    return status


def _ticket(status: IncidentStatus, facts: Facts) -> IncidentStatus:
    ticket = facts.ticket
    if ticket is None or status.ticket is not None or not facts.claimed:
        return status
    return status.evolve(
        ticket=TicketStatus(
            id=ticket.id, key=ticket.key, url=ticket.url, status=ticket.status,
            seen_change=newest_id(ticket),
            seen_comment=ticket.comments[-1].id if ticket.comments else NEVER,
        )
    )  # fmt: skip


def _diagnosis(status: IncidentStatus, facts: Facts, minimum_confidence: float) -> IncidentStatus:
    found = facts.diagnosis
    if found is None or status.phase is not Phase.ANALYSIS_IN_PROGRESS:
        return status
    status = status.evolve(verification=_before(status, found))
    if found.failure or found.not_failing or found.confidence < minimum_confidence:
        return status
    return status.evolve(
        diagnosis=DiagnosisStatus(
            class_=found.class_,
            cause=found.cause,
            confidence=found.confidence,
            by=DiagnosedBy(found.by),
            evidence_ref=found.evidence_ref,
            summary=found.summary,
            container=found.container,
        )
    )


def _duplicate(status: IncidentStatus, facts: Facts) -> IncidentStatus:
    if facts.duplicate is None or status.phase is not Phase.ANALYSIS_COMPLETE:
        return status
    return status.evolve(duplicate_of=facts.duplicate.primary)


def _before(status: IncidentStatus, found: DiagnosisFacts) -> VerificationStatus | None:
    names = found.checks
    known = [check.name for check in status.verification.checks] if status.verification else []
    if not names or known == [check.name for check in names]:
        return status.verification
    return VerificationStatus(
        checks=[
            CheckStatus(
                name=c.name,
                before=c.holds,
                message=c.message,
                before_message=c.message,
                before_at=found.at,
            )
            for c in names
        ]
    )


def _fix(status: IncidentStatus, facts: Facts) -> IncidentStatus:
    found = facts.proposal
    if found is None or found.refused is not None or status.phase is None:
        return status
    dry = status.phase is Phase.ANALYSIS_COMPLETE
    if not dry and status.phase is not Phase.FIX_GENERATION_IN_PROGRESS:
        return status
    return status.evolve(fix=_fix_status(found, preview=found.diff if dry else None))


def _fix_status(found: ProposalFacts, *, preview: str | None = None) -> FixStatus:
    return FixStatus(
        summary=found.summary,
        risk=found.risk,
        files=[FileChange(path=p, added=a, removed=r) for p, a, r in found.files],
        rollback=found.rollback,
        proposal_ref=found.ref,
        preview=preview,
        code=found.code,
    )


def _pushed(status: IncidentStatus, facts: Facts) -> IncidentStatus:
    """Write down the revision that has just become the head: it is the fix from now on."""
    found, known = facts.pushed, status.pull_request
    if found is None or found.pushed_sha is None or known is None:
        return status
    answered = list(dict.fromkeys([*known.answered, *found.answers]))[-ANSWERED_LIMIT:]
    return status.evolve(
        pull_request=known.evolve(head_sha=found.pushed_sha, answered=answered),
        fix=_fix_status(found.proposal).evolve(revision=found.number),
    )


def _pull_request(status: IncidentStatus, facts: Facts) -> IncidentStatus:
    pull = facts.pull_request
    if pull is None:
        return status
    known = status.pull_request
    mine = known is not None and known.number == pull.number
    decision = "Approved" if is_approved(pull) else "ReviewRequired"
    return status.evolve(
        pull_request=PullRequestStatus(
            run=known.run if known and mine else status.run,
            attempt=known.attempt if known and mine else max(status.attempts.fix, 1),
            repository=pull.repository,
            number=pull.number,
            url=pull.url,
            state=pull.state.value,
            branch=pull.branch,
            head_sha=known.head_sha if known and mine else pull.head_sha,
            merge_sha=pull.merge_sha if pull.state is PullRequestState.MERGED else None,
            review_decision="ChangesRequested" if wants_changes(pull) else decision,
            checks=pull.required_checks.value,
            answered=known.answered if known and mine else [],
        )
    )


def _deployment(
    status: IncidentStatus, facts: Facts, repository: RepositorySpec | None
) -> IncidentStatus:
    merged = status.pull_request.merge_sha if status.pull_request else None
    if merged is None or not phases.reached(status.phase, Phase.PR_MERGED):
        return status
    delivery = facts.delivery
    live = phases.reached(status.phase, Phase.DEPLOYMENT_COMPLETE)
    state = "Live" if live else _delivery_state(facts)
    known = status.deployment
    url = delivery.url if delivery else (known.url if known else None)
    strategy = repository.deployment.strategy.value if repository else "Rollout"
    return status.evolve(
        deployment=DeploymentStatus(strategy=strategy, revision=merged, url=url, state=state)
    )


def _delivery_state(facts: Facts) -> str:
    if facts.carries_change:
        return "InProgress"
    return facts.delivery.state.value if facts.delivery else "Pending"


def _verification(
    status: IncidentStatus, results: Sequence[CheckResult] | None, now: dt.datetime
) -> IncidentStatus:
    if results is None:
        return status
    known = {c.name: c for c in status.verification.checks} if status.verification else {}
    started = status.verification.started_at if status.verification else None
    after_fix = phases.reached(status.phase, Phase.DEPLOYMENT_COMPLETE)
    checks = [
        _check(result, known.get(result.name), now, fresh=after_fix and started is None)
        for result in results
    ]
    return status.evolve(
        verification=VerificationStatus(
            checks=checks,
            started_at=started or (now if after_fix else None),
            verdict=status.verification.verdict if status.verification else None,
        )
    )


def _verdict(status: IncidentStatus) -> IncidentStatus:
    known, handover = status.verification, status.handover
    if known is None or known.started_at is None:
        return status
    broken = handover is not None and handover.reason == "VerificationFailed"
    verdict = None
    if broken and handover is not None and handover.run == status.run:
        verdict = "Failed"
    elif phases.reached(status.phase, Phase.VERIFICATION_COMPLETE):
        verdict = "Passed"
    return status.evolve(verification=known.evolve(verdict=verdict))


def _check(
    result: CheckResult, known: CheckStatus | None, now: dt.datetime, *, fresh: bool
) -> CheckStatus:
    seen = known if known and not fresh else None
    holding, failing = (seen.holds_since, seen.fails_since) if seen else (None, None)
    return (known or CheckStatus(name=result.name)).evolve(
        after=result.holds,
        holds_since=(holding or now) if result.holds else None,
        fails_since=None if result.holds else (failing or now),
        message=result.message,
    )
