"""A port that cannot be served: every call raises the reason, so that it becomes a condition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from selfheal.domain import errors


class Unavailable:
    """Stands in for an adapter whose configuration is wrong; repeatable."""

    def __init__(self, error: errors.SelfHealError) -> None:
        """Keep the error that every call raises."""
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def fail(*_: object, **__: object) -> Any:
            raise self._error

        return fail
