"""Credentials in running text: how they look in Kubernetes, and the formats known by their shape.

The formats are those of ``detect-secrets`` and a few of our own that it lacks or knows only by
patterns of quadratic time. Its entropy plugins are left out: they would hide image digests, commit
ids and pod names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from selfheal.redaction.names import NAME, is_harmless

MASK = "[redacted]"

# A word begins here, also behind the \n of a text that stands escaped in JSON.
_WORD = r"(?:\b|(?<=\\[nrt]))"
_QUOTE = r"\\{0,3}[\"']?"
_RULES: Sequence[tuple[re.Pattern[str], str]] = (
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*(?:PRIVATE KEY|CERTIFICATE)[A-Z ]*-----.*?"
            r"(?:-----END [A-Z0-9 ]*-----|\Z)",
            re.DOTALL,
        ),
        MASK,
    ),
    # A copy of the whole object, as kubectl leaves it: environment and all.
    (re.compile(r"(last-applied-configuration\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""), rf'\1"{MASK}"'),
    (
        re.compile(r"(last-applied-configuration'?:[ \t]*)(?:[|>][^\n]*\n[^\n]*|(?!\")[^\n]+)"),
        rf"\1{MASK}",
    ),
    # An environment variable whose name stands in one entry and whose value in the next.
    (
        re.compile(
            rf"(name{_QUOTE}\s{{0,64}}:\s{{0,64}}{_QUOTE}{NAME}{_QUOTE},?\s{{0,64}}[+\- ]{{0,64}}"
            rf"{_QUOTE}value{_QUOTE}\s{{0,64}}:\s{{0,64}})"
            rf"(?!\[redacted\])(?:\"[^\"\n\\]+\"|'[^'\n]+'|{_QUOTE}[^\s\"'\\,}}]+{_QUOTE})",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # scheme://user:password@host
    (
        re.compile(_WORD + r"([a-z][a-z0-9+.\-]{0,20}://[^\s:/@]{0,256}):[^\s/@]+@", re.IGNORECASE),
        rf"\1:{MASK}@",
    ),
    (re.compile(_WORD + r"(Bearer)\s+[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # words follow these two in prose, secrets have a digit
    (
        re.compile(
            _WORD + r"(Basic|Token)\s+(?=\S{0,512}[0-9])[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE
        ),
        rf"\1 {MASK}",
    ),
    (re.compile(_WORD + r"eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?"), MASK),
    (re.compile(_WORD + r"(?:sk|rk|pk)-[A-Za-z0-9_\-]{16,}"), MASK),
    (re.compile(_WORD + r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"), MASK),
    (re.compile(_WORD + r"npm_[A-Za-z0-9]{20,}"), MASK),
    (re.compile(_WORD + r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"), MASK),
    (re.compile(_WORD + r"(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(_WORD + r"(?:ATATT|ATCTT)[A-Za-z0-9_=\-]{20,}"), MASK),
    (re.compile(_WORD + r"xox[abeprs]-[A-Za-z0-9\-]{10,}"), MASK),
    (re.compile(_WORD + r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_+\-]{8,}"), MASK),
    (re.compile(_WORD + r"AIza[A-Za-z0-9_\-]{30,}"), MASK),
    (re.compile(_WORD + r"ya29\.[A-Za-z0-9_\-]{20,}"), MASK),
    (re.compile(_WORD + r"(?:hv[sbr]|s)\.[A-Za-z0-9_\-]{24,}"), MASK),  # HashiCorp Vault
    (re.compile(_WORD + r"dckr_(?:pat|oat)_[A-Za-z0-9_\-]{16,}"), MASK),
    (re.compile(_WORD + r"dop_v1_[a-f0-9]{32,}"), MASK),
    (re.compile(_WORD + r"glsa_[A-Za-z0-9]{16,}_[a-f0-9]{8}\b"), MASK),  # Grafana
    (re.compile(_WORD + r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"), MASK),
    (re.compile(_WORD + r"AGE-SECRET-KEY-1[A-Z0-9]{20,}"), MASK),
    # dockerconfigjson: "auth": "dXNlcjpwYXNz", also with its quotes escaped
    (re.compile(r'(\\{0,3}"auth\\{0,3}"\s*:\s*\\{0,3})"[^"\\]+\\{0,3}"'), rf'\1"{MASK}"'),
)
_ASSIGNED = re.compile(
    rf"(?:(?<![A-Za-z0-9_.\-])|(?<=\\[nrt]))(?P<name>{NAME})(?P<quote>\\{{0,3}}[\"']?)(?P<sign>\s*(?:=|:)\s*)"
    r"(?P<value>\\{0,3}\"[^\"\n\\]*\\{0,3}\"|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&\"'}\]]+)",
    re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?<!\S)(?P<name>--?{NAME})(?P<sign>\s+)(?P<value>[^\s\-][^\s]*)", re.IGNORECASE
)
# "token: expired" is a message, not a secret
_WORDS = frozenset(
    {"a", "an", "and", "any", "are", "as", "at", "cannot", "could", "error", "expired", "failed",
     "false", "for", "from", "has", "in", "invalid", "is", "it", "missing", "must", "no", "none",
     "not", "null", "of", "on", "or", "required", "the", "to", "true", "unauthorized", "was",
     "with", "wrong"}
)  # fmt: skip


def redact_text(text: str) -> str:
    """Return the text with secrets masked; may be repeated without further change."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _ASSIGNED.sub(_mask_assigned, text)
    text = _OPTION.sub(_mask_assigned, text)
    for pattern in _token_formats():
        text = pattern.sub(MASK, text)
    return text


def _mask_assigned(found: re.Match[str]) -> str:
    parts = found.groupdict()
    value = parts["value"].strip("\\\"'")
    known = value.startswith(MASK[:-1]) or value.lower() in _WORDS
    if is_harmless(parts["name"]) or not value or known:
        return found.group(0)
    if value.startswith(("$(", "${")):  # a reference to a variable
        return found.group(0)
    return f"{parts['name']}{parts.get('quote') or ''}{parts['sign']}{MASK}"


@functools.cache
def _token_formats() -> Sequence[re.Pattern[str]]:
    # Imported late: reading the plugins takes a quarter of a second. Their patterns are used, not
    # their scan, which yields only a part of some tokens. Basic auth, JWT, npm and OpenAI have own
    # rules: the plugins' take quadratic time on a long line, which anybody can put into a log.
    from detect_secrets.plugins import (
        aws,
        azure_storage_key,
        github_token,
        gitlab_token,
        pypi_token,
        sendgrid,
        slack,
        stripe,
        twilio,
    )

    plugins: Sequence[Any] = (
        aws.AWSKeyDetector,
        azure_storage_key.AzureStorageKeyDetector,
        github_token.GitHubTokenDetector,
        gitlab_token.GitLabTokenDetector,
        pypi_token.PypiTokenDetector,
        sendgrid.SendGridDetector,
        slack.SlackDetector,
        stripe.StripeDetector,
        twilio.TwilioKeyDetector,
    )
    return tuple(pattern for plugin in plugins for pattern in plugin.denylist)
