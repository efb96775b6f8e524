from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import heap, registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

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


@pytest.mark.parametrize(
    ("used", "held_back", "lived", "need"),
    [(3.9, 74.0, 100.0, 0.15), (3.9, 191.0, 100.0, 0.39), (None, 74.0, 100.0, None), (3.9, 74.0, None, None), (3.9, None, 100.0, None)],
)
def test_what_a_throttled_container_would_have_used(
    used: float | None, held_back: float | None, lived: float | None, need: float | None
) -> None:
    counted = {"cpuUsedSeconds": used, "cpuThrottledSeconds": held_back, "livedSeconds": lived}
    counters = make.counters(cpuPeriods=900, cpuThrottledPeriods=700, **{key: one for key, one in counted.items() if one is not None})
    pod = make.pod(containers=[make.container(**LIMITED)], statuses=[make.status(ready=True)], ready=True)
    (found,) = registry.diagnose(make.bundle(pod, counters))
    assert found.parameters.get("need") == need


@pytest.mark.parametrize(
    ("probes", "ready", "burst"),
    [
        ({"readinessProbe": {"periodSeconds": 3}}, False, 3.0), ({"livenessProbe": {"timeoutSeconds": 4}}, False, 2.5),
        ({"readinessProbe": {"periodSeconds": 60}}, False, 10.0), ({"readinessProbe": {"periodSeconds": 1}}, False, None),
        ({"readinessProbe": {"periodSeconds": 3}}, True, None), ({}, False, None),
    ],
)  # fmt: skip
def test_a_failing_probe_wants_the_work_of_its_period_within_its_time_out(
    probes: dict[str, Any], ready: bool, burst: float | None
) -> None:
    pod = make.pod(containers=[make.container(**LIMITED, **probes)], statuses=[make.status(ready=ready)], ready=ready)
    counters = make.counters(cpuPeriods=900, cpuThrottledPeriods=700, cpuUsedSeconds=3.9, cpuThrottledSeconds=74.0, livedSeconds=100.0)
    found = next(one for one in registry.diagnose(make.bundle(pod, counters)) if one.class_ is IncidentClass.CPU_THROTTLING)
    assert found.parameters.get("burst") == burst


def test_throttling_needs_a_limit_and_counters() -> None:
    counters = make.counters(cpuPeriods=200, cpuThrottledPeriods=200)
    assert registry.diagnose(make.bundle(make.pod(), counters)) == []
    other = make.counters("other", cpuPeriods=200, cpuThrottledPeriods=200)
    assert registry.diagnose(make.bundle(make.pod(containers=[make.container(**LIMITED)]), other)) == []


def oom(*items: Item, **fields: object) -> Finding:
    pod = make.pod(containers=[make.container(**LIMITED)], statuses=[killed(**fields)])
    return registry.diagnose(make.bundle(pod, *items))[0]


def test_a_limit_that_was_raised_twice_is_a_leak() -> None:
    def revision(number: int, memory: str | None) -> Item:
        limits = {"resources": {"limits": {"memory": memory}}} if memory else {}
        return make.replica_set(number, [make.container(**limits), make.container("side")])

    twice = oom(revision(1, "16Mi"), revision(2, "32Mi"), revision(3, "64Mi"))
    assert twice.parameters["leak"] is True
    assert "raised before (16Mi to 32Mi to 64Mi)" in twice.cause
    assert "replicaset/web-r3" in twice.evidence
    assert oom(revision(1, "64Mi"), revision(2, "32Mi"), revision(3, None), revision(4, "65Mi")).parameters["leak"] is False


def test_a_log_that_reports_a_leak_and_a_long_life_are_leaks() -> None:
    log = make.log("ok\nERROR io.netty.util.ResourceLeakDetector - LEAK: ByteBuf.release() was not called\n")
    said = oom(log)
    assert (said.parameters["leak"], log.id in said.evidence) == (True, True)
    assert oom(make.log("nothing of it\n")).parameters["leak"] is False
    long = oom(lived=5 * 3600)
    assert "It lived 5 h 0 min before" in long.cause
    assert "It lived 15 min before" in oom(lived=900).cause


def test_a_single_kill_long_ago_is_over() -> None:
    def look(ago: float, restarts: int) -> list[Finding]:
        status = make.status(ready=True, restarts=restarts, last=make.ended("OOMKilled", 137, ago=ago))
        return list(registry.diagnose(make.bundle(make.pod(containers=[make.container(**LIMITED)], statuses=[status], ready=True))))

    assert look(4000, 1) == []
    assert [one.class_ for one in look(4000, 2)] == [IncidentClass.OOM_KILLED]
    assert look(100000, 2) == []


def test_heap_flags_are_read_wherever_they_stand() -> None:
    spec = {"command": ["java", "-Xmx1g"], "args": ["-XX:MaxRAMPercentage=50.0"], "env": [{"name": "O", "value": "-Xmx256m"}, {"name": "S", "valueFrom": {}}]}
    assert heap.flags_of(spec) == ("-Xmx1g", "-XX:MaxRAMPercentage=50.0", "-Xmx256m")
    assert heap.bytes_of(spec) == 2**30
    assert heap.bytes_of({"command": ["-Xmx1024"]}) == 1024


@pytest.mark.parametrize(("restarts", "ago", "found"), [(1, 60, True), (1, 6000, False), (6, 6000, True)])
def test_a_heap_error_that_was_survived_counts_while_it_is_recent(restarts: int, ago: float, found: bool) -> None:
    status = make.status(ready=True, restarts=restarts, last=make.ended(ago=ago))
    log = make.log("java.lang.OutOfMemoryError: Java heap space")
    bundle = make.bundle(make.pod(statuses=[status], ready=True), log)
    classes = [one.class_ for one in registry.diagnose(bundle)]
    assert (IncidentClass.JAVA_OUT_OF_MEMORY in classes) is found


def test_an_evicted_container_without_a_request_is_named() -> None:
    message = "The node was low on resource: memory. Container app was using 512Ki, request is 0."
    pod = make.pod(statuses=[], phase="Failed", reason="Evicted", message=message)
    (found,) = registry.diagnose(make.bundle(pod))
    assert (found.container, found.parameters["containers"]) == ("app", ["app"])
    assert "requests no memory" in found.cause


def test_the_jvm_may_leave_out_the_package_while_it_begins() -> None:
    status = make.status(restarts=2, waiting="CrashLoopBackOff", last=make.ended())
    log = make.log("Error occurred during initialization of VM\nOutOfMemoryError: Metaspace\n")
    (found,) = registry.diagnose(make.bundle(make.pod(statuses=[status]), log))
    assert (found.class_, found.parameters["fault"]) == (IncidentClass.JAVA_OUT_OF_MEMORY, "NotHeap")
    assert "Metaspace" in found.cause


def test_a_kill_that_nobody_asked_for_is_the_kernels() -> None:
    def look(spec: dict[str, object], **status: object) -> list[Finding]:
        last = make.status(restarts=1, waiting="CrashLoopBackOff", last=make.ended("Error", 137))
        pod = make.pod(containers=[make.container(**spec)], statuses=[last], **status)  # type: ignore[arg-type]
        return list(registry.diagnose(make.bundle(pod)))

    (found,) = look(LIMITED)
    assert (found.class_, found.confidence) == (IncidentClass.OOM_KILLED, 0.7)
    assert "SIGKILL" in found.cause
    assert "out of memory" in found.cause
    probed = {**LIMITED, "livenessProbe": {"tcpSocket": {"port": 1}}}
    for others in (look({}), look(probed), look(LIMITED, reason="Evicted")):
        assert [one.class_ for one in others] == [IncidentClass.CRASH_LOOP_BACK_OFF]


def test_an_oom_kill_of_a_probed_container_is_no_probes_doing() -> None:
    spec = {**LIMITED, "livenessProbe": {"httpGet": {"path": "/", "port": 80}}}
    event = make.event("Unhealthy", "Liveness probe failed: Get: connect: connection refused")
    (found,) = registry.diagnose(make.bundle(make.pod(containers=[make.container(**spec)], statuses=[killed()]), event))
    assert found.class_ is IncidentClass.OOM_KILLED


def test_a_limit_that_two_earlier_incidents_had_raised_is_a_leak() -> None:
    def earlier(number: int, **more: object) -> Item:
        said = {"incident": f"checkout-{number}", "class": "OOMKilled", "container": "app", "merged": True}
        return Item(id=f"earlier/checkout-{number}", kind=ItemKind.EARLIER, value=said | more)

    twice = oom(earlier(1), earlier(2))
    assert twice.parameters["leak"] is True
    assert "raised before, for checkout-1, checkout-2" in twice.cause
    assert {"earlier/checkout-1", "earlier/checkout-2"} <= set(twice.evidence)
    for other in ({"merged": False}, {"container": "side"}, {"class": "CPUThrottling"}):
        once = oom(earlier(1), earlier(2, **other))
        assert once.parameters["leak"] is False
