"""All rules, their order, and whether anything looks unhealthy at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import (
    autoscaling,
    crashes,
    disruption,
    heap,
    history,
    images,
    ingresses,
    jobs,
    memory,
    mounts,
    network,
    permissions,
    probes,
    quota,
    references,
    resources,
    rollouts,
    scheduling,
    services,
    starts,
    storage,
    tiny_limits,
    waits,
    webhooks,
    worker_kills,
)
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.diagnosis.reading import RECENT, Container, Reading, dig, is_leftover, parse_time

Rule = Callable[[Reading], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    webhooks.find,
    quota.find,
    images.find,
    storage.find,
    tiny_limits.find,
    mounts.find,
    scheduling.find,
    permissions.find,
    network.find,
    services.find,
    ingresses.find,
    autoscaling.find,
    disruption.find,
    references.find,
    starts.find,
    heap.find,
    memory.find_oom_kills,
    worker_kills.find,
    memory.find_insufficient,
    resources.find_throttling,
    probes.find,
    crashes.find,
    waits.find,
    jobs.find,
    rollouts.find,
)
AROUND: tuple[Rule, ...] = (
    permissions.find,
    network.find,
    services.find,
    ingresses.find,
    autoscaling.find,
    disruption.find,
    resources.find_throttling,
)
"""Rules of faults that leave the pods ready."""

SURE = 0.6
"""Findings below it stand after all others, whatever their rank."""

SYMPTOM = 85
"""Findings of this rank are left out where a cause is known."""

CERTAIN = 0.8
_CRASHES = frozenset({
    IncidentClass.CRASH_LOOP_BACK_OFF, IncidentClass.HIGH_RESTART_COUNT, IncidentClass.JOB_FAILED,
    IncidentClass.INIT_CONTAINER_FAILED,
})  # fmt: skip
_DEADLY = frozenset({
    IncidentClass.JAVA_OUT_OF_MEMORY, IncidentClass.OOM_KILLED, IncidentClass.INSUFFICIENT_MEMORY,
    IncidentClass.PERMISSION_DENIED, IncidentClass.NETWORK_BLOCKED, IncidentClass.STORAGE,
})  # fmt: skip
"""What a container dies of, and the classes of its death: one finding, not two."""

PATIENCE = dt.timedelta(seconds=30)
"""A pod younger than this may just be starting."""

_HARD_REASONS = frozenset({
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    "StartError",
}) | images.WAITING  # fmt: skip


def diagnose(bundle: Bundle) -> Sequence[Finding]:
    """Return all findings, cause before symptom, then by confidence; pure, may be repeated.

    Every finding quotes at least one item of the bundle by id.
    """
    reading = Reading(bundle=bundle)
    found = [history.annotate(reading, finding) for rule in RULES for finding in rule(reading)]
    wanted = bundle.target.container
    return sorted(
        (finding for finding in found if not _is_symptom(finding, found)),
        key=lambda finding: (
            finding.confidence < SURE,
            finding.rank,
            -finding.confidence,
            wanted is not None and finding.container != wanted,
        ),
    )


def _is_symptom(finding: Finding, found: Sequence[Finding]) -> bool:
    """Tell whether another finding says why: memory for a crash, anything for a failed Job."""
    if finding.rank >= SYMPTOM:
        return any(other.rank < SYMPTOM and other.confidence >= SURE for other in found)
    return finding.class_ in _CRASHES and any(
        other.class_ in _DEADLY
        and other.rank < finding.rank
        and other.confidence >= CERTAIN
        and other.container in (None, finding.container)
        for other in found
    )


def list_faults(bundle: Bundle) -> tuple[tuple[IncidentClass, str], ...]:
    """Return class and cause of every sure finding, cause before symptom; pure."""
    return tuple(
        (finding.class_, finding.cause)
        for finding in diagnose(bundle)
        if finding.confidence >= SURE
    )


def is_failing(bundle: Bundle) -> bool:
    """Tell whether anything looks unhealthy now: pods, containers, creation of pods, claims."""
    reading = Reading(bundle=bundle)
    job = jobs.newest(reading)
    if job is not None and jobs.condition(job.value, "Complete"):
        return False  # its failed pods were tried again, and it is done
    return (
        (job is not None and bool(jobs.condition(job.value, "Failed")))
        or any(_container_fails(entry, bundle.now) for entry in reading.containers)
        or any(_pod_fails(pod, bundle.now) for pod in reading.pods)
        or (not reading.pods and bool(reading.events("FailedCreate")))
        or any(
            dig(claim.value, "status").get("phase") == "Pending"
            for claim in bundle.of(ItemKind.CLAIM)
        )
        or any(finding.confidence >= SURE for rule in AROUND for finding in rule(reading))
        or (any(map(_is_unready, reading.pods)) and _has_sure_finding(bundle))
    )


def _has_sure_finding(bundle: Bundle) -> bool:
    return any(finding.confidence >= SURE for finding in diagnose(bundle))


def _container_fails(container: Container, now: dt.datetime) -> bool:
    if container.waiting_reason in _HARD_REASONS:
        return True
    ended = parse_time(container.terminated.get("finishedAt"))
    if ended is None or now - ended > RECENT or (container.init and container.ready):
        return False
    if container.ended_with_pod:
        return False
    if container.ready and container.restarts < crashes.FLAPPING:  # it has got over it
        return container.terminated.get("reason") == "OOMKilled"
    return container.restarts > 0 or container.exit_code not in (None, 0)


def _pod_fails(pod: Item, now: dt.datetime) -> bool:
    if dig(pod.value, "status").get("phase") == "Failed":
        return not is_leftover(pod, now)
    created = parse_time(dig(pod.value, "metadata").get("creationTimestamp"))
    return _is_unready(pod) and (created is None or now - created >= PATIENCE)


def _is_unready(pod: Item) -> bool:
    status = dig(pod.value, "status")
    ready = any(
        entry.get("type") == "Ready" and entry.get("status") == "True"
        for entry in status.get("conditions") or ()
    )
    return not ready and status.get("phase") not in ("Succeeded", "Failed") and not _is_at_work(pod)


def _is_at_work(pod: Item) -> bool:
    """Tell whether what ended in a pod that is meant to end did so well, and the rest is ready."""
    if dig(pod.value, "spec").get("restartPolicy") not in ("Never", "OnFailure"):
        return False
    containers = dig(pod.value, "status").get("containerStatuses") or ()
    done = [dig(one, "state", "terminated").get("exitCode") == 0 for one in containers]
    return any(done) and all(
        ended or one.get("ready") for ended, one in zip(done, containers, strict=True)
    )
