"""Memory limits that nothing starts within, and workers that the kernel kills inside a living container."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item


def limited(limit: str, **status: Any) -> Item:
    container = make.container(resources={"limits": {"memory": limit}})
    return make.pod(
        containers=[container], statuses=[make.status(**status)], ready=status.get("ready", False)
    )


@pytest.mark.parametrize(
    ("limit", "words", "meant"),
    [
        ("256m", "256m, which is 0.256 bytes", "256Mi"),
        ("512", "512 bytes", "512Mi"),
        ("900000", "900000 bytes", None),
        ("64Ki", "65536 bytes", "64Mi"),
        ("1m", "0.001 bytes", None),
        ("2Mi", "2.09715e+06 bytes", None),
        ("128k", "128000 bytes", "128Mi"),
    ],
)
def test_a_limit_that_nothing_starts_within(limit: str, words: str, meant: str | None) -> None:
    full = make.event(
        "FailedMount",
        'MountVolume.SetUp failed for volume "kube-api-access-x" : write /x/ca.crt: no space left on device',
    )
    pod = limited(limit, waiting="ContainerCreating")
    pod.value["status"]["phase"] = "Pending"
    first = registry.diagnose(make.bundle(pod, full))[0]
    assert (first.class_, first.container, first.confidence) == (
        IncidentClass.INSUFFICIENT_MEMORY,
        "app",
        0.9,
    )
    assert words in first.cause
    assert first.parameters["meant"] == meant
    assert ("was probably meant" in first.cause) is (meant is not None)


def test_limits_that_are_large_enough_or_not_readable_or_serve() -> None:
    for pod in (
        limited("4Mi", waiting="ContainerCreating"), limited("lots", waiting="ContainerCreating"),
        limited("2Mi", ready=True), limited("2Mi", terminated=make.ended("Completed", 0)),
    ):  # fmt: skip
        assert registry.diagnose(make.bundle(pod)) == []
    two = [limited("1m", waiting="ContainerCreating"), limited("1m", waiting="ContainerCreating")]
    assert len(registry.diagnose(make.bundle(*two))) == 1


GUNICORN = "[1] [ERROR] Worker (pid:97) was sent SIGKILL! Perhaps out of memory?"


def killed(text: str, *items: Item, limit: str = "64Mi", **status: Any) -> list[Finding]:
    found = registry.diagnose(
        make.bundle(limited(limit, **status), make.log(text, previous=False), *items)
    )
    return [one for one in found if one.class_ is IncidentClass.OOM_KILLED]


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        (GUNICORN, 0.7),
        ("worker process 29 exited on signal 9", 0.6),
        ("child pid 12 exit signal Killed (9)", 0.6),
        (
            "billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 3.",
            0.6,
        ),
        ("LOG:  server process (PID 123) was terminated by signal 9: Killed", 0.6),
        ("DAMN ! worker 1 (pid: 9) died, killed by signal 9 :( trying respawn ...", 0.6),
        ("worker 7 died (SIGKILL)", 0.6),
        ("subprocess ended with exit code -9", 0.6),
    ],
)
def test_a_worker_that_is_killed_is_out_of_memory(text: str, sure: float) -> None:
    (found,) = killed(f"starting\n{text}")
    assert (found.confidence, found.container, found.parameters["limit"]) == (sure, "app", "64Mi")
    assert "64Mi" in found.cause
    (found,) = killed(text, make.counters(workingSetBytes=60 * 2**20))
    assert (found.confidence, found.evidence) == (
        0.8,
        ("pod/web-1", "log/web-1/app/current", "counters/web-1/app"),
    )
    (found,) = killed(text, make.counters(workingSetBytes=6 * 2**20))
    assert (found.confidence, len(found.evidence)) == (sure, 2)


@pytest.mark.parametrize(
    "text",
    [
        "worker 7 exited with code 1",
        "process 12 got signal 15",
        "boot",
        "worker exits on signal 90",
    ],
)
def test_other_ends_of_workers_are_no_want_of_memory(text: str) -> None:
    assert killed(text) == []


def test_a_container_that_serves_has_to_be_near_its_limit_and_lose_workers_often() -> None:
    full, often = make.counters(workingSetBytes=60 * 2**20), f"{GUNICORN}\n{GUNICORN}"
    assert len(killed(often, full, ready=True)) == 1
    assert killed(GUNICORN, full, ready=True) == []
    assert killed(often, ready=True) == []


def test_each_container_is_named_once_and_only_while_it_runs_with_a_limit() -> None:
    pods = [limited("64Mi"), make.pod(), limited("64Mi")]
    bundle = make.bundle(*pods, make.log("x"), make.log(GUNICORN, previous=False))
    assert sum(one.class_ is IncidentClass.OOM_KILLED for one in registry.diagnose(bundle)) == 1
    assert killed(GUNICORN, waiting="CrashLoopBackOff") == []
    old = make.bundle(limited("64Mi"), make.log(GUNICORN))
    assert registry.diagnose(old) == [], "the log of a run that is over"
