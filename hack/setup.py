"""Set-up of a clone: apt packages, the virtual environment, Node modules. Standard library only; resumable."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
READY = VENV / ".ready"
PYTHON = VENV / "bin" / "python"


def fail(sentence: str) -> None:
    print(f"set-up: {sentence}", file=sys.stderr)
    sys.exit(1)


def run(what: str, *command: str, cwd: pathlib.Path = ROOT) -> None:
    """Run a long command with its output in a log, and say what, and how long."""
    logs = ROOT / ".cluster" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{what.replace(' ', '-')}.log"
    started = time.monotonic()
    print(f"{what} …", flush=True)
    with log.open("w") as out:
        code = subprocess.run(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        print(log.read_text()[-2000:], file=sys.stderr)
        fail(f"{what} failed (exit {code}); the whole output is in {log}")
    print(f"{what}: done in {time.monotonic() - started:.0f} s", flush=True)


def check_tools() -> None:
    """Say in one line what is missing."""
    if sys.version_info < (3, 11):
        fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    for tool, why in (("go", "the local cluster is built from Go modules"), ("node", "sandbox GitHub"), ("npm", "sandbox GitHub")):
        if shutil.which(tool) is None:
            fail(f"{tool} is missing ({why}); install it and run the same command again")


def venv() -> None:
    """Create .venv with pinned dependencies; skipped when it is newer than what it is made from."""
    sources = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    if READY.exists() and all(READY.stat().st_mtime >= source.stat().st_mtime for source in sources):
        return
    if not PYTHON.exists():
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            run("install python3-venv", "apt-get", "install", "-y", "-q", "python3-venv")
        run("create virtual environment", sys.executable, "-m", "venv", str(VENV))
    run(
        "install Python packages", str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "-c", "constraints.txt", "-e", ".[dev]",
    )  # fmt: skip
    READY.touch()


def main() -> None:
    os.chdir(ROOT)
    check_tools()
    if "venv" in sys.argv[1:]:
        venv()


if __name__ == "__main__":
    main()
