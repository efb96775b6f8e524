"""Incidents as kopf sees them: a change of generation, annotations or deletion wakes the key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from selfheal.handlers.lifecycle import running

_seen: dict[str, str] = {}


async def observe(
    body: dict[str, Any], type: str | None, namespace: str, name: str, **_: Any
) -> None:
    """Wake the key when a person changed something; never on our own status patches."""
    key = f"{namespace}/{name}"
    if type == "DELETED":
        _seen.pop(key, None)
        running().scheduler.wake(key)
        return
    meta = body["metadata"]
    annotations = {
        key: value
        for key, value in meta.get("annotations", {}).items()
        if key.startswith("selfheal.dev/")
    }
    known = [meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), annotations]
    fingerprint = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    if _seen.get(key) != fingerprint:
        _seen[key] = fingerprint
        running().scheduler.wake(key)
