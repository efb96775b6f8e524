"""All rules, their order, and whether anything looks unhealthy at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from selfheal.diagnosis import (
    autoscaling,
    disruption,
    images,
    ingresses,
    memory,
    mounts,
    network,
    permissions,
    probes,
    quota,
    resources,
    restarts,
    scheduling,
    services,
    storage,
    webhooks,
)
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.diagnosis.reading import RECENT, Container, Reading, dig, is_leftover, parse_time

Rule = Callable[[Reading], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    webhooks.find,
    quota.find,
    images.find,
    storage.find,
    mounts.find,
    scheduling.find,
    permissions.find,
    network.find,
    services.find,
    ingresses.find,
    autoscaling.find,
    disruption.find,
    restarts.find_missing_objects,
    restarts.find_start_errors,
    memory.find_heap_errors,
    memory.find_oom_kills,
    memory.find_insufficient,
    resources.find_throttling,
    probes.find,
    restarts.find_crashes,
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
    found = [finding for rule in RULES for finding in rule(reading)]
    wanted = bundle.target.container
    return sorted(
        found,
        key=lambda finding: (
            finding.confidence < SURE,
            finding.rank,
            -finding.confidence,
            wanted is not None and finding.container != wanted,
        ),
    )


def is_failing(bundle: Bundle) -> bool:
    """Tell whether anything looks unhealthy now: pods, containers, creation of pods, claims."""
    reading = Reading(bundle=bundle)
    return (
        any(_container_fails(entry, bundle.now) for entry in reading.containers)
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
    recently = ended is not None and now - ended <= RECENT
    again = container.restarts > 0 and not (container.init and container.ready)
    return recently and (again or container.exit_code not in (None, 0))


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
    return not ready and status.get("phase") not in ("Succeeded", "Failed")
