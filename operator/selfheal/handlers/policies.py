"""Policies as kopf sees them: a change is reviewed, and its incidents look again at once."""

from __future__ import annotations

from typing import Any

import kopf

from selfheal.engine.policies import review
from selfheal.handlers.lifecycle import running


async def observe(*, body: kopf.Body, type: str | None, name: str, **_: Any) -> None:
    """Review a policy whose spec changed; never on our own status patches."""
    operator = running()
    key, generation = f"policy/{name}", str(body["metadata"].get("generation"))
    if operator.seen.get(key) == generation and type != "DELETED":
        return
    operator.seen[key] = generation
    if type == "DELETED":
        operator.seen.pop(key)
    deps = operator.runtime.deps
    await review(name, deps)
    for incident in await deps.store.list_incidents():
        if incident.spec.policy_ref == name:
            operator.scheduler.wake(incident.key)
