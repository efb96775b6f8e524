"""SelfHealingIncident: one incident, from detection to its end."""

from __future__ import annotations

import enum

from pydantic import Field

from selfheal.api import meta
from selfheal.api.classes import IncidentClass

KIND = "SelfHealingIncident"
PLURAL = "selfhealingincidents"


class Phase(enum.StrEnum):
    """The sixteen phases; ``status.phase`` holds exactly these names."""

    INCIDENT_DETECTED = "INCIDENT_DETECTED"
    ANALYSIS_IN_PROGRESS = "ANALYSIS_IN_PROGRESS"
    ANALYSIS_COMPLETE = "ANALYSIS_COMPLETE"
    FIX_GENERATION_IN_PROGRESS = "FIX_GENERATION_IN_PROGRESS"
    FIX_GENERATED = "FIX_GENERATED"
    PR_CREATION_IN_PROGRESS = "PR_CREATION_IN_PROGRESS"
    PR_CREATED = "PR_CREATED"
    PR_UNDER_REVIEW = "PR_UNDER_REVIEW"
    PR_APPROVED = "PR_APPROVED"
    PR_MERGED = "PR_MERGED"
    DEPLOYMENT_IN_PROGRESS = "DEPLOYMENT_IN_PROGRESS"
    DEPLOYMENT_COMPLETE = "DEPLOYMENT_COMPLETE"
    VERIFICATION_IN_PROGRESS = "VERIFICATION_IN_PROGRESS"
    VERIFICATION_COMPLETE = "VERIFICATION_COMPLETE"
    INCIDENT_RESOLVED = "INCIDENT_RESOLVED"
    INCIDENT_REQUIRES_HUMAN = "INCIDENT_REQUIRES_HUMAN"


PHASE_DESCRIPTIONS: dict[Phase, str] = {
    Phase.INCIDENT_DETECTED: "New incident needs analysis",
    Phase.ANALYSIS_IN_PROGRESS: "Root cause analysis running",
    Phase.ANALYSIS_COMPLETE: "Ready for fix generation",
    Phase.FIX_GENERATION_IN_PROGRESS: "Creating automated fixes",
    Phase.FIX_GENERATED: "Ready for PR creation",
    Phase.PR_CREATION_IN_PROGRESS: "Creating pull request",
    Phase.PR_CREATED: "Human Review Required",
    Phase.PR_UNDER_REVIEW: "Human Review in Progress",
    Phase.PR_APPROVED: "Ready for merge",
    Phase.PR_MERGED: "Deployment monitoring starts",
    Phase.DEPLOYMENT_IN_PROGRESS: "Monitoring CI/CD pipeline",
    Phase.DEPLOYMENT_COMPLETE: "Ready for verification",
    Phase.VERIFICATION_IN_PROGRESS: "Verifying resolution",
    Phase.VERIFICATION_COMPLETE: "Verification passed",
    Phase.INCIDENT_RESOLVED: "Fully Resolved",
    Phase.INCIDENT_REQUIRES_HUMAN: "Escalated",
}


class Priority(enum.StrEnum):
    """How urgent an incident is."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


class Resolution(enum.StrEnum):
    """How an incident ended."""

    FIXED = "Fixed"
    RECOVERED = "Recovered"
    DUPLICATE = "Duplicate"
    MAINTENANCE = "Maintenance"
    TARGET_GONE = "TargetGone"
    CLOSED_BY_PERSON = "ClosedByPerson"


class DiagnosedBy(enum.StrEnum):
    """Who found the cause."""

    RULES = "Rules"
    MODEL = "Model"
    BOTH = "Both"


class SourceType(enum.StrEnum):
    """Where an incident came from."""

    MANUAL = "Manual"
    TICKET = "Ticket"
    ALERT = "Alert"
    DETECTOR = "Detector"


class TargetRef(meta.Model):
    """The object that is unhealthy; always in the incident's own namespace."""

    api_version: str = Field(
        default="apps/v1", description="API version of the target, for example apps/v1."
    )
    kind: str = Field(
        description="Kind of the target: a workload, Job, CronJob, Service, claim, autoscaler or Ingress.",
        pattern="^(Deployment|StatefulSet|DaemonSet|ReplicaSet|Pod|Job|CronJob|Service|"
        "PersistentVolumeClaim|HorizontalPodAutoscaler|Ingress)$",
    )
    name: str = Field(description="Name of the target.", min_length=1, max_length=253)
    container: str | None = Field(
        default=None, description="Container within the target, where known."
    )


class Source(meta.Model):
    """Where the incident came from."""

    type: SourceType = Field(
        default=SourceType.MANUAL, description="Manual, Ticket, Alert or Detector."
    )
    fingerprint: str | None = Field(
        default=None, description="What makes two signals the same incident."
    )


class IncidentSpec(meta.Model):
    """What a person, a ticket or an alert asks to be healed."""

    summary: str = Field(description="What is wrong, in one line.", min_length=1, max_length=255)
    description: str | None = Field(
        default=None, description="More about it; untrusted text.", max_length=32768
    )
    priority: Priority = Field(default=Priority.HIGH, description="Low, Medium, High or Critical.")
    target_ref: TargetRef | None = Field(
        default=None,
        description="What is unhealthy; found by triage where absent. Immutable once set.",
    )
    source: Source = Field(default=Source(), description="Where the incident came from.")
    ticket_key: str | None = Field(
        default=None,
        description="Adopt this ticket instead of opening one. Immutable once set.",
        pattern="^[A-Z][A-Z0-9_]+-[0-9]+$",
    )
    policy_ref: str = Field(
        default="default", description="Name of the SelfHealingPolicy.", min_length=1
    )
    suspend: bool = Field(default=False, description="Stop all work on this incident while true.")
    dry_run: bool = Field(default=False, description="Analysis only; nothing outside is written.")


class Intent(meta.Model):
    """An effect that was decided and saved before it is performed."""

    key: str = Field(description="Effect key: uid/run/phase/attempt/kind.")
    kind: str = Field(description="Kind of the effect.")
    at: meta.Time = Field(description="When it was saved.")
    to: Phase | None = Field(default=None, description="For a move: the phase it leads to.")
    why: str = Field(default="", description="For a move: why.")
    holder: str = Field(default="", description="The process that saved it.")


class Signals(meta.Model):
    """Signals of the same cause that arrived after the incident was there."""

    count: int = Field(default=0, description="How many.")
    last: meta.Time | None = Field(default=None, description="When the newest arrived.")


class Receipt(meta.Model):
    """An effect that was performed."""

    key: str = Field(description="Effect key.")
    kind: str = Field(description="Kind of the effect.")
    at: meta.Time = Field(description="When it was performed.")
    ref: str = Field(default="", description="Identity of what it made, for example a comment id.")


class Backoff(meta.Model):
    """How often the present step failed in passing, and when it is tried again."""

    count: int = Field(default=0, description="Failures in a row.")
    until: meta.Time | None = Field(default=None, description="Not before.")


class PhaseClock(meta.Model):
    """Time spent in the phase against its time-out; it stands still while stalled or suspended."""

    elapsed_seconds: float = Field(default=0.0, description="Seconds spent before runningSince.")
    running_since: meta.Time | None = Field(
        default=None, description="Since when it runs; absent: it stands."
    )


class PolicySnapshot(meta.Model):
    """The policy that the last step used."""

    name: str = Field(description="Name of the policy.")
    generation: int = Field(default=0, description="Its generation; 0 for the built-in defaults.")


class Identity(meta.Model):
    """What the effect keys of this run are made of; a policy change does not move them."""

    uid: str = Field(description="The first uid of the incident, of which all keys are made.")
    tracker: str = Field(default="None", description="Jira or None.")
    project: str | None = Field(default=None, description="Project of the ticket.")
    statuses: dict[str, list[str]] = Field(
        default={}, description="Phase to ticket statuses, resolved."
    )
    repository: str | None = Field(default=None, description="owner/name of the mapped repository.")
    branch: str | None = Field(default=None, description="Branch that is delivered.")
    path: str | None = Field(default=None, description="Folder within the repository.")


class OperatorMove(meta.Model):
    """The last move of the ticket that the operator made."""

    to: Phase = Field(description="Phase it led to.")
    run: int = Field(description="Run it belonged to.")
    at: meta.Time = Field(description="When it was seen to stand.")


class TicketStatus(meta.Model):
    """The ticket that mirrors this incident."""

    id: str = Field(description="Immutable id of the ticket.")
    key: str = Field(description="Key of the ticket, for example OPS-123.")
    url: str = Field(default="", description="Where a person reads it.")
    status: str = Field(default="", description="Its status when last read.")
    seen_change: str | None = Field(
        default=None, description="Id of the newest status change taken into account."
    )
    seen_comment: str = Field(
        default="0", description="Id of the newest command by comment that was answered."
    )
    hint: str | None = Field(
        default=None, description="Id of the comment with the newest hint that was taken."
    )
    last_operator_move: OperatorMove | None = Field(default=None, description="Our own last move.")


class DiagnosisStatus(meta.Model):
    """The root cause."""

    class_: IncidentClass = Field(alias="class", description="Class of the fault.")
    cause: str = Field(description="The cause in one line.")
    confidence: float = Field(description="0 to 1.", ge=0, le=1)
    by: DiagnosedBy = Field(description="Rules, Model or Both.")
    evidence_ref: str | None = Field(
        default=None, description="Name of the SelfHealingEvidence it rests on."
    )
    summary: str = Field(default="", description="Explanation for people.")
    container: str | None = Field(default=None, description="Container concerned.")


class FileChange(meta.Model):
    """One changed file of a fix."""

    path: str = Field(description="Path in the repository.")
    added: int = Field(description="Lines added.")
    removed: int = Field(description="Lines removed.")


class FixStatus(meta.Model):
    """The proposed fix."""

    summary: str = Field(description="What the fix does, in one line.")
    risk: str = Field(
        default="Low", description="Low, Medium or High, with the reason in the proposal."
    )
    files: list[FileChange] = Field(default=[], description="Changed files.")
    rollback: str = Field(default="", description="How to undo it.")
    proposal_ref: str | None = Field(
        default=None, description="Name of the SelfHealingEvidence with the proposal."
    )
    preview: str | None = Field(
        default=None, description="The diff that would be proposed, in dry runs."
    )
    revision: int = Field(
        default=0, description="How many commits of this run stood in the pull request before it."
    )
    code: bool = Field(
        default=False, description="Whether the application's code is edited, not manifests."
    )


class PullRequestStatus(meta.Model):
    """The pull request of the fix."""

    run: int = Field(description="Run that opened it.")
    attempt: int = Field(default=1, description="Attempt that opened it.")
    repository: str = Field(description="owner/name.")
    number: int = Field(description="Number.")
    url: str = Field(description="Where a person reads it.")
    state: str = Field(default="Open", description="Open, Closed or Merged.")
    branch: str = Field(description="Head branch.")
    head_sha: str = Field(alias="headSHA", description="The last commit that we made on it.")
    merge_sha: str | None = Field(
        default=None, alias="mergeSHA", description="The commit on the base branch."
    )
    review_decision: str | None = Field(
        default=None, description="Approved, ChangesRequested or ReviewRequired."
    )
    checks: str | None = Field(default=None, description="Success, Pending, Failure or None.")
    answered: list[str] = Field(
        default=[], description="Ids of the reviews that a revision has answered.", max_length=100
    )


class DeploymentStatus(meta.Model):
    """Delivery of the merged commit."""

    strategy: str = Field(description="Rollout, Actions, Deployments, ArgoCD or Flux.")
    revision: str = Field(description="The merged commit.")
    url: str | None = Field(default=None, description="Where a person follows it.")
    state: str = Field(default="Pending", description="Pending, InProgress, Live or Failed.")


class CheckStatus(meta.Model):
    """One check of the verification contract."""

    name: str = Field(description="What must hold.")
    before: bool | None = Field(default=None, description="Whether it held before the fix.")
    before_at: meta.Time | None = Field(default=None, description="When that was seen.")
    before_message: str = Field(default="", description="What was seen before the fix.")
    after: bool | None = Field(default=None, description="Whether it holds now.")
    holds_since: meta.Time | None = Field(
        default=None, description="Since when it holds without a break."
    )
    fails_since: meta.Time | None = Field(
        default=None, description="Since when it fails without a break."
    )
    message: str = Field(default="", description="What was seen.")


class VerificationStatus(meta.Model):
    """The executable proof of the fix."""

    checks: list[CheckStatus] = Field(default=[], description="The checks.")
    verdict: str | None = Field(default=None, description="Passed or Failed; absent while it runs.")
    started_at: meta.Time | None = Field(
        default=None, description="When the first evaluation was taken."
    )


class RevertStatus(meta.Model):
    """The pull request that takes a merged fix back."""

    number: int = Field(description="Number.")
    url: str = Field(description="Where a person reads it.")
    state: str = Field(default="Open", description="Open, Closed or Merged.")


class Attempts(meta.Model):
    """Attempts spent in this run."""

    triage: int = Field(default=0, description="Triage runs.")
    analysis: int = Field(default=0, description="Analyses.")
    fix: int = Field(default=0, description="Fix generations.")
    pull_request: int = Field(default=0, description="Pull request creations.")
    revision: int = Field(default=0, description="Revisions after requested changes.")
    reapply: int = Field(default=0, description="Times the fix was put onto a base that moved.")


class Usage(meta.Model):
    """What language models have cost this incident."""

    model_calls: int = Field(default=0, description="Calls.")
    input_tokens: int = Field(default=0, description="Tokens sent.")
    output_tokens: int = Field(default=0, description="Tokens received.")
    cost: float = Field(default=0.0, description="Cost in the currency of the policy's prices.")
    by_agent: dict[str, int] = Field(default={}, description="Calls by agent.")


class Handover(meta.Model):
    """Why the operator handed the incident to a person."""

    phase: Phase = Field(description="The phase it left.")
    reason: str = Field(description="CamelCase reason.")
    message: str = Field(description="What a person should know and do.")
    at: meta.Time = Field(description="When.")
    run: int = Field(description="In which run.")
    inputs: str = Field(default="", description="Digest of what the failing step worked on.")


class HistoryEntry(meta.Model):
    """One change of phase."""

    from_: Phase | None = Field(default=None, alias="from", description="Phase before.")
    to: Phase = Field(description="Phase after.")
    by: str = Field(description="Who: operator, or the person's name.")
    at: meta.Time = Field(description="When.")
    why: str = Field(default="", description="Why.")


class IncidentStatus(meta.Model):
    """What the operator knows; identities, counters, times and references only."""

    phase: Phase | None = Field(
        default=None, description="Where the incident stands; mirrors the ticket."
    )
    phase_since: meta.Time | None = Field(default=None, description="Since when.")
    message: str = Field(default="", description="What it waits for, and on whom.")
    observed_generation: int = Field(default=0, description="Generation of the spec last acted on.")
    observed_poke: str | None = Field(default=None, description="Last poke annotation seen.")
    observed_transition: str | None = Field(
        default=None, description="Last transition-to annotation obeyed."
    )
    run: int = Field(
        default=1, description="Grows at each hand-back, reopening or move to an earlier phase."
    )
    resolution: Resolution | None = Field(default=None, description="How it ended.")
    duplicate_of: str | None = Field(
        default=None, description="namespace/name of the primary incident."
    )
    target: TargetRef | None = Field(
        default=None, description="What is unhealthy; what triage found."
    )
    signals: Signals | None = Field(
        default=None, description="Later signals of the same cause; absent: none."
    )
    target_seen: bool = Field(
        default=False, description="Whether the target was ever seen to exist."
    )
    target_gone_since: meta.Time | None = Field(
        default=None, description="Since when the target is gone."
    )
    policy: PolicySnapshot | None = Field(default=None, description="The policy last used.")
    identity: Identity | None = Field(
        default=None, description="Snapshot that effect keys rest on."
    )
    intent: Intent | None = Field(default=None, description="The effect under way.")
    receipts: list[Receipt] = Field(default=[], description="Effects performed in this run.")
    backoff: Backoff = Field(default=Backoff(), description="Passing failures.")
    clock: PhaseClock = Field(
        default=PhaseClock(), description="Time spent against the phase's time-out."
    )
    ticket: TicketStatus | None = Field(default=None, description="The ticket.")
    diagnosis: DiagnosisStatus | None = Field(default=None, description="The root cause.")
    fix: FixStatus | None = Field(default=None, description="The proposed fix.")
    pull_request: PullRequestStatus | None = Field(default=None, description="The pull request.")
    deployment: DeploymentStatus | None = Field(default=None, description="The delivery.")
    verification: VerificationStatus | None = Field(default=None, description="The proof.")
    revert: RevertStatus | None = Field(default=None, description="The revert pull request.")
    handover: Handover | None = Field(
        default=None, description="Why the operator handed over, last time."
    )
    attempts: Attempts = Field(default=Attempts(), description="Attempts spent in this run.")
    usage: Usage = Field(default=Usage(), description="Model use of this incident.")
    history: list[HistoryEntry] = Field(
        default=[], description="Newest 50 changes of phase.", max_length=50
    )
    conditions: list[meta.Condition] = Field(default=[], description="What machines act on.")


class Incident(meta.Model):
    """A SelfHealingIncident as stored."""

    metadata: meta.ObjectMeta
    spec: IncidentSpec
    status: IncidentStatus = IncidentStatus()

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
