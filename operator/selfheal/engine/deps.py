"""What a step needs: ports, the adapters of a policy, and process-wide settings."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import Any

from selfheal import ports
from selfheal.agents.crew import Crew
from selfheal.api.incident import Incident
from selfheal.api.policy import Policy
from selfheal.domain import errors
from selfheal.engine.ticket_watch import TicketWatch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Systems:
    """The adapters that serve one incident under its policy."""

    tracker: ports.IssueTracker | None
    code: ports.CodeHost | None
    registry: ports.Registry | None
    crew: Crew


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deps:
    """Everything that a step may use; made once by ``wiring``."""

    store: ports.IncidentStore
    cluster: ports.Cluster
    clock: ports.Clock
    connect: Callable[[Policy, Incident], Awaitable[Systems]]
    holder: str  # identity of this process, new at every start
    cluster_uid: str = ""  # of kube-system; empty: not known, no ticket is called an orphan
    read_only: bool = False
    dry_run: bool = False
    namespace: str = "selfheal-system"  # the operator's own
    renderer: ports.Renderer | None = None  # None: only plain YAML is fixed
    readings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What resting incidents last read, by uid (``engine.reading``); nothing is lost with it."""
    tickets: TicketWatch = dataclasses.field(default_factory=TicketWatch)
    jitter: Callable[[], float] = random.random


def require_tracker(systems: Systems) -> ports.IssueTracker:
    """Return the tracker; Stalled when none is configured."""
    if systems.tracker is None:
        raise errors.PolicyInvalid("The policy names no issue tracker.")
    return systems.tracker


def require_code(systems: Systems) -> ports.CodeHost:
    """Return the code host; Stalled when there is no credential for one."""
    if systems.code is None:
        raise errors.PolicyInvalid(
            "No credential for the code host: set code.credentialsRef in the policy, or "
            "GITHUB_TOKEN in the Secret selfheal-credentials.",
            reason="CredentialsMissing",
        )
    return systems.code
