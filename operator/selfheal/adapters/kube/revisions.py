"""What ran before where no ReplicaSet tells it: ControllerRevisions, and earlier Jobs of a CronJob.

Both are given the shape of a ReplicaSet (template and revision number), so that one rule reads all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds, rollout, targets
from selfheal.diagnosis.evidence import Item, ItemKind

MAX_KEPT = 10
_KINDS = ("StatefulSet", "DaemonSet")

Stored = Mapping[str, Any]


async def collect(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return earlier and present templates of a target that has no ReplicaSets, newest first."""
    if target.kind == "CronJob":
        return [
            _item("job", one, len(target.jobs) - number, _job_status(one))
            for number, one in enumerate(target.jobs[:MAX_KEPT])
        ]
    if target.kind not in _KINDS:
        return []
    stored = target.stored or {}
    selector = kinds.render_selector((stored.get("spec") or {}).get("selector") or {})
    path = connection.path_of("apps/v1", "controllerrevisions", target.namespace)
    found = await api.take(path, targets.MAX_REPLICA_SETS, {"labelSelector": selector})
    own = [one for one in found if kinds.is_owned_by(one, {kinds.uid_of(stored)})]
    own.sort(key=lambda one: int(one.get("revision") or 0), reverse=True)
    return [
        _item("controllerrevision", one, int(one.get("revision") or 0), {})
        for one in own[:MAX_KEPT]
    ]


def _item(prefix: str, stored: Stored, number: int, status: Stored) -> Item:
    metadata = stored["metadata"]
    spec = stored.get("spec") or (stored.get("data") or {}).get("spec") or {}
    value = {
        "metadata": {
            "name": metadata["name"],
            "creationTimestamp": metadata.get("creationTimestamp"),
            "annotations": {targets.REVISION: str(number)},
        },
        "spec": {"template": spec.get("template") or {}},
        "status": status,
    }
    return Item(
        id=f"{prefix}/{metadata['name']}",
        kind=ItemKind.REPLICA_SET,
        value=redaction.clean_object(value),
        at=rollout.parse_time(metadata.get("creationTimestamp")),
    )


def _job_status(job: Stored) -> dict[str, Any]:
    status = job.get("status") or {}
    succeeded = int(status.get("succeeded") or 0)
    if not succeeded:
        return {}
    times = {name: status.get(name) for name in ("startTime", "completionTime")}
    return {"readyReplicas": succeeded, **times}
