"""Facts from raw objects: rollout of every kind, pods, containers."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from selfheal.adapters.kube import rollout, targets
from selfheal.api.incident import TargetRef


def target(
    kind: str,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **parts: Any,
) -> targets.Target:
    metadata = {"name": "web", "uid": "u1", "generation": 2} | parts.pop("metadata", {})
    stored = {"kind": kind, "metadata": metadata, "spec": spec or {}, "status": status or {}}
    ref = TargetRef(kind=kind, name="web")
    return targets.Target(ref=ref, namespace="ns", stored=stored, **parts)


DONE = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complete"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 1}, False),
        ({"replicas": 3}, False),
        ({"availableReplicas": 1}, False),
    ],
)
def test_a_deployment_is_complete_as_kubectl_says(change: dict[str, int], complete: bool) -> None:
    found = rollout.compute_rollout(target("Deployment", {"replicas": 2}, DONE | change))
    assert found.complete is complete
    assert found.desired == 2


def test_a_passed_progress_deadline_is_a_failure_of_the_generation_it_speaks_of() -> None:
    condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    status = DONE | {"conditions": [condition]}
    found = rollout.compute_rollout(target("Deployment", {"replicas": 2}, status))
    assert (found.complete, found.failed) == (False, "too slow")
    stale = rollout.compute_rollout(
        target("Deployment", {"replicas": 2}, status | {"observedGeneration": 1})
    )
    assert stale.failed is None


STATEFUL = {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3,
            "currentRevision": "b", "updateRevision": "b"}  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "status", "complete"),
    [
        ({}, {}, True),
        ({}, {"currentRevision": "a"}, False),
        ({}, {"readyReplicas": 2}, False),
        ({"updateStrategy": {"type": "OnDelete"}}, {"currentRevision": "a"}, True),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"currentRevision": "a", "updatedReplicas": 1},
            True,
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"currentRevision": "a", "updatedReplicas": 0},
            False,
        ),
    ],
)
def test_a_stateful_set(spec: dict[str, Any], status: dict[str, Any], complete: bool) -> None:
    subject = target("StatefulSet", {"replicas": 3} | spec, STATEFUL | status)
    assert rollout.compute_rollout(subject).complete is complete


DAEMON = {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
          "numberReady": 2, "numberAvailable": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "status", "complete"),
    [
        ({}, {}, True),
        ({}, {"updatedNumberScheduled": 1}, False),
        ({"updateStrategy": {"type": "OnDelete"}}, {"updatedNumberScheduled": 1}, True),
        ({}, {"numberAvailable": 1}, False),
    ],
)
def test_a_daemon_set(spec: dict[str, Any], status: dict[str, Any], complete: bool) -> None:
    assert rollout.compute_rollout(target("DaemonSet", spec, DAEMON | status)).complete is complete


def test_a_replica_set() -> None:
    status = {"observedGeneration": 2, "readyReplicas": 1, "fullyLabeledReplicas": 2}
    found = rollout.compute_rollout(target("ReplicaSet", {"replicas": 2}, status))
    assert (found.ready, found.updated, found.complete) == (1, 2, False)


@pytest.mark.parametrize(
    ("status", "ready", "complete", "failed"),
    [
        ({"active": 1}, 0, False, None),
        ({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}, 1, True, None),
        (
            {"failed": 6, "conditions": [{"type": "Failed", "status": "True", "message": "6 times"}]},
            0, False, "6 times",
        ),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, 0, False, None),
    ],
)  # fmt: skip
def test_a_job(status: dict[str, Any], ready: int, complete: bool, failed: str | None) -> None:
    found = rollout.compute_rollout(target("Job", {}, status))
    assert (found.ready, found.complete, found.failed) == (ready, complete, failed)


def test_a_cron_job_is_as_well_as_its_newest_job() -> None:
    job = {"spec": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert rollout.compute_rollout(target("CronJob", jobs=[job])).complete
    never = rollout.compute_rollout(target("CronJob"))
    assert (never.desired, never.complete) == (0, True)


def pod(name: str = "p", *, ready: str = "True", **parts: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-11-23T06:00:00Z"}
        | parts.pop("metadata", {}),
        "spec": {"containers": [{"name": "app", "image": "nginx"}]} | parts.pop("spec", {}),
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        | parts.pop("status", {}),
    }


def test_a_claim_must_be_bound_and_its_pods_ready() -> None:
    bound = target("PersistentVolumeClaim", status={"phase": "Bound"}, pods=[pod()])
    pending = target("PersistentVolumeClaim", status={"phase": "Pending"})
    assert rollout.compute_rollout(bound).complete
    assert not rollout.compute_rollout(pending).complete


def test_a_pod_that_succeeded_is_well() -> None:
    done = pod(ready="False", status={"phase": "Succeeded"})
    assert rollout.is_well(done)
    assert rollout.compute_rollout(target("Pod", pods=[done])).complete
    assert not rollout.compute_rollout(target("Pod", pods=[pod(ready="False")])).complete


def test_pods_of_an_older_template_are_told_apart() -> None:
    def owned(uid: str) -> dict[str, Any]:
        return {"ownerReferences": [{"uid": uid}]}

    sets = [{"metadata": {"name": "new", "uid": "n"}}, {"metadata": {"name": "old", "uid": "o"}}]
    subject = target(
        "Deployment", {}, DONE, replica_sets=sets,
        pods=[pod("a", metadata=owned("n")), pod("b", metadata=owned("o"))],
    )  # fmt: skip
    found = rollout.build_facts(subject, [], {})
    assert [one.owned_by_current for one in found.pods] == [True, False]


@pytest.mark.parametrize(
    ("kind", "metadata", "status", "label"),
    [
        ("StatefulSet", {}, {"updateRevision": "v2"}, "controller-revision-hash"),
        (
            "DaemonSet",
            {"annotations": {"deprecated.daemonset.template.generation": "v2"}},
            {},
            "pod-template-generation",
        ),
    ],
)
def test_revisions_are_told_apart_by_label(
    kind: str, metadata: dict[str, Any], status: dict[str, Any], label: str
) -> None:
    pods = [pod(value, metadata={"labels": {label: value}}) for value in ("v2", "v1")]
    subject = target(kind, {}, status, metadata=metadata, pods=[*pods, pod("none")])
    found = rollout.build_facts(subject, [], {})
    assert [one.owned_by_current for one in found.pods] == [True, False, True]


def test_a_container_is_read_with_its_last_end_and_its_counters() -> None:
    spec = {
        "initContainers": [{"name": "init", "image": "busybox"}],
        "containers": [
            {
                "name": "app",
                "image": "nginx:1",
                "resources": {"limits": {"memory": "64Mi"}},
                "livenessProbe": {},
                "startupProbe": {},
            }
        ],
    }
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-23T06:01:00Z"}
    status = {
        "conditions": [
            {"type": "Ready", "status": "False"},
            {"type": "PodScheduled", "status": "False"},
        ],
        "initContainerStatuses": [
            {"name": "init", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}
        ],
        "containerStatuses": [
            {
                "name": "app",
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": ended},
            }
        ],
    }
    counted = rollout.Counters(working_set=60.0, periods=200.0, throttled=50.0)
    stored = pod(spec=spec, status=status, metadata={"deletionTimestamp": "2026-11-23T06:02:00Z"})
    found = rollout.build_pod(stored, True, {("p", "app"): counted})
    assert (found.ready, found.scheduled, found.deleting) == (False, False, True)
    init, app = found.containers
    assert init.init
    assert (init.terminated_reason, init.exit_code) == ("Completed", 0)
    assert (app.waiting_reason, app.waiting_message) == ("CrashLoopBackOff", "back-off")
    assert (app.last_terminated_reason, app.last_exit_code) == ("OOMKilled", 137)
    assert app.last_finished_at == dt.datetime(2026, 11, 23, 6, 1, tzinfo=dt.UTC)
    assert app.probes == {"liveness", "startup"}
    assert (app.memory_limit, app.working_set, app.throttled_ratio) == (64 * 2**20, 60.0, 0.25)


@pytest.mark.parametrize(
    ("periods", "throttled", "lived", "ratio"),
    [
        (100, 30, 11.0, 0.3),
        (99, 30, 59.0, None),  # a start says nothing yet
        (50, 10, 60.0, 0.2),
        (0, 0, 61.0, 0.0),  # it had its time, and did not want to run
        (40, 10, None, 0.25),  # no time in the sample
        (10, None, 61.0, None),
        (None, None, None, None),
    ],
)
def test_throttling_is_known_once_enough_was_seen(
    periods: float | None, throttled: float | None, lived: float | None, ratio: float | None
) -> None:
    assert rollout.Counters(periods=periods, throttled=throttled, lived_seconds=lived).ratio == ratio


def test_an_odd_quantity_is_no_fault_of_the_workload() -> None:
    spec = {"containers": [{"name": "a", "resources": {"limits": {"memory": "1e9"}}}]}
    (container,) = rollout.build_pod(pod(spec=spec), True, {}).containers
    assert container.memory_limit is None


def test_what_does_not_exist_has_no_rollout() -> None:
    missing = targets.Target(ref=TargetRef(kind="Pod", name="x"), namespace="ns", stored=None)
    assert not rollout.build_facts(missing, [], {}).exists
