"""Fixes of scheduling, CPU limits, storage, quota and pull secrets."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make
from tests.unit.remediation import around_factory as repo

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.remediation import cpu_fix, scheduling_fix

CPU, NODE, UNSCHEDULABLE = IncidentClass.CPU_THROTTLING, IncidentClass.NODE_EXHAUSTION, IncidentClass.UNSCHEDULABLE
STORAGE, QUOTA, AUTH = IncidentClass.STORAGE, IncidentClass.QUOTA_EXCEEDED, IncidentClass.REGISTRY_AUTH


def test_a_cpu_limit_rises_by_the_step_under_its_cap() -> None:
    (found,) = repo.fix(CPU, limit="0.05", ratio=0.9)
    assert repo.changed(found) == ["-          limits: {cpu: 50m, memory: 1Gi, ephemeral-storage: 10Mi}".strip(), "+          limits: {cpu: 100m, memory: 1Gi, ephemeral-storage: 10Mi}".strip()]
    assert found.arithmetic == "50m x 2 (guards.cpuStep), at most 4 (guards.maxCPU) = 100m; throttled in 90% of the periods."
    assert "cpu: 80m" in repo.diff(CPU, limit="50m", ratio=0.9, cap={"maxCPU": "80m"})[1]
    assert repo.refusal(CPU, limit="50m", ratio=0.9, cap={"maxCPU": "50m"}).reason == "CapReached"
    assert repo.refusal(CPU, limit="60m", ratio=0.9).reason == "Drifted"
    assert repo.diff(CPU, container="bare", limit="100m", ratio=0.9)[-1].endswith("cpu: 200m")
    assert cpu_fix.render_cores(2.0) == "2"


@pytest.mark.parametrize(("need", "limit"), [(0.02, "100m"), (0.15, "190m"), (9.0, "4")])
def test_a_cpu_limit_rises_to_what_the_container_would_have_used(need: float, limit: str) -> None:
    (found,) = repo.fix(CPU, limit="50m", ratio=0.9, need=need)
    assert f"limits: {{cpu: {limit}, " in repo.changed(found)[1].replace('"', "")
    assert f"at least 1.25 x {need:g} cores, which it would have used, at most 4" in found.arithmetic


OVERSIZED: dict[str, Any] = {"fault": "Oversized", "resources": ["cpu"], "resource": "cpu", "request": "64", "allocatable": "2"}
HUGE: dict[str, Any] = {"fault": "Oversized", "resources": ["memory"], "resource": "memory", "request": "900Gi", "allocatable": "8Gi"}


def past(**requests: str) -> Item:
    return make.replica_set(1, [make.container(resources={"requests": requests})], ready=1)


NOW = make.replica_set(2, [make.container()])


def test_a_request_goes_back_to_what_ran() -> None:
    found = repo.fix(NODE, NOW, past(cpu="100m"), **OVERSIZED)
    assert (found[0].risk, 'cpu: "100m"' in repo.changed(found[0])[1]) == ("Low", True)
    assert "replicaset/web-r1 has requests.cpu 100m" in found[0].arithmetic


def test_a_request_follows_what_is_used_or_what_siblings_ask_for() -> None:
    sibling = repo.ready_sibling(images=["shop/web:1"], requests={"a": {"cpu": "70m"}, "b": {}})
    others = [repo.ready_sibling("x", images=["other:1"], requests={"a": {"cpu": "1"}}), around.sibling("y", images=["shop/web:1"], requests={"a": {"cpu": "1"}})]
    found = repo.fix(NODE, NOW, past(cpu="99"), past(memory="1Mi"), past(cpu="3"), *others, sibling, **OVERSIZED)
    assert [(one.risk, one.summary.rpartition(" ")[2]) for one in found] == [("Medium", "70m"), ("High", "64m")]
    found = repo.fix(NODE, make.counters(workingSetBytes=100 * 2**20), make.counters("other", workingSetBytes=1), **HUGE)
    assert [(one.risk, one.summary.rpartition(" ")[2]) for one in found] == [("Medium", "125Mi"), ("High", "900Mi")]


@pytest.mark.parametrize(
    ("resource", "request_", "expected"),
    [("cpu", "64", "64m"), ("cpu", "1500m", None), ("memory", "900Gi", "900Mi"), ("memory", "9G", "9M"), ("memory", "1.5Gi", None), ("memory", "100", None)],
)
def test_the_next_smaller_unit(resource: str, request_: str, expected: str | None) -> None:
    assert scheduling_fix.smaller_unit(resource, request_) == expected


def test_requests_that_a_person_has_to_set() -> None:
    text = repo.FILES[repo.FILE].replace(b'cpu: "64"', b"cpu: 6400m")
    files = {**repo.FILES, repo.FILE: text}
    assert repo.refusal(NODE, files=files, **(OVERSIZED | {"request": "6400m"})).reason == "NoObservedUse"
    assert repo.refusal(NODE, **(OVERSIZED | {"request": "65"})).reason == "Drifted"
    full = repo.refusal(NODE, fault="Full", resources=["cpu"], resource="cpu")
    assert (full.reason, "no cpu left" in full.message) == ("NodesFull", True)
    assert repo.refusal(NODE, fault="Oversized", resource="nvidia.com/gpu").reason == "NodesFull"


LABEL: dict[str, Any] = {"fault": "NodeSelector", "key": "kubernetes.io/os", "value": "linx", "values": ["linux"]}


def test_a_node_label_is_corrected() -> None:
    assert repo.diff(UNSCHEDULABLE, **LABEL, new="linux") == ["-        kubernetes.io/os: linx  # all of ours".strip(), "+        kubernetes.io/os: linux  # all of ours".strip()]
    affinity = {"fault": "NodeAffinity", "key": "arch", "value": "amd46", "values": ["amd64"], "new": "amd64"}
    assert repo.diff(UNSCHEDULABLE, **affinity)[1].endswith("values: [amd64]}")
    (found,) = repo.fix(UNSCHEDULABLE, **LABEL, newKey="kubernetes.io/arch")
    assert repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/arch": "linx"}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (LABEL, "NoSuchNode"),
        ({"fault": "Taint", "taint": "gpu"}, "NoSuchNode"),
        (LABEL | {"value": "other", "new": "linux"}, "Drifted"),
        (LABEL | {"value": "other", "newKey": "x"}, "Drifted"),
    ],
)
def test_demands_that_a_person_has_to_judge(parameters: dict[str, Any], reason: str) -> None:
    assert repo.refusal(UNSCHEDULABLE, **parameters).reason == reason


CLASS: dict[str, Any] = {"fault": "ClassMissing", "claim": "data", "class": "standrad", "classes": ["standard", "slow"], "default": "standard"}


@pytest.mark.parametrize(
    ("parameters", "new"), [(CLASS | {"new": "standard"}, "standard"), (CLASS, "standard"), (CLASS | {"default": None, "classes": ["only"]}, "only")]
)
def test_the_class_of_a_claim_is_corrected(parameters: dict[str, Any], new: str) -> None:
    assert repo.diff(STORAGE, **parameters) == ["-  storageClassName: standrad", f"+  storageClassName: {new}"]


def test_a_claim_that_no_class_makes_gets_the_clusters() -> None:
    files = {name: text.replace(b"storageClassName: standrad", b'storageClassName: ""') for name, text in repo.FILES.items()}
    awaited = CLASS | {"fault": "NotProvisioned", "class": ""}
    (found,) = repo.fix(STORAGE, files=files, **awaited)
    assert repo.changed(found) == ['-  storageClassName: ""', '+  storageClassName: "standard"']
    assert (found.risk, "by hand" in found.risk_reason) == ("High", True)
    assert repo.refusal(STORAGE, files=files, **(awaited | {"default": None})).reason == "NeedsPerson"


def test_a_class_that_is_unclear_is_for_a_person() -> None:
    assert repo.refusal(STORAGE, **(CLASS | {"default": None})).reason == "NoStorageClass"
    assert repo.refusal(STORAGE, **(CLASS | {"claim": "elsewhere"})).reason == "OtherNotFound"
    assert repo.refusal(STORAGE, fault="NotProvisioned", claim="data").reason == "NeedsPerson"


SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: pg, namespace: shop}
spec:
  volumeClaimTemplates:
  - metadata: {name: logs}
  - metadata: {name: data}
    spec: {storageClassName: fast}
"""


def test_a_claim_of_a_template_is_for_a_person_with_the_steps() -> None:
    files = {**repo.FILES, "apps/shop/pg.yaml": SET.encode()}
    refused = repo.refusal(STORAGE, target=("StatefulSet", "pg"), files=files, **(CLASS | {"claim": "data-pg-0"}))
    assert (refused.reason, "kubectl -n shop delete pvc data-pg-0" in refused.message) == ("TemplateImmutable", True)


def test_a_claim_that_is_near_is_mounted() -> None:
    missing = {"fault": "ClaimMissing", "claim": "ledger-dta"}
    assert repo.diff(STORAGE, **missing, new="ledger-data")[1].endswith("{claimName: ledger-data}")
    assert repo.refusal(STORAGE, fault="ClaimMissing", claim="unknown", new="x").reason == "Drifted"


def test_a_claim_that_nothing_declares_is_added() -> None:
    default = around.storage_class("standard", default=True)
    (found,) = repo.fix(STORAGE, default, fault="ClaimMissing", claim="ledger-dta")
    claim = repo.parsed(found, "PersistentVolumeClaim")
    assert claim["metadata"] == {"name": "ledger-dta", "namespace": "shop"}
    assert found.files[repo.FILE].startswith(repo.FILES[repo.FILE])
    assert repo.refusal(STORAGE, around.storage_class("slow"), fault="ClaimMissing", claim="ledger-dta").reason == "NoStorageClass"
    bare = {**repo.FILES, repo.FILE: repo.FILES[repo.FILE].replace(b", namespace: shop}", b"}", 1).rstrip()}
    (found,) = repo.fix(STORAGE, default, files=bare, fault="ClaimMissing", claim="ledger-dta")
    assert repo.parsed(found, "PersistentVolumeClaim")["metadata"] == {"name": "ledger-dta"}


def test_what_is_rendered_gets_the_claim_beside_it_to_be_placed_later() -> None:
    default = around.storage_class("standard", default=True)
    name = "apps/~rendered/deployment-web.0.yaml"
    (found,) = repo.fix(STORAGE, default, files={name: repo.FILES[repo.FILE]}, fault="ClaimMissing", claim="ledger-dta")
    assert (list(found.files), found.edits[0].path) == ([name], ())


def test_scratch_volumes_and_local_storage_grow_by_the_step() -> None:
    assert repo.diff(STORAGE, fault="EmptyDirFull", volume="tmp", limit="8Mi")[1].endswith("{sizeLimit: 16Mi}")
    assert repo.diff(STORAGE, fault="VolumeFull", volume="tmp", limit="8Mi")[1].endswith("{sizeLimit: 16Mi}")
    assert "ephemeral-storage: 20Mi" in repo.diff(STORAGE, container=None, fault="EphemeralFull", limit="10Mi", **_of("app"))[1]
    assert repo.refusal(STORAGE, fault="EmptyDirFull", volume="data").reason == "Drifted"
    assert repo.refusal(STORAGE, fault="EphemeralFull", **_of("bare")).reason == "Drifted"
    assert repo.refusal(STORAGE, fault="EmptyDirFull", volume="tmp", cap={"maxMemory": "8Mi"}).reason == "CapReached"


def _of(name: str) -> dict[str, Any]:
    return {"container_": name}


def test_a_full_claim_grows_where_its_class_allows() -> None:
    growing = Item(id="storageclass/g", kind=ItemKind.STORAGE_CLASS, value={"metadata": {"name": "g"}, "allowVolumeExpansion": True})
    full = {"fault": "VolumeFull", "claim": "data", "share": 0.9}
    (found,) = repo.fix(STORAGE, growing, around.claim("data", "Bound", "g"), **full)
    assert repo.changed(found)[1].endswith("{storage: 2Gi}}")
    assert "used 90%" in found.arithmetic
    assert repo.refusal(STORAGE, growing, around.claim("data", "Bound", "slow"), **full).reason == "NotExpandable"


REQUESTED: dict[str, Any] = {"fault": "Exceeded", "quota": "team", "requested": {"pods": "1", "requests.cpu": "64"}, "used": {"requests.cpu": "1"}, "hard": {"requests.cpu": "2", "pods": "9"}}


def test_a_request_that_a_quota_has_no_room_for_goes_back_to_what_ran() -> None:
    found = repo.fix(QUOTA, NOW, past(cpu="100m"), **REQUESTED)
    assert found[0].arithmetic == "1 used + 100m <= 2 (quota team)"
    small = REQUESTED | {"requested": {"cpu": "64"}, "used": {"cpu": "99"}, "hard": {"cpu": "100"}}
    found = repo.fix(QUOTA, NOW, past(cpu="500m"), **small)
    assert (len(found), found[0].risk) == (1, "Low")


def test_a_quota_that_is_used_up_is_for_a_person() -> None:
    small = REQUESTED | {"requested": {"requests.cpu": "64"}, "used": {"requests.cpu": "99"}, "hard": {"requests.cpu": "100"}}
    refused = repo.refusal(QUOTA, NOW, past(cpu="2"), **small)
    assert (refused.reason, "describe resourcequota team" in refused.message) == ("QuotaUsedUp", True)
    assert repo.refusal(QUOTA, fault="Exceeded", quota="team", requested={"pods": "1"}, used={"pods": "1"}, hard={"pods": "1"}).reason == "QuotaUsedUp"


def unstated(*names: str, container: str = "bare") -> dict[str, Any]:
    return {"fault": "Unstated", "quota": "team", "missing": [{"resource": name, "container": container} for name in names]}


def test_resources_that_are_there_but_empty() -> None:
    text = repo.FILES[repo.FILE].replace(b"image: shop/bare:1", b"image: shop/bare:1\n        resources:")
    sibling = repo.ready_sibling(images=["shop/bare:1"], requests={"x": {"cpu": "30m"}})
    (found,) = repo.fix(QUOTA, sibling, files={**repo.FILES, repo.FILE: text}, **unstated("requests.cpu"))
    assert repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["containers"][1]["resources"] == {"requests": {"cpu": "30m"}}


def test_what_a_quota_wants_stated_is_stated() -> None:
    sibling = repo.ready_sibling(images=["shop/bare:1"], requests={"x": {"cpu": "30m", "memory": "20Mi"}})
    (found,) = repo.fix(QUOTA, sibling, **unstated("requests.cpu", "memory", "limits.cpu", "limits.memory"))
    resources = repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["containers"][1]["resources"]
    assert resources == {"requests": {"cpu": "30m", "memory": "20Mi"}, "limits": {"cpu": "60m", "memory": "40Mi"}}
    limited = {**repo.FILES, repo.FILE: repo.FILES[repo.FILE].replace(b"image: shop/bare:1", b"image: shop/bare:1\n        resources: {limits: {cpu: 70m}}")}
    (found,) = repo.fix(QUOTA, files=limited, **unstated("requests.cpu", container=""))
    assert repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["containers"][1]["resources"]["requests"] == {"cpu": "70m"}
    assert repo.refusal(QUOTA, **unstated("requests.cpu", container="app")).reason == "Drifted"
    assert repo.refusal(QUOTA, **unstated("requests.storage")).reason == "NeedsPerson"
    assert repo.refusal(QUOTA, **unstated("requests.cpu")).reason == "NoObservedUse"


def test_a_probe_that_is_kept_waiting_wants_more_than_the_average() -> None:
    (found,) = repo.fix(CPU, limit="50m", ratio=0.9, need=0.05, burst=3.0)
    assert "limits: {cpu: 190m, " in repo.changed(found)[1]
    assert "which it would have used, x 3, since its probe" in found.arithmetic


def test_a_request_is_stated_from_the_time_that_was_used() -> None:
    def used(**counted: float) -> Item:
        return make.counters("bare", **counted)

    (found,) = repo.fix(QUOTA, used(cpuUsedSeconds=5.0, livedSeconds=100.0), **unstated("requests.cpu"))
    assert "63m (It used 50m since its start" in found.arithmetic
    (found,) = repo.fix(QUOTA, used(cpuUsedSeconds=0.0, livedSeconds=100.0), **unstated("requests.cpu"))
    assert "10m (It used 0m" in found.arithmetic
    assert repo.refusal(QUOTA, used(cpuUsedSeconds=5.0), **unstated("requests.cpu")).reason == "NoObservedUse"


def test_where_a_number_comes_from() -> None:
    limits = around.thing(ItemKind.LIMIT_RANGE, "bounds", {"limits": [{"type": "Pod"}, {"type": "Container", "defaultRequest": {"cpu": "11m"}}]})
    (found,) = repo.fix(QUOTA, limits, **unstated("requests.cpu"))
    assert "limitrange/bounds gives it by default" in found.arithmetic
    usual = [repo.ready_sibling(str(number), requests={"x": {"cpu": f"{number}0m"}, "y": {}}) for number in (3, 1, 2)]
    (found,) = repo.fix(QUOTA, *usual, around.sibling("off", requests={"x": {"cpu": "9"}}), **unstated("requests.cpu"))
    assert "20m (It is the median of 3 containers of the namespace.)" in found.arithmetic


BOUND: dict[str, Any] = {"quota": None, "per": "Container", "group": "limits", "resource": "memory", "bound": "128Mi", "value": "1Gi"}


def test_a_value_goes_to_the_bound_of_the_range() -> None:
    (found,) = repo.fix(QUOTA, fault="AboveMaximum", **BOUND)
    resources = repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (resources["limits"]["memory"], resources["requests"]["memory"]) == ("128Mi", "128Mi")
    below = BOUND | {"group": "limits", "resource": "cpu", "bound": "200m", "value": "50m"}
    (found,) = repo.fix(QUOTA, fault="BelowMinimum", **below)
    assert (found.risk, "cpu: 200m" in repo.changed(found)[1]) == ("Low", True)
    assert repo.refusal(QUOTA, fault="AboveMaximum", **(BOUND | {"value": "3Gi"})).reason == "Drifted"
    assert repo.refusal(QUOTA, fault="AboveMaximum", **(BOUND | {"per": "Pod"})).reason == "NeedsPerson"
    assert repo.refusal(QUOTA, fault="Ratio", quota=None).reason == "NeedsPerson"
    low = BOUND | {"group": "limits", "resource": "cpu", "bound": "40m", "value": "50m"}
    files = {**repo.FILES, repo.FILE: repo.FILES[repo.FILE].replace(b'cpu: "64"', b"cpu: 1m")}
    (found,) = repo.fix(QUOTA, files=files, fault="AboveMaximum", **low)
    assert len(found.edits) == 1


IMAGE = "172.30.0.1:5001/shop/web:1"


def login(name: str, *secrets: str, ready: int = 1, image: str = IMAGE) -> Item:
    return around.sibling(name, images=[image], pullSecrets=list(secrets), ready=ready)


def test_the_pull_secret_of_siblings_is_named() -> None:
    siblings = [login("a", "team"), login("b", "team", "rare"), login("c", "broken", ready=0), login("d", "hub", image="nginx:1")]
    (found,) = repo.fix(AUTH, *siblings, image=IMAGE, secretsMissing=[])
    assert repo.parsed(found, "Deployment")["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "team"}]
    assert all(line.startswith("+") for line in repo.changed(found))


def with_secrets(text: str) -> dict[str, bytes]:
    return {**repo.FILES, repo.FILE: repo.FILES[repo.FILE].replace(b"      volumes:", f"      imagePullSecrets:\n{text}      volumes:".encode())}


def test_a_pull_secret_that_does_not_exist_is_corrected() -> None:
    files = with_secrets("      - name: temple\n      - name: other\n")
    (found,) = repo.fix(AUTH, login("a", "team"), login("b", "temples"), files=files, image=IMAGE, secretsMissing=["temple"])
    assert repo.changed(found) == ["-      - name: temple", "+      - name: temples"]
    (found,) = repo.fix(AUTH, login("a", "team"), files=files, image=IMAGE, secretsMissing=["temple"])
    assert repo.changed(found)[1] == "+      - name: team"
    (found,) = repo.fix(AUTH, login("a", "team"), files=files, image=IMAGE)
    assert repo.changed(found) == ["+      - name: team"]


def test_without_a_proven_secret_a_person_makes_one() -> None:
    refused = repo.refusal(AUTH, login("a"), image=IMAGE, secretsMissing=["team"])
    assert refused.reason == "NoPullSecret"
    assert "create secret docker-registry team --docker-server=172.30.0.1:5001" in refused.message
    assert repo.refusal(AUTH, login("a", "team"), image=IMAGE, secretsMissing=["team"]).reason == "NoPullSecret"
