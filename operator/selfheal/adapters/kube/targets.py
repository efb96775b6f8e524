"""A target with what belongs to it: its ReplicaSets, its Jobs, its pods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.adapters.kube import connection, kinds
from selfheal.api.incident import TargetRef

MAX_PODS = 200
MAX_REPLICA_SETS = 50
MAX_JOBS = 20
REVISION = "deployment.kubernetes.io/revision"

Stored = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What was read of a target; ``stored`` is None where it does not exist."""

    ref: TargetRef
    namespace: str
    stored: Stored | None
    replica_sets: Sequence[Stored] = ()  # newest revision first
    jobs: Sequence[Stored] = ()  # newest first
    pods: Sequence[Stored] = ()

    @property
    def kind(self) -> str:
        """Return the kind."""
        return self.ref.kind


async def read(api: connection.Connection, namespace: str, ref: TargetRef) -> Target:
    """Read a target; at most 4 requests, each bounded. May be repeated."""
    stored = await api.find(kinds.path_of_known(ref.kind, namespace, ref.name))
    if stored is None:
        return Target(ref=ref, namespace=namespace, stored=None)
    stored = {"apiVersion": kinds.KNOWN[ref.kind][0], "kind": ref.kind} | stored
    reader = _READERS.get(ref.kind, _read_selected)
    return await reader(api, Target(ref=ref, namespace=namespace, stored=stored))


async def _read_pod(api: connection.Connection, target: Target) -> Target:
    return dataclasses.replace(target, pods=[_of(target)])


async def _read_deployment(api: connection.Connection, target: Target) -> Target:
    selector = _selector_of(target)
    path = kinds.path_of_known("ReplicaSet", target.namespace)
    found = await api.take(path, MAX_REPLICA_SETS, {"labelSelector": selector})
    own = [one for one in found if kinds.is_owned_by(one, {kinds.uid_of(_of(target))})]
    own.sort(key=revision_of, reverse=True)
    pods = await _take_pods(api, target.namespace, selector)
    uids = {kinds.uid_of(one) for one in own}
    return dataclasses.replace(
        target,
        replica_sets=[_typed(one, "apps/v1", "ReplicaSet") for one in own],
        pods=[one for one in pods if kinds.is_owned_by(one, uids)],
    )


async def _read_owned(api: connection.Connection, target: Target) -> Target:
    pods = await _take_pods(api, target.namespace, _selector_of(target))
    uid = kinds.uid_of(_of(target))
    return dataclasses.replace(target, pods=[one for one in pods if kinds.is_owned_by(one, {uid})])


async def _read_cron_job(api: connection.Connection, target: Target) -> Target:
    found = await api.take(kinds.path_of_known("Job", target.namespace), connection.PAGE)
    own = [one for one in found if kinds.is_owned_by(one, {kinds.uid_of(_of(target))})]
    own.sort(key=lambda one: str(one["metadata"].get("creationTimestamp")), reverse=True)
    newest = own[:MAX_JOBS]
    pods: list[Stored] = []
    for job in newest[:1]:
        selector = kinds.render_selector((job.get("spec") or {}).get("selector") or {})
        pods = await _take_pods(api, target.namespace, selector)
    return dataclasses.replace(
        target, jobs=[_typed(one, "batch/v1", "Job") for one in newest], pods=pods
    )


async def _read_claim(api: connection.Connection, target: Target) -> Target:
    pods = await api.take(kinds.path_of_known("Pod", target.namespace), connection.PAGE)
    name = target.ref.name
    using = [one for one in pods if name in claims_of(one)]
    return dataclasses.replace(target, pods=[_typed(one, "v1", "Pod") for one in using])


async def _read_autoscaler(api: connection.Connection, target: Target) -> Target:
    scaled = (_of(target).get("spec") or {}).get("scaleTargetRef") or {}
    if scaled.get("kind") not in kinds.KNOWN:
        return target
    ref = TargetRef(kind=scaled["kind"], name=scaled["name"])
    below = await read(api, target.namespace, ref)
    return dataclasses.replace(target, replica_sets=below.replica_sets, pods=below.pods)


async def _read_selected(api: connection.Connection, target: Target) -> Target:
    labels = (_of(target).get("spec") or {}).get("selector")
    if target.kind != "Service" or not labels:
        return target
    selector = kinds.render_selector({"matchLabels": labels})
    return dataclasses.replace(target, pods=await _take_pods(api, target.namespace, selector))


_READERS = {
    "Pod": _read_pod,
    "Deployment": _read_deployment,
    "StatefulSet": _read_owned,
    "DaemonSet": _read_owned,
    "ReplicaSet": _read_owned,
    "Job": _read_owned,
    "CronJob": _read_cron_job,
    "PersistentVolumeClaim": _read_claim,
    "HorizontalPodAutoscaler": _read_autoscaler,
}


async def _take_pods(api: connection.Connection, namespace: str, selector: str) -> list[Stored]:
    if not selector:
        return []  # an empty selector would take every pod of the namespace
    path = kinds.path_of_known("Pod", namespace)
    found = await api.take(path, MAX_PODS, {"labelSelector": selector})
    return [_typed(one, "v1", "Pod") for one in found]


def _selector_of(target: Target) -> str:
    return kinds.render_selector((_of(target).get("spec") or {}).get("selector") or {})


def _of(target: Target) -> Stored:
    return target.stored or {}


def _typed(stored: Stored, api_version: str, kind: str) -> dict[str, Any]:
    # the items of a list carry neither
    return {"apiVersion": api_version, "kind": kind} | dict(stored)


def revision_of(replica_set: Stored) -> int:
    """Return the Deployment's revision that a ReplicaSet stands for; 0 where it is not said."""
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def claims_of(pod: Stored) -> list[str]:
    """Return the names of the claims that a pod mounts."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    found = [(one.get("persistentVolumeClaim") or {}).get("claimName") for one in volumes]
    return [str(name) for name in found if name]
