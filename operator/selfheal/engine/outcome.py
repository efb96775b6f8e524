"""What an effect brought about: new facts, model usage, and a reference for its receipt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from selfheal.api.incident import Usage

NO_USAGE = Usage()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one effect."""

    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    usage: Usage = NO_USAGE
    degraded: str | None = None
    ref: str = ""


def add_usage(one: Usage, other: Usage) -> Usage:
    """Return the sum of two usages."""
    agents = dict(one.by_agent)
    for name, calls in other.by_agent.items():
        agents[name] = agents.get(name, 0) + calls
    return Usage(
        model_calls=one.model_calls + other.model_calls,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost=round(one.cost + other.cost, 6),
        by_agent=agents,
    )
