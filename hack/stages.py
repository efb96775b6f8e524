"""`make test`, `make test-all` and `make demo`: stages in order, with progress, times and a table at the end.

Standard library only. What later stages need is built in the background of earlier ones. A stage that fails ends the run;
its output and, for end-to-end tests, the state of the world are printed.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BIN = ROOT / ".venv" / "bin"
LOGS = ROOT / ".cluster" / "logs"


@dataclasses.dataclass
class Stage:
    """One stage: a name, a command, and whether it is shown as it runs."""

    name: str
    command: list[str]
    env: dict[str, str] = dataclasses.field(default_factory=dict)


def py(*words: str) -> list[str]:
    return [str(BIN / "python"), *words]


def host(*words: str) -> list[str]:
    return [sys.executable, *words]


PREPARE = Stage("prepare", host("hack/setup.py", "venv"))
CHECK = Stage("check", ["make", "-s", "check"])
UNIT = Stage(
    "unit, scenario and handler tests",
    [
        str(BIN / "pytest"), "-q", "-n", "2", "--dist", "worksteal",
        "tests/unit", "tests/scenario", "tests/handlers", "tests/evals",
        "--cov=selfheal.api", "--cov=selfheal.domain", "--cov=selfheal.diagnosis",
        "--cov=selfheal.remediation", "--cov=selfheal.verification", "--cov-branch",
        "--cov-report=term:skip-covered", "--cov-fail-under=100",
    ],
)  # fmt: skip
SANDBOX = Stage("install sandbox (node modules)", py("-m", "hack.sandbox.github.install"))
MCP = Stage("install mcp-atlassian", py("-m", "hack.mcp_atlassian.install"))
CONTRACT = Stage("contract tests", [str(BIN / "pytest"), "-q", "tests/contract", "-m", "not e2e"])
CLUSTER = Stage("local cluster", host("-m", "hack.cluster", "up"))
IMAGE = Stage("operator image", host("-m", "hack.cluster", "operator-image"))
E2E = Stage("end-to-end tests", [str(BIN / "pytest"), "-q", "tests/contract", "tests/e2e", "-m", "e2e"])
FAULTS = Stage(
    "the whole fault library",
    [str(BIN / "pytest"), "-q", "tests/e2e/test_faults.py", "tests/contract/test_sources_library.py"],
    {"SELFHEAL_FAULTS": "all", "SELFHEAL_SOURCES_EVERY": "1"},
)
FIXES = Stage(
    "every fix of the fault library",
    [str(BIN / "pytest"), "-q", "tests/e2e/test_fixes.py"],
    {"SELFHEAL_FIXES": "all"},
)
LIFECYCLE = Stage(
    "cluster's own life",
    [str(BIN / "pytest"), "-q", "tests/e2e/cluster"],
    {"SELFHEAL_CLUSTER_LIFECYCLE": "1"},
)
SANDBOX_UP = Stage("sandbox", py("-m", "hack.sandbox", "up"))
DEMO = Stage("demo", py("hack/demo.py"))

PLANS = {
    "test": [PREPARE, CHECK, UNIT, SANDBOX, MCP, CONTRACT, CLUSTER, IMAGE, SANDBOX_UP, E2E],
    "test-all": [PREPARE, CHECK, UNIT, SANDBOX, MCP, CONTRACT, LIFECYCLE, CLUSTER, IMAGE, SANDBOX_UP, E2E, FAULTS, FIXES],
    "demo": [PREPARE, SANDBOX, CLUSTER, IMAGE, SANDBOX_UP, DEMO],
}


def build_ahead() -> subprocess.Popen[bytes] | None:
    """Begin to build binaries and test images while quick stages run; `up` waits for its lock."""
    if os.environ.get("CLUSTER", "") in ("current", "kind"):
        return None
    LOGS.mkdir(parents=True, exist_ok=True)
    log = (LOGS / "build-ahead.log").open("wb")
    build = f"{sys.executable} -m hack.cluster build"
    script = f"{build} && {sys.executable} -m hack.cluster images && {build} --flux"
    return subprocess.Popen(
        ["nice", "-n", "10", "bash", "-c", script], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
    )


def main() -> int:
    plan = PLANS[sys.argv[1]]
    os.environ.setdefault("KUBECONFIG", str(ROOT / ".cluster" / "kubeconfig"))
    ahead: subprocess.Popen[bytes] | None = None
    rows: list[tuple[str, float, str]] = []
    code = 0
    for number, stage in enumerate(plan, start=1):
        if stage is CLUSTER and ahead is not None:
            rows.append(("builds that were not done in time", wait_for(ahead), "ok"))
        print(f"\n[{number}/{len(plan)}] {stage.name}", flush=True)
        started = time.monotonic()
        code = subprocess.run(stage.command, cwd=ROOT, env={**os.environ, **stage.env}, check=False).returncode
        rows.append((stage.name, time.monotonic() - started, "ok" if code == 0 else f"exit {code}"))
        if code:
            break
        if stage is PREPARE:
            ahead = build_ahead()
    if code and ahead is not None and ahead.poll() is None:
        ahead.terminate()
    show(rows)
    return code


def wait_for(ahead: subprocess.Popen[bytes]) -> float:
    """Say that the builds still run, every half minute, until they are done; return the seconds waited."""
    started = time.monotonic()
    while True:
        try:
            ahead.wait(timeout=30)
            return time.monotonic() - started
        except subprocess.TimeoutExpired:
            last = (LOGS / "build-ahead.log").read_text(errors="replace").strip().splitlines()[-1:]
            print(f"  builds go on, {time.monotonic() - started:.0f} s: {' '.join(last)[:120]}", flush=True)


def show(rows: list[tuple[str, float, str]]) -> None:
    """Print minutes a stage."""
    print("\nstage                                minutes  result")
    for name, seconds, result in rows:
        print(f"{name:<36} {seconds / 60:>7.1f}  {result}")
    print(f"{'total':<36} {sum(row[1] for row in rows) / 60:>7.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
