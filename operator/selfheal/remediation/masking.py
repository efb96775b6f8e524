"""Templates as YAML: what they compute is masked, so that what they say literally can be edited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from selfheal.remediation import documents, editing
from selfheal.remediation.edits import Edit, Operation, Refusal
from selfheal.remediation.intents import Named, Step

_EXPRESSION = re.compile(r"\{\{[^\n]*?\}\}")
_TOKEN = re.compile(r"selfhealmask[0-9]{4}x")
_LINE = "#selfhealline"
_KEYWORD = re.compile(r"\{\{-?\s*(if|with|range|define|block|end)\b")


def mask(text: str) -> tuple[str, dict[str, str]] | None:
    """Return a template with a word for each expression, and what the words stand for.

    A line of expressions only becomes a comment. None where an expression spans lines.
    """
    originals: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        token = f"selfhealmask{len(originals):04}x"
        originals[token] = found[0]
        return token

    lines = []
    for line in text.split("\n"):
        alone = not _EXPRESSION.sub("", line).strip() and "{{" in line
        masked = _EXPRESSION.sub(replace, line)
        lines.append(f"{_LINE}{masked}" if alone else masked)
    whole = "\n".join(lines)
    return None if "{{" in whole or "selfheal" in text else (whole, originals)


def unmask(text: str, originals: Mapping[str, str]) -> str:
    """Return a masked template with its expressions in their places again."""
    return _TOKEN.sub(lambda found: originals[found[0]], text.replace(_LINE, ""))


def is_computed(value: Any) -> bool:
    """Tell whether a loaded value of a masked template holds an expression."""
    return _TOKEN.search(repr(value)) is not None


def load(content: bytes, name: str) -> tuple[Any, ...]:
    """Return the documents of a masked template; none where it is no YAML even so."""
    masked = mask(content.decode("utf-8", errors="replace"))
    try:
        return documents.parse(masked[0].encode(), name).values if masked else ()
    except Refusal:
        return ()


def edit_template(content: bytes, edit: Edit) -> bytes:
    """Edit what a template says literally; Refusal where that is computed or in another form."""
    masked = mask(content.decode())
    if masked is None or is_computed(edit.old) or "{{" in repr(edit.new):
        raise Refusal("EditImpossible", f"{edit.file} computes this value.")
    text, originals = masked
    changed = editing.apply_edit(text.encode(), edit).decode()
    if edit.operation is Operation.ADD:
        changed = _leave_blocks(text, changed, originals, edit)
    return unmask(changed, originals).encode()


def _leave_blocks(before: str, after: str, originals: Mapping[str, str], edit: Edit) -> str:
    """Move added lines out of the ``if`` or ``with`` at whose end they stand; Refusal if they stay.

    An addition belongs to its mapping, so it has to depend on what that depends on, and no more.
    """
    old, new = before.split("\n"), after.split("\n")
    first = next(number for number, line in enumerate(new) if old[number : number + 1] != [line])
    added = new[first : first + len(new) - len(old)]
    depths = _depths(unmask(before, originals))
    root = documents.parse(before.encode(), edit.file).nodes[edit.document]
    mapping = documents.find_node(root, edit.path[:-1])
    wanted = depths[mapping.start_mark.line if mapping else 0]
    place = first
    while place < len(old) and depths[place] != wanted and old[place].startswith(_LINE):
        place += 1
    if depths[place] != wanted:
        raise Refusal("EditImpossible", f"{edit.file}: an addition would stand inside a condition.")
    return "\n".join([*old[:place], *added, *old[place:]]) if place != first else after


def _depths(text: str) -> list[int]:
    """Return before each line, and at the end, how many blocks of the template are open."""
    depths = [0]
    for line in text.split("\n"):
        words = [found[1] for found in _KEYWORD.finditer(line)]
        opened = sum(word != "end" for word in words)
        depths.append(depths[-1] + opened - (len(words) - opened))
    return depths


def with_names(value: Any, path: tuple[Step, ...]) -> Any:
    """Return a document in which a list's only entry is named as wanted where it computes that."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping) and isinstance(step, str) and step in value:
        return {**value, step: with_names(value[step], rest)}
    if isinstance(value, list) and isinstance(step, Named) and len(value) == 1:
        (entry,) = value
        if isinstance(entry, Mapping) and is_computed(entry.get("name")):
            entry = {**entry, "name": step.name}
        return [with_names(entry, rest)]
    return value
