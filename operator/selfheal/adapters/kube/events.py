"""Kubernetes events of a target, old and new kind alike; pure but for the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds, rollout, targets
from selfheal.domain import facts

MAX_LISTED = 500
MAX_KEPT = 60


async def list_events(
    api: connection.Connection, target: targets.Target, *, warnings_only: bool
) -> list[Mapping[str, Any]]:
    """List the newest 60 events of the target, its ReplicaSets, Jobs, pods and claims."""
    return choose(await list_all(api, target, warnings_only=warnings_only), target)


async def list_all(
    api: connection.Connection, target: targets.Target, *, warnings_only: bool
) -> list[Mapping[str, Any]]:
    """List the events of the target's namespace."""
    query = {"fieldSelector": "type=Warning"} if warnings_only else {}
    path = connection.path_of("v1", "events", target.namespace)
    return list(await api.take(path, MAX_LISTED, query))


def choose(listed: Sequence[Mapping[str, Any]], target: targets.Target) -> list[Mapping[str, Any]]:
    """Return the newest 60 events that concern a target; pure."""
    names = _names(target)
    own = [one for one in listed if _is_about(one.get("involvedObject") or {}, names)]
    own.sort(key=lambda one: str(time_of(one)), reverse=True)
    return own[:MAX_KEPT]


def _names(target: targets.Target) -> set[tuple[str, str]]:
    names = {(target.kind, target.ref.name)}
    names |= {("ReplicaSet", kinds.name_of(one)) for one in target.replica_sets}
    names |= {("Job", kinds.name_of(one)) for one in target.jobs}
    for pod in target.pods:
        names.add(("Pod", kinds.name_of(pod)))
        names |= {("PersistentVolumeClaim", name) for name in targets.claims_of(pod)}
    return names


def _is_about(about: Mapping[str, Any], names: set[tuple[str, str]]) -> bool:
    return (str(about.get("kind")), str(about.get("name"))) in names


def find_never_pulled(
    listed: Sequence[Mapping[str, Any]], target: targets.Target
) -> frozenset[str]:
    """Return the ReplicaSets of a target whose pods, gone by now, could not be pulled; pure.

    A pod of theirs that was started says that they could, later or elsewhere.
    """
    failed, started = set(), set()
    for event in listed:
        about = event.get("involvedObject") or {}
        if about.get("kind") != "Pod":
            continue
        owner = str(about.get("name")).rpartition("-")[0]
        if event.get("reason") == "Started":
            started.add(owner)
        elif event.get("reason") == "Failed" and "pull" in str(event.get("message")):
            failed.add(owner)
    names = {kinds.name_of(one) for one in target.replica_sets}
    return frozenset(names & failed - started)


def time_of(event: Mapping[str, Any]) -> str:
    """Return when an event happened last; the scheduler's carry null in the old fields."""
    return str(
        event.get("lastTimestamp")
        or (event.get("series") or {}).get("lastObservedTime")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def count_of(event: Mapping[str, Any]) -> int:
    """Return how often an event happened."""
    return int(event.get("count") or (event.get("series") or {}).get("count") or 1)


def object_of(event: Mapping[str, Any]) -> str:
    """Return ``Kind/name`` of what an event is about."""
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '?')}/{about.get('name', '?')}"


def build_facts(events: Sequence[Mapping[str, Any]]) -> list[facts.EventFacts]:
    """Return events as facts, newest first, redacted."""
    return [
        facts.EventFacts(
            reason=str(one.get("reason") or ""),
            message=redaction.redact(str(one.get("message") or "")),
            object=object_of(one),
            at=rollout.parse_time(time_of(one)) or rollout.EPOCH,
            count=count_of(one),
        )
        for one in events
    ]


def build_value(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of an EVENT item, redacted."""
    return {
        "reason": str(event.get("reason") or ""),
        "message": redaction.redact(str(event.get("message") or "")),
        "type": str(event.get("type") or "Normal"),
        "count": count_of(event),
        "object": object_of(event),
        "at": time_of(event),
    }
