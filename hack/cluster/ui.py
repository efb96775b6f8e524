"""What a person sees on the terminal: one line a step, with how far and how long."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


class ClusterError(Exception):
    """Something that a person has to know: printed as one clear line, exit code 1."""


def say(text: str) -> None:
    """Print one line at once."""
    print(f"cluster: {text}", flush=True)


@contextlib.contextmanager
def step(what: str, *, every: float = 15.0) -> Iterator[None]:
    """Print `what` at its beginning, a sign of life every `every` seconds and its duration in seconds."""
    began = time.monotonic()
    finished = threading.Event()
    say(f"{what} ...")

    def tick() -> None:
        while not finished.wait(every):
            say(f"{what} ... {time.monotonic() - began:.0f} s")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        finished.set()
        ticker.join()
    say(f"{what}: done in {time.monotonic() - began:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    stdin: str | None = None,
) -> str:
    """Run a command and return its standard output; with `log`, both outputs go to that file instead.

    Raises `ClusterError` with the end of what the command said unless `check` is false.
    """
    words = [str(word) for word in command]
    full_env = {**os.environ, **(env or {})}
    try:
        if log is None:
            done = subprocess.run(
                words,
                input=stdin,
                text=True,
                capture_output=True,
                env=full_env,
                cwd=cwd,
                check=False,
            )
            said = done.stderr
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as sink:
                sink.write(f"$ {' '.join(words)}\n")
                sink.flush()
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    text=True,
                    stdout=sink,
                    stderr=sink,
                    env=full_env,
                    cwd=cwd,
                    check=False,
                )
            said = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-12:])
    except FileNotFoundError as error:
        raise ClusterError(f"the program {words[0]!r} is missing") from error
    if check and done.returncode != 0:
        where = f" (whole log: {log})" if log else ""
        raise ClusterError(
            f"{' '.join(words[:3])} failed with exit code {done.returncode}{where}:\n{said.strip()}"
        )
    return done.stdout or ""


def wait_for(
    what: str, condition: Callable[[], bool], *, seconds: float, every: float = 0.1
) -> None:
    """Poll until `condition()` is true; print a sign of life every 10 s; raise `ClusterError` after `seconds`."""
    began = said = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now - began > seconds:
            raise ClusterError(f"{what} did not happen within {seconds:.0f} s")
        if now - said > 10:
            said = now
            say(f"waiting for {what} ... {now - began:.0f} s of at most {seconds:.0f} s")
        time.sleep(every)


def complain(text: str) -> None:
    """Print an error line."""
    print(f"cluster: error: {text}", file=sys.stderr, flush=True)
