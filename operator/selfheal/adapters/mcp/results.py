"""What a tool returned, as text that may be shown to a model: no credential, no Secret, bounded."""

from __future__ import annotations

import json
import re

import mcp_types

from selfheal import redaction

MAX_TEXT_BYTES = 16 * 1024
_MAX_CLEANED_BYTES = 32 * 1024  # what is searched for credentials: 0.1 s

# A newline of the text, or one that stands escaped in JSON.
_NEWLINE = r"(?:\n|(?<!\\)\\n)"
_REST = r"(?:(?!(?<!\\)\\n)[^\n])*"


def _compile_entry(key: str, value: str) -> re.Pattern[str]:
    """Match an entry of a YAML mapping with all the lines that are indented below it."""
    before = rf"(?:^|{_NEWLINE}|(?<=[\"'\s,{{]))"
    below = rf"(?:{_NEWLINE}(?:[ ]*(?={_NEWLINE}|$)|(?P=indent)[ ]+{_REST}))*"
    return re.compile(
        rf"(?P<key>{before}(?P<indent>[ ]{{0,40}})(?:- )?[\"']?{key}[\"']?:){value}{below}"
    )


_SECRET = re.compile(r"kind\\*[\"']?\s*:\s*\\*[\"']?Secret(?:List)?(?![A-Za-z])", re.IGNORECASE)
_DATA = r"(?:\b|(?<=\\n))(?:data|stringData)"
# A mapping in braces whose strings are quoted as the key is, however deep it stands escaped.
_QUOTE = r"(?<!\\)(?P=escape)\""
_DATA_FLOW = re.compile(
    rf"({_DATA}(?P<escape>\\*)[\"']?\s*:\s*)"
    rf"\{{(?:{_QUOTE}(?:(?!{_QUOTE}).)*{_QUOTE}|[^{{}}\"\\])*\}}"
)
# Braces that no expression tells apart: all that follows goes.
_DATA_OPEN = re.compile(rf"({_DATA}\\*[\"']?\s*:\s*)\{{(?!\[redacted\]\}}).*", re.DOTALL)
_DATA_BLOCK = _compile_entry("(?:data|stringData)", rf"[ ]*(?={_NEWLINE})")
# The copy of a whole object that kubectl leaves: in YAML, and within a text that is itself escaped.
_LAST_APPLIED = _compile_entry(
    r"[\w./-]{0,253}last-applied-configuration", rf"(?:(?<!\":)|(?![ ]*\")){_REST}"
)
_LAST_APPLIED_QUOTED = re.compile(r"(last-applied-configuration\"\s*:\s*)\"(?:[^\"\\]|\\[\s\S])*\"")
_LAST_APPLIED_ESCAPED = re.compile(r"(last-applied-configuration\\+\"\s*:)[^\n]*")
# What is left of my_api_key where somebody took the underscores for emphasis.
_EMPHASIS = re.compile(r"(?<=[A-Za-z0-9])\*([A-Za-z0-9]+)\*(?=[A-Za-z0-9])")
_KEY_END = re.compile(r"\A(?:(?!-----BEGIN).)*?-----END [A-Z0-9 ]*-----", re.DOTALL)


def render(result: mcp_types.CallToolResult) -> str:
    """Return a result's text, embedded files included; what is no text is counted."""
    parts: list[str] = []
    omitted = 0
    for part in result.content:
        if isinstance(part, mcp_types.TextContent):
            parts.append(part.text)
        elif isinstance(part, mcp_types.EmbeddedResource) and isinstance(
            part.resource, mcp_types.TextResourceContents
        ):
            parts.append(part.resource.text)
        else:
            omitted += 1
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False, sort_keys=True)]
    if omitted:
        parts.append(f"[{omitted} parts that are no text were left out]")
    return "\n".join(parts)


def clean(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Return the text without credentials and without Secrets' data, at most ``limit`` bytes.

    It is cleaned before it is cut: a cut through a credential would leave a part that nothing
    recognises any more. Pure; may be repeated.
    """
    holds_secret = _SECRET.search(text)
    text = bound(text, _MAX_CLEANED_BYTES)
    if holds_secret:
        text = _DATA_FLOW.sub(rf"\1{{{redaction.MASK}}}", text)
        text = _DATA_OPEN.sub(rf"\1{{{redaction.MASK}}}", text)
        text = _DATA_BLOCK.sub(rf"\g<key> {redaction.MASK}", text)
    text = _LAST_APPLIED_QUOTED.sub(rf'\1"{redaction.MASK}"', text)
    text = _LAST_APPLIED.sub(rf"\g<key> {redaction.MASK}", text)
    text = _LAST_APPLIED_ESCAPED.sub(rf"\1 {redaction.MASK}", text)
    return bound(_redact(text), limit)


def _redact(text: str) -> str:
    clean = redaction.redact_text(text)
    restored = _EMPHASIS.sub(r"_\1_", text)
    if restored == text:
        return clean
    again = redaction.redact_text(restored)
    return again if again.count(redaction.MASK) > clean.count(redaction.MASK) else clean


def bound(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Keep the first and the last half of ``limit`` bytes: a log's cause stands at its end."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    note = f"\n[… {len(raw) - limit} bytes left out …]\n"
    half = (limit - len(note.encode())) // 2
    head, tail = raw[:half].decode(errors="ignore"), raw[-half:].decode(errors="ignore")
    return head + note + _KEY_END.sub(redaction.MASK, tail)  # a private key whose head was cut off
