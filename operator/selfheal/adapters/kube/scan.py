"""A scan: everything unhealthy in some namespaces, diagnosed from one copy of their objects."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence

from selfheal.adapters.kube import (
    connection,
    evidence,
    kinds,
    kubelet,
    silent,
    snapshot,
    suspects,
)
from selfheal.api.incident import TargetRef
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors

AT_ONCE = 16
"""Targets whose evidence is collected side by side."""

LEAST = 0.6
"""Findings below this confidence are not reported."""

Extend = Callable[[Bundle], Awaitable[Bundle]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scanned:
    """A target that is unhealthy, with its cause; None: unhealthy, and no rule knows why."""

    namespace: str
    target: TargetRef
    finding: Finding | None
    also: tuple[TargetRef, ...] = ()  # further targets of the namespace with the same cause
    bundle: Bundle


async def scan(
    api: connection.Connection,
    kubelets: kubelet.Kubelets,
    namespaces: Sequence[str],
    now: dt.datetime,
    *,
    extend: Extend | None = None,
) -> list[Scanned]:
    """Return what is unhealthy, one entry a cause, the surest first.

    ``extend`` adds evidence that stands outside the cluster (tags of a registry). Reads only, may
    be repeated; a namespace that is gone has nothing.
    """
    copy = snapshot.Snapshot(api, frozenset(namespaces))
    finder, turn = kinds.Kinds(copy), asyncio.Semaphore(AT_ONCE)
    readings = snapshot.SharedKubelets(kubelets)

    async def diagnose(namespace: str, ref: TargetRef) -> Scanned | None:
        async with turn:
            bundle = await evidence.collect(copy, finder, readings, namespace, ref, now)
            if extend is not None:
                bundle = await extend(bundle)
        sure = [one for one in registry.diagnose(bundle) if one.confidence >= LEAST]
        if not sure and not registry.is_failing(bundle):
            return None
        finding = sure[0] if sure else None
        return Scanned(namespace=namespace, target=ref, finding=finding, bundle=bundle)

    try:
        found = await asyncio.gather(*(_suspects(copy, readings, one, now) for one in namespaces))
        pairs = zip(namespaces, found, strict=True)
        rows = await asyncio.gather(
            *(diagnose(space, ref) for space, refs in pairs for ref in refs)
        )
    finally:
        await copy.close()
    return merge([row for row in rows if row is not None])


async def _suspects(
    copy: snapshot.Snapshot, readings: snapshot.SharedKubelets, namespace: str, now: dt.datetime
) -> list[TargetRef]:
    """Return what to look at in a namespace, each once and at its topmost owner."""
    try:
        loud, quiet, pods = await asyncio.gather(
            suspects.find(copy, namespace, now),
            silent.find(copy, namespace),
            copy.take(kinds.path_of_known("Pod", namespace), silent.MAX_LISTED),
        )
    except errors.NotFound:
        return []
    counters, _, _ = await readings.read_all(namespace, pods)
    refs = [*(one.target for one in loud), *quiet, *silent.find_throttled(pods, counters)]
    tops = await asyncio.gather(*(_topmost(copy, namespace, ref) for ref in refs))
    return list(dict.fromkeys(tops))


async def _topmost(copy: snapshot.Snapshot, namespace: str, ref: TargetRef) -> TargetRef:
    for _ in range(5):
        stored = await copy.find(kinds.path_of_known(ref.kind, namespace, ref.name))
        owner = kinds.controller_of(stored) if stored is not None else None
        if owner is None or owner["kind"] not in kinds.KNOWN:
            break
        version = kinds.KNOWN[owner["kind"]][0]
        ref = TargetRef(api_version=version, kind=owner["kind"], name=owner["name"])
    return ref


def merge(rows: Sequence[Scanned]) -> list[Scanned]:
    """Return one entry a cause: same namespace, class and object or sentence; pure."""
    kept: dict[tuple[object, ...], Scanned] = {}
    for row in rows:
        finding = row.finding
        key: tuple[object, ...] = (row.namespace, row.target.kind, row.target.name)
        if finding is not None:
            about = finding.parameters.get("object") or (finding.container, finding.cause)
            key = (row.namespace, finding.class_, str(about))
        first = kept.get(key)
        if first is None:
            kept[key] = row
        else:
            kept[key] = dataclasses.replace(first, also=(*first.also, row.target))
    return sorted(kept.values(), key=lambda row: -(row.finding.confidence if row.finding else 0.0))
