"""Counters across incidents, kept in the status of the policy by resourceVersion."""

from __future__ import annotations

from selfheal.api.incident import IncidentStatus, Phase, Resolution
from selfheal.engine.context import Context


async def count_verdict(context: Context, after: IncidentStatus) -> None:
    """Count a failed verification of the class, and forget the failures once a fix proved itself.

    Done right before the change of phase is saved: a crash in between may count a failure twice,
    never none.
    """
    diagnosis, policy = after.diagnosis, context.policy
    before = context.incident.status
    if before.phase is after.phase or diagnosis is None or not policy.metadata.resource_version:
        return  # a built-in policy is no object to count in
    known = policy.status.failures
    class_ = diagnosis.class_.value
    if _has_failed(before, after):
        failures = known | {class_: known.get(class_, 0) + 1}
    elif after.phase is Phase.INCIDENT_RESOLVED and after.resolution is Resolution.FIXED:
        failures = {name: number for name, number in known.items() if name != class_}
    else:
        return
    if failures != known:
        status = policy.status.evolve(failures=failures)
        context.policy = await context.deps.store.save_policy_status(policy, status)


def _has_failed(before: IncidentStatus, after: IncidentStatus) -> bool:
    handover = after.handover
    left = before.phase in (Phase.DEPLOYMENT_IN_PROGRESS, Phase.VERIFICATION_IN_PROGRESS)
    handed = after.phase is Phase.INCIDENT_REQUIRES_HUMAN and handover is not None
    return left and handed and handover is not None and handover.reason == "VerificationFailed"


async def count_open_pull_requests(context: Context) -> int:
    """Return how many pull requests of other incidents of this policy are open."""
    name = context.incident.spec.policy_ref
    return sum(
        1
        for other in await context.deps.store.list_incidents()
        if other.key != context.incident.key
        and other.spec.policy_ref == name
        and other.status.pull_request is not None
        and other.status.pull_request.state == "Open"
    )
