"""Every error that crosses a port.

The class is the policy; the engine does with it what its line says::

    SelfHealError
    ├── Conflict                  the world changed under us: look again now
    ├── Waiting(reason, after)    not yet: sleep, no fault
    ├── Transient(retry_after)    passing fault: persisted, jittered backoff
    │   ├── RateLimited           429 or a secondary limit; retry_after as the server said
    │   └── UnknownOutcome        cut off after sending: observe before anything else
    ├── Stalled(reason, message)  configuration or reach: keep the phase, say what mends it
    │   ├── Unauthorized          401: the credential is wrong or expired
    │   ├── Forbidden             403: the credential lacks a right
    │   ├── Unreachable           the system cannot be reached at all
    │   ├── PolicyInvalid         the policy names something that is not there
    │   └── TransitionNotOffered  the workflow has no way to the wanted status from here
    ├── HandOver(reason, message) the incident's content: INCIDENT_REQUIRES_HUMAN with the pack
    └── NotFound                  the named object does not exist (a port's ``get_`` only)
"""

from __future__ import annotations

import datetime as dt


class SelfHealError(Exception):
    """Root of everything that a port may raise."""


class NotFound(SelfHealError):
    """The named object does not exist; raised by ``get_`` verbs only."""


class Conflict(SelfHealError):
    """The world changed between our read and our write; observe again at once."""


class Waiting(SelfHealError):
    """Something that is expected has not happened yet."""

    def __init__(self, reason: str, message: str, *, after: dt.timedelta) -> None:
        """Keep a CamelCase reason, a sentence, and after how long to look again."""
        super().__init__(message)
        self.reason, self.message, self.after = reason, message, after


class Transient(SelfHealError):
    """A passing fault; ``retry_after`` is the server's own word, if it gave one."""

    def __init__(
        self, message: str, *, system: str = "", retry_after: dt.timedelta | None = None
    ) -> None:
        """Keep the sentence, which system failed, and the server's wish."""
        super().__init__(message)
        self.message, self.system, self.retry_after = message, system, retry_after


class RateLimited(Transient):
    """The server asks us to slow down."""


class UnknownOutcome(Transient):
    """A write was cut off after it may have been received; observe before repeating it."""


class Stalled(SelfHealError):
    """A fault of configuration or reach that a person mends outside the incident."""

    default_reason = "Stalled"

    def __init__(self, message: str, *, reason: str = "", system: str = "") -> None:
        """Keep a sentence that says what mends it, a CamelCase reason and the system."""
        super().__init__(message)
        self.message, self.reason, self.system = message, reason or self.default_reason, system


class Unauthorized(Stalled):
    """The credential is refused."""

    default_reason = "CredentialsRefused"


class Forbidden(Stalled):
    """The credential lacks a right."""

    default_reason = "PermissionDenied"


class Unreachable(Stalled):
    """The system cannot be reached."""

    default_reason = "Unreachable"


class PolicyInvalid(Stalled):
    """The policy names something that is not there or cannot be."""

    default_reason = "PolicyInvalid"


class TransitionNotOffered(Stalled):
    """The ticket's workflow offers no transition to the wanted status from where it is."""

    default_reason = "TransitionNotOffered"


class HandOver(SelfHealError):
    """The incident's content is beyond us; a person gets the pack."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep a CamelCase reason and a sentence for the person."""
        super().__init__(message)
        self.reason, self.message = reason, message
