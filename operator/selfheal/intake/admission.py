"""Admission of signals: one incident for each cause, later signals counted on it."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Sequence

from selfheal import ports
from selfheal.api import meta
from selfheal.api.incident import Incident, IncidentSpec, Phase, Signals
from selfheal.domain import errors, signals
from selfheal.domain.signals import Signal

TRIES = 5
"""Bound on looking again when somebody else creates or writes the same incident at once."""

BATCH_SECONDS = 0.2
"""How long signals gather before they are admitted together: a storm is one list request."""

MAX_WAITING = 20_000
"""Signals that may wait; beyond it the sender is told to come again."""

log = logging.getLogger("selfheal.intake")


class Admission:
    """Turns signals into incidents; safe to repeat, and with several processes at once.

    Names are made from the cause, so that two processes that admit the same signal meet in the API
    server's refusal of the second creation.
    """

    def __init__(self, store: ports.IncidentStore, clock: ports.Clock) -> None:
        """Admit into a store."""
        self._store, self._clock = store, clock
        self._waiting: list[Signal] = []
        self._arrived = asyncio.Event()

    def submit(self, arrived: Sequence[Signal]) -> bool:
        """Queue signals for the next batch; False where too many wait already."""
        if len(self._waiting) + len(arrived) > MAX_WAITING:
            return False
        self._waiting += arrived
        self._arrived.set()
        return True

    async def run(self) -> None:
        """Admit what was submitted, in batches, for ever; a fault keeps the batch."""
        while True:
            await self._arrived.wait()
            await self._clock.sleep(BATCH_SECONDS)
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            try:
                await self.admit(batch)
            except errors.SelfHealError as error:
                log.warning("signals wait", extra={"count": len(batch), "error": str(error)})
                self._waiting = batch + self._waiting
                await self._clock.sleep(5.0)
                self._arrived.set()

    async def admit(self, batch: Sequence[Signal]) -> list[str]:
        """Create or find the incident of each cause; return their keys, in order of arrival."""
        keys: list[str] = []
        groups: dict[tuple[str, str], list[Signal]] = collections.defaultdict(list)
        for signal in batch:
            groups[signal.namespace, signal.fingerprint].append(signal)
        by_namespace: dict[str, list[Incident]] = {}
        for (namespace, _), group in groups.items():
            if namespace not in by_namespace:
                by_namespace[namespace] = list(await self._store.list_incidents(namespace))
            key = await self._admit(group, by_namespace[namespace])
            keys += [key] if key is not None else []
        return keys

    async def _admit(self, group: list[Signal], known: list[Incident]) -> str | None:
        """Return the key of the group's incident; None where nothing fires and none is open."""
        firing = [signal for signal in group if signal.firing]
        if not firing:
            match = signals.find_incident(group[0], known)
            if match.incident is None:
                return None
            await self._store.poke_incident(match.incident.key, group[-1].at.isoformat())
            return match.incident.key
        return await self._admit_firing(firing, known)

    async def _admit_firing(self, group: list[Signal], known: list[Incident]) -> str:
        first = max(group, key=lambda signal: signals.PRIORITIES.index(signal.priority))
        for _ in range(TRIES):
            match = signals.find_incident(first, known)
            if match.incident is not None:
                await self._count(match.incident, group)
                return match.incident.key
            spec = IncidentSpec.model_validate(signals.build_spec(first, match.previous))
            metadata = meta.ObjectMeta(name=match.name, namespace=first.namespace)
            try:
                made = await self._store.create_incident(Incident(metadata=metadata, spec=spec))
            except errors.Conflict:
                known[:] = await self._store.list_incidents(first.namespace)
                continue
            known.append(made)
            log.info("incident created", extra={"incident": made.key, "source": first.source})
            if len(group) > 1:
                await self._count(made, group[1:])
            return made.key
        raise errors.Transient(f"incident for {first.cause} is contended", system="kubernetes")

    async def _count(self, incident: Incident, group: list[Signal]) -> None:
        """Count signals on an incident and let it look now; a ticket that is known is no news."""
        if all(signal.ticket_key for signal in group):
            return
        for _ in range(TRIES):
            known = incident.status.signals or Signals()
            counted = Signals(
                count=known.count + len(group), last=max(signal.at for signal in group)
            )
            try:
                await self._store.save_status(incident, incident.status.evolve(signals=counted))
                break
            except errors.Conflict:
                incident = await self._store.get_incident(incident.key)
            except errors.NotFound:
                return
        if incident.status.phase is Phase.VERIFICATION_IN_PROGRESS:
            await self._store.poke_incident(incident.key, group[-1].at.isoformat())
