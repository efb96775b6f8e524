"""The phase clock: time spent against a phase's time-out, standing still where it must."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import IncidentStatus, Phase, PhaseClock
from selfheal.api.policy import PolicySpec, RepositorySpec

REMINDER_SHARE = 0.5


def start(now: dt.datetime) -> PhaseClock:
    """Return the clock of a phase that is entered now."""
    return PhaseClock(running_since=now)


def compute_elapsed(clock: PhaseClock, now: dt.datetime) -> dt.timedelta:
    """Return the time that counts against the time-out."""
    running = dt.timedelta(0) if clock.running_since is None else now - clock.running_since
    return dt.timedelta(seconds=clock.elapsed_seconds) + max(running, dt.timedelta(0))


def run(clock: PhaseClock, now: dt.datetime, *, running: bool) -> PhaseClock:
    """Return the clock running or standing from now on; unchanged when it already does."""
    if running is (clock.running_since is not None):
        return clock
    if running:
        return clock.evolve(running_since=now)
    return PhaseClock(elapsed_seconds=compute_elapsed(clock, now).total_seconds())


def compute_timeout(
    phase: Phase, spec: PolicySpec, repository: RepositorySpec | None, status: IncidentStatus
) -> dt.timedelta | None:
    """Return how long the phase may take (table of api.md); None: for ever."""
    times = spec.timeouts
    review = (repository.pull_request if repository else RepositorySpecDefaults).review_timeout
    has_target = status.target is not None
    table: dict[Phase, dt.timedelta | None] = {
        Phase.INCIDENT_DETECTED: times.other if has_target else times.triage,
        Phase.ANALYSIS_IN_PROGRESS: times.analysis if has_target else times.triage,
        Phase.FIX_GENERATION_IN_PROGRESS: times.fix,
        Phase.PR_CREATION_IN_PROGRESS: times.pull_request,
        Phase.PR_CREATED: review,
        Phase.PR_UNDER_REVIEW: review,
        Phase.PR_APPROVED: times.merge,
        Phase.PR_MERGED: times.deployment_start,
        Phase.DEPLOYMENT_IN_PROGRESS: times.deployment,
        Phase.VERIFICATION_IN_PROGRESS: spec.verification.stable_for + times.verification,
        Phase.INCIDENT_RESOLVED: None,
        Phase.INCIDENT_REQUIRES_HUMAN: None,
    }
    return table.get(phase, times.other)


class RepositorySpecDefaults:
    """What serves where no repository is mapped."""

    review_timeout = dt.timedelta(hours=24)
