"""Flux in the local cluster: the real kustomize-controller, and a small stand-in for its source-controller.

The controller is built from its Go module (`hack/cluster/flux`) and runs beside the cluster with the CRDs of its own
release. The stand-in publishes a folder of the sandbox's repository as an artifact, as
https://fluxcd.io/flux/components/source/gitrepositories/#artifact says: a tar.gz over HTTP with its digest and revision.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from hack import world
from hack.cluster import binaries, ui
from hack.sandbox.github import client

CRDS = {
    "github.com/fluxcd/kustomize-controller@v1.9.5": None,  # in go.sum
    # its binary cannot be built from what registries serve; its kinds can be had
    "github.com/fluxcd/source-controller@v1.9.0": "h1:5msg2yyjVYDULZos+2ve8MZzcSqTpusiXmrOeBhc9yY=",
}
"""Modules with the kinds, and the checksum of what go.sum does not name."""
HOST = "172.30.0.1"
POLL = 0.5


def install_kinds() -> None:
    """Apply Flux's own CRDs from its modules; may be repeated."""
    for module, checksum in CRDS.items():
        found = json.loads(ui.run(["go", "mod", "download", "-json", module], cwd=binaries.FLUX.folder))
        if checksum not in (None, found["Sum"]):
            raise ui.ClusterError(f"{module} has the checksum {found['Sum']}, not {checksum}")
        folder = pathlib.Path(found["Dir"]) / "config" / "crd" / "bases"
        world.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    world.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")


@contextlib.contextmanager
def controller(namespace: str, log: pathlib.Path) -> Iterator[None]:
    """Run the kustomize-controller for one namespace; it ends with the context."""
    binaries.build(binaries.FLUX)
    words = [
        str(binaries.path("kustomize-controller", binaries.FLUX)), "--watch-all-namespaces=false", "--health-addr=127.0.0.1:0",
        "--metrics-addr=127.0.0.1:0", "--log-level=info", "--requeue-dependency=1s",
    ]  # fmt: skip
    env = {**os.environ, "KUBECONFIG": str(world.CLUSTER / "kubeconfig"), "RUNTIME_NAMESPACE": namespace}
    with log.open("w") as out:
        child = subprocess.Popen(words, stdout=out, stderr=out, env=env)
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of files, the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), 0o644
            archive.addfile(entry, io.BytesIO(files[path]))
    return packed.getvalue()


class Source:
    """Publishes a folder of the sandbox's repository, each new commit of the branch once."""

    def __init__(self, namespace: str, name: str, folder: str) -> None:
        self.namespace, self.name, self.folder = namespace, name, folder
        self.box = world.sandbox()
        self.artifacts: dict[str, bytes] = {}
        self.published = ""
        self.over = threading.Event()

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Serve artifacts and look at the branch until the context ends."""
        server = http.server.ThreadingHTTPServer((HOST, 0), self._handler())
        looking = threading.Thread(target=self._look, args=(server.server_address[1],))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        looking.start()
        try:
            yield
        finally:
            self.over.set()
            looking.join()
            server.shutdown()

    def _look(self, port: int) -> None:
        box = self.box
        while not self.over.wait(POLL):
            sha = client.head(box["github"], box["githubToken"], box["repository"], box["branch"])
            if sha != self.published:
                self.publish(sha, port)

    def publish(self, sha: str, port: int) -> None:
        """Pack the folder at a commit and name it in the GitRepository's status."""
        box = self.box
        files = client.read_tree(box["github"], box["githubToken"], box["repository"], sha, self.folder)
        packed = pack(files)
        digest = hashlib.sha256(packed).hexdigest()
        self.artifacts[f"/{sha}.tar.gz"] = packed
        status = render_status(sha, box["branch"], digest, f"http://{HOST}:{port}/{sha}.tar.gz")
        body = json.dumps({"status": status})
        world.kubectl(
            "-n", self.namespace, "patch", "gitrepository", self.name, "--subresource=status", "--type=merge", "-p", body
        )
        self.published = sha

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        artifacts = self.artifacts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                packed = artifacts.get(self.path)
                self.send_response(200 if packed is not None else 404)
                self.send_header("Content-Length", str(len(packed or b"")))
                self.end_headers()
                self.wfile.write(packed or b"")

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler


def render_status(sha: str, branch: str, digest: str, url: str) -> dict[str, Any]:
    """A GitRepository's status with an artifact, as source-controller v1.9 writes it."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    revision = f"{branch}@sha1:{sha}"
    return {
        "artifact": {
            "digest": f"sha256:{digest}", "lastUpdateTime": now, "path": url.rpartition("/")[2],
            "revision": revision, "size": 1, "url": url,
        },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "lastTransitionTime": now,
            "message": f"stored artifact for revision '{revision}'", "observedGeneration": 1,
        }],
        "observedGeneration": 1,
    }  # fmt: skip
