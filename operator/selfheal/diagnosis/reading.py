"""Reading a bundle: pods, containers, events and logs, joined by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.diagnosis.evidence import Bundle, Item, ItemKind

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
REVISION = "deployment.kubernetes.io/revision"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """One container of one pod: its spec joined with its status."""

    pod: Item
    pod_name: str
    name: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    init: bool

    @property
    def image(self) -> str:
        """Return the image as the pod names it."""
        return str(self.spec.get("image") or self.status.get("image") or "")

    @property
    def waiting(self) -> Mapping[str, Any]:
        """Return the waiting state, empty when not waiting."""
        return dig(self.status, "state", "waiting")

    @property
    def waiting_reason(self) -> str:
        """Return the waiting reason, empty when not waiting."""
        return str(self.waiting.get("reason") or "")

    @property
    def waiting_message(self) -> str:
        """Return the waiting message, empty when there is none."""
        return str(self.waiting.get("message") or "")

    @property
    def terminated(self) -> Mapping[str, Any]:
        """Return the newest termination: the present one, else the last one; empty when none."""
        return dig(self.status, "state", "terminated") or dig(
            self.status, "lastState", "terminated"
        )

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of the newest termination."""
        code = self.terminated.get("exitCode")
        return None if code is None else int(code)

    @property
    def restarts(self) -> int:
        """Return the restart counter."""
        return int(self.status.get("restartCount") or 0)

    @property
    def ready(self) -> bool:
        """Tell whether the kubelet calls it ready."""
        return bool(self.status.get("ready"))

    @property
    def runs_first(self) -> bool:
        """Tell whether it must end before the others start: an init container, no sidecar."""
        return self.init and self.spec.get("restartPolicy") != "Always"

    @property
    def ended_with_pod(self) -> bool:
        """Tell whether it is a sidecar that was ended because the pod's own work had ended."""
        if not self.init or self.runs_first:
            return False
        ended = parse_time(dig(self.status, "state", "terminated").get("finishedAt"))
        others = dig(self.pod.value, "status").get("containerStatuses") or ()
        ends = [parse_time(dig(one, "state", "terminated").get("finishedAt")) for one in others]
        known = [moment for moment in ends if moment is not None]
        return ended is not None and len(known) == len(ends) > 0 and max(known) <= ended

    @property
    def title(self) -> str:
        """Return kind and name for people."""
        return f"{'Init container' if self.runs_first else 'Container'} {self.name}"

    def resource(self, group: str, name: str) -> str | None:
        """Return a request or limit as written, None when not set."""
        value = dig(self.spec, "resources", group).get(name)
        return None if value is None else str(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """A bundle with its joins."""

    bundle: Bundle

    @functools.cached_property
    def all_pods(self) -> tuple[Item, ...]:
        """Return the pods that are not being deleted."""
        return tuple(
            item
            for item in self.bundle.of(ItemKind.POD)
            if not dig(item.value, "metadata").get("deletionTimestamp")
        )

    @functools.cached_property
    def pods(self) -> tuple[Item, ...]:
        """Return the pods that are judged: not those of an older revision."""
        older = {item.id for item in self.replica_sets[1:]}
        current = tuple(pod for pod in self.all_pods if self.revision_of(pod) not in older)
        in_place = any(name.startswith("controllerrevision/") for name in older)
        return current or (self.all_pods if in_place else ())

    def revision_of(self, pod: Item) -> str | None:
        """Return the id of the revision (ReplicaSet, ControllerRevision) that a pod is of."""
        names = _revision_names(pod)
        return next(
            (
                item.id
                for item in self.replica_sets
                if dig(item.value, "metadata").get("name") in names
            ),
            None,
        )

    @functools.cached_property
    def containers(self) -> tuple[Container, ...]:
        """Return all containers of the pods that are judged, init containers first."""
        return tuple(container for pod in self.pods for container in _containers(pod))

    @functools.cached_property
    def all_containers(self) -> tuple[Container, ...]:
        """Return all containers, those of older ReplicaSets too."""
        return tuple(container for pod in self.all_pods for container in _containers(pod))

    @functools.cached_property
    def replica_sets(self) -> tuple[Item, ...]:
        """Return ReplicaSets or ControllerRevisions, newest revision first."""
        return tuple(sorted(self.bundle.of(ItemKind.REPLICA_SET), key=_revision, reverse=True))

    def events(self, *reasons: str, about: str = "") -> tuple[Item, ...]:
        """Return events with one of the reasons, of one object where ``about`` names it."""
        return tuple(
            item
            for item in self.bundle.of(ItemKind.EVENT)
            if item.value.get("reason") in reasons
            and (not about or str(item.value.get("object", "")).rpartition("/")[2] == about)
        )

    def logs(self, container: Container) -> tuple[Item, ...]:
        """Return the logs of a container, previous ones first."""
        found = [
            item
            for item in self.bundle.of(ItemKind.LOG)
            if item.value.get("pod") == container.pod_name
            and item.value.get("container") == container.name
        ]
        return tuple(sorted(found, key=lambda item: not item.value.get("previous")))

    def counters(self, container: Container) -> Item | None:
        """Return the kubelet's counters of a container."""
        for item in self.bundle.of(ItemKind.COUNTERS):
            value = item.value
            if value.get("pod") == container.pod_name and value.get("container") == container.name:
                return item
        return None

    def served(self, container: Container) -> tuple[Item, ...]:
        """Return what was seen of a container's own ports."""
        return tuple(
            item
            for item in self.bundle.of(ItemKind.PROBE)
            if item.value.get("container") == container.name
        )

    def past_containers(self, name: str) -> Iterator[tuple[Item, Mapping[str, Any]]]:
        """Iterate over earlier forms of a container: running pods first, then older ReplicaSets."""
        for container in self.all_containers:
            if container.name == name and container.ready:
                yield container.pod, container.spec
        for item in sorted(self.replica_sets[1:], key=_ran, reverse=True):
            for spec in pod_containers(dig(item.value, "spec", "template", "spec")):
                if spec.get("name") == name:
                    yield item, spec


def dig(value: Any, *keys: str) -> Mapping[str, Any]:
    """Return the mapping below the keys, empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def pod_containers(pod_spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over init containers, then containers."""
    yield from pod_spec.get("initContainers") or ()
    yield from pod_spec.get("containers") or ()


def pod_claims(pod: Item) -> list[str]:
    """Return the names of the claims that a pod mounts."""
    volumes = dig(pod.value, "spec").get("volumes") or ()
    found = (dig(volume, "persistentVolumeClaim").get("claimName") for volume in volumes)
    return [str(name) for name in found if name]


RECENT = dt.timedelta(minutes=10)
"""What ended longer ago than this and was replaced since says nothing about now."""


def is_leftover(pod: Item, now: dt.datetime) -> bool:
    """Tell whether a pod was evicted or shut down long ago and only its record is left."""
    status = dig(pod.value, "status")
    changes = [
        parse_time(entry.get("lastTransitionTime")) for entry in status.get("conditions", ())
    ]
    known = [moment for moment in changes if moment is not None]
    return bool(status.get("reason")) and bool(known) and now - max(known) > RECENT


def stated(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def quote(text: str, limit: int = 240) -> str:
    """Return a text on one line, shortened."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def parse_time(text: Any) -> dt.datetime | None:
    """Parse a time of the Kubernetes API; None where there is none."""
    return dt.datetime.fromisoformat(text) if isinstance(text, str) and text else None


def _revision(item: Item) -> int:
    text = dig(item.value, "metadata", "annotations").get(REVISION)
    return int(text) if text else 0


def _revision_names(pod: Item) -> set[str]:
    """Return what the object of a pod's revision may be called."""
    metadata = dig(pod.value, "metadata")
    owners = {str(owner.get("name")) for owner in metadata.get("ownerReferences") or ()}
    label = dig(metadata, "labels").get("controller-revision-hash")  # StatefulSet, DaemonSet
    return owners | ({str(label)} | {f"{owner}-{label}" for owner in owners} if label else set())


def _ran(item: Item) -> bool:
    return bool(dig(item.value, "status").get("readyReplicas"))


def _containers(pod: Item) -> Iterator[Container]:
    spec, status = dig(pod.value, "spec"), dig(pod.value, "status")
    for group, statuses, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        by_name = {entry["name"]: entry for entry in status.get(statuses) or ()}
        for entry in spec.get(group) or ():
            yield Container(
                pod=pod,
                pod_name=str(dig(pod.value, "metadata").get("name", "")),
                name=entry["name"],
                spec=entry,
                status=by_name.get(entry["name"], {}),
                init=init,
            )
