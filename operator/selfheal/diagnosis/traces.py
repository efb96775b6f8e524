"""Stack traces in logs, of Python, Java, Node and Go: where a program died. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator

MOST = 60
"""Frames of one trace that are read; a recursion has thousands."""

_PYTHON = "Traceback (most recent call last):"
_PYTHON_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+)(?:, in (\S+))?')
_PYTHON_ERROR = re.compile(r"^(?:(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Z]\w*[a-z]\w*)(?::\s.*)?$")
_STRAY = 3
"""Lines of standard output that a container's runtime may put between those of a trace."""
_JAVA_ERROR = re.compile(
    r'^(?:Exception in thread "[^"]*" |Caused by: )?((?:[a-z_]\w*\.)+[A-Z]\w*(?::.*)?)$'
)
_JAVA_FRAME = re.compile(
    r"^\s+at ((?:[\w$]+\.)+)([\w$<>]+)\(([\w$]+\.(?:java|kt|scala|groovy)):(\d+)\)"
)
_NODE_ERROR = re.compile(r"^(?:Uncaught )?((?:[A-Z]\w*)?Error(?: \[\w+\])?(?::.*)?)$")
_NODE_FRAME = re.compile(r"^\s+at (?:(?:async )?(\S.*?) \()?(?:file://)?(/[^():]+):(\d+):\d+\)?$")
_GO_ERROR = re.compile(r"^(panic: .*|fatal error: .*)$")
_GO_FRAME = re.compile(r"^\t(\S+\.go):(\d+)(?: \+0x[0-9a-f]+)?$")
_LIBRARY = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|node_modules|vendor|pkg/mod)/|^node:|/lib/python\d|"
    r"/usr/(?:local/)?go/src/|^(?:java|javax|jdk|sun|kotlin|scala|org/springframework|"
    r"org/apache)/|^<"
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One call of a trace; ``path`` as the program has it (of Java, the package's folder)."""

    path: str
    line: int
    function: str = ""

    @property
    def is_library(self) -> bool:
        """Whether the file belongs to a library or the language, not to the application."""
        return bool(_LIBRARY.search(self.path))


@dataclasses.dataclass(frozen=True)
class Trace:
    """A stack trace: the error and its frames, where it was raised first."""

    language: str
    error: str
    frames: tuple[Frame, ...]


def find(text: str) -> Trace | None:
    """Return the last trace of a log; of chained ones the error that ended the program."""
    found: Trace | None = None
    lines = [line.rstrip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        for read in _READERS:
            trace = read(lines, number, line)
            if trace is not None and trace.frames:
                found = trace
    return found


def _python(lines: list[str], number: int, line: str) -> Trace | None:
    if not line.strip().endswith(_PYTHON):
        return None
    frames: list[Frame] = []
    stray = 0
    for text in lines[number + 1 :]:
        match = _PYTHON_FRAME.match(text)
        if match:
            frames.append(Frame(match[1], int(match[2]), match[3] or ""))
        elif not text.startswith((" ", "\t")) and _PYTHON_ERROR.match(text):
            return Trace("Python", text, tuple(reversed(frames[-MOST:])))
        elif text and not text.startswith((" ", "\t")):
            stray += 1
            if stray > _STRAY:
                return None
    return None  # cut off: what was raised is not known


def _java(lines: list[str], number: int, line: str) -> Trace | None:
    error = _JAVA_ERROR.match(line)
    if error is None:
        return None
    frames = []
    for match in _matches(lines[number + 1 :], _JAVA_FRAME, skip=r"^\s+\.\.\. \d+ more$"):
        folder = "/".join(match[1].rstrip(".").split(".")[:-1])
        frames.append(Frame(f"{folder}/{match[3]}", int(match[4]), match[2]))
    return Trace("Java", error[1], tuple(frames))


def _node(lines: list[str], number: int, line: str) -> Trace | None:
    error = _NODE_ERROR.match(line)
    if error is None:
        return None
    found = _matches(lines[number + 1 :], _NODE_FRAME, skip=r"^\s+at |^\s+\[cause\]|^\s*\w+: ")
    frames = [Frame(match[2], int(match[3]), match[1] or "") for match in found]
    return Trace("Node", error[1], tuple(frames))


def _go(lines: list[str], number: int, line: str) -> Trace | None:
    error = _GO_ERROR.match(line)
    if error is None:
        return None
    found = _matches(lines[number + 1 :], _GO_FRAME, skip=r"^$|^\[|^goroutine |^\S.*\)$|^\S")
    frames = [Frame(match[1], int(match[2])) for match in found]
    return Trace("Go", error[1], tuple(frames))


def _matches(lines: list[str], pattern: re.Pattern[str], *, skip: str) -> Iterator[re.Match[str]]:
    """Iterate over the frames that follow each other; lines that match ``skip`` lie between."""
    left = MOST
    for line in lines:
        match = pattern.match(line)
        if match:
            yield match
            left -= 1
        elif not re.match(skip, line):
            return
        if not left:
            return


_READERS: tuple[Callable[[list[str], int, str], Trace | None], ...] = (_python, _java, _node, _go)
