"""Trailers, hidden keys and the status block."""

from __future__ import annotations

import pytest

from selfheal.adapters.github import marks

KEY = "0a1b/1/PR_CREATION_IN_PROGRESS/1/branch"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Fix", f"Fix\n\nSelfheal-Effect: {KEY}\n"),
        ("Fix: it\n", f"Fix: it\n\nSelfheal-Effect: {KEY}\n"),
        ("Fix\n\nBecause of memory", f"Fix\n\nBecause of memory\n\nSelfheal-Effect: {KEY}\n"),
        (
            "Fix\n\nSigned-off-by: Ann <a@b>",
            f"Fix\n\nSigned-off-by: Ann <a@b>\nSelfheal-Effect: {KEY}\n",
        ),
    ],
)
def test_a_trailer_joins_other_trailers_and_is_read_again(message: str, expected: str) -> None:
    assert marks.with_trailer(message, KEY) == expected
    assert marks.trailer(expected) == KEY


@pytest.mark.parametrize(
    "message",
    [
        "Fix",
        "",
        f"Revert it\n\nThis quotes:\nSelfheal-Effect: {KEY}\n\nand goes on",
        f"Fix\n\n  Selfheal-Effect: {KEY}",
        "Fix\n\nSelfheal-Effect: two words",
    ],
)
def test_what_is_no_trailer_is_not_taken_for_one(message: str) -> None:
    assert marks.trailer(message) is None


def test_a_key_stands_once_at_the_end_of_the_body() -> None:
    body = marks.with_key("Text", KEY)
    assert body == f"Text\n\n<!-- selfheal-effect: {KEY} -->\n"
    assert marks.with_key(body, KEY) == body


def test_only_the_very_key_is_ours() -> None:
    body = marks.with_key("Text", KEY)
    assert marks.has_key(body, KEY)
    assert not marks.has_key(body, KEY[:-1])
    assert not marks.has_key(f"Text {KEY}", KEY)
    assert not marks.has_key(None, KEY)


def test_the_status_block_is_edited_in_place_and_nothing_else() -> None:
    first = marks.with_status(marks.with_key("A person's text", KEY), "**Phase:** one")
    edited = first.replace("A person's text", "Edited text") + "\nmore below"
    second = marks.with_status(edited, r"**Phase:** two \1")
    assert second == edited.replace("**Phase:** one", r"**Phase:** two \1")
    assert second.count("<!-- selfheal-status -->") == 1
    assert marks.has_key(second, KEY)


def test_the_status_block_comes_before_our_key_or_at_the_end() -> None:
    with_key = marks.with_status(marks.with_key("Text", KEY), "S")
    assert with_key.index("Text") < with_key.index("S\n<!-- /selfheal") < with_key.index(KEY)
    assert (
        marks.with_status("Text", "S")
        == "Text\n\n<!-- selfheal-status -->\nS\n<!-- /selfheal-status -->\n"
    )
    assert marks.with_status("", "S").startswith("<!-- selfheal-status -->")


def test_a_shown_status_is_known_also_with_the_line_ends_of_the_web_editor() -> None:
    body = marks.with_status("Text", "two\nlines")
    assert marks.shows_status(body, "two\nlines")
    assert marks.shows_status(body.replace("\n", "\r\n"), "two\nlines")
    assert not marks.shows_status(body, "two\nother lines")


def test_only_phase_labels_are_replaced() -> None:
    labels = frozenset({"selfheal", "selfheal-keep", "selfheal/PR_CREATED", "bug"})
    assert marks.with_phase(labels, "selfheal/PR_MERGED") == {
        "selfheal",
        "selfheal-keep",
        "bug",
        "selfheal/PR_MERGED",
    }


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Fix\n\nSigned-off-by: Ann B <a@b.c>\nSelfheal-Effect: k\n", {"name": "Ann B", "email": "a@b.c"}),
        ("Fix\n\nSigned-off-by: Ann <a@b.c>\n\nSelfheal-Effect: k\n", None),
        ("Signed-off-by: x <y>", {"name": "x", "email": "y"}),
        ("Fix\n\nSigned-off-by: nobody", None),
    ],
)
def test_who_signs_off(message: str, found: dict[str, str] | None) -> None:
    assert marks.signer(message) == found
