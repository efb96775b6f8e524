"""What a target's objects say about rollout, pods and containers; pure.

Rollout rules are those of ``kubectl rollout status``
(https://github.com/kubernetes/kubectl/blob/master/pkg/polymorphichelpers/rollout_status.go).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfheal.adapters.kube import kinds, targets
from selfheal.api import meta
from selfheal.domain import facts

Stored = Mapping[str, Any]
LEAST_PERIODS = 100
"""Periods of 100 ms from which a share of them says something."""
LIVED_SECONDS = 60.0
"""Seconds of life from which a container that hardly ran has shown that it does not."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counters:
    """What the kubelet counted for one container; None: not known."""

    working_set: float | None = None  # bytes
    periods: float | None = None
    throttled: float | None = None
    throttled_seconds: float | None = None
    used_seconds: float | None = None  # of CPU
    lived_seconds: float | None = None  # from the container's start to the sample

    @property
    def ratio(self) -> float | None:
        """Return the share of throttled periods since the container's start.

        None while too little was seen: periods count only while the container wants to run.
        """
        if self.periods is None or self.throttled is None:
            return None
        lived = LIVED_SECONDS if self.lived_seconds is None else self.lived_seconds
        if self.periods < LEAST_PERIODS and lived < LIVED_SECONDS:
            return None
        return self.throttled / max(self.periods, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """How far the newest template has come."""

    desired: int
    ready: int
    updated: int
    complete: bool
    failed: str | None = None


def build_facts(
    target: targets.Target,
    warnings: Sequence[facts.EventFacts],
    counters: Mapping[tuple[str, str], Counters],
) -> facts.WorkloadFacts:
    """Return the facts of a target; counters by (pod, container)."""
    if target.stored is None:
        return facts.WorkloadFacts(exists=False, warnings=tuple(warnings))
    rollout = compute_rollout(target)
    is_current = _is_current(target)
    return facts.WorkloadFacts(
        exists=True,
        manifest=target.stored,
        desired=rollout.desired,
        ready=rollout.ready,
        updated=rollout.updated,
        rollout_complete=rollout.complete,
        rollout_failed=rollout.failed,
        pods=tuple(build_pod(pod, is_current(pod), counters) for pod in target.pods),
        warnings=tuple(warnings),
    )


def compute_rollout(target: targets.Target) -> Rollout:
    """Return how far the newest template has come, by the rules of the target's kind."""
    stored = target.stored or {}
    spec, status = stored.get("spec") or {}, stored.get("status") or {}
    seen = _int(status, "observedGeneration") >= _int(stored.get("metadata") or {}, "generation")
    if target.kind == "CronJob":
        return (
            _of_job(target.jobs[0])
            if target.jobs
            else Rollout(desired=0, ready=0, updated=0, complete=True)
        )
    if target.kind == "Job":
        return _of_job(stored)
    compute = _BY_KIND.get(target.kind)
    if compute is None:
        return _of_pods(target)
    rollout = compute(spec, status)
    if seen:
        return rollout
    return dataclasses.replace(rollout, complete=False, failed=None)


def _of_deployment(spec: Stored, status: Stored) -> Rollout:
    desired = _int(spec, "replicas", 1)
    updated, total = _int(status, "updatedReplicas"), _int(status, "replicas")
    failed = next(
        (
            str(one.get("message") or one.get("reason"))
            for one in status.get("conditions") or ()
            if one.get("type") == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded"
        ),
        None,
    )
    return Rollout(
        desired=desired,
        ready=_int(status, "readyReplicas"),
        updated=updated,
        complete=failed is None
        and updated >= desired
        and total <= updated
        and _int(status, "availableReplicas") >= updated,
        failed=failed,
    )


def _of_stateful_set(spec: Stored, status: Stored) -> Rollout:
    desired, ready = _int(spec, "replicas", 1), _int(status, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    partition = _int(strategy.get("rollingUpdate") or {}, "partition")
    updated = _int(status, "updatedReplicas")
    same = status.get("updateRevision") == status.get("currentRevision")
    rolled = same if partition == 0 else updated >= desired - partition
    if same:
        updated = max(updated, _int(status, "currentReplicas"))
    by_hand = strategy.get("type") == "OnDelete"
    return Rollout(
        desired=desired,
        ready=ready,
        updated=updated,
        complete=ready >= desired and (rolled or by_hand),
    )


def _of_daemon_set(spec: Stored, status: Stored) -> Rollout:
    desired = _int(status, "desiredNumberScheduled")
    updated = _int(status, "updatedNumberScheduled")
    by_hand = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    return Rollout(
        desired=desired,
        ready=_int(status, "numberReady"),
        updated=updated,
        complete=(updated >= desired or by_hand) and _int(status, "numberAvailable") >= desired,
    )


def _of_replica_set(spec: Stored, status: Stored) -> Rollout:
    desired, ready = _int(spec, "replicas", 1), _int(status, "readyReplicas")
    updated = _int(status, "fullyLabeledReplicas")
    return Rollout(desired=desired, ready=ready, updated=updated, complete=ready >= desired)


_BY_KIND: Mapping[str, Callable[[Stored, Stored], Rollout]] = {
    "Deployment": _of_deployment,
    "StatefulSet": _of_stateful_set,
    "DaemonSet": _of_daemon_set,
    "ReplicaSet": _of_replica_set,
}


def _of_job(job: Stored) -> Rollout:
    spec, status = job.get("spec") or {}, job.get("status") or {}
    conditions = {
        one.get("type"): one
        for one in status.get("conditions") or ()
        if one.get("status") == "True"
    }
    done = "Complete" in conditions
    failed = conditions.get("Failed")
    desired = _int(spec, "completions", 1)
    succeeded = _int(status, "succeeded")
    return Rollout(
        desired=desired,
        ready=desired if done else min(desired, succeeded + _int(status, "ready")),
        updated=succeeded + _int(status, "active") + _int(status, "failed"),
        complete=done,
        failed=str(failed.get("message") or failed.get("reason")) if failed else None,
    )


def _of_pods(target: targets.Target) -> Rollout:
    """A bare Pod, and what only points at pods: all of them must be ready, a claim bound."""
    ready = sum(_is_ready(pod) or _phase(pod) == "Succeeded" for pod in target.pods)
    desired = len(target.pods)
    complete = ready == desired
    if target.kind == "PersistentVolumeClaim":
        complete = complete and _phase(target.stored or {}) == "Bound"
    return Rollout(desired=desired, ready=ready, updated=desired, complete=complete)


def _is_current(target: targets.Target) -> Callable[[Stored], bool]:
    """Return what says whether a pod belongs to the newest template of its owner."""
    status = (target.stored or {}).get("status") or {}
    if target.kind in ("Deployment", "HorizontalPodAutoscaler") and target.replica_sets:
        newest = {kinds.uid_of(target.replica_sets[0])}
        return lambda pod: kinds.is_owned_by(pod, newest)
    if target.kind == "StatefulSet" and status.get("updateRevision"):
        wanted = status["updateRevision"]
        return lambda pod: _labels(pod).get("controller-revision-hash", wanted) == wanted
    if target.kind == "DaemonSet":
        annotations = (target.stored or {})["metadata"].get("annotations") or {}
        generation = annotations.get("deprecated.daemonset.template.generation")
        return lambda pod: (
            generation is None
            or _labels(pod).get("pod-template-generation", generation) == generation
        )
    return lambda pod: True


def build_pod(
    pod: Stored, current: bool, counters: Mapping[tuple[str, str], Counters]
) -> facts.PodFacts:
    """Return the facts of one pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return facts.PodFacts(
        name=kinds.name_of(pod),
        phase=_phase(pod) or "Pending",
        ready=_is_ready(pod),
        created_at=parse_time(metadata.get("creationTimestamp")) or EPOCH,
        containers=tuple(_containers(pod, counters)),
        scheduled=conditions.get("PodScheduled") != "False",
        deleting=bool(metadata.get("deletionTimestamp")),
        owned_by_current=current,
    )


def _containers(
    pod: Stored, counters: Mapping[tuple[str, str], Counters]
) -> list[facts.ContainerFacts]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    built = []
    for group, statuses, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        by_name = {one["name"]: one for one in status.get(statuses) or ()}
        for entry in spec.get(group) or ():
            counted = counters.get((kinds.name_of(pod), entry["name"]), Counters())
            built.append(_container(entry, by_name.get(entry["name"], {}), counted, init=init))
    return built


def _container(
    spec: Stored, status: Stored, counted: Counters, *, init: bool
) -> facts.ContainerFacts:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last_ended = last.get("terminated") or {}
    limits = (spec.get("resources") or {}).get("limits") or {}
    return facts.ContainerFacts(
        name=spec["name"],
        image=str(spec.get("image", "")),
        ready=bool(status.get("ready")),
        restarts=_int(status, "restartCount"),
        init=init,
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message"),
        terminated_reason=ended.get("reason"),
        exit_code=ended.get("exitCode"),
        last_terminated_reason=last_ended.get("reason"),
        last_exit_code=last_ended.get("exitCode"),
        last_finished_at=parse_time(last_ended.get("finishedAt")),
        started_at=parse_time((state.get("running") or ended).get("startedAt")),
        probes=frozenset(
            name for name in ("liveness", "readiness", "startup") if f"{name}Probe" in spec
        ),
        memory_limit=_quantity(limits.get("memory")),
        cpu_limit=_quantity(limits.get("cpu")),
        working_set=counted.working_set,
        throttled_ratio=counted.ratio,
    )


def _is_ready(pod: Stored) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def is_well(pod: Stored) -> bool:
    """Say whether a pod is ready or has done its work."""
    return _is_ready(pod) or _phase(pod) == "Succeeded"


def _phase(stored: Stored) -> str:
    return str((stored.get("status") or {}).get("phase") or "")


def _labels(stored: Stored) -> Mapping[str, str]:
    return stored["metadata"].get("labels") or {}


def _int(stored: Stored, name: str, default: int = 0) -> int:
    value = stored.get(name)
    return default if value is None else int(value)


def _quantity(text: Any) -> float | None:
    try:
        return None if text is None else meta.parse_quantity(str(text))
    except ValueError:
        return None  # exponents ("1e3") are legal and rare


def parse_time(text: Any) -> dt.datetime | None:
    """Parse a time of the API; None where there is none."""
    return dt.datetime.fromisoformat(text) if isinstance(text, str) and text else None
