"""Installs mcp-atlassian in a virtual environment of its own in the user's cache. Resumable; a few processes may ask at once.

It cannot share ours: it wants mcp<2. All of its packages are pinned in requirements.txt.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "selfheal"


class InstallError(Exception):
    """It cannot be installed; the message says why."""


def folder() -> pathlib.Path:
    """Where the environment of exactly these requirements and this Python stands."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes())
    digest.update(f"{sys.version_info[:2]}".encode())
    return CACHE / "mcp-atlassian" / digest.hexdigest()[:16]


def program() -> pathlib.Path:
    """The command; it exists once ``ensure`` has returned."""
    return folder() / "venv" / "bin" / "mcp-atlassian"


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"{' '.join(words[:4])} failed: {(done.stderr or done.stdout).strip()[-800:]}")


def ensure() -> pathlib.Path:
    """Install it unless it is there, and return the command; InstallError says what is wrong."""
    target = folder()
    if (target / ".ready").exists():
        return program()
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / ".ready").exists():
            return program()
        started = time.monotonic()
        print("sandbox: pip installs mcp-atlassian in an environment of its own …", flush=True)
        shutil.rmtree(target / "venv", ignore_errors=True)  # half made
        _run(sys.executable, "-m", "venv", str(target / "venv"))
        python = str(target / "venv" / "bin" / "python")
        _run(
            python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "-r", str(REQUIREMENTS)
        )
        _run(python, "-m", "pip", "check")
        (target / ".ready").touch()
        print(f"sandbox: mcp-atlassian is there ({time.monotonic() - started:.0f} s)", flush=True)
    return program()


def main() -> int:
    try:
        ensure()
    except InstallError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
