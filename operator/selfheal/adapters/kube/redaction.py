"""Takes secrets out of everything that is collected; pure.

Two layers: rules for how secrets look in Kubernetes texts (assignments, headers, URLs, PEM
blocks), and the token formats that ``detect-secrets`` knows. Its entropy plugins are left out:
they would hide image digests, commit ids and pod names.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "[redacted]"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# Bounded on both sides, so that a long run of letters costs no quadratic time.
_NAME = (
    r"(?:[A-Za-z0-9_.\-]{0,64}?"
    r"(?:passw(?:or)?d|passwd|passphrase|secret|token|api[_\-]?key|apikey|access[_\-]?key|"
    r"private[_\-]?key|credential|client[_\-]?secret|auth[_\-]?key|dsn|connection[_\-]?string)"
    r"[A-Za-z0-9_.\-]{0,64})"
)
# A reference to a secret is no secret: names end so.
_HARMLESS_NAME = re.compile(
    r"(?:secret|token|credential)s?[_\-.]?(?:name|ref|keyref|path|file|url|uri|type|count|"
    r"expir\w*|ttl|kind|policy|limit|header)s?$|tokens?[_\-]?(?:used|total|per\w*)$|"
    r"automountServiceAccountToken$|imagePullSecrets?$",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)

_RULES: Sequence[tuple[re.Pattern[str], str]] = (
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*(?:PRIVATE KEY|CERTIFICATE)[A-Z ]*-----.*?"
            r"(?:-----END [A-Z0-9 ]*-----|\Z)",
            re.DOTALL,
        ),
        MASK,
    ),
    # scheme://user:password@host
    (
        re.compile(r"\b([a-z][a-z0-9+.\-]{0,20}://[^\s:/@]{0,256}):[^\s/@]+@", re.IGNORECASE),
        rf"\1:{MASK}@",
    ),
    (re.compile(r"\b(Bearer)\s+[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # words follow these two in prose, secrets have a digit
    (
        re.compile(r"\b(Basic|Token)\s+(?=\S{0,512}[0-9])[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE),
        rf"\1 {MASK}",
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?"), MASK),
    (re.compile(r"\b(?:sk-|npm_)[A-Za-z0-9_\-]{20,}"), MASK),
    # dockerconfigjson: "auth": "dXNlcjpwYXNz"
    (re.compile(r'("auth"\s*:\s*)"[^"]+"'), rf'\1"{MASK}"'),
)
_ASSIGNED = re.compile(
    rf"(?<![A-Za-z0-9_.\-])(?P<name>{_NAME})(?P<quote>[\"']?)(?P<sign>\s*(?:=|:)\s*)"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"'}\]]+)",
    re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?<!\S)(?P<name>--?{_NAME})(?P<sign>\s+)(?P<value>[^\s\-][^\s]*)", re.IGNORECASE
)
# "token: expired" is a message, not a secret
_WORDS = frozenset(
    {"a", "an", "and", "any", "are", "as", "at", "cannot", "could", "error", "expired", "failed",
     "false", "for", "from", "has", "in", "invalid", "is", "it", "missing", "must", "no", "none",
     "not", "null", "of", "on", "or", "required", "the", "to", "true", "unauthorized", "was",
     "with", "wrong"}
)  # fmt: skip


def redact(text: str) -> str:
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
    value = parts["value"].strip("\"'")
    known = value.startswith(MASK[:-1]) or value.lower() in _WORDS
    if _HARMLESS_NAME.search(parts["name"]) or not value or known:
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


def looks_secret(name: str) -> bool:
    """Say whether a variable or key of this name may hold a secret."""
    return bool(_SECRET_NAME.fullmatch(name)) and not _HARMLESS_NAME.search(name)


def clean_object(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an API object fit for evidence.

    ``managedFields`` and the last-applied annotation are dropped, values of variables that look
    secret are masked, commands, arguments, annotations and messages are redacted, data of
    ConfigMaps and Secrets is dropped.
    """
    clean = copy.deepcopy(dict(stored))
    metadata = clean.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
        annotations = metadata.get("annotations")
        if isinstance(annotations, dict):
            annotations.pop(LAST_APPLIED, None)
            metadata["annotations"] = {key: redact(str(text)) for key, text in annotations.items()}
    if clean.get("kind") in ("ConfigMap", "Secret"):
        clean.pop("data", None)
        clean.pop("stringData", None)
        clean.pop("binaryData", None)
    _clean_below(clean)
    return clean


def _clean_below(value: Any) -> None:
    if isinstance(value, list):
        for child in value:
            _clean_below(child)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("env"), list):
        value["env"] = [_clean_variable(one) for one in value["env"]]
    for field in ("command", "args"):
        if isinstance(value.get(field), list):
            value[field] = _clean_arguments(value[field])
    for field in ("message", "log"):
        if isinstance(value.get(field), str):
            value[field] = redact(value[field])
    for child in value.values():
        _clean_below(child)


def _clean_variable(variable: Any) -> Any:
    if not isinstance(variable, dict) or not isinstance(variable.get("value"), str):
        return variable
    name, text = str(variable.get("name", "")), variable["value"]
    return variable | {"value": MASK if text and looks_secret(name) else redact(text)}


def _clean_arguments(arguments: Sequence[Any]) -> list[Any]:
    clean: list[Any] = []
    hide_next = False
    for argument in arguments:
        text = redact(str(argument))
        clean.append(MASK if hide_next and not text.startswith("-") else text)
        name = text.lstrip("-")
        hide_next = text.startswith("-") and "=" not in text and looks_secret(name)
    return clean
