"""When a key is looked at again."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Requeue:
    """``after`` seconds; None: when woken. ``forget``: the object is gone."""

    after: float | None = None
    forget: bool = False


NOW = Requeue(after=0.0)
ASLEEP = Requeue()
GONE = Requeue(forget=True)
