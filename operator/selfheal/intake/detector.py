"""The built-in detector: workloads that stay unhealthy for the quiet period become signals."""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal import ports
from selfheal.api.incident import Priority, SourceType
from selfheal.api.policy import Policy
from selfheal.domain.signals import Signal, Suspect


@dataclasses.dataclass
class Detector:
    """Looks at the namespaces of one policy; remembers since when each suspect is unhealthy."""

    policy: Policy
    cluster: ports.Cluster
    clock: ports.Clock
    since: dict[tuple[str, str, str], dt.datetime] = dataclasses.field(default_factory=dict)
    """Since when each suspect was seen, without a break."""

    def namespaces(self) -> list[str]:
        """Return the namespaces that are watched: those named, else those of the mappings."""
        mapped = {
            name for entry in self.policy.spec.code.repositories for name in entry.match.namespaces
        }
        named = set(self.policy.spec.detection.namespaces)
        return sorted(named & mapped if named else mapped)

    async def look(self) -> list[Signal]:
        """Return a signal for each workload that was unhealthy for the whole quiet period.

        What looks well again is forgotten; a signal is repeated while the fault lasts, and
        admission counts it on the incident that is there.
        """
        now = self.clock.now()
        suspects = [
            suspect
            for suspect in await self.cluster.find_suspects(self.namespaces())
            if self._wanted(suspect)
        ]
        seen = {_place(suspect): suspect for suspect in suspects}
        self.since = {place: self.since.get(place, now) for place in seen}
        quiet = self.policy.spec.detection.quiet_period
        return [
            self._signal(seen[place], now)
            for place, since in self.since.items()
            if now - since >= quiet
        ]

    def _wanted(self, suspect: Suspect) -> bool:
        reasons = self.policy.spec.detection.reasons
        return not reasons or bool(set(reasons) & set(suspect.reasons))

    def _signal(self, suspect: Suspect, now: dt.datetime) -> Signal:
        target = suspect.target
        what = ", ".join(suspect.reasons[:3]) or "not ready"
        return Signal(
            source=SourceType.DETECTOR,
            namespace=suspect.namespace,
            cause=f"{target.kind}/{target.name}",
            summary=f"{target.kind} {target.name} is unhealthy: {what}",
            description=suspect.message,
            priority=Priority.HIGH,
            target=target,
            policy=self.policy.metadata.name,
            at=now,
        )


def _place(suspect: Suspect) -> tuple[str, str, str]:
    return suspect.namespace, suspect.target.kind, suspect.target.name
