"""What changed in a template before it broke: revisions compared field by field, and commits."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import (
    PROBES,
    REVISION,
    Reading,
    dig,
    parse_time,
    pod_containers,
    quote,
)

CLOSE = dt.timedelta(hours=1)
"""A commit counts as what was delivered when it is at most this much older than the revision."""

COMMANDS = ("command", "args", "workingDir")
VARIABLES = ("env", "envFrom")
_FIELDS = (
    "image", *COMMANDS, *VARIABLES, "ports", "resources", *PROBES, "volumeMounts",
    "securityContext", "lifecycle",
)  # fmt: skip
_POD_FIELDS = (
    "volumes", "serviceAccountName", "nodeSelector", "affinity", "imagePullSecrets",
    "securityContext", "hostNetwork", "dnsPolicy", "terminationGracePeriodSeconds",
)  # fmt: skip
_RUNS = ("image", *COMMANDS, *VARIABLES, "volumeMounts", "volumes", "securityContext")
_BY_CLASS: Mapping[IncidentClass, tuple[str, ...]] = {
    IncidentClass.JAVA_OUT_OF_MEMORY: ("image", *COMMANDS, "env", "resources"),
    IncidentClass.OOM_KILLED: ("image", *COMMANDS, "env", "resources"),
    IncidentClass.INSUFFICIENT_MEMORY: ("resources",),
    IncidentClass.HIGH_RESTART_COUNT: _RUNS,
    IncidentClass.CRASH_LOOP_BACK_OFF: (*_RUNS, *PROBES),
    IncidentClass.INIT_CONTAINER_FAILED: _RUNS,
    IncidentClass.FAILED_HEALTH_CHECK: ("image", *COMMANDS, "env", "ports", *PROBES),
    IncidentClass.MISSING_REFERENCE: (*VARIABLES, "volumes"),
    IncidentClass.CPU_THROTTLING: ("image", "resources"),
    IncidentClass.STUCK_ROLLOUT: (*_FIELDS, *_POD_FIELDS),
}
"""Fields whose change may cause a fault of a class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One field that differs; ``path`` is below the container, or below the pod spec without one.

    Entries of ``env`` are named by their variable. None: not there.
    """

    container: str | None
    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def name(self) -> str:
        """Return the field for people."""
        return ".".join(self.path)

    def to_json(self) -> dict[str, Any]:
        """Return it as parameters of a finding hold it."""
        return {"container": self.container, "path": list(self.path), "before": self.before,
                "after": self.after}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """The present revision against the one that ran before it."""

    before: Item
    after: Item
    changes: tuple[Change, ...]
    ready: bool  # the one before is still ready beside it

    def touching(self, container: str | None, fields: tuple[str, ...]) -> tuple[Change, ...]:
        """Return the changes of some fields, of one container where that is named."""
        return tuple(
            change
            for change in self.changes
            if change.path[0] in fields and container in (None, change.container or container)
        )


def read(reading: Reading) -> History | None:
    """Compare the newest revision with the one that ran before; None where there is none such."""
    if len(reading.replica_sets) < 2:
        return None
    newest, *all_older = reading.replica_sets
    older = [item for item in all_older if not _is_unwell(reading, item)]
    if not older:
        return None
    ready = [item for item in older if _is_ready(reading, item)]
    before = (ready or older)[0]
    changes = tuple(_compare(_template(before), _template(newest)))
    return History(before=before, after=newest, changes=changes, ready=bool(ready))


def _template(item: Item) -> Mapping[str, Any]:
    return dig(item.value, "spec", "template", "spec")


def _is_unwell(reading: Reading, item: Item) -> bool:
    """Tell whether a revision never ran, or has pods and none is ready: nobody wants it back."""
    if item.value.get("neverPulled"):
        return True
    own = [pod for pod in reading.all_pods if reading.revision_of(pod) == item.id]
    return bool(own) and not _is_ready(reading, item)


def _is_ready(reading: Reading, item: Item) -> bool:
    if dig(item.value, "status").get("readyReplicas"):
        return True
    return any(
        entry.get("type") == "Ready" and entry.get("status") == "True"
        for pod in reading.all_pods
        if reading.revision_of(pod) == item.id
        for entry in dig(pod.value, "status").get("conditions") or ()
    )


def _compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old = {str(entry["name"]): entry for entry in pod_containers(before)}
    for entry in pod_containers(after):
        name = str(entry["name"])
        if name in old:
            for field in _FIELDS:
                yield from _field(name, field, old[name].get(field), entry.get(field))
    for field in _POD_FIELDS:
        yield from _field(None, field, before.get(field), after.get(field))


def _field(container: str | None, field: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if field == "env":
        one, other = _by_name(before), _by_name(after)
        for name in dict.fromkeys((*one, *other)):
            if one.get(name) != other.get(name):
                yield Change(
                    container=container, path=("env", name), before=one.get(name),
                    after=other.get(name),
                )  # fmt: skip
    else:
        yield Change(container=container, path=(field,), before=before, after=after)


def _by_name(env: Any) -> dict[str, Any]:
    return {str(entry.get("name")): entry for entry in env or ()}


def annotate(reading: Reading, finding: Finding) -> Finding:
    """Add to a finding what changed before it: in the sentence, the evidence and the parameters."""
    history = read(reading)
    fields = _BY_CLASS.get(finding.class_, ())
    changes = history.touching(finding.container, fields) if history else ()
    if history is None or not changes:
        return finding
    commit = _commit(reading, history.after)
    named = f', commit {commit.value["sha"][:8]} "{_title(commit)}"' if commit else ""
    text = (
        f"{finding.cause.rstrip('.')}. Since revision {revision(history.after)}{named}: "
        f"{describe(changes)}."
    )
    evidence = [history.before.id, history.after.id, *([commit.id] if commit else [])]
    parameters = {
        **finding.parameters, "changed": [change.to_json() for change in changes],
        "revertable": history.ready,
    }  # fmt: skip
    return dataclasses.replace(
        finding, cause=text, parameters=parameters,
        evidence=tuple(dict.fromkeys((*finding.evidence, *evidence))),
    )  # fmt: skip


def describe(changes: tuple[Change, ...]) -> str:
    """Return changes as a phrase, at most four of them."""
    said = [_describe(change) for change in changes[:4]]
    more = [f"{len(changes) - 4} more"] if len(changes) > 4 else []
    return "; ".join((*said, *more))


def _describe(change: Change) -> str:
    where = f" of {change.container}" if change.container else ""
    if change.before is None:
        return f"{change.name}{where} was added: {_show(change.after)}"
    if change.after is None:
        return f"{change.name}{where} was removed (it was {_show(change.before)})"
    return f"{change.name}{where} changed from {_show(change.before)} to {_show(change.after)}"


def _show(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"name", "value"}:
        value = value["value"]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    return quote(str(value), 100)


def revision(item: Item) -> str:
    """Return the revision number as Kubernetes counts it."""
    return str(dig(item.value, "metadata", "annotations").get(REVISION, "?"))


def _title(commit: Item) -> str:
    return quote(str(commit.value.get("message", "")).partition("\n")[0], 60)


def _commit(reading: Reading, after: Item) -> Item | None:
    """Return the newest commit shortly before the revision was made."""
    made = after.at or parse_time(dig(after.value, "metadata").get("creationTimestamp"))
    found = [
        item
        for item in reading.bundle.of(ItemKind.COMMIT)
        if made is not None and item.at is not None and dt.timedelta(0) <= made - item.at <= CLOSE
    ]
    return max(found, key=lambda item: str(item.at), default=None)
