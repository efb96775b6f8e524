"""Foreign text for a code host: shown as it is, and nothing else happens. Pure.

GitHub looks for mentions, issue references and closing words in the *rendered* text, so that a
backslash does not hide them; a zero-width space does. Links are recognised from a bare ``://`` or
``www.``: https://github.github.com/gfm/#autolinks-extension-
Closing words: https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BREAK = "\u200b"
"""Zero-width space: seen by nobody but programs."""

_MENTION = re.compile(r"@(?=\w)")
_REFERENCE = re.compile(r"#(?=\d)|\b(?:GH|gh)(?=-\d)")
_LINK = re.compile(r"(?=://)|(?<=\bwww)(?=\.)|(?<=\bWWW)(?=\.)")
_TRAILER = re.compile(r"(?i)-by(?=\s*:)")
_OUR_MARK = re.compile(r"(?i)\bselfheal(?=-(?:effect|status)\b)")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&$:-])")
_SAFE_COLON = re.compile(r"\\([:-])(?=\s|\w)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_PIECE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")


def disarm(text: str) -> str:
    """Return plain text in which a host finds no mention, reference, link or trailer.

    For commit messages and titles, and the first half of ``escape``. May be repeated.
    """
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _MENTION.sub(f"@{BREAK}", text)
    text = _LINK.sub(BREAK, text)
    text = _TRAILER.sub(rf"\g<0>{BREAK}", text)
    return _REFERENCE.sub(rf"\g<0>{BREAK}", _without_marks(text))


def _without_marks(text: str) -> str:
    """Return the text without what our own reader takes for ours."""
    return _OUR_MARK.sub(rf"\g<0>{BREAK}", text)


def line(text: str) -> str:
    """Return disarmed text in one line."""
    return " ".join(disarm(text).split())


def escape(text: str) -> str:
    """Return one line of Markdown that shows the text literally."""
    return _literal(line(text))


def _literal(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", text)
    return _line_start(_SAFE_COLON.sub(r"\1", escaped))


def prose(text: str) -> str:
    """Return Markdown of a model's words: bullets, bold and inline code stay, all else is text."""
    return "\n".join(_prose_line(one) for one in disarm(text).split("\n"))


def _prose_line(text: str) -> str:
    body = text.strip()
    bullet = "- " if re.match(r"[-*] ", body) else ""
    body = body[2:].strip() if bullet else body
    pieces, at = [], 0
    for match in _PIECE.finditer(body):
        pieces.append(_inner(body[at : match.start()]))
        bold = match[2]
        pieces.append(f"**{_inner(bold)}**" if bold else f"`{match[1]}`")
        at = match.end()
    pieces.append(_inner(body[at:]))
    joined = "".join(pieces)
    return f"{bullet}{_line_start(joined)}"


def _inner(text: str) -> str:
    return _SAFE_COLON.sub(r"\1", _SPECIAL.sub(r"\\\1", text))


def _line_start(text: str) -> str:
    """Keep what begins a line from being a list, rule or underline of a heading."""
    text = re.sub(r"^(\d+)(\\?)([.)])", r"\1\\\3", text)
    return re.sub(r"^([-=])", r"\\\1", text)


def code(text: str) -> str:
    """Return an inline code span that shows the text."""
    body = _without_marks(" ".join(_CONTROL.sub("", text).split()))
    fence = "`" * (_longest_run(body) + 1)
    pad = " " if body[:1] == "`" or body[-1:] == "`" or not body else ""
    return f"{fence}{pad}{body}{pad}{fence}"


def block(lines: Iterable[str], *, limit: int) -> str:
    """Return a fenced block of at most ``limit`` characters that nothing in it can close."""
    body = _without_marks(_CONTROL.sub("", "\n".join(lines).replace("\r", "\n")))
    if len(body) > limit:
        body = f"{body[:limit]}\n… (cut)"
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}text\n{body}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def link(text: str, url: str) -> str:
    """Return a link of ours to an http(s) address; the bare text where the address is none."""
    if not re.fullmatch(r"https?://[^\s<>()\[\]\"'`\\]+", url):
        return escape(text)
    return f"[{escape(text)}]({url})"
