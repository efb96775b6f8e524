"""Debian packages that the cluster needs, installed when missing without leaving their services running."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hack.cluster import config, ui

PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "/bin/busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "openssl": "openssl",
    "gcc": "gcc",
    "/usr/include/stdio.h": "libc6-dev",
    "mount": "mount",
    "unshare": "util-linux",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
"""A program (or file) -> the Debian package that brings it."""

_SERVICES = ("containerd", "docker-registry")
_POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """Packages whose program is not there."""
    return sorted({package for program, package in PROGRAMS.items() if not _there(program)})


def _there(program: str) -> bool:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return (
        Path(program).exists()
        if program.startswith("/")
        else shutil.which(program, path=path) is not None
    )


def ensure() -> None:
    """Install what is missing; may be repeated. Raises `ClusterError` naming what could not be had."""
    wanted = missing()
    if not wanted:
        return
    names = " ".join(wanted)
    if os.geteuid() != 0:
        raise ui.ClusterError(
            f"missing packages, and only root can install them: apt-get install {names}"
        )
    if shutil.which("apt-get") is None:
        raise ui.ClusterError(f"missing packages, and there is no apt-get here: install {names}")
    log = config.LOGS / "apt.log"
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with ui.step(f"installing {len(wanted)} Debian packages ({names})"), _no_services():
        # A source of something else that does not answer must not stop us: the install itself decides.
        ui.run(["apt-get", "update", "-q"], log=log, env=env, check=False)
        ui.run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted],
            log=log,
            env=env,
            check=False,
        )
    if missing():
        raise ui.ClusterError(
            f"missing, and apt-get could not install: {' '.join(missing())} (see {log})"
        )
    if Path("/run/systemd/system").is_dir():
        for service in set(_SERVICES) & set(wanted):
            ui.run(["systemctl", "disable", "--now", service], check=False)


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Forbid package scripts to start services meanwhile; a policy that somebody else set is kept."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(
        "#!/bin/sh\n# by selfheal's hack/cluster, for the time of one apt-get\nexit 101\n"
    )
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
