"""The sweeper: resolved incidents go after their retention."""

from __future__ import annotations

import logging

from selfheal.api.incident import Phase
from selfheal.domain import errors, mapping
from selfheal.engine.deps import Deps

log = logging.getLogger("selfheal.sweep")


async def sweep(deps: Deps) -> int:
    """Delete incidents resolved longer ago than the policy keeps them; may be repeated."""
    now = deps.clock.now()
    policies = {policy.metadata.name: policy for policy in await deps.store.list_policies()}
    removed = 0
    for incident in await deps.store.list_incidents():
        status = incident.status
        if status.phase is not Phase.INCIDENT_RESOLVED or status.phase_since is None:
            continue
        name = incident.spec.policy_ref
        policy = policies.get(name) or mapping.built_in_policy(name)
        if now - status.phase_since < policy.spec.retention.resolved:
            continue
        try:
            await deps.store.delete_incident(incident)
        except errors.SelfHealError as error:
            log.info("not removed", extra={"incident": incident.key, "error": str(error)})
            continue
        removed += 1
        log.info("removed", extra={"incident": incident.key})
    return removed
