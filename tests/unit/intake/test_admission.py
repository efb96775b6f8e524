"""Admission: one incident for each cause, whoever signals and however often."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from typing import Any

import pytest
from tests.fakes.store import FakeStore
from tests.scenario.world import VirtualClock

from selfheal.api.incident import Incident, Phase, Priority, SourceType, TargetRef
from selfheal.domain import errors
from selfheal.domain.signals import Signal
from selfheal.intake import admission
from selfheal.intake.admission import Admission

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def signal(name: str = "checkout", **fields: Any) -> Signal:
    base: dict[str, Any] = {
        "source": SourceType.ALERT, "namespace": "shop", "cause": f"Deployment/{name}",
        "summary": f"{name} is down", "target": TargetRef(kind="Deployment", name=name), "at": NOW,
    }  # fmt: skip
    return Signal(**{**base, **fields})


def world() -> tuple[FakeStore, Admission]:
    clock = VirtualClock()
    store = FakeStore(now=clock.now)
    return store, Admission(store, clock)


async def test_a_storm_is_one_incident_for_each_cause_with_a_count() -> None:
    store, gate = world()
    storm = [signal(f"app-{number % 40}") for number in range(2_000)]
    keys = await gate.admit(storm)
    assert len(keys) == len(store.incidents) == 40
    assert {one.status.signals.count for one in store.incidents.values() if one.status.signals} == {49}
    again = await gate.admit(storm[:40])
    assert again == keys
    assert {one.status.signals.count for one in store.incidents.values() if one.status.signals} == {50}


async def test_the_most_urgent_signal_of_a_batch_speaks() -> None:
    store, gate = world()
    await gate.admit([signal(priority=Priority.LOW), signal(priority=Priority.CRITICAL, summary="dead")])
    (made,) = store.incidents.values()
    assert (made.spec.priority, made.spec.summary) == (Priority.CRITICAL, "dead")


async def test_two_processes_meet_in_one_incident() -> None:
    store, one = world()
    two = Admission(store, VirtualClock())
    found = await asyncio.gather(*(gate.admit([signal()]) for gate in (one, two) for _ in range(10)))
    assert len(store.incidents) == 1
    assert {key for keys in found for key in keys} == set(store.incidents)


class Racing(FakeStore):
    """A store in which somebody else is always a little faster."""

    def __init__(self, wins: int) -> None:
        super().__init__()
        self.wins = wins

    async def create_incident(self, incident: Incident) -> Incident:
        if self.wins:
            self.wins -= 1
            raise errors.Conflict("taken")
        return await super().create_incident(incident)

    async def save_status(self, incident: Incident, status: Any) -> Incident:
        if self.wins:
            self.wins -= 1
            raise errors.Conflict("written")
        return await super().save_status(incident, status)


async def test_a_creation_that_is_contended_looks_again_a_bounded_number_of_times() -> None:
    store = Racing(wins=2)
    assert len(await Admission(store, VirtualClock()).admit([signal()])) == 1
    with pytest.raises(errors.Transient, match="Deployment/cart"):
        await Admission(Racing(wins=99), VirtualClock()).admit([signal("cart")])


async def test_a_count_that_is_contended_is_written_on_the_newest() -> None:
    store = Racing(wins=0)
    gate = Admission(store, VirtualClock())
    (key,) = await gate.admit([signal()])
    store.wins = 2
    await gate.admit([signal()])
    counted = store.incidents[key].status.signals
    assert counted is not None
    assert counted.count == 1


async def test_what_is_over_creates_nothing_and_lets_the_incident_look() -> None:
    store, gate = world()
    assert await gate.admit([signal(firing=False)]) == []
    assert not store.incidents
    (key,) = await gate.admit([signal()])
    assert await gate.admit([signal(firing=False)]) == [key]
    assert store.incidents[key].metadata.annotations["selfheal.dev/poke"]
    assert store.incidents[key].status.signals is None


async def test_a_recurrence_in_the_proof_is_looked_at_at_once() -> None:
    store, gate = world()
    (key,) = await gate.admit([signal()])
    known = store.incidents[key]
    await store.save_status(known, known.status.evolve(phase=Phase.VERIFICATION_IN_PROGRESS))
    await gate.admit([signal()])
    assert store.incidents[key].metadata.annotations["selfheal.dev/poke"]


async def test_a_ticket_that_is_known_is_no_news() -> None:
    store, gate = world()
    ticket = signal(ticket_key="OPS-1", source=SourceType.TICKET)
    (key,) = await gate.admit([ticket])
    patches = store.status_patches.total()
    assert await gate.admit([ticket]) == [key]
    assert store.status_patches.total() == patches


async def test_an_incident_that_is_deleted_meanwhile_is_not_counted_on() -> None:
    store, gate = world()
    (key,) = await gate.admit([signal()])
    gone = store.incidents[key]
    await store.delete_incident(gone)
    await gate._count(gone, [signal()])
    assert not store.incidents


async def test_the_queue_admits_in_batches_and_keeps_what_a_fault_held_up() -> None:
    made = asyncio.Event()
    store = FakeStore(changes=lambda key: made.set() if len(store.incidents) > 1 else None)

    class Broken(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            self.seconds += seconds
            await asyncio.sleep(0)

    faults = [errors.Unreachable("down", system="kubernetes")]
    listed = store.list_incidents

    async def list_incidents(namespace: str | None = None) -> Any:
        if faults:
            raise faults.pop()
        return await listed(namespace)

    store.list_incidents = list_incidents  # type: ignore[method-assign]
    gate = Admission(store, Broken())
    running = asyncio.create_task(gate.run())
    assert gate.submit([signal("a"), signal("b"), signal("a")])
    async with asyncio.timeout(5):
        await made.wait()
    running.cancel()
    assert not gate.submit([dataclasses.replace(signal(), cause=f"x/{n}") for n in range(admission.MAX_WAITING + 1)])
