"""What was observed in this step, as frozen values. ``None`` in Facts means: not looked at."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Phase, TargetRef


@dataclasses.dataclass(frozen=True, kw_only=True)
class Actor:
    """Who did something on a ticket or pull request."""

    id: str
    name: str
    is_operator: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Move:
    """One status entry of a ticket's changelog."""

    id: str
    by: Actor
    from_status: str
    to_status: str
    at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class TicketMirror:
    """The entity property ``selfheal`` of a ticket: exact phase, run and owner."""

    uid: str
    phase: Phase
    run: int
    cluster: str
    cluster_uid: str = ""  # of kube-system; two clusters may share a display name


@dataclasses.dataclass(frozen=True, kw_only=True)
class TicketComment:
    """A comment as read; ``body`` is plain text."""

    id: str
    by: Actor
    body: str
    at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class TicketFacts:
    """A ticket as read by GET; ``moves`` oldest first, the whole changelog's status entries."""

    id: str
    key: str
    url: str
    status: str
    project: str
    summary: str = ""
    description: str = ""
    priority: str = ""
    assignee: str | None = None
    labels: frozenset[str] = frozenset()
    label_history: tuple[str, ...] = ()  # selfheal-<uid> labels in the order they were set
    moves: tuple[Move, ...] = ()
    mirror: TicketMirror | None = None
    comments: tuple[TicketComment, ...] = ()  # people's and ours, oldest first, newest 100
    updated: dt.datetime | None = None


class PullRequestState(enum.Enum):
    """Life of a pull request."""

    OPEN = "Open"
    CLOSED = "Closed"
    MERGED = "Merged"


class ReviewState(enum.Enum):
    """A review's verdict."""

    APPROVED = "Approved"
    CHANGES_REQUESTED = "ChangesRequested"
    COMMENTED = "Commented"
    DISMISSED = "Dismissed"


class ChecksState(enum.Enum):
    """All checks of a commit taken together; NONE: there are none."""

    NONE = "None"
    PENDING = "Pending"
    SUCCESS = "Success"
    FAILURE = "Failure"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Review:
    """One review; ``sha`` is the commit it speaks of, ``comments`` what stands at its lines."""

    by: Actor
    is_person: bool
    state: ReviewState
    sha: str
    at: dt.datetime
    body: str = ""
    id: str = ""
    url: str = ""
    comments: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PullRequestFacts:
    """A pull request as read."""

    repository: str
    number: int
    url: str
    state: PullRequestState
    branch: str
    base: str
    head_sha: str
    author: str
    merge_sha: str | None = None
    merged_by: str | None = None
    draft: bool = False
    mergeable: bool | None = None  # None: the host has not computed it yet
    labels: frozenset[str] = frozenset()
    body: str = ""
    reviews: tuple[Review, ...] = ()
    person_comments: int = 0
    assignees: tuple[str, ...] = ()
    requested_reviewers: tuple[str, ...] = ()
    required_checks: ChecksState = ChecksState.NONE
    review_decision: str | None = None  # the host's own, for example APPROVED
    behind: bool = False  # the host merges it only once it is up to date with its base
    queued: bool = False  # it is in the host's merge queue


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchFacts:
    """A branch; ``effect_key`` is the Selfheal-Effect trailer of its head commit."""

    name: str
    sha: str
    effect_key: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepositoryFacts:
    """What the repository allows and demands."""

    default_branch: str
    merge_methods: frozenset[str]
    has_required_checks: bool
    required_reviews: int
    can_push: bool
    can_merge: bool


class DeliveryState(enum.Enum):
    """Delivery of the merged commit as its strategy sees it."""

    UNKNOWN = "Unknown"  # the strategy has no word of its own (Rollout)
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCESS = "Success"
    FAILURE = "Failure"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeliveryFacts:
    """Word of the code host about the delivery of one commit."""

    revision: str
    state: DeliveryState
    url: str | None = None
    message: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerFacts:
    """One container of one pod, current and last state."""

    name: str
    image: str
    ready: bool
    restarts: int
    init: bool = False
    waiting_reason: str | None = None
    waiting_message: str | None = None
    terminated_reason: str | None = None
    exit_code: int | None = None
    last_terminated_reason: str | None = None
    last_exit_code: int | None = None
    last_finished_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    probes: frozenset[str] = frozenset()  # of liveness, readiness, startup
    memory_limit: float | None = None  # bytes
    working_set: float | None = None  # bytes
    cpu_limit: float | None = None  # cores
    throttled_ratio: float | None = None  # 0..1; None: not known yet


@dataclasses.dataclass(frozen=True, kw_only=True)
class PodFacts:
    """One pod of the target."""

    name: str
    phase: str
    ready: bool
    created_at: dt.datetime
    containers: tuple[ContainerFacts, ...] = ()
    scheduled: bool = True
    deleting: bool = False
    owned_by_current: bool = True  # belongs to the newest template of its owner


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventFacts:
    """A Warning event that concerns the target or its pods."""

    reason: str
    message: str
    object: str
    at: dt.datetime
    count: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkloadFacts:
    """The target in the cluster; ``manifest`` is the live object as the API gave it."""

    exists: bool
    manifest: Mapping[str, Any] | None = None
    desired: int = 0
    ready: int = 0
    updated: int = 0
    rollout_complete: bool = False
    rollout_failed: str | None = None
    pods: tuple[PodFacts, ...] = ()
    warnings: tuple[EventFacts, ...] = ()
    faults: tuple[tuple[IncidentClass, str], ...] = ()  # classes and causes, where looked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check of the verification contract, evaluated once."""

    name: str
    holds: bool
    message: str
    final: bool = False  # broken since the change went live, and cannot heal within the window


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiagnosisFacts:
    """A stored diagnosis of this run and attempt."""

    class_: IncidentClass
    cause: str
    confidence: float
    by: str
    evidence_ref: str | None
    summary: str
    container: str | None
    not_failing: bool = False  # the checks do not fail: healthy or recovered
    failure: str | None = None  # no cause found: why
    at: dt.datetime | None = None  # when it was stored
    checks: tuple[CheckResult, ...] = ()  # the verification contract, evaluated before the fix


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalFacts:
    """A stored proposal of this run and attempt."""

    ref: str
    summary: str
    risk: str
    diff: str
    rollback: str
    files: tuple[tuple[str, int, int], ...]  # path, added, removed
    base_sha: str
    refused: str | None = None  # reason a guard, comparison or dry run refused it
    refused_reason: str | None = None
    code: bool = False  # it edits the application's code, not manifests


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevisionFacts:
    """A stored revision of a fix whose pull request is open, or why there is none."""

    proposal: ProposalFacts
    head_sha: str  # the head that it was made for
    answers: tuple[str, ...] = ()  # ids of the reviews that it answers
    pushed_sha: str | None = None  # its commit, once it stands on the branch
    number: int = 0  # which commit of the run it is, after the first


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """State of the policy and of what counts across incidents, at ``now``."""

    problem: str | None = None  # why the policy cannot be used
    frozen_until: dt.datetime | None = None
    in_maintenance: bool = False
    open_pull_requests: int = 0
    merges_last_hour: int = 0
    failed_verifications: int = 0  # of this class, in a row
    read_only: bool = False
    dry_run: bool = False  # process-wide --dry-run
    cut_off: bool = False  # the open intent was saved by a process that has died since
    has_model: bool = False  # a language model is configured
    cluster_uid: str = ""  # of kube-system


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicateFacts:
    """Who is the primary of this cause, if another incident is."""

    primary: str | None = None  # namespace/name
    primary_phase: Phase | None = None
    primary_pull: str | None = None  # where the primary's pull request is read
    primary_gone: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that one step observed; fields left None were not looked at."""

    policy: PolicyFacts
    target: TargetRef | None = None  # spec, or what triage found
    ticket: TicketFacts | None = None
    claimed: bool = False  # the ticket carries our claim: opened or adopted by us
    author_groups: frozenset[str] | None = None  # of who commands; None: they cannot be seen
    ticket_missing: bool = False  # known to us, but gone, moved away or locked
    adoption_refused: str | None = None  # why the named ticket may not be adopted
    workload: WorkloadFacts | None = None
    diagnosis: DiagnosisFacts | None = None
    proposal: ProposalFacts | None = None
    branch: BranchFacts | None = None
    revert: PullRequestFacts | None = None
    pull_request: PullRequestFacts | None = None
    repository: RepositoryFacts | None = None
    delivery: DeliveryFacts | None = None
    carries_change: bool | None = None  # the live object shows the merged change
    checks: Sequence[CheckResult] | None = None
    duplicate: DuplicateFacts | None = None
    leftovers: Sequence[PullRequestFacts] | None = None  # open ones of earlier runs
    leftover_branches: Sequence[str] = ()  # ours of earlier runs, without a pull request
    revisions: Mapping[str, RevisionFacts] | None = None  # newest of each kind of effect
    pushed: RevisionFacts | None = None  # what this very step has pushed
    observed: frozenset[str] = frozenset()  # names of the fields that were looked at
