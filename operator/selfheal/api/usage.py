"""What language models have cost, as a policy's status keeps it."""

from __future__ import annotations

from pydantic import Field

from selfheal.api import meta


class OpenRun(meta.Model):
    """Model calls of one incident that its own status may not count yet."""

    before: int = Field(description="Calls that the incident's status counted when they began.")
    tokens: int = Field(default=0, description="Tokens reserved or used.")
    cost: float = Field(default=0.0, description="Cost reserved or used.")
    by_agent: dict[str, int] = Field(default={}, description="Calls by agent.")


class DayUsage(meta.Model):
    """Model use of one day."""

    day: str = Field(description="Date in UTC, YYYY-MM-DD.")
    tokens: int = Field(default=0, description="Tokens reserved or used.")
    cost: float = Field(default=0.0, description="Cost reserved or used.")
    runs: dict[str, OpenRun] = Field(
        default={}, description="Newest run of agents, by the incident's uid."
    )
