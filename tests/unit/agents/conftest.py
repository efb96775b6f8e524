"""Fixtures of the agents' tests."""

from tests.unit.agents.case import build_crew, clock, host, model

__all__ = ["build_crew", "clock", "host", "model"]
