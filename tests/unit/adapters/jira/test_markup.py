"""Markdown to ADF and wiki markup, and back to plain text."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hack.sandbox.jira import adf as strict
from hypothesis import strategies as st

from selfheal.adapters.jira import adf, comments, markdown, parse, wiki

RICH = """# Title of *it*

First line with **bold `x` text** and `code`
second line, [a link](https://example.com/a?b=1) and [no](javascript:alert(1))

- one **b**
* two
+ three
1. first
2) second

```yaml
- a: "**not bold**"

  b: [1](http://x)
```
### Sub ###
tail"""


def render_adf(text: str) -> list[dict[str, Any]]:
    return list(adf.render(markdown.parse(text))["content"])


def render_wiki(text: str) -> str:
    return wiki.render(markdown.parse(text))


def test_every_block_becomes_its_adf_node() -> None:
    kinds = [node["type"] for node in render_adf(RICH)]
    assert kinds == [
        "heading", "paragraph", "bulletList", "orderedList", "codeBlock", "heading", "paragraph",
    ]  # fmt: skip


def test_spans_become_marks() -> None:
    [paragraph] = render_adf("a **b** `c` [d](https://e.f) **[g](https://h.i)**")
    assert [(n["text"], n.get("marks")) for n in paragraph["content"]] == [
        ("a ", None),
        ("b", [{"type": "strong"}]),
        (" ", None),
        ("c", [{"type": "code"}]),
        (" ", None),
        ("d", [{"type": "link", "attrs": {"href": "https://e.f"}}]),
        (" ", None),
        ("g", [{"type": "link", "attrs": {"href": "https://h.i"}}, {"type": "strong"}]),
    ]


def test_lines_of_a_paragraph_stay_lines() -> None:
    [paragraph] = render_adf("one\ntwo")
    assert [node["type"] for node in paragraph["content"]] == ["text", "hardBreak", "text"]


def test_code_keeps_its_text_and_language() -> None:
    [code] = render_adf("```diff\n-a: **b**\n\n+c\n```")
    assert code["attrs"] == {"language": "diff"}
    assert code["content"] == [{"type": "text", "text": "-a: **b**\n\n+c"}]
    assert render_adf("```\n```") == [{"type": "codeBlock", "content": []}]
    assert render_adf("````\n```\nx\n````")[0]["content"][0]["text"] == "```\nx"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "/relative"])
def test_only_web_addresses_become_links(address: str) -> None:
    text = f"[click]({address})"
    assert adf.to_plain(adf.render(markdown.parse(text))) == text
    assert "marks" not in json.dumps(render_adf(text))


def test_marker_is_the_last_line() -> None:
    document = adf.render(markdown.parse(RICH), last_line="selfheal: u/1/A/1/k")
    assert adf.to_plain(document).rpartition("\n")[2] == "selfheal: u/1/A/1/k"
    text = wiki.render(markdown.parse(RICH), last_line="selfheal: u/1/A/1/k")
    assert text.endswith("\n\n{color:#97a0af}selfheal: u/1/A/1/k{color}")
    assert wiki.to_plain(text).rpartition("\n")[2] == "selfheal: u/1/A/1/k"


def test_plain_text_of_a_rich_document() -> None:
    assert adf.to_plain(adf.render(markdown.parse(RICH))) == (
        "Title of *it*\n"
        "First line with bold x text and code\n"
        "second line, a link and [no](javascript:alert(1))\n"
        "- one b\n- two\n- three\n1. first\n2. second\n"
        '- a: "**not bold**"\n\n  b: [1](http://x)\n'
        "Sub\ntail"
    )


def test_plain_text_of_what_people_write() -> None:
    def text(value: str) -> dict[str, Any]:
        return {"type": "text", "text": value}

    def cell(value: str) -> dict[str, Any]:
        return {"type": "tableCell", "content": [{"type": "paragraph", "content": [text(value)]}]}

    document = {
        "type": "doc",
        "version": 1,
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "mention", "attrs": {"id": "1", "text": "@Ann"}},
                    text(" see "),
                    {"type": "inlineCard", "attrs": {"url": "https://x.y"}},
                    {"type": "emoji", "attrs": {"shortName": ":ok:", "text": "👌"}},
                ],
            },
            {"type": "table", "content": [{"type": "tableRow", "content": [cell("a"), cell("b")]}]},
            {"type": "panel", "content": [{"type": "paragraph", "content": [text("note")]}]},
            {"type": "unheardOf", "content": [text("inside")]},
            "not a node",
        ],
    }
    assert adf.to_plain(document) == "@Ann see https://x.y👌\na | b | \nnote\ninside"
    assert adf.to_plain(None) == ""
    assert adf.to_plain("wiki") == "wiki"


def test_wiki_markup_of_every_block() -> None:
    assert render_wiki(RICH) == (
        "h1. Title of \\*it\\*\n\n"
        "First line with *bold* {{x}} *text* and {{code}}\n"
        "second line, [a link|https://example.com/a?b=1] and \\[no\\](javascript:alert(1))\n\n"
        "* one *b*\n* two\n* three\n\n"
        "# first\n# second\n\n"
        '{code:yaml}\n- a: "**not bold**"\n\n  b: [1](http://x)\n{code}\n\n'
        "h3. Sub\n\ntail"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{code} [x] |", "\\{code\\} \\[x\\] \\|"),
        ("pod_name and a-b", "pod_name and a-b"),
        ("-Xmx512m or _x_ !img!", "\\-Xmx512m or \\_x\\_ \\!img\\!"),
        ("C:\\temp", "C:\\\\temp"),
        ("`a{b}`", "{{a\\{b\\}}}"),
        ("[a|b](https://x.y)", "[a b|https://x.y]"),
    ],
)
def test_wiki_signs_in_text_are_escaped(text: str, shown: str) -> None:
    assert render_wiki(text) == shown


def test_code_that_would_end_its_own_block() -> None:
    assert render_wiki("```yaml\n{code}\n```").startswith("{noformat}\n{code}\n")
    assert render_wiki("```\n{noformat}\n```").count("{noformat}") == 2
    assert render_wiki("```diff\n-a\n```") == "{noformat}\n-a\n{noformat}"


@pytest.mark.parametrize("cloud", [True, False])
def test_long_text_is_shortened_and_keeps_its_marker(cloud: bool) -> None:
    text = "intro\n\n```\n" + "log line {} with some words\n" * 4000 + "```\nafter"
    rendered = comments.render(text, last_line="selfheal: k", cloud=cloud)
    assert 20_000 < len(json.dumps(rendered, ensure_ascii=False)) <= 30_000
    plain = parse.parse_text(rendered)
    assert plain.rpartition("\n")[2] == "selfheal: k"
    assert "… (shortened)" in plain
    assert plain.count("(shortened)") == 1
    assert comments.render("one line " * 9000, cloud=cloud)
    assert "shortened" not in str(comments.render("short", cloud=cloud))


def test_same_text_renders_the_same_twice() -> None:
    assert comments.render(RICH * 200, cloud=True) == comments.render(RICH * 200, cloud=True)


STEADY = hypothesis.settings(derandomize=True, deadline=None)
PIECES = st.lists(
    st.sampled_from(
        ["**", "`", "``", "```", "```yaml", "\n", "\n\n", "# ", "- ", "1. ", " ", "a", "b_c", "[x]",
         "(https://a.b)", "[y](https://c.d)", "{code}", "|", "\\", "*", "é", "\t", "\r\n"]
    )
    | st.text(max_size=5)
)  # fmt: skip


@STEADY
@hypothesis.given(PIECES)
def test_any_text_gives_a_valid_document(pieces: list[str]) -> None:
    text = "".join(pieces)
    strict.validate(adf.render(markdown.parse(text), last_line="selfheal: k"))
    assert wiki.render(markdown.parse(text), last_line="selfheal: k").endswith("k{color}")


@STEADY
@hypothesis.given(st.lists(st.text("abc xyz.:/", min_size=1).map(str.strip).filter(bool)))
def test_plain_lines_come_back_as_they_were(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert adf.to_plain(adf.render(markdown.parse(text))) == text
