"""The plain manifests of a fault as people lay them out for Kustomize and for Helm: same objects, other sources."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

POD_PATHS = {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", "spec", "template", "spec")}
TEMPLATE = ("spec", "template", "spec")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
MOVED = ("resources", "livenessProbe", "readinessProbe", "startupProbe")
"""What overlays and values usually say about a container."""


def as_kustomize(objects: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, bytes]:
    """A base with a file an object, and an overlay: tags of images, a patch of resources and probes a workload."""
    files: dict[str, bytes] = {}
    images: dict[str, str] = {}
    patches: list[str] = []
    resources: list[str] = []
    for original in objects:
        manifest = copy.deepcopy(dict(original))
        name = file_of(manifest)
        patch = _take_patch(manifest, images)
        if patch is not None:
            files[f"live/patch-{name}"] = _dump(patch)
            patches.append(f"patch-{name}")
        files[f"base/{name}"] = _dump(manifest)
        resources.append(name)
    tags = [{"name": image, "newTag": tag} for image, tag in sorted(images.items())]
    overlay: dict[str, Any] = {"namespace": namespace, "resources": ["../base"]}
    overlay |= {"images": tags} if tags else {}
    overlay |= {"patches": [{"path": name} for name in patches]} if patches else {}
    files["base/kustomization.yaml"] = _dump({"resources": resources})
    files["live/kustomization.yaml"] = _dump(overlay)
    return files


def as_helm(objects: Sequence[Mapping[str, Any]], chart: str) -> dict[str, bytes]:
    """A chart with a template an object: images, resources and probes come from the values."""
    files: dict[str, bytes] = {"Chart.yaml": _dump({"apiVersion": "v2", "name": chart, "version": "0.1.0"})}
    values: dict[str, Any] = {}
    for original in objects:
        manifest = copy.deepcopy(dict(original))
        texts: dict[str, str] = {}
        for container in _containers(manifest):
            own = values.setdefault(_key(manifest["metadata"]["name"]), {}).setdefault(_key(container["name"]), {})
            _take_values(container, own, texts, f".Values.{_key(manifest['metadata']['name'])}.{_key(container['name'])}")
        files[f"templates/{file_of(manifest)}"] = _as_template(manifest, texts)
    files["values.yaml"] = _dump(values)
    return files


def file_of(manifest: Mapping[str, Any]) -> str:
    """The file name of an object."""
    return f"{manifest['metadata']['name']}-{manifest['kind'].lower()}.yaml"


def _dump(value: Any) -> bytes:
    return bytes(yaml.safe_dump(value, sort_keys=False, width=1000).encode())


def _containers(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    if manifest["kind"] not in WORKLOADS:
        return []
    value: Any = manifest
    for step in POD_PATHS.get(manifest["kind"], TEMPLATE):
        value = value[step]
    return [*value.get("containers", ()), *value.get("initContainers", ())]


def _take_patch(manifest: dict[str, Any], images: dict[str, str]) -> dict[str, Any] | None:
    """Move resources and probes into a patch, and tags to the overlay's images where they are the same for all."""
    path = POD_PATHS.get(manifest["kind"], TEMPLATE)
    moved: dict[str, list[dict[str, Any]]] = {}
    pod: Any = manifest
    for step in path if manifest["kind"] in WORKLOADS else ():
        pod = pod[step]
    for group in ("containers", "initContainers") if manifest["kind"] in WORKLOADS else ():
        for container in pod.get(group, ()):
            name, _, tag = container["image"].rpartition(":")
            if name and "/" not in tag and images.setdefault(name, tag) == tag:
                container["image"] = name
            found = {key: container.pop(key) for key in MOVED if key in container}
            if found:
                moved.setdefault(group, []).append({"name": container["name"], **found})
    if not moved:
        return None
    body: Any = moved
    for step in reversed(path):
        body = {step: body}
    head = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": {"name": manifest["metadata"]["name"]}}
    return {**head, **body}


def _key(name: str) -> str:
    """A name as a key of values that a template can write with dots."""
    first, *rest = re.split(r"[^A-Za-z0-9]+", name)
    return first + "".join(part.capitalize() for part in rest)


def _take_values(container: dict[str, Any], own: dict[str, Any], texts: dict[str, str], place: str) -> None:
    name, colon, tag = container["image"].rpartition(":")
    if colon and "/" not in tag:
        own["image"] = {"repository": name, "tag": tag}
        container["image"] = _mark(texts, f'"{{{{ {place}.image.repository }}}}:{{{{ {place}.image.tag }}}}"')
    for key in MOVED:
        if container.get(key):
            own[key] = container[key]
            container[key] = _mark(texts, f"{{{{- toYaml {place}.{key} | nindent INDENT }}}}")


def _mark(texts: dict[str, str], expression: str) -> str:
    mark = f"template-mark-{len(texts):03}"
    texts[mark] = expression
    return mark


def _as_template(manifest: Mapping[str, Any], texts: Mapping[str, str]) -> bytes:
    lines = []
    for line in _dump(manifest).decode().replace("{{", "{{ `{{` }}").splitlines():
        mark = next((mark for mark in texts if line.endswith(f" {mark}")), None)
        if mark is not None:
            indent = len(line) - len(line.lstrip(" -"))
            line = line.removesuffix(mark) + texts[mark].replace("INDENT", str(indent + 2))
        lines.append(line)
    return ("\n".join(lines) + "\n").encode()
