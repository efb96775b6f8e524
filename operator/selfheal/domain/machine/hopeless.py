"""A rollout that cannot succeed any more: its new pods fail by themselves. Pure."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import IncidentStatus, Phase
from selfheal.domain.facts import ContainerFacts, WorkloadFacts

KILLS = 2
"""Restarts after kills for lack of memory that settle it: a limit does not grow by waiting."""

CRASHES = 5
"""Restarts of a crashing container that settle it: with the kubelet's back-off (10 s, doubled each
time) two and a half minutes, in which what it waits for would have come."""


def find(status: IncidentStatus, workload: WorkloadFacts) -> str | None:
    """Return what new pods die of; None while there is hope.

    A progress deadline (ten minutes by default, and none for StatefulSets) would say so later.
    Only pods that were made since the approval count: what was there before failed already.
    """
    approved = _approved_at(status)
    for pod in workload.pods:
        if approved is None or pod.created_at < approved:
            continue
        if pod.deleting or not pod.owned_by_current:
            continue
        for entry in pod.containers:
            why = _cause(entry)
            if why:
                return f"{pod.name}/{entry.name} {why}"
    return None


def is_of_the_fix(status: IncidentStatus, workload: WorkloadFacts) -> bool:
    """Tell whether a rollout that failed is one that the fix began.

    A fix of another object (a Role, a ConfigMap) changes no template: what failed before the merge
    goes on failing until it is tried again. Without any pod of the newest template it is new.
    """
    approved = _approved_at(status)
    pods = [pod for pod in workload.pods if pod.owned_by_current]
    return not pods or any(approved is None or pod.created_at >= approved for pod in pods)


def _approved_at(status: IncidentStatus) -> dt.datetime | None:
    # the merge comes right after it; what is delivered may run before the merge is written down
    moments = [entry.at for entry in status.history if entry.to is Phase.PR_APPROVED]
    return moments[-1] if moments else None


def _cause(entry: ContainerFacts) -> str | None:
    killed = "OOMKilled" in (entry.terminated_reason, entry.last_terminated_reason)
    if killed and entry.restarts >= KILLS:
        return f"is killed for lack of memory again, {entry.restarts} times since the fix."
    if entry.waiting_reason == "CrashLoopBackOff" and entry.restarts >= CRASHES:
        return (
            f"crashes again, {entry.restarts} times since the fix "
            f"(exit code {entry.last_exit_code})."
        )
    return None
