"""The cluster from genuine binaries on this machine: up, down, status."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from hack.cluster import (
    api,
    binaries,
    cleanup,
    config,
    daemons,
    images,
    network,
    packages,
    processes,
    registry,
    ui,
)

_LONGEST_STATE_PATH = 70
"""Bytes: the kubelet's sockets under it must stay below the kernel's 107."""


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one `up` or `down` work on this machine at a time; the kernel frees it when its holder dies."""
    config.RUN.mkdir(parents=True, exist_ok=True)
    with config.LOCK_FILE.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            ui.say("another up or down is at work on this machine: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_alive(owner: processes.Owner | None) -> bool:
    """Whether the recorded cluster still serves: its API server runs, in this boot."""
    return (
        owner is not None
        and owner.boot == processes.boot_id()
        and processes.alive(owner.process("kube-apiserver"))
    )


def dead_processes(owner: processes.Owner) -> list[str]:
    """Names of the daemons that a whole cluster has and that do not run (an `up` may have been interrupted)."""
    names = (*daemons.STOP_ORDER, *daemons.LAST)
    return [name for name in names if not processes.alive(owner.process(name))]


def up() -> None:
    """Build what is missing, remove a dead cluster's remains, start; returns when the node is Ready."""
    if len(str(config.STATE)) > _LONGEST_STATE_PATH:
        raise ui.ClusterError(
            f"the path {config.STATE} is too long for the kubelet's sockets: clone elsewhere"
        )
    packages.ensure()
    binaries.build()
    images.ensure("core")
    with _lock():
        owner = processes.read_owner()
        if is_alive(owner):
            assert owner is not None
            if owner.clone != str(config.ROOT):
                gone = "" if Path(owner.clone).is_dir() else ", whose folder is gone"
                raise ui.ClusterError(
                    f"another cluster is alive on this machine, of the clone {owner.clone}{gone}: take it down there, "
                    "or here with: python3 -m hack.cluster down --any"
                )
            dead = dead_processes(owner)
            if not dead and config.MODE_FILE.exists():
                ui.say(f"already up; kubeconfig: {config.KUBECONFIG}")
                return
            why = ", ".join(dead) or "its start was interrupted"
            ui.say(f"this clone's cluster is not whole ({why}): starting afresh")
        _clear(owner)
        _check_ports()
        _start()


def _clear(owner: processes.Owner | None) -> None:
    remains = cleanup.leftovers()
    if owner is not None or remains:
        of = (
            ""
            if owner is None or owner.clone == str(config.ROOT)
            else f" (of the clone {owner.clone})"
        )
        ui.say(f"an earlier cluster died uncleanly{of}: removing {len(remains)} remains")
        cleanup.take_down(owner, Path(owner.state) if owner is not None else config.STATE)
    cleanup.take_down(None)


def _check_ports() -> None:
    for what, port in config.PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError as error:
                raise ui.ClusterError(
                    f"port {port}, needed by the cluster's {what}, is in use"
                ) from error


def _start() -> None:
    began = time.monotonic()
    config.STATE.mkdir(parents=True, exist_ok=True)
    for log in config.LOGS.glob("*.log"):
        log.unlink()
    config.LOGS.mkdir(parents=True, exist_ok=True)
    owner = processes.Owner(
        str(config.ROOT), str(config.STATE), processes.boot_id(), [], network.snapshot()
    )
    processes.write_owner(owner)
    ui.say("starting the control plane and the node ...")
    daemons.start(owner)
    kubectl = config.STATE / "kubectl"
    kubectl.unlink(missing_ok=True)
    kubectl.symlink_to(binaries.path("kubectl"))
    config.MODE_FILE.write_text("local\n")  # last: it says that the start came to its end
    ui.say(f"up in {time.monotonic() - began:.1f} s: node {config.NODE_NAME} is Ready")
    ui.say(f"use it: export KUBECONFIG={config.KUBECONFIG}; {kubectl} get pods -A")


def down(*, any_clone: bool = False) -> None:
    """Stop the cluster and remove all of it; another clone's only with `any_clone`. May be repeated."""
    with _lock():
        owner = processes.read_owner()
        if (
            owner is not None
            and owner.clone != str(config.ROOT)
            and is_alive(owner)
            and not any_clone
        ):
            ui.say(
                f"nothing to do: the cluster that runs here is of the clone {owner.clone} (--any takes it down)"
            )
            return
        began = time.monotonic()
        ui.say("taking the cluster down ...")
        if owner is not None and owner.clone != str(config.ROOT):
            cleanup.take_down(owner, Path(owner.state))
        cleanup.take_down(owner)
        remains = cleanup.leftovers()
        if remains:
            raise ui.ClusterError(f"left behind: {', '.join(remains)}")
        ui.say(
            f"down in {time.monotonic() - began:.1f} s, nothing left behind (logs stay in {config.LOGS})"
        )


def status() -> bool:
    """Print what runs; whether this clone's cluster is whole."""
    owner = processes.read_owner()
    if (
        owner is None
        or not any(processes.alive(p) for p in owner.processes)
        or owner.boot != processes.boot_id()
    ):
        ui.say("down")
        remains = cleanup.leftovers()
        if remains:
            shown = "; ".join(remains[:4]) + ("; ..." if len(remains) > 4 else "")
            ui.say(
                f"  {len(remains)} remains of a cluster that died uncleanly ({shown}): `up` or `down` removes them"
            )
        return False
    if owner.clone != str(config.ROOT):
        ui.say(f"down here; a cluster of the clone {owner.clone} is on this machine")
        return False
    for process in owner.processes:
        ui.say(
            f"  {process.name:<24} {'running' if processes.alive(process) else 'DEAD':<8} pid {process.pid}"
        )
    ready = api.Api().node_ready() if (config.PKI / "admin.crt").exists() else False
    answers = registries_answer()
    ui.say(f"  node {config.NODE_NAME:<19} {'Ready' if ready else 'NOT READY'}")
    for name, good in answers.items():
        ui.say(f"  {name:<24} {'answers' if good else 'DOES NOT ANSWER'}")
    ui.say(f"  kubeconfig               {config.KUBECONFIG}")
    ui.say(f"  kubectl                  {binaries.path('kubectl')}")
    ui.say(f"  containerd               {config.CONTAINERD_SOCKET} (ctr -a ... -n k8s.io)")
    finished = config.MODE_FILE.exists()
    whole = ready and finished and all(answers.values()) and not dead_processes(owner)
    ui.say("up" if whole else "not whole: `up` starts it afresh")
    return whole


def registries_answer() -> dict[str, bool]:
    """Each registry's address and whether it answers."""
    found = {}
    for _, address, _, auth in registry.SERVERS:
        host, _, port = address.partition(":")
        found[f"{address}{' (password)' if auth else ''}"] = registry.Client(
            host, int(port)
        ).ready()
    return found
