"""Starts and stops of the local cluster, clean and unclean.

They take the machine's cluster down, so they run only when SELFHEAL_CLUSTER_LIFECYCLE=1 says that nobody
else needs it meanwhile (a stage of its own in `make test`); the cluster is up again afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hack.cluster import cleanup, config, processes

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        os.environ.get("SELFHEAL_CLUSTER_LIFECYCLE") != "1",
        reason="takes the machine's cluster down: set SELFHEAL_CLUSTER_LIFECYCLE=1",
    ),
]


def command(*words: str, clone: Path = config.ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hack.cluster", *words],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )


def good(*words: str, clone: Path = config.ROOT) -> str:
    done = command(*words, clone=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_a_pod() -> None:
    kubectl = [str(config.STATE / "kubectl"), f"--kubeconfig={config.KUBECONFIG}"]
    subprocess.run([*kubectl, "run", "web", "--image=nginx"], check=True, capture_output=True)
    subprocess.run(
        [*kubectl, "wait", "pod/web", "--for=condition=Ready", "--timeout=120s"],
        check=True,
        capture_output=True,
    )


def kill_everything() -> None:
    """As after a power cut, but for the containers themselves: they lose daemons and shims."""
    owner = processes.read_owner()
    assert owner is not None
    for process in owner.processes:
        processes.send(process, signal.SIGKILL)
    for pid in cleanup.shims():
        os.kill(pid, signal.SIGKILL)


def traces() -> dict[str, object]:
    """What a cluster may leave on a machine."""
    mounts = Path("/proc/self/mountinfo").read_text()
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {
        "links": sorted(os.listdir("/sys/class/net")),
        "mounts": [m for m in mounts.splitlines() if "cluster" in m or "netns/cni-" in m],
        "rules": [r for r in rules.splitlines() if r.startswith("-A") or r.startswith(":KUBE")],
        "leftovers": cleanup.leftovers(),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


@pytest.fixture(scope="module")
def up_again_afterwards() -> Iterator[None]:
    yield
    good("up")


@pytest.fixture
def before(up_again_afterwards: None) -> Iterator[dict[str, object]]:
    good("down", "--any")
    yield traces()
    good("down", "--any")


def test_down_leaves_nothing_behind(before: dict[str, object]) -> None:
    began = time.monotonic()
    good("up")
    assert time.monotonic() - began < 15
    assert command("status").returncode == 0
    assert "already up" in good("up")
    run_a_pod()
    assert traces() != before
    good("down")
    assert traces() == before
    assert command("status").returncode == 3


def test_up_after_an_unclean_death(before: dict[str, object]) -> None:
    good("up")
    run_a_pod()
    kill_everything()
    assert cleanup.container_processes()
    assert command("status").returncode == 3
    assert "died uncleanly" in good("up")
    assert command("status").returncode == 0
    good("down")
    assert traces() == before


def test_another_clone(before: dict[str, object], tmp_path: Path) -> None:
    other = tmp_path / "c"
    shutil.copytree(config.ROOT / "hack", other / "hack")
    good("up")
    refused = command("up", clone=other)
    assert refused.returncode == 1
    assert str(config.ROOT) in refused.stderr
    assert "nothing to do" in good("down", clone=other)
    assert command("status").returncode == 0
    run_a_pod()
    kill_everything()
    assert "died uncleanly" in good("up", clone=other)
    assert command("status", clone=other).returncode == 0
    good("down", clone=other)
    assert traces() == before


def test_an_interrupted_start_is_begun_afresh(before: dict[str, object]) -> None:
    start = subprocess.Popen(
        [sys.executable, "-m", "hack.cluster", "up"], cwd=config.ROOT, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while "kube-apiserver" not in {
        p.name for p in getattr(processes.read_owner(), "processes", [])
    }:
        assert time.monotonic() < deadline
        assert start.poll() is None
    start.kill()
    start.wait()
    assert command("status").returncode == 3
    assert "afresh" in good("up")
    assert command("status").returncode == 0
