"""Claims and volumes; messages as kube-controller-manager, scheduler and kubelet 1.34 write them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
GONE = '0/1 nodes are available: persistentvolumeclaim "{}" not found. not found'


def storage(*items: Item) -> list[Finding]:
    return [one for one in registry.diagnose(around.bundle(*items)) if one.class_ is IncidentClass.STORAGE]


def provisioning(class_: str, claim: str = "data") -> Item:
    return make.event("ProvisioningFailed", f'storageclass.storage.k8s.io "{class_}" not found', f"PersistentVolumeClaim/{claim}")


@pytest.mark.parametrize(("class_", "near"), [("standrad", "standard"), ("fast-ssd", None)])
def test_a_class_that_does_not_exist(class_: str, near: str | None) -> None:
    event = provisioning(class_)
    items = [around.mounting("data", scheduled=UNBOUND), around.claim(class_=class_), event, around.storage_class("standard", default=True)]
    (found,) = storage(*items)
    assert (found.confidence, found.evidence) == (0.95, (event.id, "claim/data", "storageclass/standard"))
    expected: dict[str, Any] = {"fault": "ClassMissing", "claim": "data", "class": class_, "classes": ["standard"], "default": "standard"}
    assert found.parameters == expected | ({"new": near} if near else {})


def test_a_class_is_missing_where_there_are_none_at_all() -> None:
    (found,) = storage(around.mounting("data"), around.claim(class_="fast"), provisioning("fast"))
    assert found.cause == "Claim data asks for the storage class fast, which does not exist. There is none."
    assert found.parameters["default"] is None


def test_a_class_may_be_seen_to_be_missing_before_the_event() -> None:
    (found,) = storage(around.mounting("data"), around.claim(class_="fast"), around.storage_class("slow"))
    assert found.parameters["fault"] == "ClassMissing"


def test_claims_of_other_workloads_and_bound_ones_do_not_count() -> None:
    items = [around.mounting("data"), around.claim("data", "Bound", "standard"), around.claim("other", class_="fast"), around.storage_class("standard")]
    assert storage(*items) == []


def test_other_reasons_not_to_be_bound() -> None:
    event = make.event("FailedBinding", "no persistent volumes available for this claim and no storage class is set", "PersistentVolumeClaim/data")
    (found,) = storage(around.mounting("data", scheduled=UNBOUND), around.claim(), event)
    assert (found.parameters["fault"], found.confidence) == ("NotProvisioned", 0.95)
    (silent,) = storage(around.mounting("data", scheduled=UNBOUND), around.claim(class_="standard"), around.storage_class("standard"))
    assert (silent.parameters["fault"], silent.confidence) == ("NotProvisioned", 0.8)
    assert storage(around.mounting("data"), around.claim()) == []


@pytest.mark.parametrize(("claims", "near"), [(("ledger-data", "other"), "ledger-data"), ((), None)])
def test_a_claim_that_does_not_exist(claims: tuple[str, ...], near: str | None) -> None:
    second = around.mounting("ledger-dta", scheduled=GONE.format("ledger-dta"))
    second.value["metadata"]["name"] = "web-2"
    items = [around.mounting("ledger-dta", scheduled=GONE.format("ledger-dta")), second]
    (found,) = storage(*items, *(around.claim(name, "Bound") for name in claims))
    assert found.parameters == {"fault": "ClaimMissing", "claim": "ledger-dta"} | ({"new": near} if near else {})
    assert found.evidence == (("pod/web-1", "claim/ledger-data") if near else ("pod/web-1",))


EMPTY_DIR = 'Usage of EmptyDir volume "d" exceeds the limit "8Mi". '
EPHEMERAL = 'Container app exceeded its local ephemeral storage limit "10Mi". '
TOTAL = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "


@pytest.mark.parametrize(
    ("message", "fault", "limit"), [(EMPTY_DIR, "EmptyDirFull", "8Mi"), (EPHEMERAL, "EphemeralFull", "10Mi"), (TOTAL, "EphemeralFull", "10Mi")]
)
def test_evictions_for_local_storage(message: str, fault: str, limit: str) -> None:
    event = make.event("Evicted", message)
    pod = make.pod(phase="Failed", reason="Evicted", message=message)
    found = storage(event, event, pod)
    assert [(one.parameters["fault"], one.parameters["limit"], one.evidence) for one in found] == [(fault, limit, (event.id,))]


def test_a_record_of_an_eviction_is_enough_and_an_old_one_is_not() -> None:
    fresh = make.pod(phase="Failed", reason="Evicted", message=EMPTY_DIR)
    assert [one.evidence for one in storage(fresh)] == [("pod/web-1",)]
    old = make.pod(phase="Failed", reason="Evicted", message=EMPTY_DIR)
    old.value["status"]["conditions"] = [{"type": "Ready", "lastTransitionTime": make.stamp(3600)}]
    assert storage(old) == []
    assert storage(make.event("Evicted", "The node was low on resource: memory.")) == []


FULL = "write /data: No space left on device"


def usage(used: int, capacity: int = 100) -> Item:
    value = {"pod": "web-1", "container": "", "volume": "d", "claim": "data", "usedBytes": used, "capacityBytes": capacity}
    return Item(id="counters/web-1/volume/d", kind=ItemKind.COUNTERS, value=value)


def test_a_full_volume_is_read_from_the_log() -> None:
    (found,) = storage(make.pod(), make.log("fine", previous=False), make.log(FULL))
    assert (found.confidence, found.container, found.parameters) == (0.8, "app", {"fault": "VolumeFull"})
    assert storage(make.pod(), make.log("fine")) == []
    assert storage(around.ready_pod(), make.log(FULL)) == []
    assert storage(make.pod(), make.log(FULL, of="web-0")) == []


def test_the_only_limited_volume_of_the_container_is_the_full_one() -> None:
    pod = make.pod(containers=[make.container(volumeMounts=[{"name": "d"}, {"name": "e"}])])
    pod.value["spec"]["volumes"] = [{"name": "d", "emptyDir": {"sizeLimit": "8Mi"}}, {"name": "e", "emptyDir": {}}, {"name": "f", "emptyDir": {"sizeLimit": "1Mi"}}]
    (found,) = storage(around.ready_pod(name="web-0"), pod, make.log(FULL))
    assert found.parameters == {"fault": "VolumeFull", "volume": "d", "limit": "8Mi"}


def test_a_full_claim_is_measured() -> None:
    (found,) = storage(around.ready_pod(), usage(90))
    assert (found.confidence, found.parameters) == (0.8, {"fault": "VolumeFull", "claim": "data", "share": 0.9, "used": 90})
    (found,) = storage(make.pod(), usage(90), make.log(FULL))
    assert (found.confidence, found.evidence) == (0.95, ("counters/web-1/volume/d", "log/web-1/app/previous"))
    assert storage(around.ready_pod(), usage(80), usage(1, 0)) == []


@pytest.mark.parametrize("said", ["", 'volume "disk-7" already bound to a different claim.'])
def test_a_claim_that_asks_for_a_volume_by_name(said: str) -> None:
    claim = around.claim(class_="")
    claim.value["spec"]["volumeName"] = "disk-7"
    events = [make.event("FailedBinding", said, "PersistentVolumeClaim/data")] if said else []
    (found,) = storage(around.mounting("data", scheduled=UNBOUND), claim, *events)
    assert (found.parameters["fault"], found.parameters["volume"], found.confidence) == ("VolumeNotBound", "disk-7", 0.95)
    assert said in found.cause
