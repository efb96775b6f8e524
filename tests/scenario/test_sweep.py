"""What the sweeper takes away, and what it never touches."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import types
from typing import Any, cast

from tests.fakes.store import FakeStore

from selfheal import ports
from selfheal.api import incident as incidents
from selfheal.api import meta, policy
from selfheal.api.evidence import DocumentType
from selfheal.api.incident import Phase
from selfheal.engine import sweep
from selfheal.engine.deps import Deps

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@dataclasses.dataclass
class Ground:
    """A store with a policy that keeps resolved incidents 72 h and 3 MiB of evidence."""

    store: FakeStore
    deps: Deps

    async def add(self, name: str, *, phase: Phase, since: dt.datetime, run: int = 1) -> incidents.Incident:
        body = incidents.Incident(
            metadata=meta.ObjectMeta(name=name, namespace="shop"),
            spec=incidents.IncidentSpec(policy_ref="default", summary=name),
        )
        stored = await self.store.create_incident(body)
        assert stored is not None
        return await self.store.save_status(stored, stored.status.evolve(phase=phase, phase_since=since, run=run))

    async def document(self, owner: incidents.Incident, name: str, type_: DocumentType, run: int = 1) -> None:
        noise = random.Random(name).randbytes(20_000).hex()  # 20 kB compressed and more
        await self.store.ensure_document(
            ports.Document(
                namespace="shop", name=name, incident=owner.metadata.name, incident_uid=owner.metadata.uid,
                type=type_, run=run, attempt=1, content={"x": noise},
            )
        )  # fmt: skip

    def left(self) -> set[str]:
        return {name for _, name in self.store.stored_documents}


async def build(evidence_total: str) -> Ground:
    store = FakeStore(now=lambda: NOW)
    retention = policy.RetentionSpec(evidence_total=evidence_total)
    store.apply_policy("default", policy.PolicySpec(retention=retention))
    deps: Any = types.SimpleNamespace(store=store, clock=types.SimpleNamespace(now=lambda: NOW))
    return Ground(store, cast("Deps", deps))


async def test_resolved_incidents_go_after_their_retention_and_others_stay() -> None:
    ground = await build("256Mi")
    await ground.add("old", phase=Phase.INCIDENT_RESOLVED, since=NOW - 73 * HOUR)
    await ground.add("fresh", phase=Phase.INCIDENT_RESOLVED, since=NOW - 71 * HOUR)
    await ground.add("open", phase=Phase.PR_CREATED, since=NOW - 500 * HOUR)
    assert await sweep.sweep(ground.deps) == 1
    assert await sweep.sweep(ground.deps) == 0
    assert {one.metadata.name for one in await ground.store.list_incidents()} == {"fresh", "open"}


async def test_evidence_beyond_the_total_goes_transcripts_first_then_the_oldest_resolved() -> None:
    ground = await build("90k")
    older = await ground.add("older", phase=Phase.INCIDENT_RESOLVED, since=NOW - 9 * HOUR)
    newer = await ground.add("newer", phase=Phase.INCIDENT_RESOLVED, since=NOW - 3 * HOUR)
    active = await ground.add("active", phase=Phase.PR_CREATED, since=NOW - HOUR, run=2)
    for owner in (older, newer):
        await ground.document(owner, f"{owner.metadata.name}-evidence", DocumentType.EVIDENCE)
        await ground.document(owner, f"{owner.metadata.name}-talk", DocumentType.TRANSCRIPT)
    await ground.document(active, "active-old-talk", DocumentType.TRANSCRIPT, run=1)
    await ground.document(active, "active-talk", DocumentType.TRANSCRIPT, run=2)
    await ground.document(active, "active-evidence", DocumentType.EVIDENCE, run=2)
    await sweep.sweep(ground.deps)
    assert ground.left() == {"newer-evidence", "active-talk", "active-evidence"}
    await sweep.sweep(ground.deps)
    assert ground.left() == {"newer-evidence", "active-talk", "active-evidence"}


async def test_what_an_open_incident_works_with_stays_even_beyond_the_total() -> None:
    ground = await build("1k")
    active = await ground.add("active", phase=Phase.ANALYSIS_IN_PROGRESS, since=NOW)
    await ground.document(active, "active-talk", DocumentType.TRANSCRIPT)
    await sweep.sweep(ground.deps)
    assert ground.left() == {"active-talk"}
