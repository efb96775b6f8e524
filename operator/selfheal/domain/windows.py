"""Recurring windows of time: cron expression, duration and time zone. Pure."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Sequence

from selfheal.api.policy import Window

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
LONGEST = dt.timedelta(days=7)


def parse_cron(text: str) -> tuple[frozenset[int], ...]:
    """Parse five cron fields (``*``, numbers, lists, ranges, steps); ValueError names the field."""
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"cron {text!r} needs five fields: minute hour day month weekday")
    return tuple(_parse_field(part, *bounds) for part, bounds in zip(parts, FIELDS, strict=True))


def _parse_field(text: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "", "") if span == "*" else span.partition("-")
        try:
            begin = low if span == "*" else int(first)
            end = high if span == "*" or (step and not last) else int(last or first)
            stride = int(step or 1)
        except ValueError:
            raise ValueError(f"cron field {text!r} is not understood") from None
        if not (low <= begin <= end <= high and stride > 0):
            raise ValueError(f"cron field {text!r} is outside {low}-{high}")
        values.update(range(begin, end + 1, stride))
    return frozenset(values)


def _starts(fields: tuple[frozenset[int], ...], moment: dt.datetime) -> bool:
    minute, hour, day, month, weekday = fields
    weekdays = {0 if value == 7 else value for value in weekday}
    return (
        moment.minute in minute
        and moment.hour in hour
        and moment.day in day
        and moment.month in month
        and moment.isoweekday() % 7 in weekdays
    )


def active_until(windows: Sequence[Window], now: dt.datetime) -> dt.datetime | None:
    """Return when the last window that covers ``now`` ends; None: none does."""
    ends = [end for window in windows if (end := _covering_end(window, now)) is not None]
    return max(ends, default=None)


def _covering_end(window: Window, now: dt.datetime) -> dt.datetime | None:
    fields = parse_cron(window.cron)
    zone = zoneinfo.ZoneInfo(window.time_zone)
    length = min(window.duration, LONGEST)
    moment = now.astimezone(zone).replace(second=0, microsecond=0)
    for back in range(int(length.total_seconds() // 60) + 1):
        start = moment - dt.timedelta(minutes=back)
        if _starts(fields, start) and start + length > now:
            return (start + length).astimezone(dt.UTC)
    return None
