"""What is saved and told shows no credential, whoever brought it."""

from __future__ import annotations

from tests.fakes.store import FakeStore
from tests.scenario.world import KEY, World, incident_spec

from selfheal.api.incident import HistoryEntry, IncidentStatus, Phase
from selfheal.api.meta import Condition
from selfheal.engine import save
from selfheal.redaction import MASK

SECRET = "hunter2hunter2"


async def test_status_and_events_are_redacted() -> None:
    world = World()
    store: FakeStore = world.store
    incident = store.apply_incident(KEY, incident_spec())
    text = f"refused: password={SECRET}"
    entry = HistoryEntry(to=Phase.INCIDENT_DETECTED, by="operator", at=world.clock.now(), why=text)
    stalled = Condition(
        type="Stalled", status="True", reason="Unreachable", message=text, last_transition_time=world.clock.now(),
    )  # fmt: skip
    status = IncidentStatus(phase=Phase.INCIDENT_DETECTED, message=text, history=[entry], conditions=[stalled])
    saved = await save.save(world.deps, incident, status)
    assert SECRET not in repr(store.incidents[KEY]) + repr(saved) + repr(store.events)
    assert len(store.events) == 2
    assert all(MASK in event.message for event in store.events)
    current = await store.get_incident(KEY)
    before = store.status_patches[KEY]
    await save.save(world.deps, current, status)  # the same again, unredacted, is no change
    assert store.status_patches[KEY] == before


def test_a_status_without_credentials_is_left_as_it_is() -> None:
    status = IncidentStatus(phase=Phase.INCIDENT_DETECTED, message="secretName: db is missing")
    assert save.redact_status(status) is status
