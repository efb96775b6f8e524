"""Jira's wiki markup, which REST v2 and the service desk API take.

Notation: https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from selfheal.adapters.jira import markdown

# What {code} of Data Center can colour; it shows an error box for any other language.
# https://confluence.atlassian.com/doc/code-block-macro-139390.html
_LANGUAGES = frozenset(
    {"bash", "c", "css", "go", "groovy", "html", "java", "javascript", "json", "perl", "php"}
    | {"python", "ruby", "scala", "sql", "swift", "xml", "yaml"}
)
_GREY = "#97a0af"
_SPECIAL = re.compile(r"[{}\[\]|]|(?<!\w)[*_+^~!?-](?=\S)|(?<=\S)[*_+^~!?-](?!\w)|\\")
_COLOUR = re.compile(r"\{color(?::[^}]*)?\}")


def render(blocks: Sequence[markdown.Block], *, last_line: str = "") -> str:
    """Return wiki markup; ``last_line`` becomes an inconspicuous line at its end."""
    parts = [_render_block(block) for block in blocks]
    if last_line:
        parts.append(f"{{color:{_GREY}}}{last_line}{{color}}")
    return "\n\n".join(parts)


def _render_block(block: markdown.Block) -> str:
    match block:
        case markdown.Heading(level=level, line=line):
            return f"h{level}. {_render_line(line)}"
        case markdown.Paragraph(lines=lines):
            return "\n".join(_render_line(line) for line in lines)
        case markdown.Items(items=items, numbered=numbered):
            sign = "#" if numbered else "*"
            return "\n".join(f"{sign} {_render_line(item)}" for item in items)
        case markdown.Code(language=language, text=text):
            return _render_code(language, text)


def _render_code(language: str, text: str) -> str:
    if language in _LANGUAGES and "{code" not in text:
        return f"{{code:{language}}}\n{text}\n{{code}}"
    # A block cannot contain its own end; a zero-width space keeps such a text together.
    return "{noformat}\n" + text.replace("{noformat", "{\u200bnoformat") + "\n{noformat}"


def _render_line(line: markdown.Line) -> str:
    return "".join(_render_span(span) for span in line)


def _render_span(span: markdown.Span) -> str:
    if span.href:
        label = span.text.replace("|", " ").replace("]", ")").replace("[", "(")
        return f"[{label}|{span.href}]"
    if span.code:
        return "{{" + _SPECIAL.sub(lambda found: "\\" + found.group(), span.text) + "}}"
    text = _SPECIAL.sub(lambda found: "\\" + found.group(), span.text)
    if not span.bold or not text.strip():
        return text
    # The signs must touch the words.
    core = text.strip()
    before, _, after = text.partition(core)
    return f"{before}*{core}*{after}"


def to_plain(text: str) -> str:
    """Return a text without colour tags and with plain line ends; other markup stays."""
    return _COLOUR.sub("", text.replace("\r\n", "\n")).strip("\n")
