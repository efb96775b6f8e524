"""SelfHealingPolicy: how incidents are treated."""

from __future__ import annotations

import datetime as dt
import enum

from pydantic import Field

from selfheal.api import classes, meta
from selfheal.api.incident import Phase, Priority
from selfheal.api.node_group import NodeGroupSpec
from selfheal.api.usage import DayUsage

KIND = "SelfHealingPolicy"
PLURAL = "selfhealingpolicies"


class Mode(enum.StrEnum):
    """How far the operator goes."""

    OBSERVE = "Observe"
    SUGGEST = "Suggest"
    PULL_REQUEST = "PullRequest"


class TrackerType(enum.StrEnum):
    """Which issue tracker holds the tickets."""

    JIRA = "Jira"
    NONE = "None"


class JiraDeployment(enum.StrEnum):
    """Which Jira product is spoken to."""

    CLOUD = "Cloud"
    DATA_CENTER = "DataCenter"


class MergeBy(enum.StrEnum):
    """Who merges an approved pull request."""

    OPERATOR = "Operator"
    PERSON = "Person"


class Risk(enum.StrEnum):
    """How dangerous a fix is."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"


class DeliveryStrategy(enum.StrEnum):
    """How a merged commit reaches the cluster, and how that is seen."""

    ROLLOUT = "Rollout"
    ACTIONS = "Actions"
    DEPLOYMENTS = "Deployments"
    ARGO_CD = "ArgoCD"
    FLUX = "Flux"


class OnFailure(enum.StrEnum):
    """What a failed verification leads to."""

    ESCALATE = "Escalate"
    REVERT_PULL_REQUEST = "RevertPullRequest"
    REVERT = "Revert"


class OnChangesRequested(enum.StrEnum):
    """What requested changes lead to."""

    ESCALATE = "Escalate"
    REVISE = "Revise"


class AgentsWhen(enum.StrEnum):
    """When a model is asked."""

    ALWAYS = "Always"
    UNSURE_ONLY = "UnsureOnly"


class Runner(enum.StrEnum):
    """Where model runs execute."""

    IN_PROCESS = "InProcess"
    JOB = "Job"


class LabelSelector(meta.Model):
    """A Kubernetes label selector; empty selects all."""

    match_labels: dict[str, str] = Field(default={}, description="Labels that must be equal.")


class CredentialsRef(meta.Model):
    """A Secret of the operator's namespace, labelled selfheal.dev/credential."""

    name: str = Field(description="Name of the Secret.", min_length=1)


class Window(meta.Model):
    """A recurring span of time."""

    cron: str = Field(description="When it begins: minute hour day-of-month month day-of-week.")
    duration: meta.Duration = Field(description="How long it lasts, for example 2h.")
    time_zone: str = Field(default="UTC", description="IANA time zone of the cron expression.")


class AdoptionSpec(meta.Model):
    """Which tickets an incident may name."""

    jql: str | None = Field(default=None, description="JQL that an adopted ticket must match.")


class IntakeSpec(meta.Model):
    """Which tickets become incidents."""

    enabled: bool = Field(default=False, description="Whether tickets are taken in.")
    jql: str | None = Field(default=None, description="JQL that narrows the tickets.")
    minimum_priority: Priority = Field(
        default=Priority.HIGH, description="Least priority taken in."
    )
    keywords: list[str] = Field(
        default=[], description="Any must occur, without regard to case; none: all."
    )
    poll_interval: meta.Duration = Field(
        default=dt.timedelta(minutes=5), description="Time between polls, for example 5m."
    )


class CommandsSpec(meta.Model):
    """Comments of people that the operator obeys: hint, retry, stop."""

    mention: str = Field(
        default="@selfheal",
        description="What such a comment begins with.",
        min_length=3,
        max_length=40,
        pattern=r"^\S+$",
    )
    groups: list[str] = Field(
        default=[],
        description="Groups of the tracker whose members are obeyed; none: commands are off.",
        max_length=20,
    )


class TrackerSpec(meta.Model):
    """The issue tracker."""

    type: TrackerType = Field(default=TrackerType.NONE, description="Jira or None.")
    deployment: JiraDeployment = Field(
        default=JiraDeployment.CLOUD, description="Cloud or DataCenter."
    )
    site: str | None = Field(
        default=None,
        alias="baseURL",
        description="Base URL of the site, or of the gateway for tests.",
    )
    cloud_id: str | None = Field(
        default=None, description="Cloud id, for the gateway of Atlassian."
    )
    project: str | None = Field(default=None, description="Project key.")
    issue_type: str = Field(default="[System] Incident", description="Issue type of new tickets.")
    request_type: str | None = Field(default=None, description="Request type for service desks.")
    service_desk: str | None = Field(default=None, description="Service desk id.")
    credentials_ref: CredentialsRef | None = Field(
        default=None, description="Secret with the token."
    )
    statuses: dict[Phase, list[str]] = Field(
        default={}, description="Ticket statuses of each phase; replaces the default table whole."
    )
    priorities: dict[str, Priority] = Field(
        default={}, description="Ticket priority to incident priority."
    )
    public_comments: bool = Field(
        default=False, description="Whether comments are visible to customers."
    )
    poll_interval: meta.Duration = Field(
        default=dt.timedelta(seconds=30),
        description="Time between looks at known tickets, for example 30s.",
    )
    adoption: AdoptionSpec = Field(
        default=AdoptionSpec(), description="Which tickets may be adopted."
    )
    intake: IntakeSpec = Field(default=IntakeSpec(), description="Which tickets become incidents.")
    commands: CommandsSpec = Field(
        default=CommandsSpec(), description="Commands by comment, and who may give them."
    )


class CodeLimits(meta.Model):
    """Limits across incidents."""

    open_pull_requests: int = Field(default=20, description="Open pull requests at once.", ge=0)
    merges_per_hour: int = Field(default=10, description="Merges an hour.", ge=0)


class RepositoryMatch(meta.Model):
    """Which incidents a repository mapping serves."""

    namespaces: list[str] = Field(description="Namespaces.", min_length=1)
    selector: LabelSelector = Field(default=LabelSelector(), description="Labels of the target.")


class DeploymentSpec(meta.Model):
    """How merged commits are delivered."""

    strategy: DeliveryStrategy = Field(
        default=DeliveryStrategy.ROLLOUT,
        description="Rollout, Actions, Deployments, ArgoCD or Flux.",
    )


class MergeSpec(meta.Model):
    """How approved pull requests are merged."""

    by: MergeBy = Field(default=MergeBy.OPERATOR, description="Operator or Person.")
    require_approval: bool = Field(default=True, description="Whether a person must approve first.")
    max_risk: Risk = Field(default=Risk.LOW, description="Highest risk merged without approval.")
    method: str = Field(
        default="squash", description="merge, squash or rebase.", pattern="^(merge|squash|rebase)$"
    )


class PullRequestSpec(meta.Model):
    """How pull requests are opened and followed."""

    labels: list[str] = Field(default=["selfheal"], description="Labels set at opening.")
    reviewers: list[str] = Field(default=[], description="Logins asked for review.")
    draft: bool = Field(default=False, description="Open as draft.")
    review_timeout: meta.Duration = Field(
        default=dt.timedelta(hours=24), description="How long a review may take, for example 24h."
    )
    on_changes_requested: OnChangesRequested = Field(
        default=OnChangesRequested.ESCALATE, description="Escalate or Revise."
    )
    revisions: int = Field(
        default=2, description="Commits at the most that answer reviews or checks.", ge=0
    )
    sign_off: bool = Field(
        default=False, description="Whether commits are signed off (DCO) by the operator's account."
    )


class ApplicationSpec(meta.Model):
    """Where the code stands that the images of a mapping's namespaces are built from."""

    repository: str | None = Field(
        default=None,
        description="owner/name; absent: the mapping's own repository.",
        pattern="^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
    )
    branch: str | None = Field(
        default=None, description="Branch that images are built from; absent: the mapping's."
    )
    path: str = Field(default="", description="Folder with the code; empty: the root.")


class RepositorySpec(meta.Model):
    """One mapping from namespaces to a repository."""

    match: RepositoryMatch = Field(description="Which incidents it serves.")
    repository: str = Field(description="owner/name.", pattern="^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    branch: str = Field(default="main", description="Branch that is delivered.")
    path: str = Field(default="", description="Folder with the manifests; empty: the root.")
    application: ApplicationSpec | None = Field(
        default=None, description="Code that a fix may edit; absent: code is never edited."
    )
    node_group: NodeGroupSpec | None = Field(
        default=None, description="Node group that a fix may let grow; absent: none."
    )
    deployment: DeploymentSpec = Field(
        default=DeploymentSpec(), description="How merged commits are delivered."
    )
    merge: MergeSpec = Field(default=MergeSpec(), description="How pull requests are merged.")
    pull_request: PullRequestSpec = Field(
        default=PullRequestSpec(), description="How pull requests are opened and followed."
    )


class CodeSpec(meta.Model):
    """The code host."""

    host: str = Field(default="GitHub", description="GitHub.", pattern="^GitHub$")
    base_url: str | None = Field(
        default=None, alias="baseURL", description="API base URL of an Enterprise server."
    )
    credentials_ref: CredentialsRef | None = Field(
        default=None, description="Secret with token or App key."
    )
    poll_interval: meta.Duration = Field(
        default=dt.timedelta(minutes=1),
        description="Time between looks at pull requests, for example 1m.",
    )
    limits: CodeLimits = Field(default=CodeLimits(), description="Limits across incidents.")
    repositories: list[RepositorySpec] = Field(
        default=[], description="Mappings; they must not overlap."
    )


class ModelSpec(meta.Model):
    """A language model behind an OpenAI-compatible endpoint."""

    base_url: str | None = Field(
        default=None, alias="baseURL", description="Base URL of the endpoint."
    )
    name: str = Field(description="Model name.")
    credentials_ref: CredentialsRef | None = Field(
        default=None, description="Secret with the API key."
    )
    input_price: float = Field(default=0.0, description="Price of a million input tokens.", ge=0)
    output_price: float = Field(default=0.0, description="Price of a million output tokens.", ge=0)
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Namespaces whose logs may go to the model; absent: none."
    )
    timeout: meta.Duration = Field(
        default=dt.timedelta(seconds=60), description="Longest time that one call may take."
    )
    context_tokens: int = Field(
        default=32_768,
        description="Tokens that a request and its answer may have together; evidence is cut to it.",
        ge=4_096,
    )


class IncidentBudget(meta.Model):
    """Model budget of one incident."""

    calls: int = Field(default=40, description="Calls.", ge=0)
    tokens: int = Field(default=200_000, description="Tokens in both directions.", ge=0)
    cost: float = Field(default=2.0, description="Cost in the currency of the prices.", ge=0)


class DayBudget(meta.Model):
    """Model budget of one day."""

    tokens: int = Field(default=5_000_000, description="Tokens in both directions.", ge=0)
    cost: float = Field(default=50.0, description="Cost in the currency of the prices.", ge=0)


class BudgetSpec(meta.Model):
    """Hard budgets of model use."""

    per_incident: IncidentBudget = Field(default=IncidentBudget(), description="Of one incident.")
    per_day: DayBudget = Field(default=DayBudget(), description="Of one day, all incidents.")


class McpServerSpec(meta.Model):
    """One MCP server whose tools agents may call."""

    name: str = Field(description="Name, for example kubernetes, github or jira.", min_length=1)
    url: str | None = Field(default=None, description="Streamable HTTP endpoint.")
    command: str | None = Field(
        default=None, description="Name of a command from the operator's own configuration."
    )
    allowed_tools: list[str] = Field(
        default=[], description="Tools that may be called; none: the packaged list."
    )
    credentials_ref: CredentialsRef | None = Field(
        default=None, description="Secret with a bearer token."
    )


class AgentsSpec(meta.Model):
    """The five agents."""

    model: ModelSpec | None = Field(default=None, description="The model; absent: rules only.")
    when: AgentsWhen = Field(default=AgentsWhen.ALWAYS, description="Always or UnsureOnly.")
    runner: Runner = Field(default=Runner.IN_PROCESS, description="InProcess or Job.")
    budget: BudgetSpec = Field(default=BudgetSpec(), description="Hard budgets.")
    mcp_servers: list[McpServerSpec] = Field(default=[], description="MCP servers.")
    minimum_confidence: float = Field(
        default=0.6, description="Least confidence of a diagnosis.", ge=0, le=1
    )


class GuardsSpec(meta.Model):
    """What a fix may touch."""

    namespaces: list[str] = Field(
        default=[], description="Namespaces; none: those of the mappings."
    )
    kinds: list[str] = Field(
        default=list(classes.EDITED_KINDS),
        description="Kinds that may be edited.",
    )
    max_memory: meta.Quantity = Field(default="4Gi", description="Highest memory limit set.")
    max_cpu: meta.Quantity = Field(
        default="4", alias="maxCPU", description="Highest CPU limit set."
    )
    memory_step: float = Field(
        default=2.0, description="Factor by which a memory limit is raised.", gt=1
    )
    cpu_step: float = Field(default=2.0, description="Factor by which a CPU limit is raised.", gt=1)
    max_files: int = Field(default=3, description="Files changed at the most.", ge=1)
    max_lines: int = Field(default=40, description="Lines changed at the most.", ge=1)
    protected_paths: list[str] = Field(
        default=[], description="Glob patterns of paths never changed."
    )
    classes: list[str] = Field(default=[], description="Classes that may be fixed; none: all.")


class RegistrySpec(meta.Model):
    """An image registry that may be asked for tags."""

    host: str = Field(description="Host as it stands in image references, for example docker.io.")
    endpoint: str | None = Field(
        default=None, description="Base URL to ask; absent: https and the host."
    )
    credentials_ref: CredentialsRef | None = Field(default=None, description="Secret with a login.")


class VerificationSpec(meta.Model):
    """When a fix counts as proved."""

    stable_for: meta.Duration = Field(
        default=dt.timedelta(minutes=10),
        description="How long all checks must hold, for example 10m.",
    )
    on_failure: OnFailure = Field(
        default=OnFailure.REVERT_PULL_REQUEST, description="Escalate, RevertPullRequest or Revert."
    )


class DetectionSpec(meta.Model):
    """The built-in detector."""

    enabled: bool = Field(default=False, description="Whether the cluster is watched for faults.")
    namespaces: list[str] = Field(
        default=[], description="Namespaces; none: those of the mappings."
    )
    reasons: list[str] = Field(default=[], description="Event reasons; none: the packaged list.")
    quiet_period: meta.Duration = Field(
        default=dt.timedelta(minutes=2), description="How long a fault must last, for example 2m."
    )


class RecoverySpec(meta.Model):
    """Which endings before a merge the operator may take by itself."""

    recovered: bool = Field(
        default=True, description="Resolve when the target recovered by itself."
    )
    target_gone: bool = Field(default=True, description="Resolve when the target was deleted.")


class TimeoutsSpec(meta.Model):
    """How long a phase may take before the incident is handed to a person."""

    triage: meta.Duration = Field(
        default=dt.timedelta(minutes=30), description="Finding the target."
    )
    analysis: meta.Duration = Field(
        default=dt.timedelta(minutes=15), description="Root cause analysis."
    )
    fix: meta.Duration = Field(default=dt.timedelta(minutes=30), description="Fix generation.")
    pull_request: meta.Duration = Field(
        default=dt.timedelta(minutes=30), description="Pull request creation."
    )
    merge: meta.Duration = Field(
        default=dt.timedelta(hours=24), description="Merge after approval."
    )
    deployment_start: meta.Duration = Field(
        default=dt.timedelta(minutes=30), description="Start of delivery."
    )
    deployment: meta.Duration = Field(default=dt.timedelta(minutes=30), description="Delivery.")
    verification: meta.Duration = Field(
        default=dt.timedelta(minutes=30), description="Verification beyond the stability window."
    )
    other: meta.Duration = Field(default=dt.timedelta(hours=1), description="Any other phase.")


class AttemptsSpec(meta.Model):
    """Attempts a run."""

    analysis: int = Field(default=3, description="Analyses.", ge=1)
    fix: int = Field(default=2, description="Fix generations.", ge=1)
    pull_request: int = Field(
        default=3, description="Commits that put a fix onto a base that moved.", ge=1
    )


class RetentionSpec(meta.Model):
    """How long things are kept."""

    resolved: meta.Duration = Field(
        default=dt.timedelta(hours=72), description="Resolved incidents, for example 72h."
    )
    evidence_total: meta.Quantity = Field(
        default="256Mi", description="All evidence of this policy."
    )


class EscalationSpec(meta.Model):
    """Whom a hand-over addresses."""

    assignee: str | None = Field(
        default=None, description="Account id (Cloud) or user name (Data Center)."
    )


class PolicySpec(meta.Model):
    """How incidents are treated; every field has a default that is safe."""

    namespace_selector: LabelSelector = Field(
        default=LabelSelector(), description="Namespaces that may use it."
    )
    mode: Mode = Field(default=Mode.PULL_REQUEST, description="Observe, Suggest or PullRequest.")
    suspend: bool = Field(default=False, description="Stop every outside write of all incidents.")
    freeze: list[Window] = Field(default=[], description="Windows in which nothing is merged.")
    cluster_name: str = Field(
        default="", description="Name of the cluster on tickets and pull requests."
    )
    tracker: TrackerSpec = Field(default=TrackerSpec(), description="The issue tracker.")
    code: CodeSpec = Field(default=CodeSpec(), description="The code host.")
    agents: AgentsSpec = Field(default=AgentsSpec(), description="The agents and their model.")
    guards: GuardsSpec = Field(default=GuardsSpec(), description="What a fix may touch.")
    registries: list[RegistrySpec] = Field(
        default=[], description="Registries that may be asked for tags."
    )
    verification: VerificationSpec = Field(
        default=VerificationSpec(), description="When a fix counts as proved."
    )
    detection: DetectionSpec = Field(default=DetectionSpec(), description="The built-in detector.")
    maintenance: list[Window] = Field(
        default=[], description="Windows in which faults are expected."
    )
    recovery: RecoverySpec = Field(default=RecoverySpec(), description="Endings before a merge.")
    timeouts: TimeoutsSpec = Field(default=TimeoutsSpec(), description="Time-outs of phases.")
    attempts: AttemptsSpec = Field(default=AttemptsSpec(), description="Attempts a run.")
    retention: RetentionSpec = Field(
        default=RetentionSpec(), description="How long things are kept."
    )
    escalation: EscalationSpec = Field(
        default=EscalationSpec(), description="Whom a hand-over addresses."
    )


class PolicyStatus(meta.Model):
    """Counters across incidents, reserved by resourceVersion before they are spent."""

    observed_generation: int = Field(default=0, description="Generation last validated.")
    usage: DayUsage | None = Field(default=None, description="Model use of the day.")
    merges: list[meta.Time] = Field(default=[], description="Merges of the last hour.")
    failures: dict[str, int] = Field(
        default={}, description="Failed verifications in a row, by class."
    )
    conditions: list[meta.Condition] = Field(
        default=[], description="Ready, with the field that is wrong."
    )


class Policy(meta.Model):
    """A SelfHealingPolicy as stored."""

    metadata: meta.ObjectMeta
    spec: PolicySpec = PolicySpec()
    status: PolicyStatus = PolicyStatus()
