"""Collects the evidence about a target: in parallel, bounded in objects and seconds, redacted."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import (
    connection,
    events,
    kinds,
    kubelet,
    logs,
    references,
    relations,
    revisions,
    rollout,
    served,
    surroundings,
    targets,
)
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind
from selfheal.domain import errors

MAX_POD_ITEMS = 10
MAX_LOG_PODS = 4
MAX_REPLICA_SET_ITEMS = 10
PIECE_SECONDS = 8.0  # the longest that one piece of evidence may take

Found = tuple[list[Item], list[str]]
Stored = Mapping[str, Any]


async def collect(
    api: connection.Connection,
    finder: kinds.Kinds,
    kubelets: kubelet.Kubelets,
    namespace: str,
    ref: TargetRef,
    now: dt.datetime,
) -> Bundle:
    """Return everything there is about a target; NotFound of the target is an empty bundle.

    What reads the target itself raises (no bundle without it); every other piece that fails or
    takes longer than 8 s becomes a gap.
    """
    target = await targets.read(api, namespace, ref)
    if target.stored is None:
        gap = f"{ref.kind} {namespace}/{ref.name} does not exist"
        return Bundle(target=ref, namespace=namespace, now=now, gaps=(gap,))
    pods = choose_pods(target)
    about: list[Stored] = []

    never_pulled: set[str] = set()

    async def read_events() -> Found:
        listed = await events.list_all(api, target, warnings_only=False)
        about.extend(events.choose(listed, target))
        never_pulled.update(events.find_never_pulled(listed, target))
        return build_events(about), []

    async def read_served() -> Found:
        return await served.collect(api, namespace, pods, about)

    first = await _gather({"events": read_events})
    pieces: dict[str, Callable[[], Awaitable[Found]]] = {
        "logs": lambda: logs.collect(api, namespace, pods[:MAX_LOG_PODS]),
        "counters": lambda: _read_counters(kubelets, pods),
        "owners": lambda: surroundings.collect_owners(api, finder, target),
        "nodes": lambda: _whole(surroundings.collect_nodes(api, pods)),
        "claims": lambda: _whole(surroundings.collect_claims(api, target)),
        "services": lambda: _whole(surroundings.collect_services(api, target)),
        "quotas": lambda: _whole(surroundings.collect_limits(api, namespace)),
        "ConfigMaps": lambda: _whole(references.collect_config_maps(api, target)),
        "earlier revisions": lambda: _whole(revisions.collect(api, target)),
        "siblings": lambda: _whole(surroundings.collect_siblings(api, target)),
        "autoscalers": lambda: _whole(relations.collect_autoscalers(api, target)),
        "disruption budgets": lambda: _whole(relations.collect_budgets(api, target)),
        "network policies": lambda: _whole(relations.collect_network(api, target)),
        "ingresses": lambda: _whole(relations.collect_ingresses(api, target)),
        "permissions": lambda: _whole(relations.collect_identity(api, target)),
        "webhooks": lambda: _whole(relations.collect_webhooks(api, about)),
        "what the containers serve": read_served,
    }
    items, gaps = await _gather(pieces)
    objects = [_mark(item, never_pulled) for item in build_objects(target, pods)]
    return Bundle(
        target=ref,
        namespace=namespace,
        now=now,
        items=tuple(_unique([*objects, *first[0], *items])),
        gaps=(*first[1], *gaps),
    )


def _mark(item: Item, never_pulled: Collection[str]) -> Item:
    """Say of a ReplicaSet whose image never came that it did not: its pods may be gone."""
    if item.kind is not ItemKind.REPLICA_SET or kinds.name_of(item.value) not in never_pulled:
        return item
    return dataclasses.replace(item, value={**item.value, "neverPulled": True})


async def _gather(pieces: Mapping[str, Callable[[], Awaitable[Found]]]) -> Found:
    read = await asyncio.gather(*(_bounded(name, make) for name, make in pieces.items()))
    return [item for items, _ in read for item in items], [gap for _, gaps in read for gap in gaps]


async def _bounded(name: str, make: Callable[[], Awaitable[Found]]) -> Found:
    try:
        async with asyncio.timeout(PIECE_SECONDS):
            return await make()
    except TimeoutError:
        return [], [f"{name}: no answer within {PIECE_SECONDS:.0f} s"]
    except errors.SelfHealError as error:
        return [], [f"{name}: {redaction.redact(str(error))}"]


async def _whole(items: Awaitable[list[Item]]) -> Found:
    return await items, []


async def _read_counters(kubelets: kubelet.Kubelets, pods: Sequence[Stored]) -> Found:
    counters, volumes, gaps = await kubelets.read(pods)
    items = [
        Item(
            id=f"counters/{pod}/{container}",
            kind=ItemKind.COUNTERS,
            value=_present(
                pod=pod,
                container=container,
                workingSetBytes=one.working_set,
                cpuPeriods=one.periods,
                cpuThrottledPeriods=one.throttled,
                cpuThrottledSeconds=one.throttled_seconds,
                cpuUsedSeconds=one.used_seconds,
                livedSeconds=one.lived_seconds,
            ),
        )
        for (pod, container), one in sorted(counters.items())
    ]
    for one in volumes:
        identity = f"counters/{one['pod']}/volume/{one['volume']}"
        items.append(Item(id=identity, kind=ItemKind.COUNTERS, value=_present(**one)))
    return items, gaps


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def choose_pods(target: targets.Target) -> list[Stored]:
    """Return at most 10 pods: unwell ones first, newest first, with a well one among the first."""
    newest = sorted(
        target.pods, key=lambda one: str(one["metadata"].get("creationTimestamp")), reverse=True
    )
    unwell = [pod for pod in newest if not rollout.is_well(pod)]
    well = [pod for pod in newest if rollout.is_well(pod)]
    lead = MAX_LOG_PODS - 1 if well else MAX_LOG_PODS
    return [*unwell[:lead], *well[:1], *unwell[lead:], *well[1:]][:MAX_POD_ITEMS]


def build_objects(target: targets.Target, pods: Sequence[Stored]) -> list[Item]:
    """Return the target, its ReplicaSets, Jobs and pods as items; pure."""
    stored = target.stored or {}
    identity = f"object/{target.kind}/{target.ref.name}"
    items = [Item(id=identity, kind=ItemKind.OBJECT, value=redaction.clean_object(stored))]
    for one in target.replica_sets[:MAX_REPLICA_SET_ITEMS]:
        items.append(_object(f"replicaset/{kinds.name_of(one)}", ItemKind.REPLICA_SET, one))
    for one in target.jobs[:1]:
        items.append(_object(f"owner/Job/{kinds.name_of(one)}", ItemKind.OWNER, one))
    for one in pods:
        items.append(_object(f"pod/{kinds.name_of(one)}", ItemKind.POD, one))
    return items


def _object(identity: str, kind: ItemKind, stored: Stored) -> Item:
    at = rollout.parse_time(stored["metadata"].get("creationTimestamp"))
    return Item(id=identity, kind=kind, value=redaction.clean_object(stored), at=at)


def build_events(found: Sequence[Stored]) -> list[Item]:
    """Return events as items, newest first; pure."""
    return [
        Item(
            id=f"event/{number}",
            kind=ItemKind.EVENT,
            value=events.build_value(one),
            at=rollout.parse_time(events.time_of(one)),
        )
        for number, one in enumerate(found, start=1)
    ]


def _unique(items: Sequence[Item]) -> list[Item]:
    return list({item.id: item for item in items}.values())
