"""Marks that we leave in commits, pull requests and comments, to know our own again. Pure."""

from __future__ import annotations

import re

TRAILER = "Selfheal-Effect"
PHASE_LABEL = "selfheal/"

_TRAILER_LINE = re.compile(rf"^{TRAILER}: (\S+)\s*$")
_SIGN_OFF = re.compile(r"^Signed-off-by: (.+) <([^<>\s]+)>$")
_KEY_IN_BODY = re.compile(r"<!-- selfheal-effect: (\S+) -->")
_BEGIN, _END = "<!-- selfheal-status -->", "<!-- /selfheal-status -->"
_BLOCK = re.compile(re.escape(_BEGIN) + r".*?" + re.escape(_END), re.DOTALL)
_TRAILER_FORM = re.compile(r"[A-Za-z0-9-]+: .")


def with_trailer(message: str, key: str) -> str:
    """Return the commit message with our trailer, joined to trailers that it ends with already."""
    text = message.rstrip()
    last = text.rpartition("\n\n")[2].splitlines() if "\n\n" in text else []
    joined = bool(last) and all(_TRAILER_FORM.match(line) for line in last)
    return f"{text}{chr(10) if joined else chr(10) * 2}{TRAILER}: {key}\n"


def trailer(message: str) -> str | None:
    """Return the key of the trailer in the last paragraph of a commit message."""
    for line in reversed(message.rstrip().rpartition("\n\n")[2].splitlines()):
        found = _TRAILER_LINE.match(line)
        if found:
            return found.group(1)
    return None


def signer(message: str) -> dict[str, str] | None:
    """Return name and email of who signs a commit off in its last paragraph."""
    for line in reversed(message.rstrip().rpartition("\n\n")[2].splitlines()):
        found = _SIGN_OFF.match(line)
        if found:
            return {"name": found[1], "email": found[2]}
    return None


def with_key(body: str, key: str) -> str:
    """Return the body with the hidden key at its end."""
    return body if has_key(body, key) else f"{body.rstrip()}\n\n{key_comment(key)}\n"


def key_comment(key: str) -> str:
    """Return the hidden comment for a key."""
    return f"<!-- selfheal-effect: {key} -->"


def has_key(body: str | None, key: str) -> bool:
    """Return whether the body carries this very key; an empty key: any key of ours."""
    found = _KEY_IN_BODY.findall(body or "")
    return key in found if key else bool(found)


def with_status(body: str, block: str) -> str:
    """Return the body with the status block replaced in place, or put before our hidden key."""
    text = body.replace("\r\n", "\n")  # GitHub stores what its web editor sends
    piece = f"{_BEGIN}\n{block.strip()}\n{_END}"
    if _BLOCK.search(text):
        return _BLOCK.sub(lambda _: piece, text, count=1)
    key = _KEY_IN_BODY.search(text)
    if key:
        return f"{text[: key.start()].rstrip()}\n\n{piece}\n\n{text[key.start() :]}"
    return f"{text.rstrip()}\n\n{piece}\n".lstrip()


def shows_status(body: str, block: str) -> bool:
    """Return whether the body has this status block already."""
    return with_status(body, block) == body.replace("\r\n", "\n")


def with_phase(labels: frozenset[str], label: str) -> frozenset[str]:
    """Return the labels with every ``selfheal/…`` label replaced by this one."""
    return frozenset(name for name in labels if not name.startswith(PHASE_LABEL)) | {label}


def marked(body: str, marker: str) -> str:
    """Return a comment's body with its hidden marker."""
    return f"{body.rstrip()}\n\n{key_comment(marker)}\n"
