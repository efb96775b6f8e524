"""Commands by comment: what a person asks for, whether they may, and what comes of it. Pure.

The text of a comment is data: it is parsed for one verb, and what follows it is only ever a hint.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum

from selfheal.api.incident import IncidentStatus, Intent, Phase, TicketStatus
from selfheal.api.policy import CommandsSpec
from selfheal.domain import lifecycle
from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import Actor, TicketFacts


class Verb(enum.StrEnum):
    """What may be asked for."""

    HINT = "hint"  # its text is read by the next attempt
    RETRY = "retry"  # a new attempt from the analysis on; text after it is a hint
    STOP = "stop"  # the incident goes to INCIDENT_REQUIRES_HUMAN


class Verdict(enum.StrEnum):
    """What becomes of a command."""

    OBEYED = "obeyed"
    REFUSED = "refused"  # the author is in none of the groups
    UNPROVEN = "unproven"  # the author's groups cannot be seen
    UNKNOWN = "unknown"  # no verb that is known
    OUTDATED = "outdated"  # a person has moved the ticket since


SAID_ONCE = frozenset({Verdict.REFUSED, Verdict.UNPROVEN, Verdict.UNKNOWN})
"""Verdicts that are said once to an author, however often they try."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One comment that begins with the mention word; ``verb`` None: none that is known."""

    comment: str
    by: Actor
    at: dt.datetime
    verb: Verb | None
    text: str


def parse(body: str, mention: str) -> tuple[Verb | None, str] | None:
    """Return verb and text of a comment; None where it does not begin with the mention word."""
    said = body.strip()
    if said[: len(mention)].casefold() != mention.casefold():
        return None
    rest = said[len(mention) :]
    if rest and not (rest[0].isspace() or rest[0] in ",:"):
        return None
    words = rest.lstrip(" \t\r\n\u00a0,:").split(maxsplit=1)
    text = words[1].strip() if len(words) > 1 else ""
    verb = next((one for one in Verb if words and one == words[0].casefold().rstrip(".:,")), None)
    return (None, text) if verb is Verb.HINT and not text else (verb, text)


def find_open(known: TicketStatus, ticket: TicketFacts, spec: CommandsSpec) -> Command | None:
    """Return the oldest command that was not answered yet."""
    if not spec.groups:
        return None
    for comment in ticket.comments:
        if comment.by.is_operator or not _newer(comment.id, known.seen_comment):
            continue
        found = parse(comment.body, spec.mention)
        if found is not None:
            verb, text = found
            return Command(comment=comment.id, by=comment.by, at=comment.at, verb=verb, text=text)
    return None


def _newer(one: str, other: str) -> bool:
    return (len(one), one) > (len(other), other)  # ids are decimal and grow


def judge(
    command: Command, groups: frozenset[str] | None, ticket: TicketFacts, spec: CommandsSpec
) -> Verdict:
    """Say what becomes of a command; ``groups`` are its author's, None: they cannot be seen."""
    if groups is None:
        return Verdict.UNPROVEN
    if groups.isdisjoint(spec.groups):
        return Verdict.REFUSED
    if command.verb is None:
        return Verdict.UNKNOWN
    moved = any(not move.by.is_operator and move.at > command.at for move in ticket.moves)
    return Verdict.OUTDATED if moved and command.verb is not Verb.HINT else Verdict.OBEYED


def compute_key(uid: str, command: Command, verdict: Verdict) -> str:
    """Return the key of the answer, which is also the marker of its comment."""
    if verdict in SAID_ONCE:
        return f"{uid}/command/{verdict}/{command.by.id}"
    return f"{uid}/command/{command.comment}"


def changes_phase(status: IncidentStatus, command: Command) -> bool:
    """Say whether an obeyed command moves the incident where it stands now."""
    if command.verb is Verb.RETRY:
        return True
    at_rest = (Phase.INCIDENT_REQUIRES_HUMAN, Phase.INCIDENT_RESOLVED)
    return command.verb is Verb.STOP and status.phase not in at_rest


def obey(
    status: IncidentStatus, command: Command, verdict: Verdict, *, uid: str, now: dt.datetime
) -> IncidentStatus:
    """Return the status after a command was answered: it counts like a move of its author.

    The ticket follows by an intent that is saved together with the new phase.
    """
    assert status.ticket is not None  # noqa: S101 - the command stands in it
    ticket = status.ticket.evolve(seen_comment=command.comment)
    if verdict is not Verdict.OBEYED:
        return status.evolve(ticket=ticket)
    if command.text and command.verb is not Verb.STOP:
        ticket = ticket.evolve(hint=command.comment)
    status = status.evolve(ticket=ticket)
    if not changes_phase(status, command):
        return status
    retry = command.verb is Verb.RETRY
    phase = Phase.ANALYSIS_IN_PROGRESS if retry else Phase.INCIDENT_REQUIRES_HUMAN
    moved = lifecycle.enter_by_person(
        status, phase, by=command.by.name, at=command.at, now=now, handed_back=retry,
        why="asked for a new attempt by comment" if retry else "stopped it by comment",
    )  # fmt: skip
    intent = Intent(
        key=f"{uid}/command/{command.comment}/move", kind=EffectKind.MOVE_TICKET, at=now, to=phase,
        why=f"{command.by.name} asked for it by comment",
    )  # fmt: skip
    return moved.evolve(intent=intent)
