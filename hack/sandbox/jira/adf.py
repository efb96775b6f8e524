"""Atlassian Document Format: strict validation, text and HTML.

Source: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
"""

from __future__ import annotations

import html
from typing import Any

INLINE = {"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"}
LEAF_BLOCKS = {"paragraph", "codeBlock", "bulletList", "orderedList"}
BLOCKS = LEAF_BLOCKS | {
    "heading", "blockquote", "panel", "rule", "table", "mediaSingle", "mediaGroup", "expand",
}
CHILDREN: dict[str, set[str]] = {
    "doc": BLOCKS,
    "paragraph": INLINE,
    "heading": INLINE,
    "codeBlock": {"text"},
    "blockquote": {"paragraph", "bulletList", "orderedList", "codeBlock"},
    "panel": {"paragraph", "heading", "bulletList", "orderedList", "codeBlock", "rule"},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "listItem": {"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"},
    "table": {"tableRow"},
    "tableRow": {"tableCell", "tableHeader"},
    "tableCell": (BLOCKS | {"nestedExpand"}) - {"table", "expand"},
    "tableHeader": (BLOCKS | {"nestedExpand"}) - {"table", "expand"},
    "expand": BLOCKS - {"expand"} | {"nestedExpand"},
    "nestedExpand": {"paragraph", "heading", "mediaGroup", "mediaSingle", "codeBlock",
                     "bulletList", "orderedList", "panel", "blockquote", "rule"},
    "mediaSingle": {"media"},
    "mediaGroup": {"media"},
}
NEEDS_CONTENT = {"bulletList", "orderedList", "listItem", "table", "tableRow", "blockquote",
                 "panel", "expand", "nestedExpand", "mediaSingle", "mediaGroup", "tableCell",
                 "tableHeader"}
ATTRS: dict[str, tuple[set[str], set[str]]] = {  # required, optional
    "heading": ({"level"}, {"localId"}),
    "paragraph": (set(), {"localId"}),
    "codeBlock": (set(), {"language", "uniqueId", "localId"}),
    "panel": ({"panelType"}, {"panelIcon", "panelIconId", "panelIconText", "panelColor", "localId"}),
    "orderedList": (set(), {"order", "localId"}),
    "bulletList": (set(), {"localId"}),
    "listItem": (set(), {"localId"}),
    "rule": (set(), {"localId"}),
    "blockquote": (set(), {"localId"}),
    "hardBreak": (set(), {"text", "localId"}),
    "mention": ({"id"}, {"text", "userType", "accessLevel", "localId"}),
    "emoji": ({"shortName"}, {"id", "text", "localId"}),
    "inlineCard": (set(), {"url", "data", "localId"}),
    "date": ({"timestamp"}, {"localId"}),
    "status": ({"text", "color"}, {"localId", "style"}),
    "expand": (set(), {"title", "localId"}),
    "nestedExpand": ({"title"}, {"localId"}),
    "table": (set(), {"isNumberColumnEnabled", "layout", "localId", "width", "displayMode"}),
    "tableRow": (set(), {"localId"}),
    "tableCell": (set(), {"colspan", "rowspan", "colwidth", "background", "localId"}),
    "tableHeader": (set(), {"colspan", "rowspan", "colwidth", "background", "localId"}),
    "mediaSingle": ({"layout"}, {"width", "widthType", "localId"}),
    "mediaGroup": (set(), {"localId"}),
    "media": ({"id", "type", "collection"},
              {"width", "height", "occurrenceKey", "alt", "localId", "url"}),
}
PANELS = {"info", "note", "warning", "success", "error", "tip", "custom"}
MARKS: dict[str, tuple[set[str], set[str]]] = {
    "strong": (set(), set()), "em": (set(), set()), "strike": (set(), set()),
    "underline": (set(), set()), "code": (set(), set()),
    "link": ({"href"}, {"title", "id", "collection", "occurrenceKey"}),
    "subsup": ({"type"}, set()), "textColor": ({"color"}, set()),
    "backgroundColor": ({"color"}, set()),
}


class InvalidDocumentError(ValueError):
    """The document breaks the published structure; the message says where."""


def validate(doc: Any) -> None:
    """Raise InvalidDocumentError unless `doc` is a whole Atlassian document."""
    if not isinstance(doc, dict) or doc.get("type") != "doc":
        raise InvalidDocumentError("root must be a doc node")
    if doc.get("version") != 1 or isinstance(doc.get("version"), bool):
        raise InvalidDocumentError("doc.version must be 1")
    if not isinstance(doc.get("content"), list):
        raise InvalidDocumentError("doc.content must be a list")
    if set(doc) - {"type", "version", "content"}:
        raise InvalidDocumentError("unknown key in doc")
    for i, child in enumerate(doc["content"]):
        _node(child, "doc", f"content[{i}]")


def _node(node: Any, parent: str, where: str) -> None:
    if not isinstance(node, dict) or not isinstance(node.get("type"), str):
        raise InvalidDocumentError(f"{where}: a node is an object with a type")
    kind = node["type"]
    if kind not in CHILDREN[parent]:
        raise InvalidDocumentError(f"{where}: {kind} is not allowed in {parent}")
    if set(node) - {"type", "content", "attrs", "marks", "text"}:
        raise InvalidDocumentError(f"{where}: unknown key")
    if kind == "text":
        _text(node, parent, where)
        return
    if "text" in node:
        raise InvalidDocumentError(f"{where}: only text nodes carry text")
    _attrs(kind, node.get("attrs"), ATTRS[kind], where)
    if node.get("marks") and kind in INLINE | {"rule", "bulletList", "orderedList", "listItem"}:
        raise InvalidDocumentError(f"{where}: {kind} takes no marks")
    _content(node, kind, where)


def _content(node: dict[str, Any], kind: str, where: str) -> None:
    content = node.get("content")
    if kind not in CHILDREN:
        if content is not None:
            raise InvalidDocumentError(f"{where}: {kind} has no content")
        return
    if content is None and kind not in NEEDS_CONTENT:
        return
    if not isinstance(content, list) or (kind in NEEDS_CONTENT and not content):
        raise InvalidDocumentError(f"{where}: {kind} needs content")
    if kind == "listItem" and content[0].get("type") in ("bulletList", "orderedList"):
        raise InvalidDocumentError(f"{where}: a list item does not begin with a list")
    for i, child in enumerate(content):
        _node(child, kind, f"{where}.{kind}[{i}]")


def _text(node: dict[str, Any], parent: str, where: str) -> None:
    if not isinstance(node.get("text"), str) or not node["text"]:
        raise InvalidDocumentError(f"{where}: text must not be empty")  # "must be a non-empty string"
    if "content" in node or "attrs" in node:
        raise InvalidDocumentError(f"{where}: text has neither content nor attrs")
    marks = node.get("marks", [])
    if not isinstance(marks, list):
        raise InvalidDocumentError(f"{where}: marks must be a list")
    if marks and parent == "codeBlock":
        raise InvalidDocumentError(f"{where}: no marks in a code block")
    names = [m.get("type") if isinstance(m, dict) else None for m in marks]
    if "code" in names and set(names) - {"code", "link"}:
        raise InvalidDocumentError(f"{where}: code combines with link only")
    if len(set(names)) != len(names):
        raise InvalidDocumentError(f"{where}: a mark twice")
    for mark, name in zip(marks, names, strict=True):
        if name not in MARKS or set(mark) - {"type", "attrs"}:
            raise InvalidDocumentError(f"{where}: unknown mark {name}")
        _attrs(str(name), mark.get("attrs"), MARKS[str(name)], where)


def _attrs(kind: str, attrs: Any, rule: tuple[set[str], set[str]], where: str) -> None:
    required, optional = rule
    if attrs is None:
        attrs = {}
    if not isinstance(attrs, dict):
        raise InvalidDocumentError(f"{where}: attrs must be an object")
    if required - set(attrs) or set(attrs) - required - optional:
        raise InvalidDocumentError(f"{where}: wrong attributes of {kind}")
    if kind == "heading" and attrs["level"] not in (1, 2, 3, 4, 5, 6):
        raise InvalidDocumentError(f"{where}: heading level is 1 to 6")
    if kind == "panel" and attrs["panelType"] not in PANELS:
        raise InvalidDocumentError(f"{where}: unknown panel type")
    if kind == "link" and (not isinstance(attrs["href"], str) or not attrs["href"]):
        raise InvalidDocumentError(f"{where}: href must be a string")


def to_text(doc: Any) -> str:
    """The plain text of a document or wiki string; blocks end with a newline."""
    if doc is None:
        return ""
    if isinstance(doc, str):
        return doc
    return _plain(doc).rstrip("\n")


def _plain(node: dict[str, Any]) -> str:
    kind = node["type"]
    if kind == "text":
        return str(node["text"])
    if kind == "hardBreak":
        return "\n"
    attrs = node.get("attrs") or {}
    if kind not in CHILDREN:
        return str(attrs.get("text") or attrs.get("url") or attrs.get("shortName") or "")
    inner = "".join(_plain(c) for c in node.get("content") or [])
    ends = kind in ("paragraph", "heading", "codeBlock", "tableRow")
    return inner + ("\n" if ends else "")


def from_text(text: str) -> dict[str, Any]:
    """A document with one paragraph a line; used when a v2 string is read through v3."""
    lines = text.split("\n")
    content = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []}
        for line in lines
    ]
    return {"type": "doc", "version": 1, "content": content}


TAGS = {
    "paragraph": "p", "blockquote": "blockquote", "bulletList": "ul", "orderedList": "ol",
    "listItem": "li", "table": "table", "tableRow": "tr", "tableCell": "td", "tableHeader": "th",
    "panel": "aside", "codeBlock": "pre", "expand": "section", "nestedExpand": "section",
}
MARK_TAGS = {"strong": "b", "em": "i", "code": "code", "strike": "s", "underline": "u"}


def to_html(doc: Any) -> str:
    """Escaped HTML without scripts; links only to http(s)."""
    if doc is None:
        return ""
    if isinstance(doc, str):
        return f"<pre>{html.escape(doc)}</pre>"
    return "".join(_html(n) for n in doc.get("content") or [])


def _html(node: dict[str, Any]) -> str:
    kind, attrs = node["type"], node.get("attrs") or {}
    if kind == "text":
        out = html.escape(node["text"])
        for mark in node.get("marks") or []:
            if mark["type"] in MARK_TAGS:
                tag = MARK_TAGS[mark["type"]]
                out = f"<{tag}>{out}</{tag}>"
            elif mark["type"] == "link" and mark["attrs"]["href"].startswith(("http://", "https://")):
                out = f'<a href="{html.escape(mark["attrs"]["href"])}" rel="noreferrer">{out}</a>'
        return out
    if kind == "hardBreak":
        return "<br>"
    if kind == "rule":
        return "<hr>"
    inner = "".join(_html(c) for c in node.get("content") or [])
    if kind in ("expand", "nestedExpand"):
        inner = f"<b>{html.escape(str(attrs.get('title', '')))}</b>{inner}"
    if kind == "heading":
        return f"<h{attrs['level']}>{inner}</h{attrs['level']}>"
    if kind in TAGS:
        return f"<{TAGS[kind]}>{inner}</{TAGS[kind]}>"
    return html.escape(_plain(node)) if kind not in CHILDREN else inner
