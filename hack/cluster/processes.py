"""Processes known by pid *and* start time, so that a recycled pid is never taken for ours; never by name."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from hack.cluster import config, ui


@dataclasses.dataclass(frozen=True)
class Process:
    """One process as recorded when it was started; `started` is field 22 of /proc/PID/stat."""

    name: str
    pid: int
    started: int


@dataclasses.dataclass
class Owner:
    """Which clone's cluster runs on this machine, with its processes in the order of their start."""

    clone: str
    state: str
    boot: str
    processes: list[Process]
    sysctls: dict[str, str]

    def process(self, name: str) -> Process | None:
        """The newest process of that name, if any was recorded."""
        return next((p for p in reversed(self.processes) if p.name == name), None)


def boot_id() -> str:
    """Identify this boot of the machine: pids of an earlier one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_owner() -> Owner | None:
    """Return the record left by the last `up` on this machine, or None."""
    try:
        raw = json.loads(config.OWNER_FILE.read_text())
        return Owner(
            clone=raw["clone"],
            state=raw["state"],
            boot=raw["boot"],
            processes=[Process(**p) for p in raw["processes"]],
            sysctls=raw.get("sysctls", {}),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ui.ClusterError(
            f"{config.OWNER_FILE} cannot be read ({error}): remove it if no cluster runs"
        ) from error


def write_owner(owner: Owner) -> None:
    """Replace the record atomically."""
    config.RUN.mkdir(parents=True, exist_ok=True)
    part = config.OWNER_FILE.with_suffix(".part")
    part.write_text(json.dumps(dataclasses.asdict(owner), indent=1))
    part.replace(config.OWNER_FILE)


def stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat from its third field (the state) on, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of the process; None when it is gone or a zombie."""
    fields = stat_fields(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def alive(process: Process | None) -> bool:
    """Whether exactly this process still runs."""
    return process is not None and start_time(process.pid) == process.started


def start(owner: Owner, name: str, command: Sequence[str | Path]) -> Process:
    """Start a daemon in a session of its own, its output in `logs/NAME.log`, and record it."""
    config.LOGS.mkdir(parents=True, exist_ok=True)
    with (config.LOGS / f"{name}.log").open("a") as log:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    process = Process(name, child.pid, start_time(child.pid) or 0)
    owner.processes.append(process)
    write_owner(owner)
    return process


def reap() -> None:
    """Collect children that ended, so that `alive` sees them gone."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def send(process: Process, number: signal.Signals) -> None:
    """Signal the process if it is still the recorded one."""
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def stop(processes: Iterable[Process | None], *, patience: float) -> None:
    """End the processes and wait until each is gone: TERM, after `patience` seconds KILL."""
    rest = [p for p in processes if p is not None and alive(p)]
    for process in rest:
        send(process, signal.SIGTERM)
    rest = _wait_gone(rest, patience)
    for process in rest:
        send(process, signal.SIGKILL)
    rest = _wait_gone(rest, 10)
    if rest:
        raise ui.ClusterError(
            f"{', '.join(p.name for p in rest)} cannot be ended (pid {rest[0].pid})"
        )


def _wait_gone(processes: list[Process], seconds: float) -> list[Process]:
    ends = time.monotonic() + seconds
    while processes and time.monotonic() < ends:
        reap()
        processes = [p for p in processes if alive(p)]
        if processes:
            time.sleep(0.05)
    return processes


def all_pids() -> list[int]:
    """Every process of the machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty when it is gone or a kernel thread."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def cgroups(pid: int) -> str:
    """The text of /proc/PID/cgroup; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
