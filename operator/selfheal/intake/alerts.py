"""Alerts in the form that Alertmanager posts them: version 4 of its webhook.

Shape: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Labels are those
that kube-state-metrics and the kubernetes-mixin set. All texts are untrusted.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence

import pydantic

from selfheal import ports
from selfheal.api.incident import Priority, SourceType, TargetRef
from selfheal.api.policy import Policy
from selfheal.domain.signals import Signal

MAX_ALERTS = 2_000
"""Alerts of one request; Alertmanager groups far fewer."""

READS_AT_ONCE = 8
"""Objects of one request that are looked up side by side."""

Place = tuple[str, str, str]
"""Namespace, kind and name of an object."""

Owners = Mapping[Place, TargetRef | None]

_KINDS = (
    ("deployment", "Deployment", "apps/v1"),
    ("statefulset", "StatefulSet", "apps/v1"),
    ("daemonset", "DaemonSet", "apps/v1"),
    ("cronjob", "CronJob", "batch/v1"),
    ("job_name", "Job", "batch/v1"),
    ("persistentvolumeclaim", "PersistentVolumeClaim", "v1"),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler", "autoscaling/v2"),
    ("replicaset", "ReplicaSet", "apps/v1"),
    ("pod", "Pod", "v1"),
)
"""Labels that name an object, the nearest to the source first, with kind and API version."""

_SEVERITIES = {
    "critical": Priority.CRITICAL, "page": Priority.CRITICAL, "emergency": Priority.CRITICAL,
    "error": Priority.HIGH, "high": Priority.HIGH, "major": Priority.HIGH,
    "warning": Priority.MEDIUM, "minor": Priority.MEDIUM, "info": Priority.LOW,
    "none": Priority.LOW,
}  # fmt: skip
_NAMESPACE_LABELS = ("exported_namespace", "namespace")


class Alert(pydantic.BaseModel):
    """One alert of a group."""

    status: str = "firing"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    startsAt: dt.datetime | None = None  # noqa: N815 - Alertmanager's name


class Group(pydantic.BaseModel):
    """A request of Alertmanager."""

    alerts: list[Alert] = pydantic.Field(max_length=MAX_ALERTS)


def parse(body: bytes) -> Group:
    """Parse a request; ValueError says which field is wrong, without quoting what stands there."""
    try:
        return Group.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "body"
        raise ValueError(f"{field}: {first['msg']}") from None


async def build_signals(
    alerts: Sequence[Alert], *, policies: Sequence[Policy], cluster: ports.Cluster, now: dt.datetime
) -> tuple[list[Signal], list[str]]:
    """Return a signal for each alert that names an object of a namespace that a policy maps.

    The second list says of each alert that is left out why. Resolved alerts signal as well: the
    incident looks again, and decides by its own checks.
    """
    found: list[Signal] = []
    left: list[str] = []
    read = [(_find_namespace(alert), _find_object(alert.labels)) for alert in alerts]
    owners = await _read_owners(
        cluster, {(n, o.kind, o.name): o for n, o in read if o and find_policy(policies, n)}
    )
    for alert, (namespace, named) in zip(alerts, read, strict=True):
        name = alert.labels.get("alertname", "alert")
        policy = find_policy(policies, namespace)
        if policy is None or named is None:
            what = "object" if policy else "namespace that a policy maps"
            left.append(f"{name}: its labels name no {what}")
            continue
        target = owners[namespace, named.kind, named.name]
        if target is None:
            left.append(f"{name}: {named.kind} {namespace}/{named.name} does not exist")
            continue
        found.append(_signal(alert, name, namespace, target, policy, now))
    return found, left


def find_policy(policies: Sequence[Policy], namespace: str) -> Policy | None:
    """Return the policy that maps a namespace; ``default`` first, then by name."""
    ordered = sorted(policies, key=lambda p: (p.metadata.name != "default", p.metadata.name))
    for policy in ordered:
        if any(namespace in entry.match.namespaces for entry in policy.spec.code.repositories):
            return policy
    return None


def _find_object(labels: Mapping[str, str]) -> TargetRef | None:
    for label, kind, version in _KINDS:
        name = labels.get(label)
        if name:
            try:
                return TargetRef(
                    api_version=version, kind=kind, name=name, container=labels.get("container")
                )
            except pydantic.ValidationError:
                continue
    return None


def _find_namespace(alert: Alert) -> str:
    return next((alert.labels[key] for key in _NAMESPACE_LABELS if key in alert.labels), "")


async def _read_owners(cluster: ports.Cluster, named: Mapping[Place, TargetRef]) -> Owners:
    """Read the workload above each object once, some at a time; workloads once a namespace."""
    slots = asyncio.Semaphore(READS_AT_ONCE)
    gone: set[Place] = set()
    owners: dict[Place, TargetRef | None] = {}

    async def read(place: Place, one: TargetRef) -> None:
        async with slots:
            owners[place] = await cluster.find_owner(place[0], one)
        if owners[place] is None and one.kind in ("Pod", "ReplicaSet"):
            gone.add(place)

    await asyncio.gather(*(read(place, one) for place, one in named.items()))
    workloads = {space: await cluster.list_targets(space) for space in {one[0] for one in gone}}
    for place in gone:
        owners[place] = _owner_by_name(place[2], workloads[place[0]])
    return owners


def _owner_by_name(name: str, workloads: Sequence[TargetRef]) -> TargetRef | None:
    """Return the workload whose name a pod carries that is gone."""
    candidates = [
        one
        for one in workloads
        if name.startswith(f"{one.name}-") and one.kind not in ("Pod", "ReplicaSet")
    ]
    return max(candidates, key=lambda one: len(one.name), default=None)


def _signal(
    alert: Alert, name: str, namespace: str, target: TargetRef, policy: Policy, now: dt.datetime
) -> Signal:
    said = alert.annotations
    summary = said.get("summary") or said.get("title") or name
    lines = [said.get("description") or said.get("message") or "", f"Alert: {name}"]
    return Signal(
        source=SourceType.ALERT,
        namespace=namespace,
        cause=f"{target.kind}/{target.name}",
        summary=f"{summary} ({target.kind} {target.name})",
        description="\n\n".join(line for line in lines if line),
        priority=_SEVERITIES.get(alert.labels.get("severity", "").casefold(), Priority.HIGH),
        target=target,
        policy=policy.metadata.name,
        at=now,
        firing=alert.status != "resolved",
    )
