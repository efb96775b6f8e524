"""Incidents as kopf sees them: a change of generation, annotations or deletion wakes the key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import kopf

from selfheal.handlers.lifecycle import running


async def observe(
    *, body: kopf.Body, type: str | None, namespace: str | None, name: str, **_: Any
) -> None:
    """Wake the key when a person changed something; never on our own status patches."""
    key, operator = f"{namespace}/{name}", running()
    if type == "DELETED":
        operator.seen.pop(key, None)
        operator.scheduler.wake(key)
        return
    meta = body["metadata"]
    annotations = {
        word: value
        for word, value in meta.get("annotations", {}).items()
        if word.startswith("selfheal.dev/")
    }
    known = [meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), annotations]
    fingerprint = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    if operator.seen.get(key) != fingerprint:
        operator.seen[key] = fingerprint
        operator.scheduler.wake(key)
