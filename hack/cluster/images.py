"""Images for tests and bases for builds, made here without Docker and pushed under their public names."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from hack.cluster import config, registry, rootfs, ui

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORMAT = 1
"""Raise it when the code here or in rootfs.py changes what an image holds."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an image is made: by a rootfs function or from packages on the Debian base, and its names."""

    names: tuple[str, ...]
    settings: dict[str, Any]
    packages: tuple[str, ...] = ()
    script: str = ""
    tree: str = ""
    """`pause`, `busybox`, `go`: made by the function of that name in rootfs.py."""

    def key(self) -> str:
        """A hash of everything that decides the content."""
        what = json.dumps(
            [_FORMAT, dataclasses.asdict(self), rootfs.version(self.tree)], sort_keys=True
        )
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def _library(name: str, *tags: str) -> tuple[str, ...]:
    return tuple(f"docker.io/library/{name}:{tag}" for tag in tags)


RECIPES = {
    "pause": Recipe((config.PAUSE_IMAGE,), {"Entrypoint": ["/pause"]}, tree="pause"),
    "busybox": Recipe(
        _library("busybox", "latest", "1.36", "1.36.1", "1.37", "stable")
        + _library("alpine", "latest", "3", "3.18", "3.19", "3.20"),
        {"Env": [_PATH], "Cmd": ["sh"]},
        tree="busybox",
    ),
    "debian": Recipe(
        _library("debian", "latest", "12", "12-slim", "bookworm", "bookworm-slim", "stable-slim")
        + _library("ubuntu", "latest", "22.04", "24.04"),
        {"Env": [_PATH], "Cmd": ["bash"]},
        packages=("curl", "procps", "ca-certificates"),
    ),
    "nginx": Recipe(
        _library(
            "nginx",
            "latest",
            "stable",
            "1.24",
            "1.25",
            "1.25.5",
            "1.26",
            "1.27",
            "1.27.0",
            "1.25-alpine",
        )
        + _library("nginx", "1.27-alpine", "alpine"),
        {
            "Env": [_PATH],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "StopSignal": "SIGQUIT",
            "ExposedPorts": {"80/tcp": {}},
        },
        packages=("nginx-light", "curl"),
        script="""
rm -rf /etc/nginx/sites-* /etc/nginx/modules-enabled/* /var/www
mkdir -p /etc/nginx/conf.d /usr/share/nginx/html
cat > /etc/nginx/nginx.conf <<'X'
user www-data;
worker_processes 1;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log;
  sendfile on;
  include /etc/nginx/conf.d/*.conf;
}
X
cat > /etc/nginx/conf.d/default.conf <<'X'
server {
  listen 80;
  server_name localhost;
  location / { root /usr/share/nginx/html; index index.html; }
}
X
echo '<!DOCTYPE html><title>Welcome to nginx!</title><h1>Welcome to nginx!</h1>' > /usr/share/nginx/html/index.html
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
""",
    ),
    "python": Recipe(
        _library(
            "python", "latest", "3", "3-slim", "3.9", "3.9-slim", "3.10-slim", "3.11", "3.11-slim"
        )
        + _library("python", "3.11-slim-bookworm", "3.12-slim", "3.12"),
        {"Env": [_PATH, "LANG=C.UTF-8"], "Cmd": ["python3"]},
        packages=("python3", "python3-venv", "python3-pip", "ca-certificates"),
        script="""
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ln -s /usr/bin/python3 /usr/local/bin/python
ln -s /usr/bin/python3 /usr/local/bin/python3
""",
    ),
    "golang": Recipe(
        _library("golang", "1.26", "1.26-bookworm", "latest"),
        {
            "Env": [
                "PATH=/go/bin:/usr/local/go/bin:" + _PATH.removeprefix("PATH="),
                "GOPATH=/go",
                "GOTOOLCHAIN=local",
            ],
            "Cmd": ["bash"],
            "WorkingDir": "/go",
        },
        packages=("ca-certificates", "git"),
        tree="go",
    ),
    "httpd": Recipe(
        _library("httpd", "latest", "2.4", "2.4-alpine"),
        {
            "Env": [_PATH],
            "Cmd": ["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/usr/local/apache2/htdocs"],
            "ExposedPorts": {"80/tcp": {}},
        },
        packages=("busybox-static", "curl"),
        script="""
mkdir -p /usr/local/apache2/htdocs
echo '<html><body><h1>It works!</h1></body></html>' > /usr/local/apache2/htdocs/index.html
""",
    ),
    "redis": Recipe(
        _library("redis", "latest", "7", "7.0", "7.2", "6", "7-alpine", "alpine"),
        {
            "Env": [_PATH],
            "Cmd": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"],
            "WorkingDir": "/data",
            "ExposedPorts": {"6379/tcp": {}},
        },
        packages=("redis-server",),
        script="mkdir -p /data && chown redis:redis /data",
    ),
    "node": Recipe(
        _library("node", "latest", "18", "18-slim", "20", "20-slim", "20-bookworm-slim", "lts"),
        {"Env": [_PATH], "Cmd": ["node"]},
        packages=("nodejs", "ca-certificates"),
    ),
    "jre": Recipe(
        _library("eclipse-temurin", "17", "17-jre", "17-jdk")
        + _library("openjdk", "17", "17-slim", "17-jdk-slim", "17-jre-slim", "latest"),
        {
            "Env": [_PATH, "JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64", "LANG=C.UTF-8"],
            "Cmd": ["java", "-version"],
        },
        packages=("openjdk-17-jre-headless", "ca-certificates"),
    ),
}

GROUPS = {
    "core": ("pause", "busybox", "debian", "nginx", "python", "httpd", "redis", "jre"),
    "build": ("python", "golang"),
    "extra": ("node",),
}
"""What `up` needs, what the operator's image is built on, what is made only when asked for."""


def ensure(group: str) -> None:
    """Make and push the images of a group that are missing; an interrupted run goes on with the next image."""
    todo = [name for name in GROUPS[group] if not _recorded(name)]
    if not todo:
        return
    folder = config.CACHE / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        todo = [name for name in todo if not _recorded(name)]
        began = time.monotonic()
        ui.say(f"making {len(todo)} images; log: {rootfs.LOG}")
        with registry.serve() as client:
            for number, name in enumerate(todo, 1):
                with ui.step(f"making image {name} ({number}/{len(todo)})", every=15):
                    _make(client, name)
        ui.say(f"{len(todo)} images made and pushed in {time.monotonic() - began:.0f} s")


def _record(name: str) -> Path:
    return config.CACHE / "images" / f"{name}.json"


def _recorded(name: str) -> bool:
    """Whether the image of exactly this recipe was pushed and every name of it still leads to it."""
    recipe = RECIPES[name]
    try:
        record = json.loads(_record(name).read_text())
    except (FileNotFoundError, ValueError):
        return False
    if record.get("key") != recipe.key():
        return False
    return all(_link(image).exists() for image in recipe.names)


def _link(image: str) -> Path:
    """Where docker-registry keeps a tag: read directly, so that a check needs no server."""
    repository, tag = registry.split_name(image)
    base = registry.OPEN_DATA / "docker/registry/v2/repositories" / repository
    return base / "_manifests/tags" / tag / "current/link"


def _make(client: registry.Client, name: str) -> None:
    recipe = RECIPES[name]
    names = [registry.split_name(image) for image in recipe.names]
    home = names[0][0]
    layers: list[tuple[Path | None, str, int]] = []
    with rootfs.workspace() as work:
        if recipe.packages or recipe.script:
            layers.append(_layer(rootfs.base_layer()))
            layers.append(_layer(rootfs.install(work, recipe.packages, recipe.script)))
        if recipe.tree:
            layers.append(_layer(rootfs.TREES[recipe.tree](work)))
        for file, digest, _ in layers:
            assert file is not None
            client.push_blob(home, file, digest)
        client.push_image(names, layers, recipe.settings, home=home)
    _record(name).write_text(
        json.dumps({"key": recipe.key(), "layers": [digest for _, digest, _ in layers]})
    )


def _layer(path: Path) -> tuple[Path | None, str, int]:
    return path, registry.sha256(path), path.stat().st_size
