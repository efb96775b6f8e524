"""The real kustomize and helm for tests, and what the API server makes of an object."""

from __future__ import annotations

import copy
import functools
import textwrap
from collections.abc import Mapping
from typing import Any

from hack.cluster import binaries

from selfheal.adapters.render import ConfinedRenderer
from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding


@functools.cache
def build() -> None:
    """Build what is missing; it is kept in the user's cache."""
    for module in binaries.RENDERERS:
        binaries.build(module)


def make_renderer() -> ConfinedRenderer:
    build()
    return ConfinedRenderer(
        kustomize=binaries.path("kustomize", binaries.KUSTOMIZE), helm=binaries.path("helm", binaries.HELM)
    )


def tree(text: str) -> dict[str, bytes]:
    """Read files from a text in which a line ``== path`` begins each."""
    files: dict[str, bytes] = {}
    for part in textwrap.dedent(text).split("== ")[1:]:
        name, _, content = part.partition("\n")
        files[name.strip()] = content.encode()
    return files


def run(manifest: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return a rendered object as the API server stores it: managed fields and some defaults."""
    live: dict[str, Any] = copy.deepcopy(dict(manifest))
    live["metadata"] = {**live["metadata"], "namespace": namespace, "uid": "u-1", "resourceVersion": "3"}
    pod = live["spec"]["template"]["spec"]
    pod["restartPolicy"] = "Always"
    for container in pod["containers"]:
        container["terminationMessagePath"] = "/dev/termination-log"
    live["status"] = {"replicas": 1}
    return live


def find_oom(limit: str = "64Mi", container: str = "app") -> Finding:
    return Finding(
        class_=IncidentClass.OOM_KILLED, cause="It was killed.", confidence=0.95, evidence=("pod/web-1",),
        container=container, parameters={"limit": limit},
    )  # fmt: skip
