"""What some faults need beside objects: an image behind a login, a disk small enough to be full."""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

from hack.cluster import config, registry
from tests.e2e.faults import library

LOGIN = "LOGIN-OF-ROBOT"
"""In the manifests: the Docker configuration with the authenticated registry's login."""

DISK = "/srv/small-disk"
"""In the manifests: the path of a disk of 16 MiB, another one for each who asks."""

IMAGE = ("library/busybox", "1.36")


@contextlib.contextmanager
def prepared(fault: library.Fault) -> Iterator[library.Fill]:
    """Make what the fault's manifests ask for; yields what fills a text's placeholders. Disks go at the end."""
    disks: list[pathlib.Path] = []

    def fill(text: str) -> str:
        if LOGIN in text:
            text = text.replace(LOGIN, _login())
        if DISK in text:
            disks.append(_mount())
            text = text.replace(DISK, str(disks[-1]))
        return text

    if LOGIN in fault.manifests:
        push_private()
    try:
        yield fill
    finally:
        for disk in disks:
            # lazily: the kubelet may still hold it
            subprocess.run(["umount", "-l", disk], check=False, capture_output=True)
            with contextlib.suppress(OSError):
                disk.rmdir()


def _login() -> str:
    password = config.PASSWORD_FILE.read_text().strip()
    word = base64.b64encode(f"{config.REGISTRY_USER}:{password}".encode()).decode()
    host = f"{config.NODE_IP}:{config.AUTH_REGISTRY_PORT}"
    return json.dumps({"auths": {host: {"username": config.REGISTRY_USER, "password": password, "auth": word}}})


def push_private() -> None:
    """Copy busybox to the authenticated registry; nothing happens where it is."""
    repository, tag = IMAGE
    private = registry.Client(
        config.NODE_IP, config.AUTH_REGISTRY_PORT, config.REGISTRY_USER, config.PASSWORD_FILE.read_text().strip()
    )
    if private.has("team/busybox", tag):
        return
    source = registry.Client("127.0.0.1", config.REGISTRY_PORT)
    manifest = source.manifest(repository, tag)
    for one in (manifest["config"], *manifest["layers"]):
        private.push_blob("team/busybox", source.blob(repository, one["digest"]), one["digest"])
    private.push_manifest("team/busybox", tag, json.dumps(manifest).encode(), manifest["mediaType"])


def _mount() -> pathlib.Path:
    disk = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-disk-"))
    disk.chmod(0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0777", "tmpfs", disk], check=True)
    return disk
