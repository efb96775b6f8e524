"""Volumes that cannot be mounted; messages as kubelet 1.34 and runc write them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

ON_FILE = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    'container process: error during container init: error mounting "/var/lib/kubelet/x" to rootfs at "/etc/passwd": not a directory'
)


def mounts(*items: Item) -> list[Finding]:
    return [one for one in registry.diagnose(around.bundle(*items)) if one.class_ is IncidentClass.VOLUME_MOUNT_FAILED]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('MountVolume.SetUp failed for volume "d" : hostPath type check failed: /no/such/dir is not a directory', {"fault": "HostPath", "volume": "d"}),
        ('MountVolume.SetUp failed for volume "d" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name x not found in the list of registered CSI drivers', {"fault": "DriverMissing", "volume": "d"}),
        ('Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) web-0', {"fault": "MultiAttach", "volume": "pvc-1"}),
        ("mount failed: exit status 32", {"fault": "Mount"}),
    ],
)
def test_mounts_that_fail(message: str, expected: dict[str, Any]) -> None:
    pod = make.pod(phase="Pending", statuses=[])
    (found,) = mounts(pod, make.event("FailedMount", message), make.event("FailedMount", message))
    assert (found.parameters, found.confidence) == (expected, 0.95)


@pytest.mark.parametrize(
    "message",
    ['MountVolume.SetUp failed for volume "d" : configmap "x" not found', 'MountVolume.SetUp failed for volume "d" : configmap references non-existent config key: a'],
)
def test_missing_objects_are_another_cause(message: str) -> None:
    assert mounts(make.pod(phase="Pending", statuses=[]), make.event("FailedMount", message)) == []


def test_what_was_mounted_in_the_end_does_not_count() -> None:
    assert mounts(around.ready_pod(), make.event("FailedMount", "hostPath type check failed: x")) == []


@pytest.mark.parametrize(
    ("text", "volumes", "expected"),
    [
        (ON_FILE, [{"name": "d", "mountPath": "/x"}, {"name": "e", "mountPath": "/etc/passwd"}], {"fault": "MountPath", "path": "/etc/passwd", "volume": "e"}),
        (ON_FILE, [], {"fault": "MountPath", "path": "/etc/passwd"}),
        ('failed to create subPath directory for volumeMount "d" of container "app"', [], {"fault": "MountPath"}),
    ],
)
def test_containers_that_cannot_start_for_a_mount(text: str, volumes: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    status = make.status(waiting="RunContainerError", message=text)
    (found,) = mounts(make.pod(containers=[make.container(volumeMounts=volumes)], statuses=[status]))
    assert (found.parameters, found.container) == (expected, "app")


def config_map(*keys: str, exists: bool = True) -> Item:
    return Item(id="configmap/conf", kind=ItemKind.CONFIG_MAP, value={"name": "conf", "exists": exists, "keys": list(keys)})


def mounting(sub_path: str | None, *, ready: bool = False, **source: Any) -> Item:
    mount = {"name": "d", "mountPath": "/etc/app.ini"} | ({"subPath": sub_path} if sub_path else {})
    pod = make.pod(containers=[make.container(volumeMounts=[mount])], statuses=[make.status(ready=ready)])
    pod.value["spec"]["volumes"] = [{"name": "d", "configMap": {"name": "conf"} | source}]
    return pod


def test_a_sub_path_that_is_no_key() -> None:
    (found,) = mounts(mounting("app.inii"), config_map("app.ini"))
    assert found.parameters == {"fault": "SubPath", "volume": "d", "path": "/etc/app.ini", "subPath": "app.inii", "new": "app.ini"}
    (found,) = mounts(mounting("other"), config_map())
    assert "no keys" in found.cause
    assert "new" not in found.parameters


def test_sub_paths_that_are_right_or_do_no_harm() -> None:
    assert mounts(mounting("app.ini"), config_map("app.ini")) == []
    assert mounts(mounting("a/b", items=[{"key": "k", "path": "a/b"}]), config_map("k")) == []
    assert mounts(mounting(None), config_map("app.ini")) == []
    assert mounts(mounting("app.inii", ready=True), config_map("app.ini")) == []
    assert mounts(mounting("app.inii"), config_map(exists=False)) == []


def test_a_volume_where_no_node_is() -> None:
    waiting = make.pod(statuses=[], phase="Pending", scheduled="0/1 nodes are available: 1 node(s) had volume node affinity conflict.")
    (found,) = mounts(waiting)
    assert (found.parameters["fault"], found.evidence) == ("NodeConflict", ("pod/web-1",))
    assert mounts(make.pod(statuses=[], phase="Pending", scheduled="0/1 nodes are available: 1 Insufficient cpu.")) == []


@pytest.mark.parametrize(
    ("keys", "mount", "source", "new"),
    [
        (("passwd", "x"), {}, {}, "passwd"),
        (("other",), {}, {}, None),
        (("passwd",), {"subPath": "x"}, {}, None),
        (("passwd",), {}, {"name": "else"}, None),
        (("passwd",), {"name": "other"}, {}, None),
    ],
)
def test_a_config_map_over_a_file_was_meant_for_its_key(keys: tuple[str, ...], mount: dict[str, str], source: dict[str, str], new: str | None) -> None:
    entry = {"name": "d", "mountPath": "/etc/passwd"} | mount
    pod = make.pod(containers=[make.container(volumeMounts=[entry])], statuses=[make.status(waiting="RunContainerError", message=ON_FILE)])
    pod.value["spec"]["volumes"] = [{"name": "d", "configMap": {"name": "conf"} | source}]
    found = next(one for one in mounts(pod, config_map(*keys)) if one.parameters["fault"] == "MountPath")
    assert found.parameters.get("new") == new
