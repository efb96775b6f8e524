from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from selfheal.api.classes import IncidentClass
from selfheal.domain.facts import ContainerFacts, EventFacts, PodFacts, WorkloadFacts
from selfheal.verification import contract

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
LIVE = NOW - dt.timedelta(minutes=5)


def container(**fields: Any) -> ContainerFacts:
    known: dict[str, Any] = {"name": "app", "image": "a:1", "ready": True, "restarts": 0, "probes": frozenset({"readiness"})}
    return ContainerFacts(**(known | fields))


def pod(*containers: ContainerFacts, **fields: Any) -> PodFacts:
    known: dict[str, Any] = {"name": "web-1", "phase": "Running", "ready": True, "created_at": LIVE}
    return PodFacts(containers=containers or (container(),), **(known | fields))


def workload(*pods: PodFacts, **fields: Any) -> WorkloadFacts:
    known: dict[str, Any] = {"exists": True, "desired": 1, "ready": 1, "updated": 1, "rollout_complete": True}
    return WorkloadFacts(pods=pods, **(known | fields))


def check(name: str, found: WorkloadFacts, since: dt.datetime | None = LIVE) -> tuple[bool, bool]:
    (result,) = contract.evaluate([name], found, since=since, now=NOW)
    assert result.message.endswith((".", "x"))
    return result.holds, result.final


@pytest.mark.parametrize("class_", list(IncidentClass))
def test_every_class_has_a_contract_that_a_healthy_workload_fulfils(class_: IncidentClass) -> None:
    names = contract.checks_for(class_)
    around = class_ in (IncidentClass.AUTOSCALER_FAILED, IncidentClass.INGRESS_BACKEND)
    assert names[: 1 if around else 2] == (contract.ROLLOUT, contract.READY)[: 1 if around else 2]
    results = contract.evaluate(names, workload(pod()), since=LIVE, now=NOW)
    assert all(result.holds and not result.final for result in results)
    assert [result.name for result in results] == list(names)


def test_an_unknown_class_is_judged_by_the_general_checks() -> None:
    assert contract.checks_for(IncidentClass.UNKNOWN) == contract.checks_for_unknown()


def test_an_unknown_name_never_holds() -> None:
    assert check("Nonsense", workload(pod())) == (False, False)


def test_rollout() -> None:
    assert check(contract.ROLLOUT, workload(rollout_complete=False, updated=0)) == (False, False)
    assert check(contract.ROLLOUT, workload(rollout_failed="ProgressDeadlineExceeded x")) == (False, False)


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (workload(pod(ready=False)), False),
        (workload(pod(), pod(ready=False, owned_by_current=False)), True),
        (workload(pod(), pod(ready=False, deleting=True)), True),
        (workload(pod(ready=False, phase="Succeeded")), True),
        (workload(pod(), ready=0), False),
        (workload(desired=0, ready=0, manifest={"kind": "Deployment"}), False),
        (workload(desired=0, ready=0, manifest={"kind": "CronJob"}), True),
    ],
)
def test_ready_looks_at_the_pods_of_the_newest_template(found: WorkloadFacts, holds: bool) -> None:
    assert check(contract.READY, found) == (holds, False)


def test_image() -> None:
    failing = workload(pod(container(waiting_reason="ImagePullBackOff")))
    assert check(contract.IMAGE, failing) == (False, False)
    assert check(contract.IMAGE, workload(pod(container(waiting_reason="PodInitializing")))) == (True, False)


@pytest.mark.parametrize(
    ("name", "reason"), [(contract.NO_OOM, "OOMKilled"), (contract.NO_RESTART, "Error")]
)
def test_only_restarts_since_the_change_count(name: str, reason: str) -> None:
    def restarted(at: dt.datetime | None) -> WorkloadFacts:
        return workload(pod(container(restarts=2, last_terminated_reason=reason, last_exit_code=137, last_finished_at=at)))

    assert check(name, restarted(LIVE + dt.timedelta(seconds=1))) == (False, True)
    assert check(name, restarted(LIVE)) == (True, False)
    assert check(name, restarted(None)) == (True, False)
    assert check(name, restarted(None), since=None) == (False, True)
    assert check(name, workload(pod()), since=None) == (True, False)


def test_a_moment_in_the_future_counts_as_now() -> None:
    found = workload(pod(container(restarts=1, last_finished_at=NOW + dt.timedelta(seconds=1))))
    assert check(contract.NO_RESTART, found, since=NOW + dt.timedelta(hours=1)) == (False, True)


def test_a_container_that_lies_killed_or_waits_in_back_off_fails() -> None:
    assert check(contract.NO_OOM, workload(pod(container(terminated_reason="OOMKilled")))) == (False, True)
    assert check(contract.NO_RESTART, workload(pod(container(waiting_reason="CrashLoopBackOff")))) == (False, False)


@pytest.mark.parametrize(
    ("limit", "used", "holds"), [(100.0, 89.0, True), (100.0, 90.0, False), (None, 90.0, True), (100.0, None, True)]
)
def test_the_working_set_stays_below_90_percent(limit: float | None, used: float | None, holds: bool) -> None:
    assert check(contract.MEMORY, workload(pod(container(memory_limit=limit, working_set=used)))) == (holds, False)


def test_every_pod_keeps_a_probe() -> None:
    assert check(contract.PROBES, workload(pod(container(probes=frozenset())))) == (False, False)
    assert check(contract.PROBES, workload()) == (False, False)
    assert check(contract.PROBES, workload(pod(container(probes=frozenset()), container()))) == (True, False)


@pytest.mark.parametrize(("ratio", "holds"), [(0.24, True), (0.25, False), (None, False)])
def test_throttling_is_measured_before_it_counts_as_gone(ratio: float | None, holds: bool) -> None:
    limited = container(throttled_ratio=ratio, cpu_limit=0.1)
    assert check(contract.THROTTLING, workload(pod(container(), limited))) == (holds, False)


def test_nobody_is_throttled_without_a_limit() -> None:
    assert check(contract.THROTTLING, workload(pod(container(), container(cpu_limit=1.0, init=True)))) == (True, False)


def test_scheduling_and_eviction() -> None:
    assert check(contract.SCHEDULED, workload(pod(scheduled=False))) == (False, False)
    evicted = EventFacts(reason="Evicted", message="low memory.", object="Pod/web-1", at=NOW)
    other = EventFacts(reason="Unhealthy", message="probe.", object="Pod/web-1", at=NOW)
    assert check(contract.NO_EVICTION, workload(pod(), warnings=(other, evicted))) == (False, True)
    assert check(contract.NO_EVICTION, workload(pod(), warnings=(evicted,)), since=None) == (False, False)
    assert check(contract.NO_EVICTION, workload(pod(), warnings=(other,))) == (True, False)
    assert check(contract.NO_EVICTION, workload(pod(), warnings=(evicted,)), since=NOW) == (True, False)


def test_a_class_is_cleared_when_a_fresh_diagnosis_does_not_find_it() -> None:
    name = "ServiceEndpointsCleared"
    assert contract.looks_for_faults([contract.READY, name])
    assert not contract.looks_for_faults([contract.READY, "Cleared", "NonsenseCleared"])
    other = (IncidentClass.STORAGE, "x")
    assert check(name, workload(faults=(other,))) == (True, False)
    assert check(name, workload(faults=(other, (IncidentClass.SERVICE_ENDPOINTS, "x")))) == (False, False)
