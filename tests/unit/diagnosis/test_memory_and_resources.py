from __future__ import annotations

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry

LIMITED = {"resources": {"limits": {"memory": "64Mi", "cpu": "100m"}, "requests": {"memory": "32Mi"}}}


def killed(**fields: object) -> object:
    last = make.ended("OOMKilled", 137, **fields)  # type: ignore[arg-type]
    return make.status(restarts=3, waiting="CrashLoopBackOff", last=last)


def test_an_oom_kill_is_the_kernels_own_word() -> None:
    pods = [make.pod(name, containers=[make.container(**LIMITED)], statuses=[killed()]) for name in ("web-1", "web-2")]
    found = registry.diagnose(make.bundle(*pods, make.counters(workingSetBytes=6e7)))
    assert [finding.class_ for finding in found] == [IncidentClass.OOM_KILLED]
    assert found[0].confidence == 0.95
    assert found[0].evidence == ("pod/web-1", "counters/web-1/app")
    assert found[0].parameters == {
        "limit": "64Mi", "request": "32Mi", "workingSetBytes": 6e7, "restarts": 3, "steady": False, "leak": False, "heap": None,
    }  # fmt: skip


def test_a_container_that_lived_long_may_leak() -> None:
    found = registry.diagnose(make.bundle(make.pod(containers=[make.container(**LIMITED)], statuses=[killed(lived=900)]), make.counters()))
    assert found[0].parameters["steady"] is True
    assert found[0].evidence == ("pod/web-1",)


def test_termination_without_times_says_nothing_about_growth() -> None:
    status = make.status(terminated={"reason": "OOMKilled", "exitCode": 137})
    found = registry.diagnose(make.bundle(make.pod(containers=[make.container(**LIMITED)], statuses=[status])))
    assert found[0].parameters["steady"] is False


def test_an_oom_kill_without_a_limit_is_a_missing_limit() -> None:
    found = registry.diagnose(make.bundle(make.pod(statuses=[killed()])))
    assert (found[0].class_, found[0].confidence) == (IncidentClass.INSUFFICIENT_MEMORY, 0.8)


def test_a_heap_error_goes_before_the_crash() -> None:
    text = "INFO start\nException in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n\tat Main.main(Main.java:3)\n"
    status = make.status(restarts=2, waiting="CrashLoopBackOff", last=make.ended(code=1))
    found = registry.diagnose(make.bundle(make.pod(statuses=[status]), make.log(text), make.log(text, previous=False)))
    assert [finding.class_ for finding in found] == [IncidentClass.JAVA_OUT_OF_MEMORY], "the crash is its symptom"
    assert found[0].confidence == 0.95
    assert found[0].parameters["signature"] == "java.lang.OutOfMemoryError: Java heap space"


def test_a_heap_error_of_a_running_container_is_less_sure() -> None:
    own = 'Exception in thread "w1" java.lang.OutOfMemoryError: Metaspace\n\tat a.B.c(D.java:1)'
    found = registry.diagnose(make.bundle(make.pod(), make.log(own, previous=False)))
    assert (found[0].confidence, found[0].parameters["fault"]) == (0.8, "NotHeap")
    talk = make.log("report: 3 x java.lang.OutOfMemoryError: Java heap space in other team's service", previous=False)
    assert registry.diagnose(make.bundle(make.pod(), talk)) == []


def test_an_eviction_for_memory_is_found_once() -> None:
    pods = [
        make.pod(name, statuses=[], phase="Failed", reason="Evicted", message=message)
        for name, message in (("web-0", "The node was low on resource: disk."), ("web-1", "The node was low on resource: memory."), ("web-2", "The node was low on resource: memory."))
    ]
    found = registry.diagnose(make.bundle(*pods))
    assert [(finding.class_, finding.evidence) for finding in found] == [(IncidentClass.INSUFFICIENT_MEMORY, ("pod/web-1",))]


@pytest.mark.parametrize(
    ("message", "matches"),
    [
        ('pods "web-" is forbidden: failed quota: q: must specify limits.memory', True),
        ("pods is forbidden: minimum memory usage per Container is 64Mi, but request is 16Mi", True),
        ("pods is forbidden: error looking up service account", False),
    ],
)
def test_refused_pods_are_read_from_the_replica_set(message: str, matches: bool) -> None:
    events = [make.event("FailedCreate", message, "ReplicaSet/web-r1") for _ in range(2)]
    assert len(registry.diagnose(make.bundle(*events))) == int(matches)


@pytest.mark.parametrize(
    ("throttled", "periods", "confidence"), [(285, 285, 0.95), (60, 200, 0.8), (10, 200, None), (50, 60, None)]
)
def test_throttling_is_a_share_of_enough_periods(throttled: int, periods: int, confidence: float | None) -> None:
    pod = make.pod(containers=[make.container(**LIMITED)], statuses=[make.status(ready=True)], ready=True)
    bundle = make.bundle(pod, make.counters(cpuPeriods=periods, cpuThrottledPeriods=throttled))
    found = registry.diagnose(bundle)
    assert [finding.confidence for finding in found] == ([confidence] if confidence else [])
    assert registry.is_failing(bundle) == (confidence is not None)


def test_throttling_needs_a_limit_and_counters() -> None:
    counters = make.counters(cpuPeriods=200, cpuThrottledPeriods=200)
    assert registry.diagnose(make.bundle(make.pod(), counters)) == []
    other = make.counters("other", cpuPeriods=200, cpuThrottledPeriods=200)
    assert registry.diagnose(make.bundle(make.pod(containers=[make.container(**LIMITED)]), other)) == []
