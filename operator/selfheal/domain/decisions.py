"""Decisions: what the state machine wants to happen next."""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal.api.incident import Phase, Resolution
from selfheal.domain.effects import Effect


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to do until woken, or ``after`` has passed; ``message`` says on whom it waits."""

    reason: str
    message: str
    after: dt.timedelta | None = None
    pauses_clock: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Act:
    """Perform one effect."""

    effect: Effect


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advance:
    """Move to another phase: the ticket first where there is one."""

    to: Phase
    why: str
    resolution: Resolution | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stall:
    """Keep the phase and say what mends it; looked at again with capped backoff."""

    reason: str
    message: str
    pauses_clock: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Escalate:
    """Hand the incident to a person."""

    reason: str
    message: str


Decision = Wait | Act | Advance | Stall | Escalate


class NeedFacts(Exception):  # noqa: N818 - a question, not a failure
    """The decision needs facts that were not observed in this step."""

    def __init__(self, *names: str) -> None:
        """Keep the names of the fields of Facts."""
        super().__init__(", ".join(names))
        self.names = frozenset(names)
