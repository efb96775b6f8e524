"""The rounds of intake: which policy's tickets and namespaces are looked at when."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import Awaitable, Callable

from selfheal import ports
from selfheal.agents.crew import Crew
from selfheal.api.incident import Incident
from selfheal.api.policy import Policy, TrackerType
from selfheal.domain import errors, mapping, signals
from selfheal.domain.signals import Signal
from selfheal.intake.admission import Admission
from selfheal.intake.detector import Detector
from selfheal.intake.tickets import Ask, Monitor, Narrowing

TICK = 5.0
"""Seconds between two looks at what is due."""

LOOKS_A_QUIET_PERIOD = 4
LOOK_AT_LEAST = dt.timedelta(seconds=5)
LOOK_AT_MOST = dt.timedelta(seconds=30)
"""The detector looks several times in a quiet period, so that a break in a fault is seen."""

Connect = Callable[[Policy], Awaitable[tuple[ports.IssueTracker | None, Crew]]]
"""Connect the tracker and the agents of a policy."""

Name = Callable[[ports.IssueTracker, str, Incident], Awaitable[None]]
"""Tell in a ticket which open incident is about the same; performed by the engine."""

log = logging.getLogger("selfheal.intake")


@dataclasses.dataclass
class Rounds:
    """Polls trackers and looks at namespaces, as each policy says, each apart from the others."""

    store: ports.IncidentStore
    cluster: ports.Cluster
    clock: ports.Clock
    admission: Admission
    connect: Connect
    ask: Ask
    name: Name
    narrowing: Narrowing = dataclasses.field(default_factory=Narrowing)
    poll_interval: dt.timedelta | None = None
    """Replaces the policies' interval of tickets where the command line names one."""
    _monitors: dict[str, Monitor] = dataclasses.field(default_factory=dict)
    _detectors: dict[str, Detector] = dataclasses.field(default_factory=dict)
    _last: dict[str, dt.datetime] = dataclasses.field(default_factory=dict)
    _told: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    """Tickets of people, each with the uid of the incident that it was told of."""

    async def run(self) -> None:
        """Go round for ever."""
        while True:
            try:
                await self.go_round()
            except errors.SelfHealError as error:
                log.warning("policies cannot be read", extra={"error": str(error)})
            await self.clock.sleep(TICK)

    async def go_round(self) -> None:
        """Do what is due now, policies side by side; may be repeated."""
        policies = [one for one in await self.store.list_policies() if not one.spec.suspend]
        await asyncio.gather(*(self._tend(one) for one in policies))

    def poll_now(self) -> None:
        """Let every policy's tickets be polled in the next round: a notice has arrived."""
        for name in self._monitors:
            self._last.pop(f"tickets/{name}", None)

    async def poll_once(self) -> list[str]:
        """Poll the tickets of every policy that takes tickets in, now; return what went wrong."""
        failures = []
        for policy in await self.store.list_policies():
            if _takes_tickets(policy):
                try:
                    await self._poll(policy)
                except errors.SelfHealError as error:
                    failures.append(f"tickets of policy {policy.metadata.name}: {error}")
        return failures

    async def _tend(self, policy: Policy) -> None:
        name, spec = policy.metadata.name, policy.spec
        every = self.poll_interval or spec.tracker.intake.poll_interval
        looks = spec.detection.quiet_period / LOOKS_A_QUIET_PERIOD
        try:
            if _takes_tickets(policy) and self._is_due(f"tickets/{name}", every):
                await self._poll(policy)
            if spec.detection.enabled and self._is_due(
                f"detector/{name}", min(max(looks, LOOK_AT_LEAST), LOOK_AT_MOST)
            ):
                await self._detect(policy)
        except errors.SelfHealError as error:
            log.warning("intake waits", extra={"policy": name, "error": str(error)})

    def _is_due(self, what: str, every: dt.timedelta) -> bool:
        now = self.clock.now()
        if what in self._last and now - self._last[what] < every:
            return False
        self._last[what] = now
        return True

    async def _poll(self, policy: Policy) -> None:
        tracker, crew = await self.connect(policy)
        if tracker is None:
            return
        name = policy.metadata.name
        before = self._monitors.get(name)
        monitor = Monitor(
            policy=policy, tracker=tracker, cluster=self.cluster, crew=crew, clock=self.clock,
            ask=self.ask, narrowing=self.narrowing, asked=before.asked if before else {},
        )  # fmt: skip
        self._monitors[name] = monitor
        arrived = await monitor.poll()
        await self.admission.admit(arrived)
        for signal in arrived:
            await self._tell(tracker, signal)

    async def _tell(self, tracker: ports.IssueTracker, signal: Signal) -> None:
        """Say in a further ticket about an open incident where that one is followed."""
        key = signal.ticket_key or ""
        known = await self.store.list_incidents(signal.namespace)
        incident = signals.find_incident(signal, known).incident
        if incident is None or incident.status.ticket is None:
            return
        own = key in (incident.spec.ticket_key, incident.status.ticket.key)
        if not own and (key, incident.metadata.uid) not in self._told:
            await self.name(tracker, key, incident)
            self._told.add((key, incident.metadata.uid))

    async def _detect(self, policy: Policy) -> None:
        name = policy.metadata.name
        before = self._detectors.get(name)
        detector = Detector(
            policy=policy, cluster=self.cluster, clock=self.clock,
            since=before.since if before else {},
        )  # fmt: skip
        self._detectors[name] = detector
        await self.admission.admit(await detector.look())


def _takes_tickets(policy: Policy) -> bool:
    tracker = policy.spec.tracker
    usable = tracker.type is TrackerType.JIRA and tracker.intake.enabled and not policy.spec.suspend
    return usable and not mapping.check_policy(policy.spec)
