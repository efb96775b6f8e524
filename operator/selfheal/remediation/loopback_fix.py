"""A server that listens on 127.0.0.1 only: let it listen on every address, on the same port."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, Proposal

_LOCAL = re.compile(
    r"(?<![\w.:])(?:127\.0\.0\.1|localhost|\[::1\]|::1)(?=(?::\d{1,5})?(?:$|[\s\"']))"
)
_OPTION = re.compile(r"(?i)(?:bind|host|listen|addr)\w*$")
_PEER = re.compile(r"(?i)(?:db|database|redis|remote|upstream|proxy|broker|server|peer|target)")
"""In a name: the address is of somebody whom the program calls, not its own."""


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the one change; nothing where the source names the address not just once."""
    found = [*_words(draft), *_variables(draft)]
    if len(found) != 1:
        return
    name = draft.finding.container
    yield draft.propose(
        found[0],
        summary=f"Let {name} listen on every address, not on the loopback address only",
        risk="Medium",
        risk_reason=f"The {draft.finding.parameters['probe']} asks the pod's address, so the port "
        "is meant to be reached there; whoever reaches the pod reaches it from now on.",
        arithmetic=f"{found[0].old} -> {found[0].new}",
    )  # fmt: skip


def _words(draft: Draft) -> Iterator[Edit]:
    """Iterate over edits of words of the command line whose option names an address of its own."""
    for key in ("command", "args"):
        before = ""
        for index, word in enumerate(draft.look((*draft.container, key)) or ()):
            text = str(word)
            for match in _LOCAL.finditer(text):
                option = text[: match.start()].rstrip("= '\"").rpartition(" ")[2] or before
                if _is_own(option):
                    yield draft.set((*draft.container, key, index), _open(text, match), _WHY)
            before = text


def _variables(draft: Draft) -> Iterator[Edit]:
    for index, entry in enumerate(draft.look((*draft.container, "env")) or ()):
        text = str(entry.get("value") or "")
        match = _LOCAL.match(text)
        if match and _is_own(str(entry.get("name"))):
            path = (*draft.container, "env", index, "value")
            yield draft.set(path, _open(text, match), _WHY)


_WHY = "The probe asks the pod's address, where nobody listens."


def _is_own(option: str) -> bool:
    return bool(_OPTION.search(option)) and not _PEER.search(option)


def _open(text: str, match: re.Match[str]) -> str:
    wide = {"::1": "::", "[::1]": "[::]"}.get(match.group(), "0.0.0.0")  # noqa: S104 - what the fix is about
    return f"{text[: match.start()]}{wide}{text[match.end() :]}"
