from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from tests.unit.remediation import fix_factory as repo

from selfheal.remediation import diff, documents, editing
from selfheal.remediation.edits import Edit, Operation, Refusal

F = "x.yaml"


def edit(path: tuple[Any, ...], old: Any, new: Any, *, operation: Operation = Operation.SET, document: int = 0) -> Edit:
    return repo.edit(path, old, new, operation=operation, document=document, file=F)


def change(text: str, path: tuple[Any, ...], old: Any, new: Any, **more: Any) -> str:
    return editing.apply_edit(text.encode(), edit(path, old, new, **more)).decode()


def refused(text: str | bytes, path: tuple[Any, ...], old: Any, new: Any, **more: Any) -> str:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(Refusal) as caught:
        editing.apply_edit(content, edit(path, old, new, **more))
    return caught.value.reason


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ("a: x:1 # c\n", "x:1", "x:2", "a: x:2 # c\n"),
        ("a:   'x'\n", "x", "it's", "a:   'it''s'\n"),
        ('a: "x"', "x", 'say "hi"', 'a: "say \\"hi\\""'),
        ("a: &p x # c\n", "x", "y", "a: &p y # c\n"),
        ("{a: x, b: 1}\n", "x", "y", "{a: y, b: 1}\n"),
        ('{"a": "x"}\n', "x", "y", '{"a": "y"}\n'),
        ("a: 80\n", 80, 8080, "a: 8080\n"),
        ("a: web\n", "web", 8080, "a: 8080\n"),
        ("a: x\n", "x", "8080", 'a: "8080"\n'),
        ("a: x\n", "x", "true", 'a: "true"\n'),
        ("a: x\n", "x", "x: y #", 'a: "x: y #"\n'),
        ("{a: x}\n", "x", "x, y", '{a: "x, y"}\n'),
        ("a: x\n", "x", "ünï\U0001f600", "a: ünï\U0001f600\n"),
        ("a: 2026-11-23\n", "2026-11-23", "b", "a: b\n"),
        ("a: 12:30\n", "12:30", "b", "a: b\n"),
        ("a: 0o17\n", "0o17", "b", "a: b\n"),
        ("a: 1e3\nb: .5\n", 1000.0, 1.5, "a: 1.5\nb: .5\n"),
        ("a: true\n", True, False, "a: false\n"),
        ("a: |\n  x\nb: 1\n", "x\n", "y", "a: y\nb: 1\n"),
        ("a: x\n", "x", ["p", "q"], "a:\n  - p\n  - q\n"),
    ],
)
def test_a_value_is_set_where_it_stands(before: str, old: Any, new: Any, after: str) -> None:
    if before == "a: 0o17\n":
        old = documents.parse(before.encode(), F).values[0]["a"]
    assert change(before, ("a",), old, new) == after


@pytest.mark.parametrize(
    ("before", "path", "new", "after"),
    [
        ("a:\n  b: 1\nc: 2\n", ("a", "d"), 3, "a:\n  b: 1\n  d: 3\nc: 2\n"),
        ("a:\n- b: 1\n- c: 2\n", ("a", 0, "d"), {"e": "f"}, "a:\n- b: 1\n  d:\n    e: f\n- c: 2\n"),
        ("a:\n  - b: 1 # one\n\n  - c: 2\n", ("a", 0, "d"), 3, "a:\n  - b: 1 # one\n    d: 3\n\n  - c: 2\n"),
        ("a: {}\n", ("a", "b"), 1, "a: {b: 1}\n"),
        ("a: {c: 1}\n", ("a", "b"), "x", "a: {c: 1, b: x}\n"),
        ("a: 1\r\n", ("b",), 2, "a: 1\r\nb: 2\r\n"),
        ("\ufeffa: 1\n", ("b",), 2, "\ufeffa: 1\nb: 2\n"),
    ],
)
def test_a_key_is_added_without_touching_another_byte(before: str, path: tuple[Any, ...], new: Any, after: str) -> None:
    assert change(before, path, None, new, operation=Operation.ADD) == after


@pytest.mark.parametrize(
    ("text", "path", "old", "new", "more", "reason"),
    [
        ("a: x\n", ("a",), "y", "z", {}, "SourceChanged"),
        ("a: 1\n", ("a",), True, "z", {}, "SourceChanged"),
        ("a: x\n", ("b", "c"), "y", "z", {}, "SourceChanged"),
        ("a: [x]\n", ("a", 3), "y", "z", {}, "SourceChanged"),
        ("a: x\n", ("a", "b"), "y", "z", {}, "SourceChanged"),
        ("a: x\n", ("a",), "x", "z", {"document": 1}, "EditImpossible"),
        ("a: x\n", ("a",), None, "z", {"operation": Operation.ADD}, "SourceChanged"),
        ("a: [x]\n", ("a", 1), None, "z", {"operation": Operation.ADD}, "SourceChanged"),
        ("a: x\n", ("b", "c"), None, "z", {"operation": Operation.ADD}, "EditImpossible"),
        ("a: &p {b: x}\nc: *p\n", ("a", "b"), "x", "y", {}, "EditImpossible"),
        ("a: &p {b: x}\nc: *p\n", ("c", "b"), "x", "y", {}, "EditImpossible"),
        ("a: &p {b: x}\nc: {<<: *p}\n", ("c", "b"), "x", "y", {}, "EditImpossible"),
        ("a: &p {b: x}\nc:\n  <<: *p\n  d: 1\n", ("c", "b"), "x", "y", {}, "EditImpossible"),
        ("a: &p {b: x}\nc: *p\n", ("c", "d"), None, "y", {"operation": Operation.ADD}, "EditImpossible"),
        ("a: x\n", ("a",), "x", "\ud800", {}, "EditImpossible"),
        ("1: x\n", (1,), "x", "y", {}, "EditImpossible"),
        ("a: x\na: y\n", ("a",), "y", "z", {}, "SourceUnreadable"),
        ("a: {{ x }}\n", ("a",), "y", "z", {}, "SourceUnreadable"),
        ("a: [\n", ("a",), "y", "z", {}, "SourceUnreadable"),
        (b"a: \xff\n", ("a",), "y", "z", {}, "SourceUnreadable"),
        ("a: &p [*p]\n", ("a",), "y", "z", {}, "SourceUnreadable"),
        ("a: " + "x" * documents.MAX_BYTES, ("a",), "y", "z", {}, "SourceUnreadable"),
        ("? [a]\n: 1\n", ("a",), "y", "z", {}, "SourceUnreadable"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text: str | bytes, path: tuple[Any, ...], old: Any, new: Any, more: dict[str, Any], reason: str) -> None:
    assert refused(text, path, old, new, **more) == reason


def test_alias_bombs_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert refused("\n".join(lines), ("a0",), "y", "z") == "SourceUnreadable"


def test_a_merge_key_may_stand_twice_and_is_kept() -> None:
    text = "p: &p {x: 1}\nq: &q {y: 2}\na:\n  <<: *p\n  b: old\n"
    assert change(text, ("a", "b"), "old", "new") == text.replace("old", "new")


def test_files_are_edited_together_and_must_exist() -> None:
    files = {F: b"a: 1\nb: 2\n"}
    assert editing.apply_edits(files, [edit(("a",), 1, 3), edit(("b",), 2, 4)]) == {F: b"a: 3\nb: 4\n"}
    with pytest.raises(Refusal, match="not in the repository"):
        editing.apply_edits({}, [edit(("a",), 1, 3)])


def test_paths_that_are_not_written_have_no_node() -> None:
    root = documents.parse(b"a: [x]\n", F).nodes[0]
    assert documents.find_node(root, ("b",)) is None
    assert documents.find_node(root, ("a", 0, "c")) is None
    assert documents.find_node(root, ("a", "c")) is None


def test_values_are_the_same_only_in_value_and_type() -> None:
    assert documents.same({"a": [1, float("nan")]}, {"a": [1, float("nan")]})
    assert not documents.same([1], [1, 2])
    assert not documents.same({"a": 1}, {"b": 1})
    assert not documents.same(1, True)
    assert not documents.same(1, 1.0)


NAMES = st.text("abcdefgh", min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-9, 99999), st.booleans(), st.text("abc:#'\"{}[],&*!|>%@` -0123456789.eyn~/ü", max_size=12), st.sampled_from(["nginx:1.27", "64Mi", "true", "null", "1e3", "0x1f", "2026-11-23", "12:30", "~", "- a", "? b"])
)  # fmt: skip
STYLES = st.sampled_from(["plain", "single", "double", "block", "folded"])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int, tuple[Any, ...], Any]:
    """Draw a file with several documents, comments, quotes, anchors, lists of both indents, CRLF and BOM."""
    names = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    indent = draw(st.sampled_from(["", "  "]))
    lines = ["# head", "other: &shared {x: 1}", "alias: *shared", "---", "items:"]
    for name in names:
        value = draw(st.text("abc:/. -", max_size=8))
        style = draw(STYLES)
        rendered = {
            "plain": "plain", "single": "'" + value.replace("'", "''") + "'", "double": f'"{value}"',
            "block": f"|-\n{indent}    block\n{indent}    text", "folded": f">\n{indent}    folded",
        }[style]  # fmt: skip
        lines += [f"{indent}- name: {name}  # comment {name}", f"{indent}  value: {rendered}", ""]
    lines += ["# tail", "last: {a: [1, 2]}"]
    if draw(st.booleans()):
        lines.append("")
    text = "\n".join(lines)
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    if draw(st.booleans()):
        text = "\ufeff" + text
    index = draw(st.integers(0, len(names) - 1))
    content = text.encode()
    old = documents.parse(content, F).values[1]["items"][index]["value"]
    return content, 1, ("items", index, "value"), old


def attempt(content: bytes, wanted: Edit) -> bytes | None:
    """Make an edit; None where it is refused, which is always for being impossible."""
    refusals = []
    try:
        return editing.apply_edit(content, wanted)
    except Refusal as refusal:
        refusals.append(refusal.reason)
    assert refusals == ["EditImpossible"]
    return None


@hypothesis.given(files(), SCALARS)
@hypothesis.settings(deadline=None, max_examples=150, derandomize=True)
def test_setting_changes_only_its_lines_and_loads_as_intended(drawn: tuple[bytes, int, tuple[Any, ...], Any], new: Any) -> None:
    content, number, path, old = drawn
    before = documents.parse(content, F)
    after = attempt(content, edit(path, old, new, document=number))
    if after is None:
        one_line = isinstance(old, str) and "\n" not in old and b"|-" not in content and b">" not in content
        assert not one_line, "a scalar on one line can always be set"
        return
    values = documents.parse(after, F).values
    assert documents.same(values[0], before.values[0])
    assert documents.same(values[1]["items"][path[1]]["value"], new)
    untouched = documents.copy_plain(values[1])
    untouched["items"][path[1]]["value"] = old
    assert documents.same(untouched, documents.copy_plain(before.values[1]))
    old_lines, new_lines = content.split(b"\n"), after.split(b"\n")
    kept = [line for line in old_lines if b"value" not in line and b"block" not in line and b"text" not in line and b"folded" not in line and line.strip()]
    assert [line for line in new_lines if line in kept] == kept
    assert after.startswith(b"\xef\xbb\xbf") == content.startswith(b"\xef\xbb\xbf")
    changed = sum(one != other for one, other in zip(old_lines, new_lines, strict=False))
    assert len(old_lines) != len(new_lines) or changed <= 1


@hypothesis.given(files(), SCALARS)
@hypothesis.settings(deadline=None, max_examples=100, derandomize=True)
def test_adding_only_inserts_and_loads_as_intended(drawn: tuple[bytes, int, tuple[Any, ...], Any], new: Any) -> None:
    content, number, path, _ = drawn
    after = attempt(content, edit((*path[:2], "added"), None, {"deep": new}, operation=Operation.ADD, document=number))
    if after is None:
        return
    values = documents.parse(after, F).values
    assert documents.same(values[1]["items"][path[1]].pop("added"), {"deep": new})
    assert documents.same(list(values), list(documents.parse(content, F).values))
    place = next((n for n, (one, other) in enumerate(zip(content, after, strict=False)) if one != other), len(content))
    assert after.endswith(content[place:])


@hypothesis.given(st.text("ab\n\r", max_size=12), st.text("ab\n\r", max_size=12))
@hypothesis.settings(deadline=None, derandomize=True)
def test_a_diff_counts_and_rebuilds_both_sides(one: str, other: str) -> None:
    before, after = {F: one.encode()}, {F: other.encode()}
    text = diff.render_diff(before, after)
    counted = diff.count_changes(before, after)
    if one == other:
        assert (text, counted) == ("", [])
        return
    body = text.split("\n")[2:]
    assert counted[0].added == sum(line.startswith("+") for line in body)
    assert counted[0].removed == sum(line.startswith("-") for line in body)
    rebuilt = _apply(text, one)
    assert rebuilt == other


def _apply(text: str, content: str) -> str:
    """Apply the added and context lines of a diff whose context covers the whole small file."""
    result: list[str] = []
    previous = ""
    for line in text.split("\n")[2:]:
        if line.startswith(("+", " ")):
            result.append(line[1:] + "\n")
        elif line.startswith("\\") and result and previous in "+ ":
            result[-1] = result[-1].removesuffix("\n")
        previous = line[:1]
    return "".join(result)


def test_a_new_file_is_marked_as_such() -> None:
    text = diff.render_diff({}, {"new.yaml": b"a: 1\n"})
    assert text == "--- /dev/null\n+++ b/new.yaml\n@@ -0,0 +1 @@\n+a: 1\n"
    assert diff.count_changes({}, {"new.yaml": b"a: 1\n"}) == [diff.FileChange(path="new.yaml", added=1, removed=0)]


def test_no_newline_at_the_end_is_said() -> None:
    text = diff.render_diff({F: b"a: 1"}, {F: b"a: 2"})
    assert text.endswith("-a: 1\n\\ No newline at end of file\n+a: 2\n\\ No newline at end of file\n")


LISTED = """\
apiVersion: v1
kind: List   # as kubectl get -o yaml writes it
items:
- kind: ConfigMap
  data: {a: b}
- kind: List
  items:
  - kind: Pod
    spec:
      image: x   # the first
---
kind: Service
"""


def test_what_a_list_holds_are_documents_of_their_own() -> None:
    parsed = documents.parse(LISTED.encode(), F)
    assert [value["kind"] for value in parsed.values] == ["ConfigMap", "Pod", "Service"]
    assert parsed.places == ((0, ("items", 0)), (0, ("items", 1, "items", 0)), (1, ()))
    after = change(LISTED, ("spec", "image"), "x", "y", document=1)
    assert after == LISTED.replace("image: x ", "image: y ")


def test_a_key_is_added_within_a_list() -> None:
    after = change(LISTED, ("spec", "added"), None, "z", operation=Operation.ADD, document=1)
    assert documents.parse(after.encode(), F).values[1]["spec"] == {"image": "x", "added": "z"}
    assert "# the first" in after


def test_a_document_is_added_behind_a_list() -> None:
    after = change(LISTED, (), None, {"kind": "Job"}, operation=Operation.ADD, document=3)
    assert after == LISTED + "---\nkind: Job\n"


@pytest.mark.parametrize(
    "text", ["kind: List\nitems: {}\n", "kind: List\n", "a: &x {items: [1]}\n---\nkind: List\n", "kind: PodTemplate\nitems: [1]\n"]
)
def test_what_only_looks_like_a_list_stays_whole(text: str) -> None:
    parsed = documents.parse(text.encode(), F)
    assert len(parsed.values) == text.count("---") + 1


def test_a_list_without_items_holds_nothing() -> None:
    assert documents.parse(b"kind: List\nitems: []\n", F).values == ()
