"""The checks that a fix of each class must pass, evaluated against one observation. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from selfheal.api.classes import IncidentClass
from selfheal.domain.facts import CheckResult, ContainerFacts, PodFacts, WorkloadFacts

WORKING_SET_SHARE = 0.9
"""Share of the memory limit that the working set must stay below (incidents.md, class 2)."""

THROTTLED_SHARE = 0.25
"""Share of throttled CPU periods that must not be reached (kubernetes-mixin, CPUThrottlingHigh)."""

ROLLOUT = "RolloutComplete"
READY = "PodsReady"
IMAGE = "ImagePulled"
NO_OOM = "NoOOMKill"
MEMORY = "WorkingSetBelow90Percent"
NO_RESTART = "NoRestart"
PROBES = "ProbePresent"
THROTTLING = "NotThrottled"
SCHEDULED = "PodsScheduled"
NO_EVICTION = "NoEviction"
NO_SECOND = "NoSecondIncident"
"""Broken by another incident of the same target and class; it is no part of a stored contract."""

_BASE = (ROLLOUT, READY)
_CONTRACTS: Mapping[IncidentClass, tuple[str, ...]] = {
    IncidentClass.JAVA_OUT_OF_MEMORY: (*_BASE, NO_RESTART, NO_OOM, "JavaOutOfMemoryCleared"),
    IncidentClass.OOM_KILLED: (*_BASE, NO_OOM, MEMORY),
    IncidentClass.INSUFFICIENT_MEMORY: (*_BASE, SCHEDULED, NO_EVICTION, NO_OOM),
    IncidentClass.HIGH_RESTART_COUNT: (*_BASE, NO_RESTART),
    IncidentClass.CRASH_LOOP_BACK_OFF: (*_BASE, NO_RESTART),
    IncidentClass.FAILED_HEALTH_CHECK: (*_BASE, PROBES, NO_RESTART),
    IncidentClass.IMAGE_PULL_BACK_OFF: (*_BASE, IMAGE),
    IncidentClass.INVALID_IMAGE_TAG: (*_BASE, IMAGE),
    IncidentClass.REGISTRY_AUTH: (*_BASE, IMAGE),
    IncidentClass.CPU_THROTTLING: (*_BASE, THROTTLING),
    IncidentClass.STORAGE: (*_BASE, SCHEDULED, NO_EVICTION),
    IncidentClass.NODE_EXHAUSTION: (*_BASE, SCHEDULED),
    IncidentClass.UNSCHEDULABLE: (*_BASE, SCHEDULED),
    IncidentClass.MISSING_REFERENCE: (*_BASE, NO_RESTART),
    IncidentClass.INIT_CONTAINER_FAILED: (*_BASE, NO_RESTART),
    IncidentClass.JOB_FAILED: _BASE,
    IncidentClass.STUCK_ROLLOUT: (*_BASE, NO_RESTART),
    IncidentClass.QUOTA_EXCEEDED: _BASE,
    IncidentClass.SERVICE_ENDPOINTS: (*_BASE, "ServiceEndpointsCleared"),
    IncidentClass.PERMISSION_DENIED: (*_BASE, "PermissionDeniedCleared"),
    IncidentClass.AUTOSCALER_FAILED: (ROLLOUT, "AutoscalerFailedCleared"),
    IncidentClass.DISRUPTION_BUDGET_BLOCKED: (*_BASE, "DisruptionBudgetBlockedCleared"),
    IncidentClass.VOLUME_MOUNT_FAILED: _BASE,
    IncidentClass.NETWORK_BLOCKED: (*_BASE, "NetworkBlockedCleared"),
    IncidentClass.INGRESS_BACKEND: (ROLLOUT, "IngressBackendCleared"),
    IncidentClass.ADMISSION_WEBHOOK_FAILED: _BASE,
}
_CLEARED = "Cleared"
"""``<class>Cleared``: the evidence, taken again, shows no fault of this class any more."""

_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
_RUN_TO_END = frozenset({"Job", "CronJob"})

Verdict = tuple[bool, str, bool]
Check = Callable[[WorkloadFacts, dt.datetime | None], Verdict]


def checks_for(class_: IncidentClass) -> tuple[str, ...]:
    """Return the names of the checks of a class, in the order in which they are shown."""
    return _CONTRACTS.get(class_, checks_for_unknown())


def checks_for_unknown() -> tuple[str, ...]:
    """Return the checks that say whether a target is well before its class is known."""
    return (*_BASE, IMAGE, NO_OOM, NO_RESTART)


def evaluate(
    names: Sequence[str], workload: WorkloadFacts, *, since: dt.datetime | None, now: dt.datetime
) -> Sequence[CheckResult]:
    """Evaluate checks once; may be repeated.

    Only restarts after ``since`` (live since) count; None: the state as it is. A check that broke
    after ``since`` and cannot heal is final. A name that is not known never holds. ``now`` bounds
    ``since``: a moment in the future counts as now.
    """
    begin = None if since is None else min(since, now)
    results = []
    for name in names:
        check = _CHECKS.get(name) or _cleared_check(name)
        if check is None:
            message = f"There is no check named {name}."
            results.append(CheckResult(name=name, holds=False, message=message))
            continue
        holds, message, final = check(workload, begin)
        results.append(CheckResult(name=name, holds=holds, message=message, final=final))
    return tuple(results)


def fail_by_incident(key: str, filed: dt.datetime | None) -> CheckResult:
    """Return the check that an incident of the same target and class breaks, for good."""
    at = f" at {filed:%Y-%m-%d %H:%M:%S} UTC" if filed else ""
    message = f"{key} reported the same fault again{at}, after the fix was live."
    return CheckResult(name=NO_SECOND, holds=False, message=message, final=True)


def looks_for_faults(names: Sequence[str]) -> bool:
    """Tell whether checks need the faults of a fresh diagnosis."""
    return any(_cleared_check(name) is not None for name in names)


def _cleared_check(name: str) -> Check | None:
    wanted = name.removesuffix(_CLEARED)
    if wanted == name or wanted not in set(IncidentClass):
        return None

    def check(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
        for class_, cause in workload.faults:
            if class_.value == wanted:
                return False, cause, False
        return True, f"No fault of class {wanted} is found any more.", False

    return check


def _current(workload: WorkloadFacts) -> Iterator[PodFacts]:
    return (pod for pod in workload.pods if pod.owned_by_current and not pod.deleting)


def _containers(workload: WorkloadFacts) -> Iterator[tuple[PodFacts, ContainerFacts]]:
    return ((pod, entry) for pod in _current(workload) for entry in pod.containers)


def _rollout(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    if workload.rollout_failed:
        return False, f"The rollout failed: {workload.rollout_failed}", False
    if not workload.rollout_complete:
        return (
            False,
            f"{workload.updated} of {workload.desired} pods are of the new template.",
            False,
        )
    return True, "The rollout is complete.", False


def _ready(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    kind = (workload.manifest or {}).get("kind")
    waiting = [pod.name for pod in _current(workload) if not pod.ready and pod.phase != "Succeeded"]
    if waiting:
        return False, f"Not ready: {', '.join(waiting[:3])}.", False
    if workload.desired == 0 and kind not in _RUN_TO_END:
        return False, "No pods are wanted: scaled to zero.", False
    if workload.ready < workload.desired:
        return False, f"{workload.ready} of {workload.desired} pods are ready.", False
    return True, f"All {workload.desired} pods are ready.", False


def _image(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    for pod, entry in _containers(workload):
        if entry.waiting_reason in _IMAGE_REASONS:
            message = f"{pod.name}/{entry.name}: {entry.waiting_reason} for {entry.image}."
            return False, message, False
    return True, "Every image is pulled.", False


def _ended_since(entry: ContainerFacts, since: dt.datetime | None) -> bool:
    if since is None:
        return entry.restarts > 0
    return entry.last_finished_at is not None and entry.last_finished_at > since


def _no_oom(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    for pod, entry in _containers(workload):
        running_out = entry.terminated_reason == "OOMKilled"
        last = entry.last_terminated_reason == "OOMKilled" and _ended_since(entry, since)
        if running_out or last:
            return False, f"{pod.name}/{entry.name} was killed for lack of memory.", True
    return True, "No container was killed for lack of memory.", False


def _no_restart(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    for pod, entry in _containers(workload):
        if _ended_since(entry, since):
            message = f"{pod.name}/{entry.name} restarted (exit code {entry.last_exit_code})."
            return False, message, True
        if entry.waiting_reason == "CrashLoopBackOff":
            return False, f"{pod.name}/{entry.name} is in CrashLoopBackOff.", False
    return True, "No container restarted.", False


def _memory(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    shares = [
        (entry.working_set / entry.memory_limit, f"{pod.name}/{entry.name}")
        for pod, entry in _containers(workload)
        if entry.working_set is not None and entry.memory_limit
    ]
    if not shares:
        return True, "The working set is not measured or not limited.", False
    share, name = max(shares)
    message = f"{name} uses {share:.0%} of its memory limit."
    return share < WORKING_SET_SHARE, message, False


def _probes(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    pods = [any(entry.probes for entry in pod.containers) for pod in _current(workload)]
    if pods and all(pods):
        return True, "Every pod still has a probe.", False
    return False, "A pod without any probe runs, or none runs.", False


def _throttling(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    limited = [
        (entry.throttled_ratio, f"{pod.name}/{entry.name}")
        for pod, entry in _containers(workload)
        if entry.throttled_ratio is not None or (entry.cpu_limit is not None and not entry.init)
    ]
    unknown = [name for ratio, name in limited if ratio is None]
    if unknown:  # the counters of a new container come after 10 to 15 s
        return False, f"The kubelet has not counted {unknown[0]} for long enough yet.", False
    if not limited:
        return True, "No container has a CPU limit.", False
    ratio, name = max((ratio, name) for ratio, name in limited if ratio is not None)
    return ratio < THROTTLED_SHARE, f"{name} is throttled in {ratio:.0%} of its periods.", False


def _scheduled(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    missing = [pod.name for pod in _current(workload) if not pod.scheduled]
    if missing:
        return False, f"Not scheduled: {', '.join(missing[:3])}.", False
    return True, "Every pod is scheduled.", False


def _no_eviction(workload: WorkloadFacts, since: dt.datetime | None) -> Verdict:
    for event in workload.warnings:
        if event.reason == "Evicted" and (since is None or event.at > since):
            return False, f"{event.object} was evicted: {event.message}", since is not None
    return True, "No pod was evicted.", False


_CHECKS: Mapping[str, Check] = {
    ROLLOUT: _rollout,
    READY: _ready,
    IMAGE: _image,
    NO_OOM: _no_oom,
    MEMORY: _memory,
    NO_RESTART: _no_restart,
    PROBES: _probes,
    THROTTLING: _throttling,
    SCHEDULED: _scheduled,
    NO_EVICTION: _no_eviction,
}
