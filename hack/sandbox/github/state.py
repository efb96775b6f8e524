"""What the proxy keeps beside emulate: people, commit statuses, deployments, runs, faults and the journal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

TOKENS = {
    "sandbox-operator-token": "selfheal-bot",
    "sandbox-alice-token": "alice",
    "sandbox-bob-token": "bob",
    "sandbox-reader-token": "reader",
    "sandbox-owner-token": "acme",
}
OWNER = "acme"
READERS = frozenset({"reader"})  # may read, may not write


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next matching requests."""

    method: str
    path: re.Pattern[str]
    times: int
    when: str  # before | after the effect
    kind: str  # status | delay | drop | truncate | html
    status: int = 502
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0
    actor: str = ""  # only this account's requests; empty: everybody's


@dataclasses.dataclass
class State:
    """Everything of one sandbox; lives as long as its process, like emulate's own."""

    statuses: dict[tuple[str, str], list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    deployments: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    deployment_statuses: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    runs: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    heads: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    merged: dict[tuple[str, int], dict[str, Any]] = dataclasses.field(default_factory=dict)
    assignees: dict[tuple[str, int], list[str]] = dataclasses.field(default_factory=dict)
    queues: set[str] = dataclasses.field(default_factory=set)  # repositories that merge by a queue only
    queued: set[tuple[str, int]] = dataclasses.field(default_factory=set)
    archived: set[str] = dataclasses.field(default_factory=set)
    faults: list[Fault] = dataclasses.field(default_factory=list)
    journal: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    violations: list[str] = dataclasses.field(default_factory=list)
    latency: float = 0.0
    ids: int = 1000

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    def take_fault(self, method: str, path: str, when: str, actor: str | None) -> Fault | None:
        """The first fault that matches, one use of it spent."""
        for fault in self.faults:
            if fault.actor not in ("", actor):
                continue
            if fault.when == when and fault.times > 0 and fault.method in ("*", method) and fault.path.search(path):
                fault.times -= 1
                return fault
        return None

    def combined(self, repository: str, sha: str) -> dict[str, Any]:
        """Combine: https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference."""
        latest: dict[str, dict[str, Any]] = {}
        for entry in self.statuses.get((repository, sha), []):
            latest[entry["context"]] = entry
        states = [entry["state"] for entry in latest.values()]
        if any(state in ("failure", "error") for state in states):
            state = "failure"
        else:
            state = "success" if states and all(s == "success" for s in states) else "pending"
        return {"state": state, "statuses": list(latest.values()), "sha": sha, "total_count": len(latest)}
