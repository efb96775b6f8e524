"""An API server for our own kinds, in memory: versions, uids, generations, ownership, conflicts."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.kube import causes, documents
from selfheal.api import incident as incidents
from selfheal.api import meta
from selfheal.api import policy as policies
from selfheal.api.evidence import MAX_DOCUMENT_BYTES
from selfheal.domain import errors

CLUSTER_ID = "3f6f0c52-8ac4-4e0a-9b7c-0d7b2a1f4c11"
EPOCH = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostedEvent:
    """An event as posted."""

    key: str
    type: str
    reason: str
    message: str


class FakeStore:
    """The port ``IncidentStore``; objects pass through their wire form, as over HTTP.

    ``changes`` is called with the key after every change of an incident, as a watch would be.
    """

    def __init__(
        self,
        *,
        now: Callable[[], dt.datetime] = lambda: EPOCH,
        cluster_id: str = CLUSTER_ID,
        changes: Callable[[str], None] = lambda key: None,
    ) -> None:
        self._now, self._cluster_id, self._changes = now, cluster_id, changes
        self._version = 0
        self.incidents: dict[str, incidents.Incident] = {}
        self.policies: dict[str, policies.Policy] = {}
        self.stored_documents: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: list[PostedEvent] = []
        self.credentials: dict[str, Mapping[str, str]] = {}
        self.cause_leases: dict[tuple[str, str], tuple[str, str]] = {}
        self.namespace_labels: dict[str, dict[str, str]] = {}
        self.status_patches: collections.Counter[str] = collections.Counter()
        self.phases: dict[str, list[incidents.Phase]] = {}
        """Phases of each incident as a watch shows them, repetitions left out."""

    # --- what a person does -------------------------------------------------------------------

    def apply_incident(self, key: str, spec: incidents.IncidentSpec) -> incidents.Incident:
        """Create, or update the spec as ``kubectl apply`` does: a change raises the generation."""
        namespace, _, name = key.partition("/")
        before = self.incidents.get(key)
        if before is None:
            metadata = meta.ObjectMeta(name=name, namespace=namespace)
            return self._create(incidents.Incident(metadata=metadata, spec=spec))
        if before.spec == spec:
            return before
        metadata = before.metadata.evolve(generation=before.metadata.generation + 1)
        return self._put(before.evolve(metadata=metadata, spec=spec))

    def apply_policy(self, name: str, spec: policies.PolicySpec) -> policies.Policy:
        """Create, or update the spec of a policy."""
        before = self.policies.get(name)
        if before is None:
            metadata = meta.ObjectMeta(name=name, uid=self._uid(), generation=1)
            return self._put_policy(policies.Policy(metadata=metadata, spec=spec))
        metadata = before.metadata.evolve(generation=before.metadata.generation + 1)
        return self._put_policy(before.evolve(metadata=metadata, spec=spec))

    def annotate(self, key: str, name: str, value: str, *, manager: str = "kubectl") -> None:
        """Set an annotation of an incident under a field manager."""
        before = self.incidents[key]
        field = {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}
        entry = {
            "manager": manager,
            "operation": "Update",
            "time": meta.render_time(self._now()),
            "fieldsV1": field,
        }
        others = [one for one in before.metadata.managed_fields if one.get("fieldsV1") != field]
        metadata = before.metadata.evolve(
            annotations=before.metadata.annotations | {name: value},
            managed_fields=[*others, entry],
        )
        self._put(before.evolve(metadata=metadata))

    def remove_policy(self, name: str) -> None:
        """Delete a policy."""
        del self.policies[name]

    # --- the port -----------------------------------------------------------------------------

    async def get_incident(self, key: str) -> incidents.Incident:
        """Read."""
        return self._current(key)

    async def list_incidents(self, namespace: str | None = None) -> Sequence[incidents.Incident]:
        """List in the order of names."""
        return [
            one
            for key, one in sorted(self.incidents.items())
            if namespace is None or one.metadata.namespace == namespace
        ]

    async def create_incident(self, incident: incidents.Incident) -> incidents.Incident:
        """Create; Conflict when the name is taken."""
        if incident.key in self.incidents:
            raise errors.Conflict(f"{incident.key} already exists")
        return self._create(incident)

    async def delete_incident(self, incident: incidents.Incident) -> None:
        """Delete this very uid, and by garbage collection its documents."""
        current = self.incidents.get(incident.key)
        if current is None or current.metadata.uid != incident.metadata.uid:
            return
        del self.incidents[incident.key]
        for place, stored in list(self.stored_documents.items()):
            if documents.owner_uid_of(stored) == incident.metadata.uid:
                del self.stored_documents[place]
        self._changes(incident.key)

    async def save_status(
        self, incident: incidents.Incident, status: incidents.IncidentStatus
    ) -> incidents.Incident:
        """Patch, fenced; equal: nothing happens."""
        if incident.status.to_wire() == status.to_wire():
            return incident
        current = self._current(incident.key)
        _check_fence(incident.metadata, current.metadata)
        self.status_patches[incident.key] += 1
        saved = self._put(current.evolve(status=_over_wire(incidents.IncidentStatus, status)))
        seen = self.phases.setdefault(incident.key, [])
        if saved.status.phase is not None and seen[-1:] != [saved.status.phase]:
            seen.append(saved.status.phase)
        return saved

    async def poke_incident(self, key: str, nonce: str) -> None:
        """Set the poke annotation; NotFound when the incident is gone."""
        self._current(key)
        self.annotate(key, "selfheal.dev/poke", nonce, manager="selfheal")

    async def request_move(self, key: str, wanted: str) -> None:
        """Set the transition annotation; NotFound when the incident is gone."""
        self._current(key)
        self.annotate(key, "selfheal.dev/transition-to", wanted, manager="selfheal")

    async def get_policy(self, name: str) -> policies.Policy:
        """Read; NotFound."""
        if name not in self.policies:
            raise errors.NotFound(f"policy {name}")
        return self.policies[name]

    async def list_policies(self) -> Sequence[policies.Policy]:
        """List in the order of names."""
        return [one for _, one in sorted(self.policies.items())]

    async def save_policy_status(
        self, policy: policies.Policy, status: policies.PolicyStatus
    ) -> policies.Policy:
        """Patch, fenced; equal: nothing happens."""
        if policy.status.to_wire() == status.to_wire():
            return policy
        current = await self.get_policy(policy.metadata.name)
        _check_fence(policy.metadata, current.metadata)
        return self._put_policy(current.evolve(status=_over_wire(policies.PolicyStatus, status)))

    async def ensure_document(self, document: ports.Document) -> None:
        """Create, or adopt what the same incident owns."""
        place = (document.namespace, document.name)
        built = documents.build(document, self._now())
        stored = self.stored_documents.setdefault(place, built)
        if documents.owner_uid_of(stored) != document.incident_uid:
            raise errors.Conflict(f"document {document.name} belongs to another incident")
        mine = [
            one
            for (space, _), one in self.stored_documents.items()
            if space == document.namespace and one["spec"]["incident"] == document.incident
        ]
        for name in documents.choose_excess(mine, document.incident_uid, document.run):
            await self.delete_document(document.namespace, name)

    async def find_document(self, namespace: str, name: str) -> ports.Document | None:
        """Read."""
        stored = self.stored_documents.get((namespace, name))
        return None if stored is None else documents.parse(stored)

    async def list_documents(self, namespace: str, incident: str) -> Sequence[ports.Document]:
        """List in the order of names."""
        found = [
            documents.parse(stored)
            for place, stored in sorted(self.stored_documents.items())
            if place[0] == namespace
        ]
        return [one for one in found if one.incident == incident]

    async def delete_document(self, namespace: str, name: str) -> None:
        """Delete; gone already is fine."""
        self.stored_documents.pop((namespace, name), None)

    async def measure_documents(self, above: int) -> Sequence[ports.StoredSize]:
        """Measure all of them, unless so many cannot be too much."""
        if len(self.stored_documents) * MAX_DOCUMENT_BYTES <= above:
            return []
        return [documents.measure(stored) for stored in self.stored_documents.values()]

    async def emit_event(
        self, incident: incidents.Incident, *, type: str, reason: str, message: str
    ) -> None:
        """Keep the event in ``events``."""
        event = PostedEvent(key=incident.key, type=type, reason=reason, message=message)
        self.events.append(event)

    async def get_credential(self, name: str) -> Mapping[str, str]:
        """Return what stands in ``credentials``; Stalled when there is none."""
        if name not in self.credentials:
            raise errors.Stalled(
                f"Secret selfheal-system/{name} does not exist; create it with the label "
                "selfheal.dev/credential",
                reason="CredentialsMissing",
                system="kubernetes",
            )
        return self.credentials[name]

    async def claim_cause(
        self, incident: incidents.Incident, cause: str
    ) -> incidents.Incident | None:
        place = (incident.metadata.namespace, cause)
        holder = self.cause_leases.get(place)
        found = self.incidents.get(holder[0]) if holder else None
        mine = holder == (incident.key, incident.metadata.uid)
        if found is None or mine or found.metadata.uid != holder[1] or not causes.counts(found, incident):
            self.cause_leases[place] = (incident.key, incident.metadata.uid)
            return None
        return found

    async def get_cluster_id(self) -> str:
        """Return the uid of kube-system."""
        return self._cluster_id

    async def get_namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return what stands in ``namespace_labels``; the name label is always there."""
        own = {"kubernetes.io/metadata.name": namespace}
        return own | self.namespace_labels.get(namespace, {})

    # --- inside -------------------------------------------------------------------------------

    def _current(self, key: str) -> incidents.Incident:
        if key not in self.incidents:
            raise errors.NotFound(f"incident {key}")
        return self.incidents[key]

    def _create(self, incident: incidents.Incident) -> incidents.Incident:
        metadata = incident.metadata.evolve(
            uid=self._uid(), generation=1, creation_timestamp=self._now()
        )
        spec = _over_wire(incidents.IncidentSpec, incident.spec)
        return self._put(incidents.Incident(metadata=metadata, spec=spec))

    def _put(self, incident: incidents.Incident) -> incidents.Incident:
        saved = incident.evolve(metadata=self._next(incident.metadata))
        self.incidents[incident.key] = saved
        self._changes(incident.key)
        return saved

    def _put_policy(self, policy: policies.Policy) -> policies.Policy:
        saved = policy.evolve(metadata=self._next(policy.metadata))
        self.policies[policy.metadata.name] = saved
        return saved

    def _next(self, metadata: meta.ObjectMeta) -> meta.ObjectMeta:
        self._version += 1
        return metadata.evolve(resource_version=str(self._version))

    def _uid(self) -> str:
        # the first characters of a uid must differ, for branch names are made of them
        self._version += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self._version)))


def _check_fence(read: meta.ObjectMeta, current: meta.ObjectMeta) -> None:
    if (read.uid, read.resource_version) != (current.uid, current.resource_version):
        raise errors.Conflict("the object has been modified")


def _over_wire(model: type[Any], value: meta.Model) -> Any:
    return model.model_validate(value.to_wire())
