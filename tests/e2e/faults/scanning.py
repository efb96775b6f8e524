"""Namespaces full of faults, and the time that a scan of them takes."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Sequence

from tests.e2e.faults import library, running, watching

from selfheal.adapters.kube import scan
from selfheal.adapters.kube.cluster import KubeCluster
from selfheal.diagnosis.evidence import Bundle
from selfheal.engine import perform_analysis

QUICK = (
    "blind-init-repository", "missing-configmap", "schedule-selector", "image-tag-rollout", "crash-missing-variable",
    "blind-no-login", "memory-below-range", "service-selector",
)  # fmt: skip
"""One of each of eight classes, shown within seconds and on at most two pods each."""

ALONE = frozenset({"memory-below-range"})
"""What would touch every pod of a namespace: left out where several share one."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a scan took and found."""

    seconds: Sequence[float]
    wanted: Sequence[tuple[str, library.Fault]]  # namespace and fault
    rows: Sequence[scan.Scanned]

    @property
    def found(self) -> int:
        """How many of the faults are named with the right class."""
        said = {(row.namespace, row.finding.class_.value) for row in self.rows if row.finding}
        return sum(any((space, one) in said for one in fault.accepted) for space, fault in self.wanted)


async def measure(ground: running.Field, *, namespaces: int, rounds: int = 5) -> Scan:
    """Fill so many namespaces (one: eight faults in it) and scan them, with nothing cached, several times."""
    chosen = [library.load(library.HERE / name) for name in QUICK]
    if namespaces == 1:
        swapped = [library.load(library.HERE / "missing-account") if one.name in ALONE else one for one in chosen]
        space = await ground.make_namespace()
        wanted = [(space, fault) for fault in swapped]
    else:
        spaces = await asyncio.gather(*(ground.make_namespace() for _ in range(namespaces)))
        wanted = [(space, chosen[number % len(chosen)]) for number, space in enumerate(spaces)]
    spaces = list(dict.fromkeys(space for space, _ in wanted))
    try:
        await asyncio.gather(*(_show(ground, space, fault) for space, fault in wanted))
        seconds = []
        rows: list[scan.Scanned] = []
        for _ in range(rounds):
            begun = time.perf_counter()
            rows = await scan_once(ground, spaces)
            seconds.append(time.perf_counter() - begun)
    finally:
        for space in spaces:
            await ground.remove(space, [])
    return Scan(seconds, wanted, rows)


async def scan_once(ground: running.Field, spaces: Sequence[str]) -> list[scan.Scanned]:
    """One scan by the adapter, with the registry's tags as the engine adds them."""

    async def extend(bundle: Bundle) -> Bundle:
        return bundle.extend(*await perform_analysis.read_tags(ground.registry, bundle))

    cluster = KubeCluster(ground.api)
    try:
        return list(await cluster.scan(spaces, dt.datetime.now(dt.UTC), extend=extend))
    finally:
        await cluster.close()


async def _show(ground: running.Field, space: str, fault: library.Fault) -> None:
    """Apply a fault without its twin and wait for its symptom."""
    names = library.Names.draw(
        fault.shared, *fault.before, fault.manifests, namespace=space, placeholder=fault.namespace
    )
    begun = time.monotonic()
    await ground.apply(space, names(f"{fault.shared}\n---\n{fault.manifests}"))
    symptom = running.rename(names, fault.symptom)

    def stands() -> bool:
        age = time.monotonic() - begun
        return all(watching.holds(ground.watched, space, one, age) for one in symptom)

    if not await ground.watched.wait(stands, seconds=running.SYMPTOM_SECONDS):
        raise AssertionError(f"{fault.name}: the symptom did not show")
