"""Evidence: what was collected about a target, as plain data with an id for each item."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef


class ItemKind(enum.StrEnum):
    """What an item of evidence is; its ``value`` has the shape said here."""

    OBJECT = "object"  # the target as the API gave it (dict)
    OWNER = "owner"  # an owner in the chain (dict)
    REPLICA_SET = "replicaset"  # a ReplicaSet; a ControllerRevision or Job in its shape (dict)
    POD = "pod"  # a pod of the target (dict)
    EVENT = "event"  # {reason, message, type, count, object, at}
    LOG = "log"  # {pod, container, previous: bool, text}; bounded and redacted
    COUNTERS = "counters"  # {pod, container, workingSetBytes?, cpu...?, livedSeconds?}
    NODE = "node"  # {name, conditions, allocatable, taints}
    CLAIM = "claim"  # a PersistentVolumeClaim (dict)
    STORAGE_CLASS = "storageclass"  # a StorageClass (dict)
    SERVICE = "service"  # a Service (dict)
    ENDPOINTS = "endpoints"  # {service, addresses: [..], ports: [..]}
    QUOTA = "quota"  # a ResourceQuota (dict)
    LIMIT_RANGE = "limitrange"  # a LimitRange (dict)
    CONFIG_MAP = "configmap"  # {name, exists, keys: [..]}; never values
    SIBLING = "sibling"  # another workload of the namespace: {kind, name, images, pullSecrets, ..}
    AUTOSCALER = "autoscaler"  # a HorizontalPodAutoscaler of the target (dict)
    BUDGET = "disruptionbudget"  # a PodDisruptionBudget of the target's pods (dict)
    INGRESS = "ingress"  # an Ingress of the namespace (dict)
    INGRESS_CLASS = "ingressclass"  # {name, default: bool}
    NETWORK_POLICY = "networkpolicy"  # a NetworkPolicy of the namespace (dict)
    SERVICE_ACCOUNT = "serviceaccount"  # the pods' own: {name, exists, others, pullSecrets}
    ROLE = "role"  # a Role that is bound to it (dict)
    ROLE_BINDING = "rolebinding"  # a RoleBinding of it (dict)
    WEBHOOK = "webhook"  # {kind, configuration, name, failurePolicy, service?, serviceExists?, ..}
    API_GROUP = "api"  # {group, served: bool}; an aggregated API that something needs
    TAGS = "tags"  # {repository, exists: bool | None, tags: [..], error?}; the registry's answer
    COMMIT = "commit"  # a recent commit of the mapped path: {sha, at, author, message}
    EARLIER = (
        "earlier"  # an earlier incident: {incident, run, class, cause, fix?, verdict?, phase, at}
    )
    PROBE = "probe"  # what is served: {pod, container, port, path, status, seconds | error, ..}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One item; ``id`` is stable within the bundle, for example ``pod/shop-7f9`` or ``event/3``."""

    id: str
    kind: ItemKind
    value: Any
    at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
    """All evidence of one attempt; ``now``: when it was taken, ``gaps``: what could not be had."""

    target: TargetRef
    namespace: str
    now: dt.datetime
    items: tuple[Item, ...] = ()
    gaps: tuple[str, ...] = ()

    def of(self, kind: ItemKind) -> Iterator[Item]:
        """Iterate over the items of one kind."""
        return (item for item in self.items if item.kind is kind)

    def extend(self, *items: Item) -> Bundle:
        """Return a copy with more items."""
        return dataclasses.replace(self, items=(*self.items, *items))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A cause that evidence supports.

    ``confidence`` 0..1: 0.95 and above: the API server or kubelet says so itself; 0.8: two
    independent observations agree; 0.6: one indirect observation. ``evidence`` holds item ids,
    never empty. ``parameters`` is what a fix needs (for example image, limit, port) as JSON values.
    ``rank`` orders causes before symptoms: lower is nearer to the cause.
    """

    class_: IncidentClass
    cause: str
    confidence: float
    evidence: tuple[str, ...]
    container: str | None = None
    rank: int = 50
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
