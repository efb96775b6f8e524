"""What one decision looks at: the incident, the draft of its status, facts, policy and the time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from selfheal.api.incident import Incident, IncidentStatus, Phase
from selfheal.api.policy import Mode, PolicySpec, RepositorySpec, TrackerType
from selfheal.domain import effects, phases
from selfheal.domain.decisions import Act, NeedFacts
from selfheal.domain.effects import Effect, EffectKind, Milestone
from selfheal.domain.facts import Facts, PullRequestFacts, TicketFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """The inputs of ``machine.decide``; immutable."""

    incident: Incident
    status: IncidentStatus
    facts: Facts
    policy: PolicySpec
    repository: RepositorySpec | None
    now: dt.datetime

    @property
    def phase(self) -> Phase:
        """The present phase; INCIDENT_DETECTED before anything was written."""
        return self.status.phase or Phase.INCIDENT_DETECTED

    @property
    def uid(self) -> str:
        """The first uid of the incident, of which all keys are made."""
        identity = self.status.identity
        return identity.uid if identity else self.incident.metadata.uid

    @property
    def tracked(self) -> bool:
        """Whether a ticket mirrors this incident and may be written."""
        return self.policy.tracker.type is not TrackerType.NONE and not self.dry

    @property
    def dry(self) -> bool:
        """Whether this is analysis only."""
        return (
            self.incident.spec.dry_run
            or self.facts.policy.dry_run
            or self.policy.mode is Mode.OBSERVE
        )

    @property
    def poll_ticket(self) -> dt.timedelta:
        """How often a ticket is looked at."""
        return self.policy.tracker.poll_interval

    @property
    def poll_code(self) -> dt.timedelta:
        """How often a pull request is looked at; no slower than the ticket."""
        own = self.policy.code.poll_interval
        return min(own, self.poll_ticket) if self.tracked else own

    def need(self, *names: str) -> None:
        """Ask for facts by name; raises NeedFacts when they were not observed in this step."""
        missing = [name for name in names if name not in self.facts.observed]
        if missing:
            raise NeedFacts(*missing)

    def fact(self, name: str) -> Any:
        """Return one fact, observed in this step."""
        self.need(name)
        return getattr(self.facts, name)

    def ticket(self) -> TicketFacts | None:
        """Return the ticket, read in this step."""
        found: TicketFacts | None = self.fact("ticket")
        return found

    def pull(self) -> PullRequestFacts | None:
        """Return the pull request, read in this step."""
        found: PullRequestFacts | None = self.fact("pull_request")
        return found

    def key(self, kind: str, *, attempt: int = 0) -> str:
        """Return the key of an effect in this phase."""
        return effects.compute_key(self.uid, self.status, self.phase, kind, attempt=attempt)

    def act(self, kind: EffectKind, *, attempt: int = 0, **fields: Any) -> Act:
        """Return the decision to perform an effect in this phase."""
        return Act(effect=Effect(kind=kind, key=self.key(kind, attempt=attempt), **fields))

    def once(self, kind: EffectKind, **fields: Any) -> Act | None:
        """Return the decision to try an effect, None where it was tried in this run."""
        act = self.act(kind, **fields)
        tried = any(receipt.key == act.effect.key for receipt in self.status.receipts)
        return None if tried else act

    def comment(
        self,
        milestone: Milestone,
        *,
        on: EffectKind = EffectKind.COMMENT_TICKET,
        in_phase: bool = False,
        number: int = 0,
        why: str = "",
    ) -> Act | None:
        """Return the effect that says a milestone, or None where it was said in this run.

        ``in_phase``: once in each phase rather than once in the run; ``number``: once for each;
        ``why``: what it adds.
        """
        if on is EffectKind.COMMENT_TICKET and (not self.tracked or self.status.ticket is None):
            return None
        name = f"{milestone}-{self.phase}" if in_phase else milestone
        name = f"{name}-{number}" if number else name
        key = f"{self.uid}/{self.status.run}/{on}/{name}"
        if any(receipt.key == key for receipt in self.status.receipts):
            return None
        pull = self.status.pull_request.number if self.status.pull_request else 0
        return Act(effect=Effect(kind=on, key=key, milestone=milestone, number=pull, why=why))

    def is_at_least(self, phase: Phase) -> bool:
        """Say whether the present phase is at or past another one in the chain."""
        return phases.reached(self.phase, phase)
