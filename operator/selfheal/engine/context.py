"""What one step carries along: the incident, its draft, its policy and its systems."""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal.api.incident import Incident, IncidentStatus
from selfheal.api.policy import Policy, PolicySpec, RepositorySpec
from selfheal.domain.facts import Facts
from selfheal.domain.view import View
from selfheal.engine.deps import Deps, Systems

OUTLIVES_RUN = frozenset({"ticket", "workload", "repository"})
"""Facts that do not depend on the run in which they were observed."""


@dataclasses.dataclass(kw_only=True)
class Context:
    """Mutable only within one step."""

    deps: Deps
    incident: Incident
    policy: Policy
    systems: Systems
    repository: RepositorySpec | None
    status: IncidentStatus  # the draft
    facts: Facts
    now: dt.datetime
    degraded: str | None = None
    unknown_status: str | None = None
    read_at: dt.datetime | None = None  # of ticket and pull request, if not in this step
    fresh_intent: str | None = None  # key of the intent that this very step has saved

    @property
    def spec(self) -> PolicySpec:
        """The policy's spec."""
        return self.policy.spec

    @property
    def uid(self) -> str:
        """The first uid of the incident."""
        identity = self.status.identity
        return identity.uid if identity else self.incident.metadata.uid

    @property
    def namespace(self) -> str:
        """The incident's namespace."""
        return self.incident.metadata.namespace

    def view(self) -> View:
        """Return what the state machine looks at."""
        return View(
            incident=self.incident,
            status=self.status,
            facts=self.facts,
            policy=self.policy.spec,
            repository=self.repository,
            now=self.now,
        )

    def forget_run(self) -> None:
        """Drop what was observed of the run that has just ended; the next decision asks afresh."""
        kept = self.facts.observed & OUTLIVES_RUN
        fields = {name: getattr(self.facts, name) for name in kept}
        self.facts = Facts(
            policy=self.facts.policy,
            ticket_missing=self.facts.ticket_missing,
            observed=kept,
            **fields,
        )

    def forget(self, *names: str) -> None:
        """Have facts read again when the next decision asks for them."""
        observed = self.facts.observed - set(names)
        self.facts = dataclasses.replace(
            self.facts,
            observed=observed,
            **dict.fromkeys(names),  # type: ignore[arg-type]
        )

    def learn(self, **fields: object) -> None:
        """Add observed facts by name."""
        names = frozenset(fields) | self.facts.observed
        self.facts = dataclasses.replace(self.facts, observed=names, **fields)  # type: ignore[arg-type]
