"""One search a policy and poll interval tells which tickets changed; the others are not read again.

A search lags and is only a hint: what it shows as changed is read by GET, and what it does not show
rests on the last GET, which is confirmed by a bulk read every ``CONFIRM`` at the latest, so that a
ticket that was deleted or moved away is noticed too. Whoever wants to do anything reads first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable

from selfheal import ports
from selfheal.domain import errors
from selfheal.domain.facts import TicketFacts

CONFIRM = dt.timedelta(minutes=10)
"""How long a reading may rest on searches alone."""

LAG = dt.timedelta(minutes=5)
"""Overlap of two searches: Jira's index catches up within seconds to minutes (libraries.md)."""

FORGOTTEN = dt.timedelta(hours=1)
"""After which a reading goes that nobody asks for: its incident was deleted, or is elsewhere."""

SETTLED = dt.timedelta(seconds=2)
"""Age of a ticket's last change from which a later one surely has another time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What a resting incident last read of its ticket."""

    key: str  # namespace/name of the incident
    ticket: TicketFacts
    circumstances: tuple[object, ...]
    confirmed: dt.datetime

    def is_older_than(self, updated: dt.datetime | None) -> bool:
        """Say whether the ticket has changed since."""
        known = self.ticket.updated
        return known is None or (updated is not None and updated > known)


@dataclasses.dataclass
class Board:
    """The resting tickets of one policy."""

    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)  # by uid
    asked: dict[str, dt.datetime] = dataclasses.field(default_factory=dict)  # by uid, last time
    searched: dt.datetime | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


@dataclasses.dataclass
class TicketWatch:
    """Readings of resting incidents in this process; nothing is lost with it."""

    wakers: list[Callable[[str], object]] = dataclasses.field(default_factory=list)
    boards: dict[str, Board] = dataclasses.field(default_factory=dict)  # by policy
    changed: set[str] = dataclasses.field(default_factory=set)  # uids that have to read

    def keep(
        self,
        policy: str,
        uid: str,
        *,
        key: str,
        ticket: TicketFacts,
        circumstances: tuple[object, ...],
        now: dt.datetime,
    ) -> None:
        """Keep a reading of this very step for the next one, unless the ticket is just changing."""
        board = self.boards.setdefault(policy, Board())
        self.changed.discard(uid)
        if ticket.updated is None or abs(now - ticket.updated) < SETTLED:
            board.entries.pop(uid, None)
            return
        known = board.entries.get(uid)
        same = known is not None and known.ticket is ticket
        confirmed = known.confirmed if known is not None and same else now
        board.entries[uid] = Entry(
            key=key, ticket=ticket, circumstances=circumstances, confirmed=confirmed
        )

    def forget(self, uid: str) -> None:
        """Have a ticket read at the next step."""
        self.changed.discard(uid)
        for board in self.boards.values():
            board.entries.pop(uid, None)

    async def take(
        self,
        policy: str,
        uid: str,
        *,
        circumstances: tuple[object, ...],
        tracker: ports.IssueTracker,
        interval: dt.timedelta,
        now: dt.datetime,
    ) -> tuple[TicketFacts, dt.datetime] | None:
        """Return the last reading where the ticket has not changed since, and when that was seen.

        None: read it.
        """
        board = self.boards.get(policy)
        if board is None:
            return None
        board.asked[uid] = now
        async with board.lock:
            entry = board.entries.get(uid)
            if entry is None or entry.circumstances != circumstances:
                board.entries.pop(uid, None)
                return None
            if board.searched is None or now - board.searched >= interval:
                await self._search(board, uid, tracker, now)
            entry = board.entries.get(uid)
            if entry is not None and now - entry.confirmed >= CONFIRM:
                await self._confirm(board, uid, tracker, now)
            entry = board.entries.get(uid)
            if entry is None:
                return None
            return entry.ticket, max(board.searched or entry.confirmed, entry.confirmed)

    async def _search(
        self, board: Board, uid: str, tracker: ports.IssueTracker, now: dt.datetime
    ) -> None:
        """Drop, and wake, what has changed; without an answer nothing can be vouched for."""
        since = board.searched or min(entry.confirmed for entry in board.entries.values())
        board.searched = now
        try:
            updates = await tracker.find_updates(now - since + LAG)
        except errors.SelfHealError:
            board.entries.clear()
            return
        changed = [
            one
            for one, entry in board.entries.items()
            if entry.is_older_than(updates.get(entry.ticket.id))
        ]
        self._drop(board, changed, uid)

    async def _confirm(
        self, board: Board, uid: str, tracker: ports.IssueTracker, now: dt.datetime
    ) -> None:
        """Read what rests on searches for long in bulk, and drop what is not as it was."""
        for gone in [one for one, at in board.asked.items() if now - at >= FORGOTTEN]:
            del board.asked[gone]
            board.entries.pop(gone, None)
            self.changed.discard(gone)
        due = {
            one: entry
            for one, entry in board.entries.items()
            if now - entry.confirmed >= CONFIRM / 2
        }
        try:
            found = await tracker.get_tickets([entry.ticket.id for entry in due.values()])
        except errors.SelfHealError:
            found = {}
        for one, entry in due.items():
            seen = found.get(entry.ticket.id)
            if seen is None or seen.key != entry.ticket.key or entry.is_older_than(seen.updated):
                self._drop(board, [one], uid)
            else:
                board.entries[one] = dataclasses.replace(entry, confirmed=now)

    def _drop(self, board: Board, changed: list[str], asking: str) -> None:
        self.changed.update(uid for uid in changed if uid != asking)
        for uid in changed:
            entry = board.entries.pop(uid)
            for wake in self.wakers if uid != asking else ():
                wake(entry.key)
