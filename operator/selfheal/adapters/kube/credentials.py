"""Credentials: labelled Secrets of the operator's own namespace, each bound to hosts."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import Any

from selfheal.adapters.kube import connection, failures
from selfheal.domain import errors

LABEL = "selfheal.dev/credential"
HOSTS_ANNOTATION = "selfheal.dev/hosts"
HOSTS_KEY = "hosts"
CACHED_SECONDS = 30.0


class Credentials:
    """Reads Secrets by name, and keeps each for 30 s; only those that carry the label."""

    def __init__(
        self,
        api: connection.Connection,
        *,
        namespace: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the operator's namespace; no other is ever read."""
        self._api, self._namespace, self._monotonic = api, namespace, monotonic
        self._cache: dict[str, tuple[float, Mapping[str, str]]] = {}

    async def get(self, name: str) -> Mapping[str, str]:
        """Return the entries and ``hosts``; Stalled with what mends it when it cannot be used."""
        now = self._monotonic()
        cached = self._cache.get(name)
        if cached is not None and now - cached[0] < CACHED_SECONDS:
            return cached[1]
        path = connection.path_of("v1", "secrets", self._namespace, name)
        stored = await self._api.find(path)
        values = parse_secret(stored, f"Secret {self._namespace}/{name}")
        self._cache[name] = (now, values)
        return values


def parse_secret(stored: Mapping[str, Any] | None, what: str) -> dict[str, str]:
    """Return the entries of a Secret; pure. Stalled names what is wrong, never a value.

    Without the annotation ``hosts`` is empty: it may go to no host that a policy names.
    """
    if stored is None:
        raise _unusable(f"{what} does not exist; create it with the label {LABEL}", "Missing")
    metadata = stored.get("metadata") or {}
    if LABEL not in (metadata.get("labels") or {}):
        raise _unusable(f"{what} lacks the label {LABEL}; set it if it is meant for us", "Refused")
    hosts = (metadata.get("annotations") or {}).get(HOSTS_ANNOTATION, "").strip()
    values = {key: _decode(text, f"{what}, key {key}") for key, text in _entries(stored)}
    if not any(values.values()):
        raise _unusable(f"{what} is empty; put the token into it", "Missing")
    return values | {HOSTS_KEY: hosts}


def _entries(stored: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list((stored.get("data") or {}).items())


def _decode(text: str, what: str) -> str:
    try:
        return base64.b64decode(text or "").decode("utf-8").strip()
    except (binascii.Error, UnicodeDecodeError):
        raise _unusable(f"{what} is not text", "Refused") from None


def _unusable(message: str, kind: str) -> errors.Stalled:
    return errors.Stalled(message, reason=f"Credentials{kind}", system=failures.SYSTEM)
