"""From a frame of a stack trace to the file of the repository. Pure; nothing is guessed."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Mapping, Sequence

from selfheal.diagnosis.traces import Frame, Trace
from selfheal.remediation.edits import Refusal
from selfheal.remediation.rendering import is_below

AROUND = 60
"""Lines before and after the failing one that a model is shown."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A file of the repository and the line (from 1) at which a frame stands."""

    file: str
    line: int
    function: str = ""


def find_places(trace: Trace, files: Mapping[str, bytes], path: str) -> list[Place]:
    """Return the application's own frames as places below a folder, where it was raised first.

    Refusal ``CodeNotFound`` where no frame is of a file of the folder, ``CodeAmbiguous`` with the
    candidates where two files fit the frame that it was raised in equally.
    """
    known = [name for name in files if is_below(name, path)]
    places: list[Place] = []
    for frame in trace.frames:
        if frame.is_library:
            continue
        found = _match(frame, known)
        if len(found) > 1 and not places:
            raise Refusal(
                "CodeAmbiguous",
                f"{frame.path} may be any of {', '.join(sorted(found))}: say in the policy which "
                "folder the image is built from (code.repositories[].application.path).",
            )
        if len(found) == 1 and _has_line(files[found[0]], frame.line):
            places.append(Place(found[0], frame.line, frame.function))
    if not places:
        named = ", ".join(frame.path for frame in trace.frames[:3])
        raise Refusal(
            "CodeNotFound", f"No file below {path or '/'} is one of the trace's ({named})."
        )
    return list(dict.fromkeys(places))


def _match(frame: Frame, known: Sequence[str]) -> list[str]:
    """Return the files that share the longest end with a frame's path, at least the name."""
    wanted = frame.path.replace("\\", "/").split("/")
    best, found = 0, []
    for name in known:
        shared = 0
        for one, other in zip(reversed(name.split("/")), reversed(wanted), strict=False):
            if one != other:
                break
            shared += 1
        if shared > best:
            best, found = shared, [name]
        elif shared and shared == best:
            found.append(name)
    return found


def _has_line(content: bytes, line: int) -> bool:
    return 0 < line <= content.count(b"\n") + 1


def render_excerpt(content: bytes, line: int) -> str:
    """Return numbered lines around a place, for the reader of a prompt or a ticket."""
    lines = content.decode("utf-8", "replace").splitlines()
    first = max(1, line - AROUND)
    return "\n".join(
        f"{number:>5}{'>' if number == line else ' '} {text}"
        for number, text in enumerate(lines[first - 1 : line + AROUND], start=first)
    )


def choose_files(
    places: Sequence[Place], files: Mapping[str, bytes], *, most: int
) -> dict[str, bytes]:
    """Return the files that an edit may touch: those of the trace, the raising one first."""
    names = list(dict.fromkeys(place.file for place in places))[:most]
    return {posixpath.normpath(name): files[name] for name in names}
