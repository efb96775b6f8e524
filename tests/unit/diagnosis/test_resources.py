"""Throttling: counters since the start of a container, and what they say about now."""

from __future__ import annotations

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.diagnosis import registry


@pytest.mark.parametrize(
    ("lived", "ready", "throttled", "confidence"),
    [
        (60, True, 400, 0.95),  # two thirds of its life
        (600, True, 400, 0.5),  # a throttled start, long ago
        (600, False, 400, 0.95),  # it suffers now
        (600, True, 1000, 0.95),
    ],
)
def test_a_throttled_start_says_nothing_about_a_container_that_is_well(lived: float, ready: bool, throttled: int, confidence: float) -> None:
    status = make.status(ready=ready)
    status["state"] = {"running": {"startedAt": make.stamp(lived)}}
    pod = make.pod(containers=[make.container(resources={"limits": {"cpu": "50m"}})], statuses=[status], ready=ready)
    counters = make.counters(cpuPeriods=throttled + 20, cpuThrottledPeriods=throttled)
    bundle = make.bundle(pod, counters)
    (found,) = (one for one in registry.diagnose(bundle) if "CPU limit" in one.cause)
    assert found.confidence == confidence
    assert registry.is_failing(bundle) is (confidence > 0.5 or not ready)


def test_faults_are_the_sure_findings() -> None:
    pod = make.pod(statuses=[make.status(waiting="ErrImagePull", message="401 Unauthorized")])
    ((class_, cause),) = registry.list_faults(make.bundle(pod))
    assert (class_.value, "without a login" in cause) == ("RegistryAuth", True)
    assert registry.list_faults(make.bundle(pod, make.log("fine"), make.pod("web-2", ready=True)))[0][0] is class_
    assert registry.list_faults(make.bundle()) == ()
