"""Who works on a cause: a Lease per cause, held by the incident that was first."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from selfheal.adapters.kube import connection
from selfheal.api.incident import Incident, Phase, Resolution
from selfheal.domain import errors

LEASES = "coordination.k8s.io/v1"
GetIncident = Callable[[str], Awaitable[Incident]]


async def claim(
    api: connection.Connection, incident: Incident, cause: str, get_incident: GetIncident
) -> Incident | None:
    """Hold the cause's Lease, or return the incident that does; None: it is ours.

    May be repeated. A holder that does not count any more is replaced by resourceVersion, so that
    two replicas cannot choose each other (409 raises Conflict: look again).
    """
    digest = hashlib.sha256(cause.encode()).hexdigest()[:16]
    name = f"selfheal-cause-{digest}"
    namespace = incident.metadata.namespace
    path = connection.path_of(LEASES, "leases", namespace, name)
    lease = await api.find(path)
    mine = f"{incident.metadata.name}/{incident.metadata.uid}"
    if lease is None:
        body = _lease(name, namespace, mine, {})
        await api.write("POST", connection.path_of(LEASES, "leases", namespace), body)
        return None
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "")
    if holder == mine:
        return None
    found = await _holder(holder, namespace, get_incident)
    if found is not None and counts(found, incident):
        return found
    version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
    await api.write("PUT", path, _lease(name, namespace, mine, version))
    return None


def _lease(name: str, namespace: str, holder: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": LEASES,
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, **extra},
        "spec": {"holderIdentity": holder},
    }


async def _holder(holder: str, namespace: str, get_incident: GetIncident) -> Incident | None:
    name, _, uid = holder.partition("/")
    try:
        found = await get_incident(f"{namespace}/{name}")
    except errors.NotFound:
        return None
    return found if found.metadata.uid == uid else None


def counts(holder: Incident, incident: Incident) -> bool:
    """Say whether a holder is still the primary of a later incident. Pure."""
    status = holder.status
    if status.phase is not Phase.INCIDENT_RESOLVED:
        return True
    if status.resolution is Resolution.CLOSED_BY_PERSON or status.phase_since is None:
        return False
    created = incident.metadata.creation_timestamp
    return created is not None and status.phase_since >= created
