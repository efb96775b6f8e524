"""Signals: what says that something is unhealthy, and which incident it belongs to. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from selfheal.api.incident import Incident, Phase, Priority, Source, SourceType, TargetRef
from selfheal.domain import mapping

PRIORITIES = (Priority.LOW, Priority.MEDIUM, Priority.HIGH, Priority.CRITICAL)
MAX_NAME = 40
"""Characters of a cause's name within a fingerprint; with hash and number it stays a DNS label."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """One sign of a fault, from a ticket, an alert or the detector.

    ``cause`` is what makes two signals one incident: ``Deployment/checkout``, or ``ticket/10012``
    where no target is known. All texts are untrusted.
    """

    source: SourceType
    namespace: str
    cause: str
    summary: str
    description: str = ""
    priority: Priority = Priority.HIGH
    target: TargetRef | None = None
    ticket_key: str | None = None
    policy: str = "default"
    at: dt.datetime
    firing: bool = True
    """False: the sender says that it is over; it creates nothing, the incident only looks again."""

    @property
    def fingerprint(self) -> str:
        """Return the cause as the beginning of a name: readable, and one for each cause."""
        name = mapping.slug(self.cause.rpartition("/")[2], limit=MAX_NAME)
        digest = hashlib.sha256(f"{self.namespace}/{self.cause}".encode()).hexdigest()
        return f"{name}-{digest[:8]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suspect:
    """A workload that looks unhealthy, with the reasons that the cluster gives; not diagnosed."""

    namespace: str
    target: TargetRef
    reasons: tuple[str, ...]
    message: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """Where a signal belongs: an incident that is there, or the name of a new one."""

    incident: Incident | None = None
    name: str = ""
    previous: str | None = None
    """Name of the resolved incident of the same cause, where there is one."""


def find_incident(signal: Signal, incidents: Iterable[Incident]) -> Match:
    """Return the incident of the signal's namespace that it belongs to, or a new name.

    A ticket belongs to the incident that names or opened it, resolved or not; everything else to an
    incident that is not resolved and has the same fingerprint or the same target.
    """
    own = [one for one in incidents if one.metadata.namespace == signal.namespace]
    for one in own:
        if signal.ticket_key and signal.ticket_key in (one.spec.ticket_key, _ticket(one)):
            return Match(incident=one)
    for one in own:
        resolved = one.status.phase is Phase.INCIDENT_RESOLVED
        if not resolved and (_fingerprint(one) == signal.fingerprint or _same(one, signal)):
            return Match(incident=one)
    numbers = {_number(one, signal.fingerprint): one for one in own}
    last = max(numbers) if numbers else 0
    before = numbers[last].metadata.name if last > 0 else None
    return Match(name=f"{signal.fingerprint}-{last + 1}", previous=before)


def _ticket(incident: Incident) -> str | None:
    return incident.status.ticket.key if incident.status.ticket else None


def _fingerprint(incident: Incident) -> str | None:
    return incident.spec.source.fingerprint


def _same(incident: Incident, signal: Signal) -> bool:
    target = incident.status.target or incident.spec.target_ref
    if target is None or signal.target is None:
        return False
    return (target.kind, target.name) == (signal.target.kind, signal.target.name)


def _number(incident: Incident, fingerprint: str) -> int:
    head, _, tail = incident.metadata.name.rpartition("-")
    return int(tail) if head == fingerprint and tail.isdigit() else 0


def build_spec(signal: Signal, previous: str | None) -> dict[str, object]:
    """Return the spec of a new incident as plain values, texts cut to what the kind allows."""
    told = [signal.description] if signal.description else []
    told += [f"It happened before: incident {previous}."] if previous else []
    summary = " ".join(signal.summary.split())[:255] or signal.cause
    spec: dict[str, object] = {
        "summary": summary,
        "priority": signal.priority.value,
        "policyRef": signal.policy,
        "source": Source(type=signal.source, fingerprint=signal.fingerprint).to_wire(),
    }
    if told:
        spec["description"] = "\n\n".join(told)[:32768]
    if signal.target is not None:
        spec["targetRef"] = signal.target.to_wire()
    if signal.ticket_key is not None:
        spec["ticketKey"] = signal.ticket_key
    return spec


def at_least(priority: Priority, minimum: Priority) -> bool:
    """Say whether a priority is the minimum or above it."""
    return PRIORITIES.index(priority) >= PRIORITIES.index(minimum)


TICKET_PRIORITIES = {
    "blocker": Priority.CRITICAL,
    "critical": Priority.CRITICAL,
    "highest": Priority.CRITICAL,
    "high": Priority.HIGH,
    "major": Priority.HIGH,
    "medium": Priority.MEDIUM,
    "low": Priority.LOW,
    "lowest": Priority.LOW,
    "minor": Priority.LOW,
    "trivial": Priority.LOW,
}
"""Names of Jira's default priority schemes, old and new, in lower case."""


def parse_priority(name: str, configured: Mapping[str, Priority]) -> Priority | None:
    """Return the incident priority of a ticket's: by the policy's table, else by usual names.

    None: the name is not known; it counts as Medium, and that is said (api.md).
    """
    own = {known.casefold(): priority for known, priority in configured.items()}
    return own.get(name.casefold(), TICKET_PRIORITIES.get(name.casefold()))


def mentions(text: str, keywords: Sequence[str]) -> bool:
    """Say whether any keyword occurs, without regard to case; no keywords: always."""
    folded = text.casefold()
    return not keywords or any(word.casefold() in folded for word in keywords)


def find_namespace(text: str, namespaces: Collection[str]) -> str | None:
    """Return the only one of the namespaces that a text names; None: none, or several.

    One that is said outright (``namespace: x``, ``-n x``, ``x/workload``) goes before a mere word.
    """
    said = {name for name in namespaces if _is_said(text, name)}
    found = said or {name for name in namespaces if _is_word(text, name)}
    return found.pop() if len(found) == 1 else None


def names_another_namespace(text: str, namespaces: Collection[str]) -> bool:
    """Say whether a text states a namespace (``namespace: x``), and none of these."""
    stated = re.findall(r"\bnamespace\s*[:=]\s*[\"'`]?([a-z0-9][a-z0-9-]*)", text, re.IGNORECASE)
    return bool(stated) and not {name.lower() for name in stated} & set(namespaces)


def _is_said(text: str, name: str) -> bool:
    word = re.escape(name)
    outright = rf"(?:\bnamespace|\bns|-n)[\s:=/\"'`]+{word}(?![\w-])|(?<![\w./-]){word}/[a-z0-9]"
    return re.search(outright, text, re.IGNORECASE) is not None


def _is_word(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE) is not None


def find_named(candidates: Sequence[TargetRef], text: str) -> TargetRef | None:
    """Return the only workload whose name occurs as a word of the text; the longest name wins."""
    words = text.lower()
    found = [
        candidate
        for candidate in candidates
        if re.search(rf"(?<![a-z0-9-]){re.escape(candidate.name.lower())}(?![a-z0-9-])", words)
    ]
    longest = max((len(candidate.name) for candidate in found), default=0)
    best = [candidate for candidate in found if len(candidate.name) == longest]
    return best[0] if len(best) == 1 else None
