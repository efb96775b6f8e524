"""Code edits as search and replace, and what no such edit may do; deny by default. Pure.

A model writes them, so nothing that they say is believed: a hunk touches only files of the stack
trace, its search text stands there exactly once, the result parses, stays small, and brings nothing
in that hides the failure, weakens security, reaches out or runs other programs (incidents.md).
"""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import posixpath
import re
from collections.abc import Mapping, Sequence

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import code_python, code_syntax, code_temptations, diff, guards
from selfheal.remediation.edits import Refusal

MOST_HUNKS = 4
LONGEST = 20_000
"""Bytes of one search or replacement text."""


@dataclasses.dataclass(frozen=True)
class Hunk:
    """One replacement in one file; ``search`` is copied from it, whole lines or parts of them."""

    path: str
    search: str
    replace: str
    reason: str = ""


_TESTS = re.compile(r"(?:^|/)(?:tests?|__tests__|spec)/|(?:^|/)test_[^/]*$|[._](?:test|spec)\.\w+$")
_BUILD = (
    "Dockerfile", "Containerfile", "*.lock", "package.json", "package-lock.json", "go.mod",
    "go.sum", "pom.xml", "build.gradle*", "requirements*.txt", "pyproject.toml", "setup.py",
    "setup.cfg", "Makefile", "Jenkinsfile", "*.sh", ".env*",
)  # fmt: skip
"""Files that say how software is built and with what: a fix of code leaves them alone."""


def apply(
    hunks: Sequence[Hunk], *, files: Mapping[str, bytes], spec: GuardsSpec, path: str
) -> dict[str, bytes]:
    """Return the changed files; Refusal with the rule that is broken. May be repeated.

    ``files`` are those that may be edited, ``path`` the folder of the mapping.
    """
    if not 0 < len(hunks) <= MOST_HUNKS:
        raise Refusal("TooManyHunks", f"{len(hunks)} hunks; a fix has 1 to {MOST_HUNKS}.")
    edited = dict(files)
    for hunk in hunks:
        _check_path(hunk.path, files, spec, path)
        edited[hunk.path] = _replace(hunk, edited[hunk.path])
    changed = {name: text for name, text in edited.items() if text != files[name]}
    if not changed:
        raise Refusal("NothingChanged", "The hunks change nothing.")
    _check_size(changed, files, spec)
    for name, text in changed.items():
        check_content(name, files[name].decode(), text.decode())
    return changed


def _check_path(name: str, files: Mapping[str, bytes], spec: GuardsSpec, path: str) -> None:
    if name not in files:
        known = ", ".join(sorted(files))
        raise Refusal("OutsidePath", f"{name} is not one of the files of the trace ({known}).")
    guards.check_path(name, spec, path)
    base = posixpath.basename(name)
    if _TESTS.search(name):
        raise Refusal("TouchesTests", f"{name}: a fix changes what fails, not what tests it.")
    if any(fnmatch.fnmatchcase(base, pattern) for pattern in _BUILD):
        raise Refusal("ProtectedPath", f"{name} says how the software is built.")


def _replace(hunk: Hunk, content: bytes) -> bytes:
    """Replace the one place; line ends are those of the file, whatever the model wrote."""
    search, new = hunk.search.encode(), hunk.replace.encode()
    if b"\r\n" in content:
        search, new = (one.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for one in (search, new))
    if not search.strip() or max(len(search), len(new)) > LONGEST:
        raise Refusal("HunkNotFound", f"{hunk.path}: the search text is empty or far too long.")
    count = content.count(search)
    if count != 1:
        reason = "HunkAmbiguous" if count else "HunkNotFound"
        raise Refusal(reason, f"{hunk.path}: the search text stands there {count} times, not once.")
    return content.replace(search, new)


def _check_size(changed: Mapping[str, bytes], files: Mapping[str, bytes], spec: GuardsSpec) -> None:
    counts = diff.count_changes(files, changed)
    if len(counts) > spec.max_files:
        raise Refusal("TooManyFiles", f"{len(counts)} files; guards.maxFiles is {spec.max_files}.")
    lines = sum(entry.added + entry.removed for entry in counts)
    if lines > spec.max_lines:
        raise Refusal("TooManyLines", f"{lines} lines; guards.maxLines is {spec.max_lines}.")


def check_content(name: str, before: str, after: str) -> None:
    """Raise Refusal for what a changed file of code may not have become; pure."""
    brought = code_temptations.find(before, after)
    if brought is not None:
        raise Refusal(brought[0], f"{name}: {brought[1]}.")
    problem = code_syntax.find_problem(name, after)
    if problem and not code_syntax.find_problem(name, before):
        raise Refusal("DoesNotParse", f"{name}: {problem}")
    lost = code_syntax.list_definitions(name, before) - code_syntax.list_definitions(name, after)
    if lost:
        raise Refusal("RemovesCode", f"{name}: {', '.join(sorted(lost))} would be gone.")
    added = code_syntax.list_imports(name, after) - code_syntax.list_imports(name, before)
    foreign = sorted(one for one in added if not code_syntax.is_standard(name, one))
    if foreign:
        raise Refusal("AddsDependency", f"{name}: it needs {', '.join(foreign)}, which is new.")
    if name.endswith(".py") and not problem and not code_syntax.find_problem(name, before):
        done = code_python.find(before, after)
        if done is not None:
            raise Refusal(done[0], f"{name}: {done[1]}.")
    if _only_comments(name, before, after):
        raise Refusal("NothingChanged", f"{name}: only comments or spaces change.")


def _only_comments(name: str, before: str, after: str) -> bool:
    if not name.endswith(".py") or code_syntax.find_problem(name, before):
        return False
    return ast.dump(ast.parse(before)) == ast.dump(ast.parse(after))
