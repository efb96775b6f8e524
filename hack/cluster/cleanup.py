"""Taking a cluster down to nothing, whether it runs, died half-way or died with its clone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from hack.cluster import config, daemons, network, processes, ui

_KEPT = {"logs", "registry-password", "operator-image"}
_HOSTPATH = Path("/tmp/hostpath_pv")
_TASKS = config.CONTAINERD_STATE / "io.containerd.runtime.v2.task" / "k8s.io"
_CGROUPS = Path("/sys/fs/cgroup")
_CNI_RESULTS = Path("/var/lib/cni/results")
_EMPTY_WHEN_UNUSED = (
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",
)
"""Folders that CNI and the kubelet make at fixed places; removed only when nobody keeps anything in them."""


def take_down(owner: processes.Owner | None, state: Path = config.STATE) -> None:
    """End every process of the cluster and remove its containers, mounts, devices, rules and state.

    May be repeated, and after a kill at any moment: what is to be removed is found out, not remembered.
    """
    same_boot = owner is not None and owner.boot == processes.boot_id()
    recorded = owner.processes if owner is not None and same_boot else []
    for name in daemons.STOP_ORDER:
        # The API server would drain for a minute while a watch is open: everything of it is thrown away anyway.
        processes.stop(
            [p for p in recorded if p.name == name], patience=3 if name == "kube-apiserver" else 10
        )
    _end_containers()
    processes.stop([p for name in daemons.LAST for p in recorded if p.name == name], patience=10)
    processes.stop(recorded, patience=5)
    _unmount(state)
    _remove_log_links(state)
    _remove_network_namespaces()
    network.remove()
    if owner is not None and same_boot:
        network.restore(owner.sysctls)
    _remove_cgroups()
    _remove_state(state)


def shims() -> list[int]:
    """Pids of containerd's shims that serve our containerd: known by our socket among their arguments."""
    address = str(config.CONTAINERD_SOCKET)
    found = []
    for pid in processes.all_pids():
        words = processes.command_line(pid)
        if words and Path(words[0]).name.startswith("containerd-shim") and address in words:
            found.append(pid)
    return found


def container_processes() -> list[int]:
    """Pids inside containers of ours, also those that lost their shim: by the container's id in their cgroup."""
    ids = {entry.name for entry in _TASKS.iterdir()} if _TASKS.is_dir() else set()
    found = []
    for pid in processes.all_pids():
        groups = processes.cgroups(pid)
        if "/kubepods" in groups and any(
            line.rpartition("/")[2] in ids for line in groups.splitlines()
        ):
            found.append(pid)
    return found


def mounts(state: Path = config.STATE) -> list[str]:
    """Mount points under the cluster's folders, deepest first."""
    roots = (f"{state}/", f"{config.RUN}/")
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(roots):
            found.append(point)
    return sorted(found, key=len, reverse=True)


def leftovers(state: Path = config.STATE) -> list[str]:
    """Everything of a cluster that is still on this machine, named; empty after a clean `down`."""
    found = [f"shim {pid}" for pid in shims()] + [
        f"container process {pid}" for pid in container_processes()
    ]
    found += [f"mount {point}" for point in mounts(state)]
    found += [f"network namespace {path}" for path in pod_namespaces()]
    return found + network.leftovers()


def _end_containers() -> None:
    """Kill what runs in containers, then the shims; both again until nothing is left."""
    deadline = time.monotonic() + 20
    while True:
        inside, around = container_processes(), shims()
        if not inside and not around:
            return
        if time.monotonic() > deadline:
            raise ui.ClusterError(f"containers cannot be ended: pids {inside + around}")
        for pid in inside or around:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        processes.reap()
        time.sleep(0.1)


def _unmount(state: Path) -> None:
    for _ in range(5):  # several mounts may lie on one point
        points = mounts(state)
        if not points:
            return
        for point in points:
            ui.run(["umount", "-l", point], check=False)
    raise ui.ClusterError(f"cannot unmount {', '.join(mounts(state)[:3])}")


def pod_namespaces() -> list[Path]:
    """Network namespaces of our pods, from the cache that CNI keeps of its results by our network's name."""
    found = []
    for record in _CNI_RESULTS.glob(f"{config.CNI_NETWORK}-*"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            interfaces = json.loads(record.read_text())["result"]["interfaces"]
            paths = {
                Path(interface["sandbox"]) for interface in interfaces if interface.get("sandbox")
            }
            found += [path for path in paths if path.name.startswith("cni-") and path.exists()]
    return found


def _remove_network_namespaces() -> None:
    """Delete the namespaces of our pods and what CNI remembers of them, then the shims' sockets."""
    for path in pod_namespaces():
        ui.run(["umount", "-l", path], check=False)
        path.unlink(missing_ok=True)
    for record in _CNI_RESULTS.glob(f"{config.CNI_NETWORK}-*"):
        container = record.name.removeprefix(f"{config.CNI_NETWORK}-").partition("-")[0]
        (_CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        record.unlink(missing_ok=True)
    for bundle in _TASKS.iterdir() if _TASKS.is_dir() else []:
        with contextlib.suppress(OSError):
            address = (bundle / "address").read_text().strip().removeprefix("unix://")
            Path(address).unlink(missing_ok=True)
    _remove_dead_socket(Path("/var/lib/kubelet/device-plugins/kubelet.sock"))
    for folder in _EMPTY_WHEN_UNUSED:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _remove_dead_socket(path: Path) -> None:
    """Remove a socket that the kubelet made at a fixed place, unless somebody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


def _remove_cgroups() -> None:
    """Remove the empty tree /kubepods of every hierarchy; one in use by somebody else stays."""
    tops = [_CGROUPS / "kubepods", *_CGROUPS.glob("*/kubepods")]
    for top in tops:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _remove_log_links(state: Path) -> None:
    """Remove the kubelet's links in /var/log/containers that lead into our folder."""
    folder = Path("/var/log/containers")
    for link in folder.glob("*.log") if folder.is_dir() else []:
        if link.is_symlink() and os.readlink(link).startswith(str(state)):
            link.unlink()


def _remove_state(state: Path) -> None:
    for entry in state.iterdir() if state.is_dir() else []:
        if entry.name not in _KEPT:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    if _HOSTPATH.is_dir():
        shutil.rmtree(_HOSTPATH)
    for entry in config.RUN.iterdir() if config.RUN.is_dir() else []:
        if entry != config.LOCK_FILE:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
