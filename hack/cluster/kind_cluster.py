"""The cluster by kind, where a Docker engine answers. The pinned kind is built from kind/go.mod.

NOT RUN on the machine where this was written (it has no Docker engine): the kind program was built and its
configuration checked by eye only. The registries are containers of `registry:2`, connected to kind's network;
test images then come from the public registries themselves.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from pathlib import Path

from hack.cluster import binaries, config, current, ui

_CONFIG = config.HERE / "files" / "kind.yaml"
_REGISTRY_IMAGE = "docker.io/library/registry:2"
_REGISTRIES = (
    ("selfheal-registry", config.REGISTRY_PORT, False),
    ("selfheal-registry-auth", 5001, True),
)


def docker_answers() -> bool:
    """Whether a Docker engine answers (the client alone is not enough)."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _kind(*words: str, check: bool = True) -> str:
    return ui.run([binaries.path("kind", binaries.KIND), *words], check=check)


def _exists() -> bool:
    return config.KIND_CLUSTER in _kind("get", "clusters", check=False).split()


def up() -> None:
    """Create the cluster and the registries unless they are there."""
    if not docker_answers():
        raise ui.ClusterError("CLUSTER=kind, but no Docker engine answers (docker info)")
    binaries.build(binaries.KIND)
    config.STATE.mkdir(parents=True, exist_ok=True)
    if _exists():
        _kind(
            "export",
            "kubeconfig",
            "--name",
            config.KIND_CLUSTER,
            "--kubeconfig",
            str(config.KUBECONFIG),
        )
    else:
        with ui.step("kind creates the cluster"):
            _kind(
                "create", "cluster", "--name", config.KIND_CLUSTER, "--image", config.KIND_NODE_IMAGE,
                "--config", str(_CONFIG), "--kubeconfig", str(config.KUBECONFIG), "--wait", "180s",
            )  # fmt: skip
    _registries()
    config.MODE_FILE.write_text("kind\n")
    ui.say(f"up; kubeconfig: {config.KUBECONFIG}")


def _registries() -> None:
    """Run both registries on kind's network and tell the node's containerd their addresses."""
    for name, port, auth in _REGISTRIES:
        if not ui.run(["docker", "ps", "-q", "--filter", f"name=^{name}$"]).strip():
            ui.run(["docker", "rm", "-f", name], check=False)
            ui.run(["docker", "run", "-d", "--name", name, "--network", "kind", "-p", f"127.0.0.1:{port}:5000",
                    *(_auth_options() if auth else []), _REGISTRY_IMAGE])  # fmt: skip
        folder = f"/etc/containerd/certs.d/registry.local:{port}"
        toml = f'[host."http://{name}:5000"]\n  capabilities = ["pull", "resolve"]\n'
        for node in _kind("get", "nodes", "--name", config.KIND_CLUSTER).split():
            ui.run(["docker", "exec", node, "mkdir", "-p", folder])
            ui.run(
                ["docker", "exec", "-i", node, "cp", "/dev/stdin", f"{folder}/hosts.toml"],
                stdin=toml,
            )


def _auth_options() -> list[str]:
    if not config.PASSWORD_FILE.exists():
        config.PASSWORD_FILE.touch(mode=0o600)
        config.PASSWORD_FILE.write_text(secrets.token_urlsafe(18))
    line = ui.run(
        ["docker", "run", "--rm", "-i", "--entrypoint", "htpasswd", "docker.io/library/httpd:2",
         "-niB", config.REGISTRY_USER],
        stdin=config.PASSWORD_FILE.read_text(),
    )  # fmt: skip
    path = Path(config.STATE, "registry-htpasswd")
    path.write_text(line)
    return ["-v", f"{path}:/auth/htpasswd:ro", "-e", "REGISTRY_AUTH=htpasswd",
            "-e", "REGISTRY_AUTH_HTPASSWD_REALM=local", "-e", "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd"]  # fmt: skip


def down() -> None:
    """Delete the cluster and the registries."""
    if binaries.path("kind", binaries.KIND).exists() and docker_answers():
        _kind("delete", "cluster", "--name", config.KIND_CLUSTER)
        for name, _, _ in _REGISTRIES:
            ui.run(["docker", "rm", "-f", name], check=False)
    for path in (config.KUBECONFIG, config.MODE_FILE):
        path.unlink(missing_ok=True)
    ui.say("down")


def status() -> bool:
    """Print the containers and the nodes; whether the cluster answers."""
    if not docker_answers() or not binaries.path("kind", binaries.KIND).exists() or not _exists():
        ui.say("down")
        return False
    for line in ui.run(
        ["docker", "ps", "--filter", "network=kind", "--format", "{{json .}}"]
    ).splitlines():
        found = json.loads(line)
        ui.say(f"  {found['Names']:<32} {found['Status']}")
    return current.status()


def operator_image() -> None:
    """Build the project's Dockerfile with Docker and load it into the node."""
    with ui.step("docker builds the operator's image"):
        ui.run(
            ["docker", "build", "-t", config.OPERATOR_IMAGE, str(config.ROOT)],
            log=config.LOGS / "image.log",
        )
    with ui.step("kind loads it"):
        _kind("load", "docker-image", "--name", config.KIND_CLUSTER, config.OPERATOR_IMAGE)
