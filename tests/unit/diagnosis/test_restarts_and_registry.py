from __future__ import annotations

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reading, registry
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind


def test_a_container_that_cannot_be_started_says_why() -> None:
    last = make.ended("StartError", 128, message='exec: "srv": executable file not found in $PATH')
    bad = make.status(waiting="CrashLoopBackOff", last=last)
    (found,) = registry.diagnose(make.bundle(make.pod(statuses=[bad]), make.pod("web-2", statuses=[bad])))
    assert (found.parameters["fault"], found.confidence) == ("BadCommand", 0.95)
    assert "executable file not found" in found.cause
    waiting = make.status(waiting="RunContainerError", message="exec failed")
    assert "exec failed" in registry.diagnose(make.bundle(make.pod(statuses=[waiting])))[0].cause
    root = make.status(waiting="CreateContainerConfigError", message="container has runAsNonRoot and image will run as root")
    assert registry.diagnose(make.bundle(make.pod(statuses=[root])))[0].parameters["fault"] == "RunAsNonRoot"


@pytest.mark.parametrize(
    ("text", "class_", "fault", "line"),
    [
        ("boot\nbind: Address already in use\nbye\n", IncidentClass.CRASH_LOOP_BACK_OFF, "PortTaken", "bind: Address already in use"),
        ("open /etc/app.yaml: no such file or directory", IncidentClass.CRASH_LOOP_BACK_OFF, "MissingFile", "open /etc/app.yaml"),
        ("Traceback (most recent call last):\n  x\nKeyError: 'DATABASE_URL'\n", IncidentClass.CRASH_LOOP_BACK_OFF, "MissingVariable", "KeyError"),
        ("Traceback (most recent call last):\n  x\nZeroDivisionError: division by zero\n", IncidentClass.HIGH_RESTART_COUNT, "Application", "ZeroDivisionError"),
        ("nothing to see", IncidentClass.CRASH_LOOP_BACK_OFF, "Exit", "exits with code 1"),
    ],
)
def test_the_log_tells_the_reason_of_a_crash(text: str, class_: IncidentClass, fault: str, line: str) -> None:
    status = make.status(restarts=3, waiting="CrashLoopBackOff", last=make.ended())
    log = make.log(text)
    (found,) = registry.diagnose(make.bundle(make.pod(statuses=[status]), log))
    assert (found.class_, found.parameters["fault"]) == (class_, fault)
    assert line in found.cause
    assert log.id in found.evidence
    assert found.confidence == (0.6 if fault == "Exit" else 0.8)


def test_many_restarts_without_back_off_are_a_high_count() -> None:
    running = make.status(restarts=7, ready=True, last=make.ended(lived=90))
    pods = [make.pod(name, statuses=[running]) for name in ("web-1", "web-2")]
    (found,) = registry.diagnose(make.bundle(*pods))
    assert (found.class_, found.confidence) == (IncidentClass.HIGH_RESTART_COUNT, 0.6)
    few = make.status(restarts=1, ready=True, last=make.ended())
    assert registry.diagnose(make.bundle(make.pod(statuses=[few]))) == []


def test_a_container_that_just_died_is_a_crash_before_the_back_off() -> None:
    status = make.status(terminated=make.ended())
    (found,) = registry.diagnose(make.bundle(make.pod(statuses=[status])))
    assert (found.class_, found.confidence) == (IncidentClass.CRASH_LOOP_BACK_OFF, 0.6)
    done = make.status(terminated=make.ended("Completed", 0))
    assert registry.diagnose(make.bundle(make.pod(statuses=[done]))) == []


def test_pods_of_older_revisions_are_not_judged() -> None:
    failing = [make.status(waiting="ImagePullBackOff", message="not found")]
    old = make.pod("old", containers=[make.container(image="a:1")], statuses=failing, owner="web-r1")
    new = make.pod("new", containers=[make.container(image="a:2")], statuses=failing, owner="web-r2")
    history = [make.replica_set(1, [make.container(image="a:1")]), make.replica_set(2, [make.container(image="a:2")])]
    (found,) = registry.diagnose(make.bundle(old, new, *history))
    assert found.parameters["image"] == "a:2"
    assert found.parameters["ran"] == [], "what cannot be pulled either never ran"


def test_a_failing_init_container_is_named() -> None:
    pod = make.pod(
        statuses=[make.status(waiting="PodInitializing")], init=[make.container("setup")],
        init_statuses=[make.status("setup", terminated=make.ended())],
    )  # fmt: skip
    (found,) = registry.diagnose(make.bundle(pod))
    assert found.container == "setup"
    assert found.cause.startswith("Init container setup")
    assert found.class_ is IncidentClass.INIT_CONTAINER_FAILED


def test_findings_are_ranked_cause_first_then_by_confidence_then_by_the_named_container() -> None:
    image = make.status("web", waiting="ImagePullBackOff", message="nginx: not found")
    oom = [make.status(name, restarts=1, waiting="CrashLoopBackOff", last=make.ended("OOMKilled", 137)) for name in ("a", "b")]
    limits = {"resources": {"limits": {"memory": "1Gi"}}}
    pod = make.pod(
        containers=[make.container("a", **limits), make.container("b", **limits), make.container("web", "nginx:9")],
        statuses=[*oom, image],
    )  # fmt: skip
    found = registry.diagnose(make.bundle(pod, wanted="b"))
    assert [(finding.class_, finding.container) for finding in found] == [
        (IncidentClass.IMAGE_PULL_BACK_OFF, "web"), (IncidentClass.OOM_KILLED, "b"), (IncidentClass.OOM_KILLED, "a"),
    ]  # fmt: skip


def test_an_unsure_cause_stands_after_a_sure_symptom() -> None:
    pulling = make.status("web", waiting="ImagePullBackOff", message="not found")
    crash = make.status("a", restarts=3, waiting="CrashLoopBackOff", last=make.ended())
    pod = make.pod(containers=[make.container("a"), make.container("web", "nginx:1")], statuses=[crash, pulling])
    found = registry.diagnose(make.bundle(pod, make.tags("nginx", "1")))
    assert [finding.container for finding in found] == ["a", "web"]


HEALTHY = make.pod(statuses=[make.status(ready=True)], ready=True)


@pytest.mark.parametrize(
    ("bundle", "failing"),
    [
        (make.bundle(HEALTHY), False),
        (make.bundle(), False),
        (make.bundle(make.pod(age=5)), False),
        (make.bundle(make.pod(age=60)), True),
        (make.bundle(make.pod(deleting=True)), False),
        (make.bundle(make.pod(phase="Succeeded", statuses=[])), False),
        (make.bundle(make.pod(phase="Failed", statuses=[], age=1)), True),
        (make.bundle(make.pod(age=1, statuses=[make.status(waiting="ErrImagePull")])), True),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True, restarts=1, last=make.ended(ago=60))])), False),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True, restarts=1, last=make.ended("OOMKilled", 137))])), True),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True, restarts=3, last=make.ended(ago=60))])), True),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True, restarts=1, last=make.ended(ago=6000))])), False),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True, restarts=1, last=make.ended("Completed", 0))])), False),
        (make.bundle(make.pod(ready=True, statuses=[make.status(ready=True)], init=[make.container("i")], init_statuses=[make.status("i", ready=True, restarts=1, terminated=make.ended("Completed", 0))])), False),
        (make.bundle(make.pod(age=5), make.event("FailedScheduling", "x")), False),
        (make.bundle(make.pod(age=5, statuses=[], phase="Pending", scheduled="1 Insufficient cpu.")), True),
        (make.bundle(make.event("FailedCreate", "quota", "ReplicaSet/r")), True),
        (make.bundle(HEALTHY, make.event("FailedCreate", "quota", "ReplicaSet/r")), False),
        (make.bundle(HEALTHY, make.claim()), True),
        (make.bundle(HEALTHY, make.claim("Bound")), False),
    ],
)  # fmt: skip
def test_failing_means_unhealthy_now(bundle: Bundle, failing: bool) -> None:
    assert registry.is_failing(bundle) is failing


def test_pods_that_were_evicted_long_ago_are_only_records() -> None:
    def evicted(ago: float) -> Item:
        conditions = [{"type": "DisruptionTarget", "lastTransitionTime": make.stamp(ago)}, {"type": "Ready", "status": "False"}]
        return make.pod(statuses=[], phase="Failed", reason="Evicted", message="low on resource: memory", conditions=conditions)

    assert registry.is_failing(make.bundle(HEALTHY, evicted(60)))
    assert len(registry.diagnose(make.bundle(HEALTHY, evicted(60)))) == 1
    assert not registry.is_failing(make.bundle(HEALTHY, evicted(6000)))
    assert registry.diagnose(make.bundle(HEALTHY, evicted(6000))) == []


def test_a_pod_without_creation_time_is_not_new() -> None:
    pod = Item(id="pod/x", kind=ItemKind.POD, value={"metadata": {"name": "x"}, "spec": {}, "status": {}})
    assert registry.is_failing(make.bundle(pod))


def test_readings_are_bounded_and_lenient() -> None:
    assert reading.quote("a\n b") == "a b"
    assert reading.quote("x" * 300) == "x" * 239 + "…"
    assert reading.dig({"a": [1]}, "a", "b") == {}
    assert reading.parse_time(None) is None
    bare = make.replica_set(1, [])
    bare.value["metadata"] = {}
    view = reading.Reading(bundle=make.bundle(bare, make.replica_set(2, []), make.served(1)))
    assert [item.id for item in view.replica_sets] == ["replicaset/web-r2", "replicaset/web-r1"]


def test_revisions_that_are_ready_are_trusted_before_newer_ones_that_never_were() -> None:
    history = [
        make.replica_set(3, [make.container(image="a:3")]), make.replica_set(2, [make.container(image="a:2")]),
        make.replica_set(1, [make.container(image="a:1")], ready=1),
    ]  # fmt: skip
    view = reading.Reading(bundle=make.bundle(*history))
    assert [spec["image"] for _, spec in view.past_containers("app")] == ["a:1", "a:2"]


def test_a_bundle_is_extended_by_copy() -> None:
    first = make.bundle(HEALTHY)
    assert (len(first.extend(make.claim()).items), len(first.items)) == (2, 1)
