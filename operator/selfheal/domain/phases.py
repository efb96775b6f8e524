"""The chain of phases, the ticket statuses that mirror it, and which moves are the operator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfheal.api.incident import Phase

CHAIN: tuple[Phase, ...] = tuple(
    phase for phase in Phase if phase is not Phase.INCIDENT_REQUIRES_HUMAN
)
"""INCIDENT_DETECTED to INCIDENT_RESOLVED, in order."""

DEFAULT_STATUSES: Mapping[Phase, tuple[str, ...]] = {
    Phase.INCIDENT_DETECTED: ("To Do",),
    Phase.ANALYSIS_IN_PROGRESS: ("In Progress",),
    Phase.ANALYSIS_COMPLETE: ("Analysis Complete",),
    Phase.FIX_GENERATION_IN_PROGRESS: ("Generating Fix",),
    Phase.FIX_GENERATED: ("Fix Generated",),
    Phase.PR_CREATION_IN_PROGRESS: ("Creating PR",),
    Phase.PR_CREATED: ("PR Created",),
    Phase.PR_UNDER_REVIEW: ("Under Review",),
    Phase.PR_APPROVED: ("PR Approved",),
    Phase.PR_MERGED: ("PR Merged",),
    Phase.DEPLOYMENT_IN_PROGRESS: ("Deploying",),
    Phase.DEPLOYMENT_COMPLETE: ("Deployed",),
    Phase.VERIFICATION_IN_PROGRESS: ("Verifying Fix",),
    Phase.VERIFICATION_COMPLETE: ("Verifying Fix",),
    Phase.INCIDENT_RESOLVED: ("Done",),
    Phase.INCIDENT_REQUIRES_HUMAN: ("Needs Human Intervention",),
}
"""The table of the original design."""

AGENTS: Mapping[Phase, str] = {
    Phase.INCIDENT_DETECTED: "JIRA Monitor",
    Phase.ANALYSIS_IN_PROGRESS: "Root Cause Analyzer",
    Phase.FIX_GENERATION_IN_PROGRESS: "Code Fix Generator",
    Phase.PR_CREATION_IN_PROGRESS: "PR Manager",
    Phase.PR_CREATED: "PR Manager",
    Phase.PR_UNDER_REVIEW: "PR Manager",
    Phase.PR_APPROVED: "PR Manager",
    Phase.DEPLOYMENT_IN_PROGRESS: "Deployment Monitor",
    Phase.VERIFICATION_IN_PROGRESS: "Deployment Monitor",
}
"""Which agent is responsible for a phase; absent: none."""

StatusMap = Mapping[Phase, Sequence[str]]


def index(phase: Phase) -> int:
    """Return the place in the chain; INCIDENT_REQUIRES_HUMAN has none and raises ValueError."""
    return CHAIN.index(phase)


def reached(phase: Phase | None, at_least: Phase) -> bool:
    """Say whether a phase of the chain is at or past another one."""
    return phase in CHAIN and index(phase) >= index(at_least)


def following(phase: Phase) -> Phase:
    """Return the next phase of the chain; INCIDENT_RESOLVED has none and raises IndexError."""
    return CHAIN[index(phase) + 1]


def is_legal_for_operator(before: Phase, after: Phase) -> bool:
    """Say whether the operator may move from one phase to another (a person may move anywhere)."""
    if before is Phase.INCIDENT_RESOLVED or before is after:
        return False
    if after is Phase.INCIDENT_REQUIRES_HUMAN:
        return True
    if before is Phase.INCIDENT_REQUIRES_HUMAN:
        return after is Phase.PR_UNDER_REVIEW
    if after is following(before):
        return True
    return after is Phase.INCIDENT_RESOLVED and not reached(before, Phase.PR_MERGED)


def resolve_statuses(configured: StatusMap) -> dict[Phase, tuple[str, ...]]:
    """Fill a policy's status map by the rule of the nearest named phase before; empty: the default.

    INCIDENT_DETECTED must be named in a non-empty map (``check_statuses`` says so); until it is,
    the default status serves.
    """
    if not configured:
        return dict(DEFAULT_STATUSES)
    resolved: dict[Phase, tuple[str, ...]] = {}
    last = tuple(configured.get(Phase.INCIDENT_DETECTED, DEFAULT_STATUSES[Phase.INCIDENT_DETECTED]))
    for phase in CHAIN:
        last = tuple(configured.get(phase, last))
        resolved[phase] = last
    human = configured.get(Phase.INCIDENT_REQUIRES_HUMAN, resolved[Phase.INCIDENT_DETECTED])
    resolved[Phase.INCIDENT_REQUIRES_HUMAN] = tuple(human)
    return resolved


def check_statuses(configured: StatusMap) -> list[str]:
    """Return what is wrong with a policy's status map, one sentence each; empty: it can be used."""
    if not configured:
        return []
    problems = [
        f"tracker.statuses.{phase}: name at least one ticket status"
        for phase, names in configured.items()
        if not names
    ]
    problems += [
        f"tracker.statuses.{phase}: this phase must be named"
        for phase in (Phase.INCIDENT_DETECTED, Phase.INCIDENT_RESOLVED)
        if phase not in configured
    ]
    resolved = resolve_statuses(configured)
    done = _folded(resolved[Phase.INCIDENT_RESOLVED])
    human = _folded(resolved[Phase.INCIDENT_REQUIRES_HUMAN])
    for phase, listed in resolved.items():
        names = _folded(listed)
        if phase is not Phase.INCIDENT_RESOLVED and done & names:
            problems.append(
                f"tracker.statuses.INCIDENT_RESOLVED: {sorted(done & names)} also stands for "
                f"{phase}; the end needs a status of its own"
            )
        shares_human = human & names
        may_share = phase in (Phase.INCIDENT_REQUIRES_HUMAN, Phase.INCIDENT_DETECTED)
        if shares_human and not may_share:
            problems.append(
                f"tracker.statuses.INCIDENT_REQUIRES_HUMAN: {sorted(shares_human)} also stands for "
                f"{phase}; it may share only with INCIDENT_DETECTED"
            )
    return problems


def _folded(names: Sequence[str]) -> set[str]:
    return {name.casefold() for name in names}


def phases_of(status: str, statuses: StatusMap) -> tuple[Phase, ...]:
    """Return the phases that a ticket status stands for, in the order of the chain."""
    wanted = status.casefold()
    return tuple(
        phase
        for phase in (*CHAIN, Phase.INCIDENT_REQUIRES_HUMAN)
        if any(name.casefold() == wanted for name in statuses.get(phase, ()))
    )


def entered_by_person(
    status: str, statuses: StatusMap, *, coming_from: Phase | None
) -> Phase | None:
    """Return the phase that a person's move into a ticket status enters; None: unknown status.

    The first phase of the chain that shares the status; one shared by INCIDENT_DETECTED and
    INCIDENT_REQUIRES_HUMAN means a take-over, but a reopening when it comes from INCIDENT_RESOLVED.
    """
    found = phases_of(status, statuses)
    if not found:
        return None
    both = Phase.INCIDENT_DETECTED in found and Phase.INCIDENT_REQUIRES_HUMAN in found
    if both and coming_from is not Phase.INCIDENT_RESOLVED:
        return Phase.INCIDENT_REQUIRES_HUMAN
    return found[0]
