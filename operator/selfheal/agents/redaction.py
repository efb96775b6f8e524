"""Takes credentials out of text and objects before they reach a model, a log or a transcript; pure.

It errs on the side of removing: a model needs to know that a password was given, never which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "[redacted]"
NOT_SHARED = "[not shared with the model: policy]"

# Bounded repeats: an unbounded one takes quadratic time on a log full of dots.
_NAME = (
    r"(?:[A-Za-z0-9_.-]{0,64}(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|credential|authorization|session[_-]?id|cookie)[A-Za-z0-9_.-]{0,64})"
)
_QUOTE = r"\\{0,3}[\"']?"
_SECRET_NAME = re.compile(f"^{_NAME}$", re.IGNORECASE)
# Keys of Kubernetes objects that name a Secret or speak of one without holding a value.
_HARMLESS_KEYS = frozenset(
    {
        "automountServiceAccountToken",
        "expirationSeconds",
        "imagePullSecrets",
        "secret",
        "secretKeyRef",
        "secretName",
        "secretRef",
        "secrets",
        "serviceAccountToken",
        "tokenExpirationSeconds",
    }
)
_NOISE = frozenset({"managedFields", "kubectl.kubernetes.io/last-applied-configuration"})
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
        MASK,
    ),
    # A copy of the whole object, as kubectl leaves it: environment and all.
    (
        re.compile(r"(last-applied-configuration\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""),
        rf'\1"{MASK}"',
    ),
    (
        re.compile(r"(last-applied-configuration'?:[ \t]*)(?:[|>][^\n]*\n[^\n]*|(?!\")[^\n]+)"),
        rf"\1{MASK}",
    ),
    # An environment variable whose name stands in one entry and whose value in the next.
    (
        re.compile(
            rf"(name{_QUOTE}\s*:\s*{_QUOTE}{_NAME}{_QUOTE},?\s*{_QUOTE}value{_QUOTE}\s*:\s*)"
            rf"(?!\[redacted\]){_QUOTE}[^\s\"'\\,}}]+{_QUOTE}",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(?:Bearer|Basic)\s+[A-Za-z0-9+/._~=-]{8,}", re.I), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"\b(?:ATATT|ATCTT)[A-Za-z0-9_=-]{20,}"), MASK),
    (re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}"), MASK),
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), MASK),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"), MASK),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), MASK),
    (
        re.compile(
            rf"(?P<name>[\"']?\b{_NAME}[\"']?\s*[:=]\s*)"
            r"(?!\[redacted\])(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&}\]]+)",
            re.IGNORECASE,
        ),
        rf"\g<name>{MASK}",
    ),
)


def redact_text(text: str) -> str:
    """Return the text with each credential of a known shape or name masked; may be repeated."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, *, share_logs: bool = True) -> Any:
    """Return a copy of JSON-able data without credentials, managed fields and last-applied copies.

    With ``share_logs`` False the termination messages of containers go too: the kubelet may fill
    them with the end of the log (terminationMessagePolicy FallbackToLogsOnError).
    """
    if isinstance(value, Mapping):
        return {
            str(key): _redact_entry(str(key), item, value, share_logs)
            for key, item in value.items()
            if key not in _NOISE
        }
    if isinstance(value, list | tuple):
        return [redact(item, share_logs=share_logs) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _redact_entry(key: str, item: Any, parent: Mapping[Any, Any], share_logs: bool) -> Any:
    if isinstance(item, str | int | float) and not isinstance(item, bool):
        named = parent.get("name") if key == "value" else key
        harmless = key in _HARMLESS_KEYS or not isinstance(named, str)
        if not harmless and _SECRET_NAME.match(str(named)):
            return MASK
    if key == "terminated" and isinstance(item, Mapping) and "message" in item and not share_logs:
        item = {**item, "message": NOT_SHARED}
    return redact(item, share_logs=share_logs)
