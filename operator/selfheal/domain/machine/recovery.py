"""Endings before a merge: recovered by itself, gone, duplicate, maintenance."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Phase, Resolution
from selfheal.domain.decisions import Advance, Decision, Stall, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.view import View

LOOK_AGAIN = dt.timedelta(seconds=10)


def recovered(view: View) -> Decision | None:
    """Resolve when every check held through the window without a fix; None: not (yet)."""
    if not view.policy.recovery.recovered:
        return None
    since = holding_since(view)
    if since is None or view.now - since < view.policy.verification.stable_for:
        return None
    if view.facts.policy.in_maintenance:
        return Advance(
            to=Phase.INCIDENT_RESOLVED, why="expected: a maintenance window of the policy",
            resolution=Resolution.MAINTENANCE,
        )  # fmt: skip
    resolution = Resolution.DUPLICATE if view.status.duplicate_of else Resolution.RECOVERED
    return Advance(
        to=Phase.INCIDENT_RESOLVED,
        why="every check held through the stability window without a fix",
        resolution=resolution,
    )


def holding_since(view: View) -> dt.datetime | None:
    """Return since when all checks hold; None when one does not, or none was evaluated."""
    known = view.status.verification
    if known is None or not known.checks:
        return None
    moments = [check.holds_since for check in known.checks]
    return None if None in moments else max(m for m in moments if m is not None)


def gone(view: View) -> Decision:
    """A target that once existed: resolved when it stays away through the window."""
    since = view.status.target_gone_since or view.now
    target = view.status.target
    name = f"{target.kind} {target.name}" if target else "The target"
    if not view.policy.recovery.target_gone:
        return Stall(
            reason="TargetGone", message=f"{name} was deleted; create it again to go on.",
            pauses_clock=False,
        )  # fmt: skip
    if view.now - since >= view.policy.verification.stable_for:
        return Advance(
            to=Phase.INCIDENT_RESOLVED, why=f"{name} was deleted and stayed away",
            resolution=Resolution.TARGET_GONE,
        )  # fmt: skip
    return Wait(
        reason="TargetGone", message=f"{name} was deleted; waits whether it comes back.",
        after=LOOK_AGAIN,
    )  # fmt: skip


def duplicate(view: View) -> Decision | None:
    """Rest while another incident of the same cause is worked on; None: this is the primary."""
    found = view.fact("duplicate")
    if found is None or found.primary is None:
        return None
    if found.primary_phase is Phase.INCIDENT_RESOLVED:
        if holding_since(view) is None:
            return None  # its end did not mend this one
        ended = recovered(view)
        if ended is not None:
            return ended
    linked = view.comment(Milestone.DUPLICATE, on=EffectKind.LINK_TICKET)
    if linked is not None and view.tracked and view.status.ticket is not None:
        return linked
    handed = found.primary_phase is Phase.INCIDENT_REQUIRES_HUMAN
    state = "was handed to a person" if handed else "is being worked on"
    follows = f" by {found.primary_pull}" if found.primary_pull else ""
    return Wait(
        reason="Duplicate",
        message=f"Same cause as {found.primary}, which {state}{follows}; waits for its end.",
        after=view.poll_ticket,
        pauses_clock=True,
    )
