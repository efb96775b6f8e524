"""Processes of the sandbox: started once, known by pid and start time, ended only if they are ours."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence


def _start_time(pid: int) -> str | None:
    """The kernel's start time of a process: a pid alone may have been reused."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def log_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    return folder / f"{name}.log"


def tail(name: str, folder: pathlib.Path, size: int = 2000) -> str:
    path = log_of(name, folder)
    return path.read_text(errors="replace")[-size:] if path.exists() else ""


def _record(name: str, folder: pathlib.Path) -> tuple[int, str] | None:
    try:
        known = json.loads((folder / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None
    return known["pid"], known["start"]


def alive(name: str, folder: pathlib.Path) -> bool:
    known = _record(name, folder)
    return known is not None and _start_time(known[0]) == known[1]


def ensure(
    name: str, command: Sequence[str], *, folder: pathlib.Path, cwd: pathlib.Path, env: Mapping[str, str]
) -> None:
    """Start a process unless it runs already."""
    if alive(name, folder):
        return
    with log_of(name, folder).open("ab") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    start = _start_time(process.pid)
    (folder / f"{name}.pid").write_text(json.dumps({"pid": process.pid, "start": start}))


def stop(name: str, folder: pathlib.Path) -> None:
    """End a process that we started, with its children (its own session), and wait until it is gone."""
    known = _record(name, folder)
    if known is not None and _start_time(known[0]) == known[1]:
        for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            os.killpg(known[0], number)
            deadline = time.monotonic() + patience
            while _start_time(known[0]) is not None and time.monotonic() < deadline:
                time.sleep(0.05)
            if _start_time(known[0]) is None:
                break
    (folder / f"{name}.pid").unlink(missing_ok=True)
