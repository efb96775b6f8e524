"""Takes credentials out of whatever is stored, shown or sent: the one place that knows how; pure.

``redact`` for texts and JSON-able values, ``clean_object`` for API objects on their way into
evidence. Both may be repeated without further change. They err on the side of masking: a reader
needs to know that a password was given, never which.
"""

from selfheal.redaction.names import looks_secret
from selfheal.redaction.objects import LAST_APPLIED, NOT_SHARED, clean_object, redact
from selfheal.redaction.text import MASK, redact_text

__all__ = [
    "LAST_APPLIED",
    "MASK",
    "NOT_SHARED",
    "clean_object",
    "looks_secret",
    "redact",
    "redact_text",
]
