"""The fault library: folders of plain manifests, read, renamed at random, checked for sense."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef

HERE = pathlib.Path(__file__).resolve().parent
ACTIONS = ("fix", "hand-over", "none")
HEALTHY = "Healthy"
"""The expected class where nothing is to be found."""

Fill = Callable[[str], str]

_KEYS = {
    "why", "with", "class", "accepted", "cause", "target", "also", "container", "action", "by", "fix", "symptom",
    "decoys", "namespace", "keep", "quiet", "later", "sample", "live",
}  # fmt: skip
_WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "jade",
    "kelp",
    "larch",
    "maple",
    "north",
    "olive",
    "pearl",
    "quill",
    "ridge",
    "sable",
    "thorn",
    "umber",
    "vale",
    "willow",
    "yarrow",
    "zephyr",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault as its folder says it; ``fault.yaml`` is described in README.md."""

    name: str
    why: str
    class_: str
    accepted: frozenset[str]  # class_ and what incidents.md allows beside it
    cause: tuple[tuple[str, ...], ...]  # all of these, any of each
    target: str  # Kind/name
    container: str | None
    action: str
    by_model: bool  # no rule can know the cause
    fix: tuple[tuple[str, str], ...]  # what to replace in the manifests; the twin is the result
    symptom: tuple[Mapping[str, Any], ...]
    decoys: tuple[str, ...]
    namespace: str | None  # a placeholder in the manifests
    keep: frozenset[str]  # names that stand, since the fault lies in them
    quiet: tuple[str, ...]  # further workloads of the fault's own manifests that must raise nothing
    later: int  # evidence is taken as if so many seconds had passed since
    sample: bool  # part of `make test`
    shared: str
    manifests: str
    before: tuple[str, ...]  # applied first, one after the other, each until its pods are ready
    twin: str | None  # written out, where replacing does not do

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to find."""
        return self.class_ == HEALTHY


def load_all() -> list[Fault]:
    """Every fault, by name."""
    return [load(path.parent) for path in sorted(HERE.glob("*/fault.yaml"))]


def load(folder: pathlib.Path) -> Fault:
    """Read one folder; ValueError says what is wrong with it."""
    said = yaml.safe_load((folder / "fault.yaml").read_text())
    unknown = set(said) - _KEYS
    if unknown:
        raise ValueError(f"{folder.name}: unknown keys {sorted(unknown)}")
    known = {one.value for one in IncidentClass} | {HEALTHY}
    classes = {said["class"], *said.get("accepted", ())}
    if not classes <= known or said["action"] not in ACTIONS:
        raise ValueError(f"{folder.name}: class or action unknown: {sorted(classes)}, {said['action']}")
    return Fault(
        name=folder.name,
        why=said["why"],
        class_=said["class"],
        accepted=frozenset(classes),
        cause=tuple((one,) if isinstance(one, str) else tuple(map(str, one)) for one in said.get("cause", ())),
        target=said["target"],
        container=said.get("container"),
        action=said["action"],
        by_model=said.get("by") == "model",
        fix=tuple((one["from"], one["to"]) for one in said.get("fix", ())),
        symptom=tuple(said.get("symptom", ())),
        decoys=tuple(said.get("decoys", ())),
        namespace=said.get("namespace"),
        keep=frozenset(said.get("keep", ())),
        quiet=tuple(said.get("quiet", ())),
        later=int(said.get("later", 0)),
        sample=bool(said.get("sample")),
        shared="\n---\n".join((HERE / "_shared" / f"{one}.yaml").read_text() for one in said.get("with", ())),
        manifests=(folder / "manifests.yaml").read_text(),
        before=tuple(path.read_text() for path in sorted(folder.glob("before*.yaml"))),
        twin=_read(folder / "twin.yaml"),
    )


def _read(path: pathlib.Path) -> str | None:
    return path.read_text() if path.exists() else None


def decoy_text(name: str) -> str:
    """The manifests of a decoy."""
    return (HERE / "_decoys" / f"{name}.yaml").read_text()


def twin_text(fault: Fault) -> str | None:
    """The healthy twin: the manifests with the right fix, or those of twin.yaml; None: there is none."""
    if fault.twin is not None:
        return fault.twin
    if not fault.fix:
        return None
    text = fault.manifests
    for old, new in fault.fix:
        if text.count(old) != 1:
            raise ValueError(f"{fault.name}: {old!r} stands {text.count(old)} times in manifests.yaml")
        text = text.replace(old, new)
    return text


def parse(text: str) -> list[dict[str, Any]]:
    """All objects of a text."""
    return [one for one in yaml.safe_load_all(text) if one]


@dataclasses.dataclass(frozen=True)
class Names:
    """Random names in place of those that the manifests give."""

    given: Mapping[str, str]

    @classmethod
    def draw(
        cls, *texts: str, namespace: str, placeholder: str | None = None, keep: frozenset[str] = frozenset()
    ) -> Names:
        """Draw a name for each object of the texts; the placeholder becomes the namespace."""
        found = {one["metadata"]["name"] for text in texts for one in parse(text)} - keep
        drawn = {name: f"{secrets.choice(_WORDS)}-{secrets.token_hex(3)}" for name in sorted(found)}
        return cls(drawn | ({placeholder: namespace} if placeholder else {}))

    def __call__(self, text: str) -> str:
        """The text with every given name replaced, whole words only."""
        if not self.given:
            return text
        names = "|".join(re.escape(name) for name in sorted(self.given, key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])({names})(?![\w-])", lambda found: self.given[found[1]], text)


def ref_of(target: str) -> TargetRef:
    """``Kind/name`` as a target."""
    kind, _, name = target.partition("/")
    return TargetRef(kind=kind, name=name)


DIAGNOSED = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "Service", "PersistentVolumeClaim",
             "HorizontalPodAutoscaler", "Ingress")  # fmt: skip


def targets_of(objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What an incident could be about, among some objects."""
    for one in objects:
        if one["kind"] in DIAGNOSED:
            yield f"{one['kind']}/{one['metadata']['name']}"
