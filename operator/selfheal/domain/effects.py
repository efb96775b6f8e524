"""Effects as data: what the engine may do to the world, each with its key."""

from __future__ import annotations

import dataclasses
import enum

from selfheal.api.incident import IncidentStatus, Phase


class EffectKind(enum.StrEnum):
    """Every kind of effect; the comment says what makes it safe to repeat."""

    CREATE_TICKET = "create-ticket"  # intent; label selfheal-<uid> and claim property
    CLAIM_TICKET = "claim-ticket"  # first label in the changelog wins
    MOVE_TICKET = "move-ticket"  # intent; own author in the changelog
    SAVE_TICKET_MIRROR = "save-ticket-mirror"  # decided from facts
    COMMENT_TICKET = "comment-ticket"  # marker line with the key
    OBEY_COMMAND = "obey-command"  # marker line with the key; its id in the ticket's status
    TRIAGE = "triage"  # intent and attempt
    ANALYSE = "analyse"  # intent and attempt; result in a document
    GENERATE_FIX = "generate-fix"  # intent and attempt; result in a document
    REVISE = "revise"  # intent and attempt; result in a document
    REAPPLY = "reapply"  # intent and attempt; result in a document
    PUSH_REVISION = "push-revision"  # commit trailer of the branch's head
    PUSH_BRANCH = "push-branch"  # branch name and commit trailer
    OPEN_PULL_REQUEST = "open-pull-request"  # head branch and key in the body
    SAVE_PULL_REQUEST_MIRROR = "save-pull-request-mirror"  # decided from facts
    COMMENT_PULL_REQUEST = "comment-pull-request"  # marker with the key
    MERGE_PULL_REQUEST = "merge-pull-request"  # head sha
    LEAVE_QUEUE = "leave-queue"  # decided from facts
    CLOSE_PULL_REQUEST = "close-pull-request"  # decided from facts
    DELETE_BRANCH = "delete-branch"  # decided from facts
    LINK_TICKET = "link-ticket"  # the tracker keeps one link between two tickets
    OPEN_REVERT = "open-revert"  # head branch and key in the body
    MERGE_REVERT = "merge-revert"  # head sha; tried once, its receipt says so


NEEDS_INTENT = frozenset(
    {
        EffectKind.CREATE_TICKET,
        EffectKind.MOVE_TICKET,
        EffectKind.TRIAGE,
        EffectKind.ANALYSE,
        EffectKind.GENERATE_FIX,
        EffectKind.REVISE,
        EffectKind.REAPPLY,
    }
)
"""Effects without a natural key: an intent (and attempt) is saved before they are performed."""

ONCE = frozenset({EffectKind.MERGE_REVERT})
"""Effects that are tried once in a run, whatever comes of it; a receipt is kept."""

OUTSIDE_WRITES = frozenset(EffectKind) - {
    EffectKind.TRIAGE,
    EffectKind.ANALYSE,
    EffectKind.GENERATE_FIX,
    EffectKind.REVISE,
    EffectKind.REAPPLY,
}
"""Effects that change something outside our own kinds."""


class Milestone(enum.StrEnum):
    """What is said once in the ticket, and edited in place when it changes."""

    TRIAGE = "triage"
    DIAGNOSIS = "diagnosis"
    FIX = "fix"
    PULL_REQUEST = "pull-request"
    REVISION = "revision"
    APPROVAL = "approval"
    DEPLOYMENT = "deployment"
    VERIFICATION = "verification"
    REMINDER = "reminder"
    HANDOVER = "handover"
    PRECONDITION = "precondition"
    CLOSED = "closed"
    DUPLICATE = "duplicate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect. ``key`` reads ``<uid>/<run>/<phase>/<attempt>/<kind>``."""

    kind: EffectKind
    key: str
    to: Phase | None = None  # MOVE_TICKET
    why: str = ""  # MOVE_TICKET, CLOSE_PULL_REQUEST, what a comment adds, kind of a revision
    milestone: Milestone | None = None  # COMMENT_TICKET, COMMENT_PULL_REQUEST
    number: int = 0  # pull request concerned
    branch: str = ""  # DELETE_BRANCH, PUSH_BRANCH, PUSH_REVISION
    sha: str = ""  # MERGE_PULL_REQUEST: the head that was approved; PUSH_REVISION: the head before


def compute_key(
    uid: str, status: IncidentStatus, phase: Phase, kind: str, *, attempt: int = 0
) -> str:
    """Return the key of an effect of this run."""
    return f"{uid}/{status.run}/{phase}/{attempt}/{kind}"


def compute_branch(namespace: str, name: str, uid: str, *, run: int, attempt: int) -> str:
    """Return the branch of a fix; unique per incident, run and attempt."""
    return f"{compute_branch_prefix(namespace, name, uid)}r{run}a{attempt}"


def compute_branch_prefix(namespace: str, name: str, uid: str) -> str:
    """Return what all branches of an incident begin with."""
    return f"selfheal/{namespace}-{name}-{uid[:8]}-"
