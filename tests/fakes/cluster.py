"""A cluster in memory: workloads are applied as manifests, and fare as their content deserves.

What ails a pod follows from the manifest: an image that is not in ``images``, a memory limit below what
``needs`` says, a probe on a port that is not in ``listens``. So a fix that is merged and applied heals,
and one that is wrong does not. Facts and evidence are made from raw objects by the adapter's own code.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.kube import events, evidence, kinds, rollout, suspects, targets
from selfheal.api import meta
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind
from selfheal.domain import errors, facts
from selfheal.domain.signals import Suspect

EPOCH = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)
Place = tuple[str, str, str]  # namespace, kind, name
Judge = Callable[[Mapping[str, Any]], "Ailment | None"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ailment:
    """What is wrong with every pod of a template."""

    container: str
    state: Mapping[str, Any]
    last_state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    restarts: int = 0
    events: tuple[tuple[str, str], ...] = ()  # reason, message
    log: str = ""
    served: tuple[Mapping[str, Any], ...] = ()  # values of PROBE items, without the pod


class FakeCluster:
    """The port ``Cluster``."""

    def __init__(
        self,
        *,
        now: Callable[[], dt.datetime] = lambda: EPOCH,
        images: Sequence[str] | None = None,
        needs: Mapping[str, str] | None = None,
        listens: Mapping[str, int] | None = None,
    ) -> None:
        """``images`` None: every image can be pulled; ``needs`` and ``listens`` by container."""
        self._now = now
        self.images = None if images is None else set(images)
        self.needs, self.listens = dict(needs or {}), dict(listens or {})
        self.objects: dict[Place, dict[str, Any]] = {}
        self.replica_sets: dict[Place, list[dict[str, Any]]] = {}
        self.pods: dict[Place, list[dict[str, Any]]] = {}
        self.events: dict[Place, list[dict[str, Any]]] = {}
        self.notes: dict[Place, Ailment] = {}
        self.gaps: tuple[str, ...] = ()
        self.deliveries: dict[str, facts.DeliveryFacts] = {}
        """What Argo CD or Flux says, by commit."""
        self.dry_runs: list[Mapping[str, Any]] = []
        self.dry_run: Callable[[Mapping[str, Any]], ports.DryRun] = lambda manifest: ports.DryRun(
            accepted=True
        )
        self.outage: errors.SelfHealError | None = None
        """Raised by every call while it is set."""
        self.judge: Judge = self._judge

    # --- what pipelines and people do ---------------------------------------------------------

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """Apply a manifest, as ``kubectl apply`` does; a changed template rolls out at once."""
        place = _place_of(manifest)
        before = self.objects.get(place)
        if before is not None and before["spec"] == manifest["spec"]:
            return
        generation = 1 if before is None else before["metadata"]["generation"] + 1
        stored = copy.deepcopy(dict(manifest))
        stored["metadata"] |= {
            "generation": generation,
            "uid": before["metadata"]["uid"] if before else _uid(str(place)),
            "resourceVersion": str(generation),
            "creationTimestamp": meta.render_time(self._now()),
        }
        self.objects[place] = stored
        if "template" in stored["spec"] or place[1] == "Pod":
            self._roll(place, stored, generation)

    def remove(self, namespace: str, kind: str, name: str) -> None:
        """Delete a workload with all that it owns."""
        place = (namespace, kind, name)
        for table in (self.objects, self.replica_sets, self.pods, self.events, self.notes):
            table.pop(place, None)

    def restart_pods(self, namespace: str, kind: str, name: str, *, exit_code: int = 1) -> None:
        """Let every container of a workload fail once more, and come back running."""
        ended = {
            "reason": "Error",
            "exitCode": exit_code,
            "finishedAt": meta.render_time(self._now()),
        }
        for pod in self.pods[(namespace, kind, name)]:
            for status in pod["status"]["containerStatuses"]:
                status["restartCount"] += 1
                status["lastState"] = {"terminated": dict(ended)}

    # --- the port -----------------------------------------------------------------------------

    async def find_object(self, namespace: str, ref: TargetRef) -> Mapping[str, Any] | None:
        """Read one object."""
        self._check()
        return copy.deepcopy(self.objects.get((namespace, ref.kind, ref.name)))

    async def find_manifest(
        self, namespace: str, api_version: str, kind: str, name: str
    ) -> Mapping[str, Any] | None:
        """Read one object."""
        self._check()
        return copy.deepcopy(self.objects.get((namespace, kind, name)))

    async def list_targets(self, namespace: str) -> Sequence[TargetRef]:
        """Return the workloads of a namespace in the order of kind and name."""
        self._check()
        return [
            TargetRef(api_version=kinds.KNOWN[kind][0], kind=kind, name=name)
            for owner, kind, name in sorted(self.objects)
            if owner == namespace
        ]

    async def find_owner(self, namespace: str, ref: TargetRef) -> TargetRef | None:
        """Return the workload that a pod or ReplicaSet belongs to, or the object itself."""
        self._check()
        tables = {"Pod": self.pods, "ReplicaSet": self.replica_sets}
        places = [
            place
            for place, owned in tables.get(ref.kind, {}).items()
            if place[0] == namespace and any(kinds.name_of(one) == ref.name for one in owned)
        ]
        place = places[0] if places else (namespace, ref.kind, ref.name)
        if place not in self.objects:
            return None
        _, kind, name = place
        version = kinds.KNOWN[kind][0]
        return TargetRef(api_version=version, kind=kind, name=name, container=ref.container)

    async def read_delivery(
        self, namespace: str, ref: TargetRef, sha: str, strategy: str
    ) -> facts.DeliveryFacts:
        """Return what ``deliveries`` says of the commit; PENDING where it says nothing."""
        self._check()
        unknown = facts.DeliveryFacts(revision=sha, state=facts.DeliveryState.PENDING)
        return self.deliveries.get(sha, unknown)

    async def find_suspects(self, namespaces: Sequence[str]) -> Sequence[Suspect]:
        """Look as the real adapter does, at the pods here."""
        self._check()
        found = []
        for (namespace, kind, name), stored in self.objects.items():
            if namespace in namespaces:
                owned = [
                    {**pod, "metadata": {**pod["metadata"], "ownerReferences": []}}
                    for pod in self.pods.get((namespace, kind, name), ())
                ]
                signs = suspects.build(namespace, {kind: [stored], "Pod": owned}, self._now())
                if signs:
                    reasons = tuple(reason for sign in signs for reason in sign.reasons)
                    version = kinds.KNOWN[kind][0]
                    target = TargetRef(api_version=version, kind=kind, name=name)
                    found.append(Suspect(namespace=namespace, target=target, reasons=reasons))
        return found

    async def observe_workload(self, namespace: str, ref: TargetRef) -> facts.WorkloadFacts:
        """Read as the real adapter does, from the objects here."""
        self._check()
        target = self._target(namespace, ref)
        warnings = [one for one in self._events_of(target) if one["type"] == "Warning"]
        return rollout.build_facts(target, events.build_facts(warnings), {})

    async def collect_evidence(self, namespace: str, ref: TargetRef, now: dt.datetime) -> Bundle:
        """Collect as the real adapter does, from the objects here."""
        self._check()
        target = self._target(namespace, ref)
        if target.stored is None:
            gap = f"{ref.kind} {namespace}/{ref.name} does not exist"
            return Bundle(target=ref, namespace=namespace, now=now, gaps=(gap,))
        items = [
            *evidence.build_objects(target, evidence.choose_pods(target)),
            *evidence.build_events(self._events_of(target)),
            *self._noted(target),
        ]
        return Bundle(target=ref, namespace=namespace, now=now, items=tuple(items), gaps=self.gaps)

    async def dry_run_update(self, manifest: Mapping[str, Any]) -> ports.DryRun:
        """Answer as ``dry_run`` says; an object that does not run is refused."""
        self._check()
        self.dry_runs.append(copy.deepcopy(dict(manifest)))
        if _place_of(manifest) not in self.objects:
            name = manifest["metadata"]["name"]
            return ports.DryRun(accepted=False, message=f'{manifest["kind"]} "{name}" not found')
        return self.dry_run(manifest)

    async def close(self) -> None:
        """Nothing to close."""

    # --- inside -------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _target(self, namespace: str, ref: TargetRef) -> targets.Target:
        place = (namespace, ref.kind, ref.name)
        return targets.Target(
            ref=ref,
            namespace=namespace,
            stored=copy.deepcopy(self.objects.get(place)),
            replica_sets=copy.deepcopy(self.replica_sets.get(place, [])),
            pods=copy.deepcopy(self.pods.get(place, [])),
        )

    def _events_of(self, target: targets.Target) -> list[dict[str, Any]]:
        return self.events.get((target.namespace, target.kind, target.ref.name), [])

    def _noted(self, target: targets.Target) -> list[Item]:
        ailment = self.notes.get((target.namespace, target.kind, target.ref.name))
        if ailment is None:
            return []
        pod, name = kinds.name_of(target.pods[0]), ailment.container
        items = []
        if ailment.log:
            previous = bool(ailment.last_state)
            value = {"pod": pod, "container": name, "previous": previous, "text": ailment.log}
            items.append(Item(id=f"log/{pod}/{name}", kind=ItemKind.LOG, value=value))
        for one in ailment.served:
            identity = f"probe/{pod}/{name}/{one['port']}{one['path']}"
            value = {"pod": pod, "container": name, **one}
            items.append(Item(id=identity, kind=ItemKind.PROBE, value=value))
        return items

    def _roll(self, place: Place, stored: dict[str, Any], generation: int) -> None:
        template = stored["spec"].get("template") or {"spec": stored["spec"], "metadata": {}}
        ailment = self.judge(template["spec"])
        owner = stored
        if place[1] == "Deployment":
            owner = self._add_replica_set(place, stored, template, generation)
        pod = self._build_pod(place, owner, template, ailment)
        self.pods[place] = [pod]
        self.notes.pop(place, None)
        if ailment is not None:
            self.notes[place] = ailment
        noted = ailment.events if ailment else ()
        self.events[place] = [
            self._event("Warning", reason, message, pod) for reason, message in noted
        ]
        self._set_status(stored, generation, well=ailment is None)

    def _add_replica_set(
        self, place: Place, stored: dict[str, Any], template: dict[str, Any], generation: int
    ) -> dict[str, Any]:
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        name = f"{place[2]}-{digest}"
        known = self.replica_sets.setdefault(place, [])
        for one in known:
            one["status"] = {"replicas": 0}
        same = [one for one in known if kinds.name_of(one) == name]
        made = same[0] if same else {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": place[0],
                "uid": _uid(name),
                "creationTimestamp": meta.render_time(self._now()),
                "ownerReferences": [_owner(stored)],
            },
            "spec": {"replicas": 1, "template": copy.deepcopy(template)},
        }  # fmt: skip
        made["metadata"]["annotations"] = {targets.REVISION: str(generation)}
        made["status"] = {"replicas": 1}
        self.replica_sets[place] = [made, *(one for one in known if one is not made)]
        return made

    def _build_pod(
        self,
        place: Place,
        owner: dict[str, Any],
        template: dict[str, Any],
        ailment: Ailment | None,
    ) -> dict[str, Any]:
        now = meta.render_time(self._now())
        name = place[2] if place[1] == "Pod" else f"{kinds.name_of(owner)}-x2x4x"
        statuses = [_status_of(one, ailment, now) for one in template["spec"]["containers"]]
        ready = "True" if all(one["ready"] for one in statuses) else "False"
        pod: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": place[0],
                "uid": _uid(name + now),
                "creationTimestamp": now,
                "labels": dict((template.get("metadata") or {}).get("labels") or {}),
            },
            "spec": copy.deepcopy(template["spec"]) | {"nodeName": "node-1"},
            "status": {
                "phase": "Running" if any(one["started"] for one in statuses) else "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": ready},
                ],
                "containerStatuses": statuses,
            },
        }
        if place[1] != "Pod":
            pod["metadata"]["ownerReferences"] = [_owner(owner)]
        return pod

    def _event(
        self, type_: str, reason: str, message: str, pod: Mapping[str, Any]
    ) -> dict[str, Any]:
        now = meta.render_time(self._now())
        return {
            "metadata": {"creationTimestamp": now},
            "type": type_,
            "reason": reason,
            "message": message,
            "count": 3,
            "lastTimestamp": now,
            "involvedObject": {"kind": "Pod", "name": kinds.name_of(pod)},
        }

    def _set_status(self, stored: dict[str, Any], generation: int, *, well: bool) -> None:
        # one replica, whatever the spec says: counts follow from it
        wanted = int(stored["spec"].get("replicas", 1))
        ready = wanted if well else 0
        stored["status"] = {
            "observedGeneration": generation,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": wanted,
            "desiredNumberScheduled": 1,
            "updatedNumberScheduled": 1,
            "numberReady": int(well),
            "numberAvailable": int(well),
            "updateRevision": str(generation),
            "currentRevision": str(generation),
        }

    def _judge(self, pod_spec: Mapping[str, Any]) -> Ailment | None:
        for container in pod_spec["containers"]:
            found = (
                self._judge_image(container)
                or self._judge_memory(container)
                or self._judge_probe(container)
            )
            if found is not None:
                return found
        return None

    def _judge_image(self, container: Mapping[str, Any]) -> Ailment | None:
        image = container["image"]
        if self.images is None or image in self.images:
            return None
        text = (
            f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
            f"rpc error: code = NotFound desc = {image}: not found"
        )
        message = f'Back-off pulling image "{image}": ErrImagePull: {text}'
        return Ailment(
            container=container["name"],
            state={"waiting": {"reason": "ImagePullBackOff", "message": message}},
            events=(("Failed", f'Failed to pull image "{image}": {text}'),),
        )

    def _judge_memory(self, container: Mapping[str, Any]) -> Ailment | None:
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        need = self.needs.get(container["name"])
        if not limit or not need or meta.parse_quantity(limit) >= meta.parse_quantity(need):
            return None
        now = meta.render_time(self._now())
        ended = {"reason": "OOMKilled", "exitCode": 137, "startedAt": now, "finishedAt": now}
        return Ailment(
            container=container["name"],
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            last_state={"terminated": ended},
            restarts=4,
            events=(("BackOff", f"Back-off restarting failed container {container['name']}"),),
            log="loading the cache\n",
        )

    def _judge_probe(self, container: Mapping[str, Any]) -> Ailment | None:
        action = (container.get("readinessProbe") or {}).get("httpGet") or {}
        port, listens = action.get("port"), self.listens.get(container["name"])
        if listens is None or port in (None, listens):
            return None
        path = str(action.get("path", "/"))
        served = (
            {"port": listens, "path": path, "status": 200, "listening": [listens]},
            {"port": port, "path": path, "error": "connection refused", "listening": [listens]},
        )
        return Ailment(
            container=container["name"],
            state={"running": {"startedAt": meta.render_time(self._now())}},
            events=(
                (
                    "Unhealthy",
                    f'Readiness probe failed: Get "http://10.0.0.9:{port}{path}": dial tcp '
                    f"10.0.0.9:{port}: connect: connection refused",
                ),
            ),
            served=served,
        )


def _status_of(container: Mapping[str, Any], ailment: Ailment | None, now: str) -> dict[str, Any]:
    ill = ailment is not None and ailment.container == container["name"]
    running = {"running": {"startedAt": now}}
    state = dict(ailment.state) if ailment is not None and ill else running
    return {
        "name": container["name"],
        "image": container["image"],
        "ready": not ill,
        "started": not ill or "running" in state,
        "restartCount": ailment.restarts if ailment is not None and ill else 0,
        "state": state,
        "lastState": dict(ailment.last_state) if ailment is not None and ill else {},
    }


def _place_of(manifest: Mapping[str, Any]) -> Place:
    metadata = manifest["metadata"]
    return str(metadata.get("namespace", "default")), str(manifest["kind"]), str(metadata["name"])


def _owner(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": stored["apiVersion"],
        "kind": stored["kind"],
        "name": kinds.name_of(stored),
        "uid": kinds.uid_of(stored),
        "controller": True,
    }


def _uid(text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, text))
