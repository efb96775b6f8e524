"""Reads the small Markdown dialect of tickets into blocks, which ``adf`` and ``wiki`` render.

The dialect: headings, paragraphs, bullet and numbered lists, fenced code, bold, inline code, links.
Whatever else stands in the text stays text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """A run of text of one look; ``href`` is an http(s) or mailto address."""

    text: str
    bold: bool = False
    code: bool = False
    href: str | None = None


Line = tuple[Span, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading of level 1 to 6."""

    level: int
    line: Line


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Lines that stand together; each keeps its own line."""

    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Items:
    """A flat list."""

    items: tuple[Line, ...]
    numbered: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Code:
    """A fenced block; ``language`` may be empty."""

    language: str
    text: str


Block = Heading | Paragraph | Items | Code

_FENCE = re.compile(r"^\s*(`{3,})\s*([\w+#.-]*)[^`]*$")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_BULLET = re.compile(r"^\s*[-*+]\s+(.*)$")
_NUMBER = re.compile(r"^\s*\d{1,9}[.)]\s+(.*)$")
_INLINE = re.compile(
    r"(?P<tick>`+)(?P<code>.+?)(?<!`)(?P=tick)(?!`)"
    r"|\*\*(?=\S)(?P<bold>.+?)(?<=\S)\*\*"
    r"|\[(?P<label>[^\]\n]+)\]\((?P<href>(?:https?://|mailto:)[^\s()<>]+)\)"
)


def parse(text: str) -> list[Block]:
    """Return the blocks of a text; every text is valid. May be repeated."""
    lines = iter(text.replace("\r\n", "\n").replace("\t", "    ").split("\n"))
    blocks: list[Block] = []
    for line in lines:
        if fence := _FENCE.match(line):
            blocks.append(_read_code(fence, lines))
        elif heading := _HEADING.match(line):
            level = len(heading.group(1))
            blocks.append(Heading(level=level, line=parse_line(heading.group(2))))
        elif bullet := _BULLET.match(line):
            _add_item(blocks, bullet.group(1), numbered=False)
        elif number := _NUMBER.match(line):
            _add_item(blocks, number.group(1), numbered=True)
        elif line.strip():
            _add_line(blocks, line.strip())
        else:
            blocks.append(Paragraph(lines=()))  # an empty line ends what stands before it
    return [block for block in blocks if block != Paragraph(lines=())]


def parse_line(text: str) -> Line:
    """Return the spans of one line."""
    return tuple(span for span in _spans(text, bold=False) if span.text)


def _spans(text: str, *, bold: bool) -> Iterator[Span]:
    at = 0
    for match in _INLINE.finditer(text):
        yield Span(text=text[at : match.start()], bold=bold)
        at = match.end()
        if match["code"] is not None:
            yield Span(text=match["code"].strip() or match["code"], code=True)
        elif match["bold"] is not None:
            yield from _spans(match["bold"], bold=True)
        else:
            yield Span(text=match["label"].strip("`"), bold=bold, href=match["href"])
    yield Span(text=text[at:], bold=bold)


def _read_code(fence: re.Match[str], lines: Iterator[str]) -> Code:
    collected: list[str] = []
    for line in lines:
        closing = line.strip()
        if closing.startswith(fence.group(1)) and not closing.strip("`"):
            break
        collected.append(line)
    return Code(language=fence.group(2).lower(), text="\n".join(collected))


def _add_item(blocks: list[Block], text: str, *, numbered: bool) -> None:
    last = blocks[-1] if blocks else None
    before: tuple[Line, ...] = ()
    if isinstance(last, Items) and last.numbered is numbered:
        before = last.items
        blocks.pop()
    blocks.append(Items(items=(*before, parse_line(text)), numbered=numbered))


def _add_line(blocks: list[Block], text: str) -> None:
    last = blocks[-1] if blocks else None
    before: tuple[Line, ...] = ()
    if isinstance(last, Paragraph) and last.lines:
        before = last.lines
        blocks.pop()
    blocks.append(Paragraph(lines=(*before, parse_line(text))))
