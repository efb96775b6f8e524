"""Names that promise a secret, and names that only speak of one."""

from __future__ import annotations

import re

# Bounded on both sides, so that a long run of letters costs no quadratic time.
NAME = (
    r"(?:[A-Za-z0-9_.\-]{0,64}?"
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|account[_\-]?key|"
    r"private[_\-]?key|encryption[_\-]?key|signing[_\-]?key|credential|authorization|"
    r"auth[_\-]?key|session[_\-]?id|cookie|dsn|connection[_\-]?string|license[_\-]?key)"
    r"[A-Za-z0-9_.\-]{0,64})"
)
# A reference to a secret is no secret: names end so.
_HARMLESS = re.compile(
    r"(?:secret|token|credential|cookie|password)s?[_\-.]?(?:name|ref|keyref|path|file|url|uri|"
    r"type|count|expir\w*|ttl|kind|policy|limit|header|seconds)s?$|"
    r"tokens?[_\-]?(?:used|total|per\w*)$|expirationSeconds$|"
    r"automountServiceAccountToken$|serviceAccountToken$|imagePullSecrets?$|^secrets?$",
    re.IGNORECASE,
)
_SECRET = re.compile(NAME, re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Say whether a variable or key of this name may hold a secret."""
    return bool(_SECRET.fullmatch(name)) and not is_harmless(name)


def is_harmless(name: str) -> bool:
    """Say whether a name only refers to a secret: ``secretName``, ``TOKEN_FILE``."""
    return bool(_HARMLESS.search(name))
