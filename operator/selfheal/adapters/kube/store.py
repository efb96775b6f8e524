"""IncidentStore: our own kinds in the API server. Nothing is cached but credentials."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from selfheal import ports
from selfheal.adapters.kube import (
    causes,
    connection,
    credentials,
    documents,
    failures,
    mergepatch,
)
from selfheal.api import API_VERSION, evidence, meta
from selfheal.api import incident as incidents
from selfheal.api import policy as policies
from selfheal.domain import errors

POKE_ANNOTATION = "selfheal.dev/poke"
TRANSITION_ANNOTATION = "selfheal.dev/transition-to"
_LOG = logging.getLogger(__name__)
_MEASURED_AT_ONCE = 50  # documents of at most 64 KiB each in memory
_LONGEST_EVENT = 1024  # bytes the API server allows in an event's message

ModelT = TypeVar("ModelT", bound=meta.Model)


class KubeIncidentStore:
    """The port ``IncidentStore`` on a real API server."""

    def __init__(self, api: connection.Connection) -> None:
        """Take a connection, which names the operator's own namespace with its credentials."""
        self._api = api
        self._credentials = credentials.Credentials(api, namespace=api.namespace)
        self._cluster_id = ""

    async def get_incident(self, key: str) -> incidents.Incident:
        """Read ``namespace/name``; Stalled, reason ObjectInvalid, where it cannot be understood."""
        return _parse(incidents.Incident, await self._api.get(_incident_path(key)), incidents.KIND)

    async def list_incidents(self, namespace: str | None = None) -> Sequence[incidents.Incident]:
        """List all that can be understood; the others are logged, ``get_incident`` says more."""
        path = connection.path_of(API_VERSION, incidents.PLURAL, namespace or "")
        found = []
        async for stored in self._api.pages(path):
            try:
                found.append(_parse(incidents.Incident, stored, incidents.KIND))
            except errors.Stalled as error:
                _LOG.warning("left out of the list: %s", error.message)
        return found

    async def create_incident(self, incident: incidents.Incident) -> incidents.Incident:
        """Create from metadata and spec; Conflict when the name is taken."""
        wire = incident.metadata.to_wire()
        kept = ("name", "namespace", "labels", "annotations")
        body = {
            "apiVersion": API_VERSION,
            "kind": incidents.KIND,
            "metadata": {name: wire[name] for name in kept if wire.get(name)},
            "spec": incident.spec.to_wire(),
        }
        path = connection.path_of(API_VERSION, incidents.PLURAL, incident.metadata.namespace)
        return incidents.Incident.model_validate(await self._api.write("POST", path, body))

    async def delete_incident(self, incident: incidents.Incident) -> None:
        """Delete this very uid; gone, or replaced by another of its name, is fine."""
        body = {"preconditions": {"uid": incident.metadata.uid}}
        try:
            await self._api.write("DELETE", _incident_path(incident.key), body)
        except (errors.NotFound, errors.Conflict):
            return

    async def save_status(
        self, incident: incidents.Incident, status: incidents.IncidentStatus
    ) -> incidents.Incident:
        """Patch what differs, fenced by resourceVersion; equal: no request."""
        patch = mergepatch.compute(incident.status.to_wire(), status.to_wire())
        if not patch:
            return incident
        path = f"{_incident_path(incident.key)}/status"
        return incidents.Incident.model_validate(await self._save(path, incident.metadata, patch))

    async def poke_incident(self, key: str, nonce: str) -> None:
        """Set the poke annotation; NotFound when the incident is gone."""
        await self._annotate(key, POKE_ANNOTATION, nonce)

    async def request_move(self, key: str, wanted: str) -> None:
        """Set the transition annotation; NotFound when the incident is gone."""
        await self._annotate(key, TRANSITION_ANNOTATION, wanted)

    async def _annotate(self, key: str, annotation: str, value: str) -> None:
        body = {"metadata": {"annotations": {annotation: value}}}
        path = _incident_path(key)
        await self._api.write("PATCH", path, body, content_type=connection.MERGE_PATCH)

    async def get_policy(self, name: str) -> policies.Policy:
        """Read a policy; PolicyInvalid, with the field, where it cannot be understood."""
        stored = await self._api.get(connection.path_of(API_VERSION, policies.PLURAL, name=name))
        return _parse(policies.Policy, stored, policies.KIND, errors.PolicyInvalid)

    async def list_policies(self) -> Sequence[policies.Policy]:
        """List all that can be understood; the others are logged, ``get_policy`` says more."""
        found = []
        async for stored in self._api.pages(connection.path_of(API_VERSION, policies.PLURAL)):
            try:
                found.append(_parse(policies.Policy, stored, policies.KIND))
            except errors.Stalled as error:
                _LOG.warning("left out of the list: %s", error.message)
        return found

    async def save_policy_status(
        self, policy: policies.Policy, status: policies.PolicyStatus
    ) -> policies.Policy:
        """Patch what differs, fenced by resourceVersion; equal: no request."""
        patch = mergepatch.compute(policy.status.to_wire(), status.to_wire())
        if not patch:
            return policy
        path = connection.path_of(
            API_VERSION, policies.PLURAL, name=policy.metadata.name, subresource="status"
        )
        return policies.Policy.model_validate(await self._save(path, policy.metadata, patch))

    async def _save(self, path: str, metadata: meta.ObjectMeta, patch: Mapping[str, Any]) -> Any:
        fence = {"resourceVersion": metadata.resource_version, "uid": metadata.uid}
        body = {"metadata": fence, "status": patch}
        return await self._api.write("PATCH", path, body, content_type=connection.MERGE_PATCH)

    async def ensure_document(self, document: ports.Document) -> None:
        """Store evidence, shortened to 64 KiB compressed; a proposal too large is HandOver.

        What an incident keeps beyond 256 KiB goes: transcripts, then the oldest run.
        """
        body = documents.build(document, dt.datetime.now(dt.UTC))
        try:
            await self._api.write("POST", _document_path(document.namespace), body)
        except errors.Conflict:
            stored = await self._api.find(_document_path(document.namespace, document.name))
            if stored is None or documents.owner_uid_of(stored) != document.incident_uid:
                raise
            return
        if document.run > 1:  # the present run is never touched
            await self._trim(document)

    async def _trim(self, document: ports.Document) -> None:
        query = {
            "labelSelector": f"{documents.INCIDENT_LABEL}={documents.label_of(document.incident)}"
        }
        pages = self._api.pages(_document_path(document.namespace), query)
        stored = [one async for one in pages]
        for name in documents.choose_excess(stored, document.incident_uid, document.run):
            await self.delete_document(document.namespace, name)

    async def find_document(self, namespace: str, name: str) -> ports.Document | None:
        """Read a stored document; Stalled, reason EvidenceDamaged, where its digest is wrong."""
        stored = await self._api.find(_document_path(namespace, name))
        return None if stored is None else documents.parse(stored)

    async def list_documents(self, namespace: str, incident: str) -> Sequence[ports.Document]:
        """List by label; documents of an earlier incident of the same name have another uid."""
        query = {"labelSelector": f"{documents.INCIDENT_LABEL}={documents.label_of(incident)}"}
        pages = self._api.pages(_document_path(namespace), query)
        found = [documents.parse(one) async for one in pages]
        return [one for one in found if one.incident == incident]

    async def delete_document(self, namespace: str, name: str) -> None:
        """Delete; gone already is fine."""
        try:
            await self._api.write("DELETE", _document_path(namespace, name), None)
        except errors.NotFound:
            return

    async def measure_documents(self, above: int) -> Sequence[ports.StoredSize]:
        """Count by one small request; only where that may be too much, page through all of them."""
        path = connection.path_of(API_VERSION, evidence.PLURAL)
        first = await self._api.get(path, {"limit": 1})
        left = (first.get("metadata") or {}).get("remainingItemCount")
        more = bool((first.get("metadata") or {}).get("continue"))
        count = len(first.get("items") or ()) + int(left or 0)
        if count * evidence.MAX_DOCUMENT_BYTES <= above and (left is not None or not more):
            return []
        pages = self._api.pages(path, {"limit": _MEASURED_AT_ONCE})
        return [documents.measure(one) async for one in pages]

    async def emit_event(
        self, incident: incidents.Incident, *, type: str, reason: str, message: str
    ) -> None:
        """Post an event; the same one again counts up. A failure is logged and forgotten."""
        body = build_event(incident, dt.datetime.now(dt.UTC), type, reason, message)
        path = connection.path_of("v1", "events", incident.metadata.namespace)
        try:
            try:
                await self._api.write("POST", path, body)
            except errors.Conflict:
                await self._count_event(f"{path}/{body['metadata']['name']}", body["lastTimestamp"])
        except errors.SelfHealError as error:
            _LOG.warning("event %s of %s was not posted: %s", reason, incident.key, error)

    async def _count_event(self, path: str, at: str) -> None:
        stored = await self._api.get(path)
        patch = {"count": int(stored.get("count") or 1) + 1, "lastTimestamp": at}
        await self._api.write("PATCH", path, patch, content_type=connection.MERGE_PATCH)

    async def get_credential(self, name: str) -> Mapping[str, str]:
        """Read a labelled Secret, at most 30 s old; Stalled when it cannot be used."""
        return await self._credentials.get(name)

    async def claim_cause(
        self, incident: incidents.Incident, cause: str
    ) -> incidents.Incident | None:
        """Hold the Lease of a cause, or return the incident that does; None: it is ours."""
        return await causes.claim(self._api, incident, cause, self.get_incident)

    async def get_cluster_id(self) -> str:
        """Return the uid of kube-system, read once."""
        if not self._cluster_id:
            stored = await self._api.get(connection.path_of("v1", "namespaces", name="kube-system"))
            self._cluster_id = stored["metadata"]["uid"]
        return self._cluster_id

    async def get_namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; NotFound when there is no such one."""
        stored = await self._api.get(connection.path_of("v1", "namespaces", name=namespace))
        return dict(stored["metadata"].get("labels") or {})


def build_event(
    about: incidents.Incident, now: dt.datetime, type_: str, reason: str, message: str
) -> dict[str, Any]:
    """Return a core/v1 Event; equal events of one incident share a name, so that they count up."""
    metadata = about.metadata
    text = message.encode()[:_LONGEST_EVENT].decode(errors="ignore")
    same = hashlib.sha256("\0".join((metadata.uid, type_, reason, text)).encode()).hexdigest()[:16]
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")  # metav1.Time has whole seconds
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name[:230]}.{same}", "namespace": metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": incidents.KIND,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": type_,
        "reason": reason,
        "message": text,
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": "selfheal"},
        "reportingComponent": "selfheal.dev/operator",
        "reportingInstance": "selfheal",
    }


def _incident_path(key: str) -> str:
    namespace, _, name = key.partition("/")
    return connection.path_of(API_VERSION, incidents.PLURAL, namespace, name)


def _document_path(namespace: str, name: str = "") -> str:
    return connection.path_of(API_VERSION, evidence.PLURAL, namespace, name)


def _parse(
    model: type[ModelT],
    stored: Mapping[str, Any],
    kind: str,
    error_type: type[errors.Stalled] = errors.Stalled,
) -> ModelT:
    try:
        return model.model_validate(stored)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        name = stored.get("metadata", {}).get("name", "?")
        # the default reason of PolicyInvalid says enough
        reason = "" if error_type is errors.PolicyInvalid else "ObjectInvalid"
        raise error_type(
            f"{kind} {name}: {field}: {first['msg']}", reason=reason, system=failures.SYSTEM
        ) from error
