"""Pods that are meant to end: what ended well in them, and sidecars that were ended with them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.incident import TargetRef
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind

SIDECAR = make.container("tail", restartPolicy="Always", resources={"limits": {"memory": "32Mi"}})


def of_job(pod: Item, *, complete: bool = False) -> Bundle:
    conditions = [{"type": "Complete", "status": "True"}] if complete else []
    job = Item(
        id="object/Job/sums",
        kind=ItemKind.OBJECT,
        value={
            "kind": "Job",
            "metadata": {"name": "sums"},
            "spec": {},
            "status": {"conditions": conditions},
        },
    )
    return Bundle(
        target=TargetRef(kind="Job", name="sums"), namespace="shop", now=make.NOW, items=(job, pod)
    )


def pod_of(*statuses: dict[str, Any], policy: str = "Never", **more: Any) -> Item:
    item = make.pod(
        containers=[make.container(one["name"]) for one in statuses],
        statuses=list(statuses),
        **more,
    )
    item.value["spec"]["restartPolicy"] = policy
    return item


LOADED = make.status("load", terminated=make.ended("Completed", 0))
AT_WORK = make.status("compute", ready=True)


@pytest.mark.parametrize(
    ("pod", "failing"),
    [
        (pod_of(LOADED, AT_WORK), False),
        (pod_of(LOADED, AT_WORK, policy="OnFailure"), False),
        (pod_of(LOADED, AT_WORK, policy="Always"), True),
        (pod_of(LOADED, make.status("compute")), True),
        (pod_of(make.status("load", terminated=make.ended()), AT_WORK), True),
        (pod_of(make.status("compute")), True),
    ],
)
def test_a_pod_with_one_container_done_and_the_others_at_work_is_well(
    pod: Item, failing: bool
) -> None:
    assert registry.is_failing(of_job(pod)) is failing


def beside(main: dict[str, Any], sidecar: dict[str, Any], phase: str) -> Item:
    return make.pod(statuses=[main], init=[SIDECAR], init_statuses=[sidecar], phase=phase)


def killed(code: int, ago: float) -> dict[str, Any]:
    return make.status("tail", terminated=make.ended(code=code, ago=ago))


@pytest.mark.parametrize("code", [137, 143, 1])
def test_a_sidecar_that_ended_after_the_work_was_done_is_no_fault(code: int) -> None:
    done = beside(
        make.status(terminated=make.ended("Completed", 0, ago=30)), killed(code, 20), "Succeeded"
    )
    for bundle in (make.bundle(done), of_job(done), of_job(done, complete=True)):
        assert registry.diagnose(bundle) == []
        assert not registry.is_failing(bundle)


def test_a_sidecar_that_ended_after_a_failure_is_not_the_failure() -> None:
    failed = beside(make.status(terminated=make.ended(code=3, ago=30)), killed(137, 20), "Failed")
    (found,) = registry.diagnose(of_job(failed))
    assert (found.container, found.parameters["exitCode"]) == ("app", 3)


@pytest.mark.parametrize(
    "main", [make.status(), make.status(terminated=make.ended("Completed", 0, ago=10))]
)
def test_a_sidecar_that_ended_before_the_work_did_is_judged(main: dict[str, Any]) -> None:
    assert [
        one.container for one in registry.diagnose(of_job(beside(main, killed(137, 20), "Running")))
    ] == ["tail"]


def test_a_kill_in_a_job_that_is_done_was_tried_again() -> None:
    spec = make.container(resources={"limits": {"memory": "32Mi"}})
    pod = make.pod(
        containers=[spec],
        statuses=[make.status(terminated=make.ended("OOMKilled", 137))],
        phase="Failed",
    )
    assert registry.diagnose(of_job(pod, complete=True)) == []
    assert [one.class_.value for one in registry.diagnose(of_job(pod))] == ["OOMKilled"]
