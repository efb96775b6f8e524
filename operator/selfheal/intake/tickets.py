"""The ticket monitor: new tickets of the tracker become incidents (the JIRA Monitor's rules)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from selfheal import ports
from selfheal.agents.crew import Crew
from selfheal.api.incident import Phase, Priority, SourceType, TargetRef, Usage
from selfheal.api.policy import Policy
from selfheal.domain import phases, signals
from selfheal.domain.facts import TicketFacts
from selfheal.domain.machine.mirrors import RELEASED
from selfheal.domain.signals import Signal

TICKETS_AT_ONCE = 200
"""New tickets read in one poll; the rest follow in the next."""

Ask = Callable[[ports.IssueTracker, TicketFacts, Sequence[str]], Awaitable[None]]
"""Ask in the ticket which namespace is meant; performed by the engine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narrowing:
    """What the command line narrows: a flag never widens a policy."""

    namespace: str | None = None
    priority: Priority | None = None
    keywords: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
    """Polls the tracker of one policy for new tickets."""

    policy: Policy
    tracker: ports.IssueTracker
    cluster: ports.Cluster
    crew: Crew
    clock: ports.Clock
    ask: Ask
    narrowing: Narrowing = dataclasses.field(default_factory=Narrowing)
    asked: dict[str, dt.datetime | None] = dataclasses.field(default_factory=dict)
    """Tickets that nobody could place, by id, with when they last changed."""

    async def poll(self) -> list[Signal]:
        """Return a signal for each new ticket whose namespace is known; may be repeated.

        One search and its pages, then bulk reads, whatever the number of known incidents. A ticket
        whose namespace is not known is asked about once, in the ticket.
        """
        found = await self.tracker.search_tickets(self.build_jql(), limit=TICKETS_AT_ONCE)
        if not found:
            return []
        read = await self.tracker.get_tickets(found)
        arrived = []
        for ticket in read.values():
            unchanged = ticket.id in self.asked and self.asked[ticket.id] == ticket.updated
            if unchanged or not self.wants(ticket):
                continue
            signal = await self._locate(ticket)
            if signal is not None:
                arrived.append(signal)
        return arrived

    def build_jql(self) -> str:
        """Return the search: open tickets of the project that no incident owns."""
        ours = ", ".join(f'"selfheal-phase-{phase}"' for phase in Phase)
        spec = self.policy.spec.tracker
        clauses = [
            f'project = "{spec.project}"',
            "statusCategory != Done",
            f'(labels is EMPTY OR labels not in ({ours}, "{RELEASED}"))',
        ]
        if spec.intake.jql:
            clauses.append(f"({spec.intake.jql})")
        return f"{' AND '.join(clauses)} ORDER BY created DESC"

    def wants(self, ticket: TicketFacts) -> bool:
        """Say whether a ticket is new, important enough and about what the policy names."""
        spec = self.policy.spec.tracker
        begun = {
            s.casefold() for s in phases.resolve_statuses(spec.statuses)[Phase.INCIDENT_DETECTED]
        }
        owned = any(
            label.startswith("selfheal-") for label in ticket.labels
        )  # the search lags behind what was claimed
        if owned or ticket.status.casefold() not in begun:
            return False
        minimum = max(
            spec.intake.minimum_priority,
            self.narrowing.priority or Priority.LOW,
            key=signals.PRIORITIES.index,
        )
        priority = signals.parse_priority(ticket.priority, spec.priorities) or Priority.MEDIUM
        text = f"{ticket.summary}\n{ticket.description}\n{' '.join(ticket.labels)}"
        return (
            signals.at_least(priority, minimum)
            and signals.mentions(text, spec.intake.keywords)
            and signals.mentions(text, self.narrowing.keywords)
        )

    async def _locate(self, ticket: TicketFacts) -> Signal | None:
        """Decide the namespace, and the target where it is named; else ask in the ticket.

        Who narrowed the namespaces by a flag asks nobody: the ticket may well be another's.
        """
        served = self.namespaces()
        candidates = {name: await self.cluster.list_targets(name) for name in served}
        text = "\n".join([ticket.summary, ticket.description, *sorted(ticket.labels)])
        if signals.names_another_namespace(text, served):
            self.asked[ticket.id] = ticket.updated  # it is somebody else's, whatever else it names
            return None
        namespace = _named(candidates, text)
        if namespace is None:
            whole = await self.tracker.get_ticket(ticket.id)  # with what people answered
            said = [one.body for one in whole.comments if not one.by.is_operator]
            text = "\n".join([text, *said])
            namespace = _named(candidates, text) or await self._triage(whole, candidates)
        narrowed = self.narrowing.namespace
        if namespace is None:
            self.asked[ticket.id] = ticket.updated
            if narrowed is None and served:
                await self.ask(self.tracker, ticket, sorted(served))
            return None
        self.asked.pop(ticket.id, None)
        if narrowed is not None and namespace != narrowed:
            return None
        return self._signal(ticket, namespace, signals.find_named(candidates[namespace], text))

    def namespaces(self) -> frozenset[str]:
        """Return the namespaces that the policy's mappings serve."""
        entries = self.policy.spec.code.repositories
        return frozenset(name for entry in entries for name in entry.match.namespaces)

    async def _triage(
        self, ticket: TicketFacts, candidates: Mapping[str, Sequence[TargetRef]]
    ) -> str | None:
        every = [target for targets in candidates.values() for target in targets]
        result = await self.crew.triage(
            summary=ticket.summary, description=ticket.description, candidates=every, spent=Usage()
        )
        if result.answer is None or result.answer.target is None:
            return None
        named = result.answer.target
        return _only(
            name
            for name, targets in candidates.items()
            if any((one.kind, one.name) == (named.kind, named.name) for one in targets)
        )

    def _signal(self, ticket: TicketFacts, namespace: str, target: TargetRef | None) -> Signal:
        known = signals.parse_priority(ticket.priority, self.policy.spec.tracker.priorities)
        return Signal(
            source=SourceType.TICKET,
            namespace=namespace,
            cause=f"{target.kind}/{target.name}" if target else f"ticket/{ticket.id}",
            summary=ticket.summary,
            description=ticket.description,
            priority=known or Priority.MEDIUM,
            target=target,
            ticket_key=ticket.key,
            policy=self.policy.metadata.name,
            at=self.clock.now(),
        )


def _named(candidates: Mapping[str, Sequence[TargetRef]], text: str) -> str | None:
    """Return the namespace that a text names, by itself or by a workload, or the only one."""
    by_workload = (name for name, found in candidates.items() if signals.find_named(found, text))
    named = signals.find_namespace(text, candidates.keys())
    return named or _only(by_workload) or _only(candidates)


def _only(names: Iterable[str]) -> str | None:
    found = list(names)
    return found[0] if len(found) == 1 else None
