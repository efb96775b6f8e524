"""Every state of every incident, as a watch of the API server shows it; nothing is merged."""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import threading
import time
from typing import Any

from hack import world

PATH = "/apis/selfheal.dev/v1alpha1/selfhealingincidents?watch=1"


@dataclasses.dataclass(frozen=True)
class Patch:
    """One change of a status: when it was seen, and what it wrote."""

    at: float
    phase: str
    intent: str
    fields: tuple[str, ...]
    model_calls: int

    def describe(self) -> str:
        """Name the patch by what it wrote."""
        carried = f", intent {self.intent}" if self.intent else ""
        return f"{self.phase}{carried}: {', '.join(self.fields)}"


@dataclasses.dataclass
class Life:
    """One incident since it was applied."""

    applied: float
    status: dict[str, Any] = dataclasses.field(default_factory=dict)
    patches: list[Patch] = dataclasses.field(default_factory=list)

    def take(self, status: dict[str, Any], at: float) -> None:
        """Note what a change of the object changed in its status."""
        keys = sorted({*status, *self.status})
        fields = tuple(key for key in keys if status.get(key) != self.status.get(key))
        if fields:
            intent = (status.get("intent") or {}).get("kind", "")
            calls = (status.get("usage") or {}).get("modelCalls", 0)
            self.patches.append(Patch(at, status.get("phase", ""), intent, fields, calls))
        self.status = status

    def entered(self) -> dict[str, float]:
        """Return when each phase was first seen, in order."""
        found: dict[str, float] = {}
        for patch in self.patches:
            found.setdefault(patch.phase, patch.at)
        return found

    def up_to(self, phase: str) -> list[Patch]:
        """Return the patches up to the one that enters a phase; none where it was never entered."""
        for number, patch in enumerate(self.patches, start=1):
            if patch.phase == phase:
                return self.patches[:number]
        return []


class Watch:
    """A watch of all incidents of the cluster, from now on."""

    def __init__(self) -> None:
        """Begin; what stands already is left out."""
        self.lives: dict[tuple[str, str], Life] = {}
        listed = json.loads(world.kubectl("get", "--raw", PATH.partition("?")[0]))
        version = listed["metadata"]["resourceVersion"]
        self._process = subprocess.Popen(
            [world.kubectl_binary(), "get", "--raw", f"{PATH}&resourceVersion={version}"],
            stdout=subprocess.PIPE, text=True, env=world.environment(),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now, event = time.time(), json.loads(line)
            meta = event["object"]["metadata"]
            key = (meta.get("namespace", ""), meta.get("name", ""))
            if event["type"] == "ADDED":
                self.lives[key] = Life(applied=now)
            if event["type"] in ("ADDED", "MODIFIED") and key in self.lives:
                self.lives[key].take(event["object"].get("status", {}), now)

    def close(self) -> None:
        """End the watch."""
        self._process.terminate()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)


def count_model_calls(life: Life) -> collections.Counter[str]:
    """Return how many model calls each phase spent."""
    found: collections.Counter[str] = collections.Counter()
    before = 0
    for patch in life.patches:
        found[patch.phase] += patch.model_calls - before
        before = patch.model_calls
    return found
