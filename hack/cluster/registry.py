"""The local OCI registries (Debian's docker-registry) and a client that pushes to them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hack.cluster import config, ui

OPEN_DATA = config.CACHE / "registry"
"""Images of the open registry, shared by all clones: content-addressed, pushed once."""

AUTH_DATA = config.CACHE / "registry-auth"

SERVERS = (
    # The open one listens twice on the same data rather than on every address of the machine.
    ("registry", f"{config.NODE_IP}:{config.REGISTRY_PORT}", OPEN_DATA, False),
    ("registry-loopback", f"127.0.0.1:{config.REGISTRY_PORT}", OPEN_DATA, False),
    ("registry-auth", f"{config.NODE_IP}:{config.AUTH_REGISTRY_PORT}", AUTH_DATA, True),
)
"""Name, address, data folder, whether it asks for a password."""

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_ACCEPT = f"{_OCI_MANIFEST}, {_DOCKER_MANIFEST}, application/vnd.oci.image.index.v1+json"


def settings(address: str, data: Path, htpasswd: Path | None) -> dict[str, Any]:
    """A docker-registry configuration (JSON is YAML, too)."""
    found: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "cache": {"blobdescriptor": "inmemory"},
            "filesystem": {"rootdirectory": str(data)},
            "delete": {"enabled": True},
        },
        # The secret only signs upload sessions; two listeners on the same data need not share it.
        "http": {"addr": address, "secret": secrets.token_hex(16)},
    }
    if htpasswd is not None:
        found["auth"] = {"htpasswd": {"realm": "selfheal local registry", "path": str(htpasswd)}}
    return found


@contextlib.contextmanager
def serve() -> Iterator[Client]:
    """A private server on the open registry's data, for pushing whether or not a cluster is up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    OPEN_DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(settings(f"127.0.0.1:{port}", OPEN_DATA, None)))
        with Path(folder, "log").open("w") as log:
            server = subprocess.Popen(["docker-registry", "serve", path], stdout=log, stderr=log)
        client = Client("127.0.0.1", port)
        try:
            ui.wait_for("the registry's start", client.ready, seconds=20)
            yield client
        finally:
            server.terminate()
            server.wait()


class Client:
    """A registry client for the few calls needed; every call may be repeated."""

    def __init__(self, host: str, port: int, user: str = "", password: str = "") -> None:
        """Point the client at `host:port`, with basic authentication when a user is given."""
        self.address = f"{host}:{port}"
        self._host, self._port = host, port
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {word}"} if user else {}

    def _call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body=body, headers={**self._headers, **named})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether the server answers."""
        try:
            return self._call("GET", "/v2/")[0] in (200, 401)
        except OSError:
            return False

    def has(self, repository: str, tag: str) -> bool:
        """Whether the tag exists."""
        return self.digest(repository, tag) is not None

    def digest(self, repository: str, tag: str) -> str | None:
        """The manifest's digest, or None when there is no such tag."""
        status, headers, _ = self._call("HEAD", f"/v2/{repository}/manifests/{tag}", Accept=_ACCEPT)
        return headers.get("docker-content-digest") if status == 200 else None

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """The manifest of a tag or digest."""
        status, _, body = self._call(
            "GET", f"/v2/{repository}/manifests/{reference}", Accept=_ACCEPT
        )
        if status != 200:
            raise ui.ClusterError(
                f"{repository}:{reference} is not in the registry {self.address} ({status})"
            )
        found: dict[str, Any] = json.loads(body)
        return found

    def blob(self, repository: str, digest: str) -> bytes:
        """The content of a blob."""
        status, _, body = self._call("GET", f"/v2/{repository}/blobs/{digest}")
        if status != 200:
            raise ui.ClusterError(f"blob {digest} is not in {repository} ({status})")
        return body

    def push_blob(
        self, repository: str, content: Path | bytes, digest: str, *, mount_from: str = ""
    ) -> None:
        """Upload a blob unless it is there; `mount_from` names a repository that may have it already."""
        if self._call("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return
        query = (
            f"?mount={digest}&from={urllib.parse.quote(mount_from, safe='')}" if mount_from else ""
        )
        status, headers, text = self._call("POST", f"/v2/{repository}/blobs/uploads/{query}")
        if status == 201:
            return
        if status != 202:
            raise ui.ClusterError(
                f"the registry refused an upload to {repository}: {status} {text[:200]!r}"
            )
        where = urllib.parse.urlsplit(headers["location"])
        path = (
            f"{where.path}?{where.query}&digest={digest}"
            if where.query
            else f"{where.path}?digest={digest}"
        )
        with contextlib.ExitStack() as stack:
            body = (
                content if isinstance(content, bytes) else stack.enter_context(content.open("rb"))
            )
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            status, _, text = self._call(
                "PUT", path, body, Content_Length=str(size), Content_Type="application/octet-stream"
            )
        if status != 201:
            raise ui.ClusterError(
                f"the registry refused a blob of {repository}: {status} {text[:200]!r}"
            )

    def push_manifest(
        self, repository: str, tag: str, manifest: bytes, kind: str = _OCI_MANIFEST
    ) -> None:
        """Set a tag to a manifest whose blobs are there."""
        status, _, text = self._call(
            "PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=kind
        )
        if status != 201:
            raise ui.ClusterError(
                f"the registry refused {repository}:{tag}: {status} {text[:200]!r}"
            )

    def push_image(
        self, names: list[tuple[str, str]], layers: list[tuple[Path | None, str, int]], settings_of: dict[str, Any],
        *, home: str,
    ) -> None:  # fmt: skip
        """Push one image under several (repository, tag) names.

        `layers` are uncompressed tars as (file, digest, size); a file of None must already be in the
        repository `home`, from where every blob is mounted.
        """
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": settings_of,
            "rootfs": {"type": "layers", "diff_ids": [digest for _, digest, _ in layers]},
            "history": [{"created_by": "selfheal hack/cluster"} for _ in layers],
        }
        blob = json.dumps(image, sort_keys=True).encode()
        blob_digest = sha256(blob)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _OCI_MANIFEST,
                "config": _descriptor(
                    "application/vnd.oci.image.config.v1+json", blob_digest, len(blob)
                ),
                "layers": [
                    _descriptor("application/vnd.oci.image.layer.v1.tar", digest, size)
                    for _, digest, size in layers
                ],
            }
        ).encode()
        for repository, tag in names:
            for file, digest, _ in layers:
                self.push_blob(repository, file or b"", digest, mount_from=home)
            self.push_blob(repository, blob, blob_digest)
            self.push_manifest(repository, tag, manifest)


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


def sha256(content: bytes | Path) -> str:
    """The content's digest as registries write it."""
    if isinstance(content, bytes):
        return f"sha256:{hashlib.sha256(content).hexdigest()}"
    with content.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def split_name(image: str) -> tuple[str, str]:
    """`docker.io/library/nginx:1.27` -> (`library/nginx`, `1.27`): the name behind a mirror."""
    path, _, tag = image.partition("/")[2].rpartition(":")
    return path, tag
