"""Atlassian Document Format: blocks to a document, and any document to plain text.

Structure: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ (version 1).
There a text node is never empty, and the mark ``code`` goes with ``link`` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.adapters.jira import markdown

Node = dict[str, Any]

_MARKER_COLOUR = "#97a0af"  # a light grey of Atlassian's palette: there, but out of the way


def render(blocks: Sequence[markdown.Block], *, last_line: str = "") -> Node:
    """Return a document; ``last_line`` becomes an inconspicuous paragraph at its end."""
    content = [_render_block(block) for block in blocks]
    if last_line:
        mark = {"type": "textColor", "attrs": {"color": _MARKER_COLOUR}}
        text = {"type": "text", "text": last_line, "marks": [mark]}
        content.append({"type": "paragraph", "content": [text]})
    return {"version": 1, "type": "doc", "content": content}


def _render_block(block: markdown.Block) -> Node:
    match block:
        case markdown.Heading(level=level, line=line):
            return {"type": "heading", "attrs": {"level": level}, "content": _render_line(line)}
        case markdown.Paragraph(lines=lines):
            return {"type": "paragraph", "content": _render_lines(lines)}
        case markdown.Items(items=items, numbered=numbered):
            kind = "orderedList" if numbered else "bulletList"
            return {"type": kind, "content": [_render_item(item) for item in items]}
        case markdown.Code(language=language, text=text):
            attrs = {"attrs": {"language": language}} if language else {}
            return {"type": "codeBlock", **attrs, "content": _text(text)}


def _render_item(line: markdown.Line) -> Node:
    return {"type": "listItem", "content": [{"type": "paragraph", "content": _render_line(line)}]}


def _render_lines(lines: Sequence[markdown.Line]) -> list[Node]:
    nodes: list[Node] = []
    for line in lines:
        if nodes:
            nodes.append({"type": "hardBreak"})
        nodes += _render_line(line)
    return nodes


def _render_line(line: markdown.Line) -> list[Node]:
    return [_render_span(span) for span in line]


def _render_span(span: markdown.Span) -> Node:
    marks: list[Node] = []
    if span.href:
        marks.append({"type": "link", "attrs": {"href": span.href}})
    if span.code:
        marks.append({"type": "code"})
    elif span.bold:
        marks.append({"type": "strong"})
    return {"type": "text", "text": span.text, **({"marks": marks} if marks else {})}


def _text(text: str) -> list[Node]:
    return [{"type": "text", "text": text}] if text else []


_ENDS_LINE = frozenset(
    {"paragraph", "heading", "codeBlock", "blockquote", "rule", "tableRow", "mediaSingle"}
)
_NAMED = {
    "mention": "text",
    "emoji": "text",
    "status": "text",
    "inlineCard": "url",
    "date": "timestamp",
}


def to_plain(document: object) -> str:
    """Return the text of a document, or of a string as it is; unknown nodes give their content."""
    if isinstance(document, str):
        return document
    pieces: list[str] = []
    _collect(document, pieces)
    return "".join(pieces).strip("\n")


def _collect(node: object, pieces: list[str]) -> None:
    if not isinstance(node, Mapping):
        return
    kind = node.get("type")
    if kind == "text":
        pieces.append(str(node.get("text", "")))
    elif kind == "hardBreak":
        pieces.append("\n")
    elif kind in _NAMED:
        pieces.append(str((node.get("attrs") or {}).get(_NAMED[kind], "")))
    for number, child in enumerate(_children(node), start=1):
        if kind == "bulletList":
            pieces.append("- ")
        elif kind == "orderedList":
            pieces.append(f"{number}. ")
        _collect(child, pieces)
        if kind == "tableRow":
            pieces[-1] = pieces[-1].rstrip("\n") + " | "
    if kind in _ENDS_LINE:
        pieces.append("\n")


def _children(node: Mapping[str, Any]) -> Sequence[Any]:
    content = node.get("content")
    return content if isinstance(content, list) else ()
