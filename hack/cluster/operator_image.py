"""The operator's image, built by buildah from the project's real Dockerfile and pushed to the open registry."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hack.cluster import config, images, registry, ui

_CA = Path("/etc/ssl/certs/ca-certificates.crt")
_STORE = config.CACHE / "buildah"
_SKIPPED = {
    "__pycache__",
    ".git",
    ".venv",
    ".cluster",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "node_modules",
}


def key(dockerfile: Path, context: Path, tag: str) -> str:
    """A hash of what goes into the image: the Dockerfile, the context as git sees it, and the bases."""
    digest = hashlib.sha256()
    for recipe in images.GROUPS["build"]:
        digest.update(images.RECIPES[recipe].key().encode())
    digest.update(tag.encode())
    digest.update(dockerfile.read_bytes())
    for path in _inputs(dockerfile, context):
        digest.update(str(path.relative_to(context)).encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _inputs(dockerfile: Path, context: Path) -> list[Path]:
    """Files under the sources that the Dockerfile copies from the context (COPY and ADD, wildcards allowed)."""
    found: set[Path] = set()
    for source in _copied(dockerfile.read_text()):
        for start in (
            [context] if source in (".", "./") else sorted(context.glob(source.lstrip("/")))
        ):
            candidates = [start] if start.is_file() else start.rglob("*")
            found.update(
                p
                for p in candidates
                if p.is_file() and not _SKIPPED & set(p.relative_to(context).parts)
            )
    return sorted(found)


def _copied(text: str) -> list[str]:
    sources: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if (
            words
            and words[0].upper() in ("COPY", "ADD")
            and not any(w.startswith("--from=") for w in words)
        ):
            paths = [w.strip('[]",') for w in words[1:] if not w.startswith("--")]
            sources += [p for p in paths[:-1] if not p.startswith("<<")]
    return sources


def ensure(dockerfile: str, context: str, tag: str) -> None:
    """Build and push unless exactly this image is in the registry already. May be repeated."""
    file, folder = Path(dockerfile).resolve(), Path(context).resolve()
    if not file.exists():
        raise ui.ClusterError(f"{file} is missing")
    repository, version = registry.split_name(tag)
    wanted = key(file, folder, tag)
    record = config.CACHE / "images" / f"built-{tag.replace('/', '_').replace(':', '_')}.json"
    images.ensure("build")
    record.parent.mkdir(parents=True, exist_ok=True)
    with (record.parent / "build-lock").open("w") as lock, registry.serve() as client:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            known = json.loads(record.read_text())
        except (FileNotFoundError, ValueError):
            known = {}
        if known.get("key") == wanted and known.get("digest") == client.digest(repository, version):
            _announce(tag, known["digest"])
            ui.say(f"{tag} is up to date ({known['digest'][:19]})")
            return
        if known.get("key") == wanted and _retag(client, repository, version, known):
            _announce(tag, known["digest"])
            return
        _build(file, folder, tag, client)
        digest = client.digest(repository, version)
        if digest is None:
            raise ui.ClusterError(f"{tag} was pushed, but the registry does not have it")
        record.write_text(json.dumps({"key": wanted, "digest": digest}))
        _announce(tag, digest)
        size = sum(layer["size"] for layer in client.manifest(repository, version)["layers"])
        ui.say(f"{tag}: {digest[:19]}, {size / 1e6:.0f} MB, in the registry")


def _announce(tag: str, digest: str) -> None:
    """Write down the operator's image by digest: a tag that moves is not pulled again by itself."""
    if tag == config.OPERATOR_IMAGE:
        config.STATE.mkdir(parents=True, exist_ok=True)
        config.OPERATOR_IMAGE_FILE.write_text(f"{tag.rpartition(':')[0]}@{digest}\n")


def _retag(client: registry.Client, repository: str, version: str, known: dict[str, str]) -> bool:
    """Point the tag at the known digest again when somebody moved it meanwhile."""
    try:
        manifest = client.manifest(repository, known["digest"])
    except ui.ClusterError:
        return False
    client.push_manifest(repository, version, json.dumps(manifest).encode(), manifest["mediaType"])
    return client.digest(repository, version) == known["digest"]


def build_and_push(folder: Path, tag: str, labels: dict[str, str]) -> None:
    """Build a folder with a Dockerfile, as a pipeline does, and push it; one build at a time."""
    lock = config.CACHE / "images" / "build-lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held, registry.serve() as client:
        fcntl.flock(held, fcntl.LOCK_EX)
        _build(folder / "Dockerfile", folder, tag, client, labels)


def _build(
    file: Path, context: Path, tag: str, client: registry.Client, labels: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run buildah: bases come by their public names from the local registry, layers are cached."""
    marks = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    conf = _STORE / "registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(
        "".join(
            f'[[registry]]\nprefix = "{name}"\nlocation = "{client.address}"\ninsecure = true\n'
            for name in config.MIRRORED
        )
    )
    log = config.LOGS / "image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    store: list[str | Path] = [
        "--root",
        _STORE / "storage",
        "--runroot",
        _STORE / "run",
        "--storage-driver",
        "overlay",
    ]
    env = {"CONTAINERS_REGISTRIES_CONF": str(conf), "BUILDAH_FORMAT": "oci"}
    secret = ["--secret", f"id=ca,src={_CA}"] if _CA.exists() else []
    with ui.step(f"buildah builds {tag} from {file}; log: {log}"):
        ui.run(
            ["nice", "-n", "5", "buildah", *store, "build", "--isolation", "chroot", "--pull-always", "--layers",
             *secret, *_go_caches(), *marks, "-t", tag, "-f", file, context],
            log=log,
            env=env,
        )  # fmt: skip
    repository, version = registry.split_name(tag)
    with ui.step(f"pushing {tag} to the local registry"):
        ui.run(
            ["buildah", *store, "push", "--disable-compression", "--tls-verify=false", tag,
             f"docker://{client.address}/{repository}:{version}"],
            log=log,
            env=env,
        )  # fmt: skip
        ui.run(["buildah", *store, "rmi", "--prune"], log=log, env=env, check=False)


def _go_caches() -> list[str]:
    """Lend the host's Go caches to builds inside: what was compiled once is not compiled again."""
    done = subprocess.run(
        ["go", "env", "GOMODCACHE", "GOCACHE"], capture_output=True, text=True, check=False
    )
    places = done.stdout.split()
    if done.returncode != 0 or len(places) != 2:
        return []
    for place in places:
        Path(place).mkdir(parents=True, exist_ok=True)
    return [
        "--volume",
        f"{places[0]}:/go/pkg/mod:rw",
        "--volume",
        f"{places[1]}:/root/.cache/go-build:rw",
    ]
