"""The sweeper: resolved incidents go after their retention, surplus evidence at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from selfheal import ports
from selfheal.api.evidence import DocumentType
from selfheal.api.incident import Incident, Phase
from selfheal.api.meta import parse_quantity
from selfheal.api.policy import Policy
from selfheal.domain import errors, mapping
from selfheal.engine.deps import Deps

log = logging.getLogger("selfheal.sweep")


async def sweep(deps: Deps) -> int:
    """Delete incidents resolved longer ago than the policy keeps them; may be repeated."""
    now = deps.clock.now()
    policies = {policy.metadata.name: policy for policy in await deps.store.list_policies()}
    removed = 0
    kept: list[Incident] = []
    for incident in await deps.store.list_incidents():
        status = incident.status
        kept.append(incident)
        if status.phase is not Phase.INCIDENT_RESOLVED or status.phase_since is None:
            continue
        if now - status.phase_since < _policy_of(incident, policies).spec.retention.resolved:
            continue
        try:
            await deps.store.delete_incident(incident)
        except errors.SelfHealError as error:
            log.info("not removed", extra={"incident": incident.key, "error": str(error)})
            continue
        kept.pop()
        removed += 1
        log.info("removed", extra={"incident": incident.key})
    await _trim_evidence(deps, kept, policies)
    return removed


def _policy_of(incident: Incident, policies: Mapping[str, Policy]) -> Policy:
    name = incident.spec.policy_ref
    return policies.get(name) or mapping.built_in_policy(name)


async def _trim_evidence(
    deps: Deps, incidents: Sequence[Incident], policies: Mapping[str, Policy]
) -> None:
    caps = {
        incident.spec.policy_ref: int(
            parse_quantity(_policy_of(incident, policies).spec.retention.evidence_total)
        )
        for incident in incidents
    }
    if not caps:
        return
    stored = await deps.store.measure_documents(min(caps.values()))
    for name, cap in caps.items():
        own = [incident for incident in incidents if incident.spec.policy_ref == name]
        for document in choose_surplus(stored, own, cap):
            await deps.store.delete_document(document.namespace, document.name)
            log.info("evidence removed", extra={"document": document.name, "policy": name})


def choose_surplus(
    stored: Sequence[ports.StoredSize], incidents: Sequence[Incident], cap: int
) -> list[ports.StoredSize]:
    """Return which documents of these incidents go for the rest to fit into ``cap`` bytes; pure.

    Transcripts first, then what belongs to the incidents resolved longest ago; what an incident
    that is not resolved works with (its present run) always stays.
    """
    known = {incident.metadata.uid: incident for incident in incidents}
    own = [one for one in stored if one.incident_uid in known]
    total = sum(one.size for one in own)
    surplus: list[ports.StoredSize] = []

    def is_spare(one: ports.StoredSize) -> bool:
        status = known[one.incident_uid].status
        return status.phase is Phase.INCIDENT_RESOLVED or one.run < status.run

    def turn(one: ports.StoredSize) -> tuple[bool, str, str]:
        since = known[one.incident_uid].status.phase_since
        ended = since.isoformat() if since is not None else ""
        return one.type is not DocumentType.TRANSCRIPT, ended, one.created

    for one in sorted(filter(is_spare, own), key=turn):
        if total <= cap:
            break
        surplus.append(one)
        total -= one.size
    return surplus
