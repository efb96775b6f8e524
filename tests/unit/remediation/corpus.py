"""Manifests as people write them: 240 of them, each another mix of indentation, quotes, comments, anchors and endings."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

COUNT = 240
SEED = 20261123

FEATURES: dict[str, tuple[str, ...]] = {
    "kind": ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"),
    "indent": ("2", "4", "3"),
    "lists": ("indented", "flush"),
    "quotes": ("plain", "single", "double"),
    "comments": ("none", "inline", "above", "between"),
    "anchors": ("none", "elsewhere", "merged", "on the image"),
    "blocks": ("none", "literal", "folded", "keep"),
    "ending": ("lf", "crlf"),
    "start": ("none", "bom", "rule", "comment", "directive"),
    "documents": ("only", "first", "second", "third"),
    "flow": ("none", "limits", "resources", "metadata", "ports"),
    "tail": ("newline", "no newline", "blank lines", "comment", "end mark"),
    "long": ("no", "yes"),
    "template": ("no", "yes"),
    "order": ("usual", "spec first"),
    "spacing": ("none", "blank lines", "trailing blanks"),
}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A file, which document of it is meant, and where its only container is."""

    number: int
    content: bytes
    document: int
    container: tuple[str | int, ...]
    features: dict[str, str]


def build() -> list[Manifest]:
    """Return the corpus; the same at every call."""
    chance = random.Random(SEED)
    return [_build_one(number, {name: _choose(chance, number, values) for name, values in FEATURES.items()}) for number in range(COUNT)]


def _choose(chance: random.Random, number: int, values: tuple[str, ...]) -> str:
    """Each value in turn for the first ones, so that none is rare, then by chance."""
    return values[number % len(values)] if number < COUNT // 4 else chance.choice(values)


def _build_one(number: int, features: dict[str, str]) -> Manifest:
    lines = list(_write(features, number))
    before = {"first": 0, "only": 0, "second": 1, "third": 2}[features["documents"]]
    after = 1 if features["documents"] in ("first", "second") else 0
    text = _start(features["start"])
    for index in range(before):
        text += f"kind: Service\nmetadata:\n    name: other-{index}   # not this one\nspec: {{ports: [80,  443]}}\n---\n"
    text += "\n".join(lines) + "\n"
    for index in range(after):
        text += f"---\n# the next\nkind: Secret\nstringData:\n  a: '{index}'\n  b: |+\n    x\n\n"
    text = _end(text, features["tail"] if not after else "newline")
    if features["ending"] == "crlf":
        text = text.replace("\n", "\r\n")
    content = (b"\xef\xbb\xbf" if features["start"] == "bom" else b"") + text.encode()
    return Manifest(number, content, before, (*_pod_path(features["kind"]), "containers", 0), features)


def _start(start: str) -> str:
    return {"rule": "---\n", "comment": "# Copyright\n#  the shop\n\n", "directive": "%YAML 1.1\n---\n"}.get(start, "")


def _end(text: str, tail: str) -> str:
    if tail == "no newline":
        return text.rstrip("\n")
    return text + {"blank lines": "\n\n\n", "comment": "# the end\n", "end mark": "...\n"}.get(tail, "")


def _pod_path(kind: str) -> tuple[str, ...]:
    template = ("spec", "template", "spec")
    return {"Pod": ("spec",), "CronJob": ("spec", "jobTemplate", *template)}.get(kind, template)


def _write(features: dict[str, str], number: int) -> Iterator[str]:
    step = int(features["indent"])
    spec = list(_spec(features, step))
    head = list(_head(features, number, step))
    for part in ([spec, head] if features["order"] == "spec first" else [head, spec]):
        yield from part


def _head(features: dict[str, str], number: int, step: int) -> Iterator[str]:
    version = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(features["kind"], "apps/v1")
    yield f"apiVersion: {version}"
    yield f"kind: {features['kind']}"
    if features["flow"] == "metadata":
        yield f"metadata: {{name: web-{number}, labels: {{app: web, \"tier\":  'front'}}}}"
    else:
        yield "metadata:"
        yield f"{' ' * step}name: web-{number}"
        yield f"{' ' * step}annotations:"
        yield f"{' ' * 2 * step}note: {_long() if features['long'] == 'yes' else 'short'}"
        if features["template"] == "yes":
            yield f"{' ' * 2 * step}rendered: \"{{{{ .Values.note | quote }}}}\""
        if features["blocks"] == "folded":
            yield f"{' ' * 2 * step}text: >-"
            yield f"{' ' * 3 * step}folded"
            yield f"{' ' * 3 * step}memory: 64Mi"
    if features["anchors"] == "elsewhere":
        yield "x-shared: &shared {memory: 64Mi, image: 'nginx:9.9'}"
        yield "x-other: *shared"


def _long() -> str:
    return " ".join(["a sentence that goes on"] * 12)


def _spec(features: dict[str, str], step: int) -> Iterator[str]:
    path = _pod_path(features["kind"])
    for depth, key in enumerate(path):
        yield f"{' ' * step * depth}{key}:"
    base = step * len(path)
    if features["spacing"] == "blank lines":
        yield ""
    if features["anchors"] == "merged":
        yield f"{' ' * base}nodeSelector: &node {{disk: ssd}}"
        yield f"{' ' * base}affinityLike:"
        yield f"{' ' * (base + step)}<<: *node"
    yield f"{' ' * base}containers:" + ("   " if features["spacing"] == "trailing blanks" else "")
    dash = base + (step if features["lists"] == "indented" else 0)
    inner = " " * (dash + 2)
    for index, line in enumerate(_container(features, step)):
        yield (f"{' ' * dash}- {line}" if index == 0 else f"{inner}{line}") if line else ""
    yield f"{' ' * base}restartPolicy: Always  # as ever"


def _container(features: dict[str, str], step: int) -> Iterator[str]:
    comment = "   # keep: the team's choice" if features["comments"] == "inline" else ""
    quote = {"plain": "", "single": "'", "double": '"'}[features["quotes"]]
    space = " " * step
    yield "name: app"
    if features["comments"] == "above":
        yield "# bumped on Monday"
    anchor = "&image " if features["anchors"] == "on the image" else ""
    yield f"image: {anchor}{quote}nginx:9.9{quote}{comment}"
    if features["blocks"] in ("literal", "keep"):
        yield "args:"
        yield f"{space}- |{'+' if features['blocks'] == 'keep' else ''}"
        yield f"{space}    memory: 64Mi"
        yield f"{space}      image: nginx:9.9"
        yield ""
    if features["comments"] == "between":
        yield ""
        yield "#resources: {}"
    yield from _resources(features, space, quote, comment)
    yield "readinessProbe:"
    if features["flow"] == "ports":
        yield f"{space}httpGet: {{path: /, port: 8081}}{comment}"
    else:
        yield f"{space}httpGet:"
        yield f"{space * 2}path: {quote}/{quote}"
        yield f"{space * 2}port: 8081{comment}"
    yield f"{space}periodSeconds: 2"


def _resources(features: dict[str, str], space: str, quote: str, comment: str) -> Iterator[str]:
    memory = f"{quote}64Mi{quote}"
    if features["flow"] == "resources":
        yield f"resources: {{requests: {{cpu: 10m}}, limits: {{memory: {memory}}}}}{comment}"
        return
    yield "resources:"
    yield f"{space}requests:"
    yield f"{space * 2}cpu: 10m"
    if features["flow"] == "limits":
        yield f"{space}limits: {{ memory: {memory} }}{comment}"
        return
    yield f"{space}limits:"
    yield f"{space * 2}memory: {memory}{comment}"


def count(manifests: list[Manifest], name: str, value: str) -> int:
    """Return how many have a feature."""
    return sum(manifest.features[name] == value for manifest in manifests)


def read(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what stands at a path; None where it ends early."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else value[int(step)]
        if value is None:
            return None
    return value
