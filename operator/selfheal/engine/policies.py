"""Policies: whether each can be used, said in its own conditions."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from selfheal.api.policy import CredentialsRef, Policy, PolicySpec
from selfheal.domain import conditions, errors, mapping
from selfheal.engine.deps import Deps

log = logging.getLogger("selfheal.policies")


async def review(name: str, deps: Deps) -> None:
    """Bring a policy's conditions up to date; equal ones are not written, may be repeated.

    What is wrong with its fields comes first, then credentials that it names and that cannot be
    used. A Conflict is left to the next review.
    """
    try:
        policy = await deps.store.get_policy(name)
        problems = [f"spec.{problem}" for problem in mapping.check_policy(policy.spec)]
        problems += await _check_credentials(policy, deps)
        status = policy.status.evolve(
            observed_generation=policy.metadata.generation,
            conditions=conditions.compute_policy(
                policy.status.conditions, problems,
                generation=policy.metadata.generation, now=deps.clock.now(),
            ),
        )  # fmt: skip
        if status != policy.status:
            await deps.store.save_policy_status(policy, status)
    except errors.NotFound:
        return
    except errors.SelfHealError as error:
        log.warning("policy was not reviewed", extra={"policy": name, "error": str(error)})


async def _check_credentials(policy: Policy, deps: Deps) -> list[str]:
    problems = []
    for field, ref in _credentials(policy.spec):
        try:
            await deps.store.get_credential(ref.name)
        except errors.Stalled as error:
            problems.append(f"spec.{field}: {error.message}")
    return problems


def _credentials(spec: PolicySpec) -> Iterator[tuple[str, CredentialsRef]]:
    """Yield the Secrets that a policy names, each with its field."""
    model = spec.agents.model
    named = [
        ("tracker.credentialsRef", spec.tracker.credentials_ref),
        ("code.credentialsRef", spec.code.credentials_ref),
        ("agents.model.credentialsRef", model.credentials_ref if model else None),
        *(
            (f"agents.mcpServers[{number}].credentialsRef", server.credentials_ref)
            for number, server in enumerate(spec.agents.mcp_servers)
        ),
        *(
            (f"registries[{number}].credentialsRef", entry.credentials_ref)
            for number, entry in enumerate(spec.registries)
        ),
    ]
    yield from ((field, ref) for field, ref in named if ref is not None)
