"""selfheal: a Kubernetes operator that heals incidents at the source of truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

    from selfheal.self_heal_crew import SelfHealingCrew

__all__ = ["create_self_healing_crew"]


def create_self_healing_crew(config_path: str | pathlib.Path | None = None) -> SelfHealingCrew:
    """Return the crew of ``selfheal.self_heal_crew``, imported only now: it brings every client."""
    from selfheal import self_heal_crew

    return self_heal_crew.create_self_healing_crew(config_path)
