"""What a pipeline builds: each folder with a Dockerfile below `services`, into an image of its own.

The image is `docker.io/sandbox/<namespace>-<name>`, its tag the commit; its labels say where it comes from. What the
manifests of `apps/<namespace>` say of it is then set by a commit of the pipeline, as image automation does.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping

from hack.cluster import operator_image
from hack.cluster.ui import ClusterError

ROOT = "services"
REGISTRY = "docker.io/sandbox"
TAG = 12

Files = Mapping[str, bytes]
Build = Callable[[pathlib.Path, str, dict[str, str]], None]


def find_services(files: Files) -> list[str]:
    """Folders with a Dockerfile: `services/<namespace>/<name>`."""
    found = (path.rpartition("/")[0] for path in files if path.endswith("/Dockerfile"))
    return sorted(folder for folder in found if folder.count("/") == 2)


def digest(files: Files, folder: str) -> str:
    """A digest of everything in a folder."""
    summed = hashlib.sha256()
    for path in sorted(files):
        if path.startswith(f"{folder}/"):
            summed.update(path.encode() + b"\0" + files[path])
    return summed.hexdigest()


def name_image(folder: str) -> str:
    """The image of a folder, without a tag."""
    _, namespace, name = folder.split("/")
    return f"{REGISTRY}/{namespace}-{name}"


def build(
    files: Files, folder: str, sha: str, source: str, run: Build = operator_image.build_and_push
) -> tuple[str, str | None]:
    """Build a folder's image at a commit; return its name with the tag, and what failed."""
    image = f"{name_image(folder)}:{sha[:TAG]}"
    labels = {"org.opencontainers.image.source": source, "org.opencontainers.image.revision": sha}
    with tempfile.TemporaryDirectory() as place:
        for path, content in files.items():
            if path.startswith(f"{folder}/"):
                target = pathlib.Path(place, path.removeprefix(f"{folder}/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        try:
            run(pathlib.Path(place), image, labels)
        except ClusterError as error:
            return image, f"{folder}: {error}"
    return image, None


def set_image(manifests: Files, image: str) -> dict[str, bytes]:
    """Manifests that name an image with another tag, with this one instead."""
    name = re.escape(image.rpartition(":")[0])
    changed = {}
    for path, content in manifests.items():
        text = re.sub(rf"{name}:[\w.-]+", image, content.decode(errors="replace"))
        if path.endswith((".yaml", ".yml")) and text.encode() != content:
            changed[path] = text.encode()
    return changed
