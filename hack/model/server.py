"""Runs the small model's server on the loopback interface and ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from hack.model import build

CONTEXT_TOKENS = 16_384
START_SECONDS = 60.0


@contextlib.contextmanager
def serving(*, host: str = "127.0.0.1", port: int = 0, temperature: float = 0.0, seed: int = 1) -> Iterator[str]:
    """Start the server, yield its base URL as the policy takes it, end it.

    A temperature of 0 gives the same answer to the same request; evals that count n of N runs raise it.
    """
    build.ensure()
    port = port or _free_port(host)
    command = [
        str(build.SERVER), "-m", str(build.MODEL), "--host", host, "--port", str(port), "-c", str(CONTEXT_TOKENS),
        "-t", str(os.cpu_count() or 2), "-np", "1", "--jinja", "--chat-template-file", str(build.TEMPLATE),
        "--alias", build.MODEL_NAME, "--temp", str(temperature), "--seed", str(seed), "--repeat-penalty", "1.1",
    ]  # fmt: skip
    log = build.FOLDER / "server.log"
    with log.open("w") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait(child, f"http://{host}:{port}/health", str(log))
        yield f"http://{host}:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait(20)


def _wait(child: subprocess.Popen[bytes], url: str, log: str) -> None:
    """Until the model is loaded: the server answers 503 before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise build.ModelError(f"the model's server ended with {child.returncode}; see {log}")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise build.ModelError(f"the model's server was not ready within {START_SECONDS:.0f} s; see {log}")


def _free_port(host: str) -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
