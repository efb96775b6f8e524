"""The state machine: ``decide`` says what happens next, from facts alone."""

from selfheal.domain.machine.core import decide

__all__ = ["decide"]
