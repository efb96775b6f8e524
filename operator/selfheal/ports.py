"""The ports: what the core asks of the world, as Protocols.

Contracts that hold for every method unless it says otherwise: errors are those of ``domain.errors`` only;
reads may be repeated; ``ensure_`` creates or adopts by key and may be repeated; ``find_`` answers None where there
is nothing; ``get_`` raises NotFound. No method retries a write. Every call has its own deadline inside the adapter
(10 s for writes) and raises ``Unreachable``, ``Transient`` or ``UnknownOutcome`` when it passes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from selfheal.api.evidence import DocumentType
from selfheal.api.incident import Incident, IncidentStatus, Priority, TargetRef
from selfheal.api.policy import Policy, PolicyStatus
from selfheal.diagnosis.evidence import Bundle, Item
from selfheal.domain import facts
from selfheal.domain.signals import Suspect
from selfheal.remediation.layouts import Root


class Clock(Protocol):
    """Time; virtual in tests."""

    def now(self) -> dt.datetime:
        """Return the present time, aware, UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Sleep."""


class Waker(Protocol):
    """Wakes the step of an incident, wherever it runs."""

    def wake(self, key: str) -> None:
        """Ask for a step of ``namespace/name`` as soon as possible; may be repeated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """A document of evidence to be stored; ``content`` is JSON-able."""

    namespace: str
    name: str
    incident: str
    incident_uid: str
    type: DocumentType
    run: int
    attempt: int
    content: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredSize:
    """A stored document without its content; ``size`` in bytes as stored."""

    namespace: str
    name: str
    incident_uid: str
    type: DocumentType
    run: int
    created: str
    size: int


class IncidentStore(Protocol):
    """Our own kinds in the API server."""

    async def get_incident(self, key: str) -> Incident:
        """Read ``namespace/name`` from the API server, never from a cache."""

    async def list_incidents(self, namespace: str | None = None) -> Sequence[Incident]:
        """List all incidents, in pages of 500."""

    async def create_incident(self, incident: Incident) -> Incident:
        """Create; Conflict when the name is taken."""

    async def delete_incident(self, incident: Incident) -> None:
        """Delete this very uid; gone already is fine."""

    async def save_status(self, incident: Incident, status: IncidentStatus) -> Incident:
        """Patch /status fenced by the incident's resourceVersion; Conflict on 409, NotFound when gone."""

    async def poke_incident(self, key: str, nonce: str) -> None:
        """Set the poke annotation."""

    async def request_move(self, key: str, wanted: str) -> None:
        """Set the annotation ``selfheal.dev/transition-to`` to ``PHASE/nonce``."""

    async def get_policy(self, name: str) -> Policy:
        """Read a policy."""

    async def list_policies(self) -> Sequence[Policy]:
        """List all policies."""

    async def save_policy_status(self, policy: Policy, status: PolicyStatus) -> Policy:
        """Patch /status fenced by resourceVersion."""

    async def ensure_document(self, document: Document) -> None:
        """Store evidence; AlreadyExists is adopted only where the owner uid matches, else Conflict."""

    async def find_document(self, namespace: str, name: str) -> Document | None:
        """Read a stored document."""

    async def list_documents(self, namespace: str, incident: str) -> Sequence[Document]:
        """List an incident's documents."""

    async def delete_document(self, namespace: str, name: str) -> None:
        """Delete a document; gone already is fine."""

    async def measure_documents(self, above: int) -> Sequence[StoredSize]:
        """List all documents of the cluster without contents; empty where they are surely less.

        ``above`` in bytes: where so many documents as there are cannot come to it, none is read.
        """

    async def emit_event(self, incident: Incident, *, type: str, reason: str, message: str) -> None:
        """Post a Kubernetes event about the incident; best effort."""

    async def get_credential(self, name: str) -> Mapping[str, str]:
        """Read a labelled Secret of the operator's namespace (cached briefly); Stalled when unusable.

        Reserved key ``hosts``: the comma-separated annotation selfheal.dev/hosts.
        """

    async def claim_cause(self, incident: Incident, cause: str) -> Incident | None:
        """Hold the Lease ``selfheal-cause-<hash>`` of the namespace, or return the incident that does.

        None: it is ours now. A holder that is gone, or ended before this incident was created, or was
        closed by a person, is replaced by resourceVersion.
        """

    async def get_cluster_id(self) -> str:
        """Return the uid of kube-system."""

    async def get_namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TicketDraft:
    """A ticket to be opened.

    ``description`` is Markdown of the small dialect that adapters render: headings, paragraphs,
    bullet lists, fenced code, bold, inline code, links.
    """

    summary: str
    description: str
    priority: Priority
    labels: tuple[str, ...]
    mirror: facts.TicketMirror


class IssueTracker(Protocol):
    """The tracker of one policy."""

    async def check(self, statuses: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """Return what is wrong with project, issue type and status map, one sentence each; empty: fine."""

    async def get_ticket(self, key_or_id: str) -> facts.TicketFacts:
        """Read a ticket with its whole status changelog, property, labels and newest 100 comments by GET."""

    async def get_tickets(self, ids: Sequence[str]) -> Mapping[str, facts.TicketFacts]:
        """Read many tickets (bulk fetch where there is one); missing ones are absent. Comments may be empty."""

    async def search_tickets(self, jql: str, *, limit: int = 100) -> Sequence[str]:
        """Return keys by JQL; search lags and only hints."""

    async def find_updates(self, within: dt.timedelta) -> Mapping[str, dt.datetime]:
        """Search what changed in the project within a time; ids to their ``updated``. It lags."""

    async def find_tickets_by_label(self, label: str) -> Sequence[facts.TicketFacts]:
        """Search by label, then read each by GET."""

    async def create_ticket(self, draft: TicketDraft) -> facts.TicketFacts:
        """Create; has no natural key: never repeat without find_tickets_by_label."""

    async def transition_ticket(
        self, ticket: facts.TicketFacts, to_statuses: Sequence[str]
    ) -> None:
        """Move to the first offered of the statuses; TransitionNotOffered lists what is offered; Conflict on 409.

        Sets the resolution where the transition's screen asks for it. Already there: no-op.
        """

    async def save_mirror(
        self, ticket: facts.TicketFacts, mirror: facts.TicketMirror, labels: frozenset[str]
    ) -> None:
        """Write property and labels (``selfheal-*`` and ``selfheal/*`` only are replaced) in one PUT."""

    async def ensure_comment(
        self, ticket_key: str, *, marker: str, body: str, public: bool = False
    ) -> str:
        """Post Markdown ``body`` with the marker line, or edit ours that has the marker; return its id."""

    async def ensure_remote_link(
        self, ticket_key: str, *, global_id: str, url: str, title: str
    ) -> None:
        """Create or update a remote link."""

    async def ensure_ticket_link(self, ticket_key: str, other_key: str) -> None:
        """Link as duplicate of the other ticket."""

    async def assign_ticket(self, ticket_key: str, assignee: str) -> None:
        """Assign."""

    async def get_groups(self, user_id: str) -> frozenset[str]:
        """Return names and ids of a user's groups; empty for who is unknown.

        Stalled where the account may not look.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceTree:
    """Files of a repository below a path at one commit; larger than the bounds: ``truncated``."""

    repository: str
    sha: str
    files: Mapping[str, bytes]
    truncated: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class PullRequestDraft:
    """A pull request to be opened; body is GitHub Markdown and carries the effect key's trailer line."""

    repository: str
    base: str
    branch: str
    title: str
    body: str
    key: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitFacts:
    """A commit of the history."""

    sha: str
    author: str
    at: dt.datetime
    message: str
    files: tuple[str, ...] = ()


class CodeHost(Protocol):
    """The code host of one policy. Repositories are ``owner/name``."""

    async def get_repository(self, repository: str) -> facts.RepositoryFacts:
        """Read what the repository allows; Stalled when it cannot be seen."""

    async def get_signer(self, repository: str) -> str:
        """Return ``Name <address>`` of our account, as commits are signed off by it (DCO)."""

    async def get_branch_sha(self, repository: str, branch: str) -> str:
        """Return the head commit of a branch."""

    async def get_tree(self, repository: str, sha: str, path: str) -> SourceTree:
        """Read all regular files (no symlinks) below path: at most 2,000 files and 8 MiB."""

    async def list_commits(
        self, repository: str, sha: str, path: str, *, limit: int = 20
    ) -> Sequence[CommitFacts]:
        """Return the newest commits that touch path."""

    async def find_branch(self, repository: str, name: str) -> facts.BranchFacts | None:
        """Read a branch and its head's Selfheal-Effect trailer."""

    async def ensure_branch(
        self,
        repository: str,
        name: str,
        *,
        base_sha: str,
        files: Mapping[str, bytes | None],
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """Create a branch with one commit on base (None deletes a file); adopt only with our trailer key, else Conflict.

        The adapter appends the trailer ``Selfheal-Effect: <key>`` to the message.
        """

    async def push_revision(
        self,
        repository: str,
        name: str,
        *,
        head_sha: str,
        parent_sha: str,
        files: Mapping[str, bytes | None],
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """Put one commit on ``parent_sha`` and move the branch to it, only while its head is ``head_sha``.

        A head that carries our trailer key is adopted; any other, or no branch: Conflict.
        """

    async def list_branches(self, repository: str, prefix: str) -> Sequence[str]:
        """Return names of branches that begin with prefix."""

    async def delete_branch(self, repository: str, name: str) -> None:
        """Delete; gone already is fine."""

    async def find_pull_request(
        self, repository: str, branch: str, key: str
    ) -> facts.PullRequestFacts | None:
        """Find by head branch in any state, only with our key in the body; empty key: any of ours."""

    async def ensure_pull_request(self, draft: PullRequestDraft) -> facts.PullRequestFacts:
        """Open, or adopt one with our key; HandOver when the content is refused."""

    async def get_pull_request(self, repository: str, number: int) -> facts.PullRequestFacts:
        """Read one."""

    async def get_pull_requests(
        self, wanted: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], facts.PullRequestFacts]:
        """Read many in one GraphQL request; missing ones are absent."""

    async def save_pull_request_mirror(
        self, pull: facts.PullRequestFacts, *, label: str, status_block: str
    ) -> None:
        """Replace the ``selfheal/<PHASE>`` label and the status block between its markers in the body."""

    async def save_pull_request_title(self, repository: str, number: int, *, title: str) -> None:
        """Set the title; the same already is fine."""

    async def ask_review(self, repository: str, number: int, *, logins: Sequence[str]) -> None:
        """Ask people to review (again); one who may not is no reason to fail."""

    async def ensure_pull_request_comment(
        self, repository: str, number: int, *, marker: str, body: str
    ) -> str:
        """Post a comment with the marker, or edit ours; return its id."""

    async def merge_pull_request(
        self, pull: facts.PullRequestFacts, *, sha: str, method: str
    ) -> str:
        """Merge if the head still is ``sha`` (Conflict if not); return the merge commit.

        Where the repository merges by a queue: put it there, and Waiting.
        """

    async def leave_merge_queue(self, repository: str, number: int) -> None:
        """Take it out of the merge queue; one that is in none is fine."""

    async def close_pull_request(self, repository: str, number: int) -> None:
        """Close; closed already is fine."""

    async def get_delivery(self, repository: str, sha: str, strategy: str) -> facts.DeliveryFacts:
        """Read what the strategy says about delivery of the commit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DryRun:
    """Answer of a server-side dry run."""

    accepted: bool
    message: str = ""
    warnings: tuple[str, ...] = ()


class Cluster(Protocol):
    """Workloads in the cluster, read-only but for dry runs."""

    async def find_object(self, namespace: str, ref: TargetRef) -> Mapping[str, Any] | None:
        """Read one object."""

    async def find_manifest(
        self, namespace: str, api_version: str, kind: str, name: str
    ) -> Mapping[str, Any] | None:
        """Read one object of any kind that a fix may edit; None where there is none."""

    async def list_targets(self, namespace: str) -> Sequence[TargetRef]:
        """Return the workloads of a namespace, owners only."""

    async def find_owner(self, namespace: str, ref: TargetRef) -> TargetRef | None:
        """Return the topmost workload that controls an object, itself where none does; None: it is not there."""

    async def observe_workload(self, namespace: str, ref: TargetRef) -> facts.WorkloadFacts:
        """Read rollout, pods, containers and recent warnings of a target."""

    async def find_suspects(self, namespaces: Sequence[str]) -> Sequence[Suspect]:
        """Return workloads that look unhealthy, at their topmost owner; a namespace that is gone has none."""

    async def read_delivery(
        self, namespace: str, ref: TargetRef, sha: str, strategy: str
    ) -> facts.DeliveryFacts:
        """Read what Argo CD or Flux says of a commit, by the live object; UNKNOWN where they say nothing."""

    async def collect_evidence(self, namespace: str, ref: TargetRef, now: dt.datetime) -> Bundle:
        """Collect everything of incidents.md in parallel, bounded; what cannot be had is named in ``gaps``."""

    async def dry_run_update(self, manifest: Mapping[str, Any]) -> DryRun:
        """Server-side dry run of an update of the running object, strict field validation."""


class Registry(Protocol):
    """Image registries that the policy allows to be asked."""

    async def list_tags(self, image: str) -> Item | None:
        """Return a TAGS item for the repository of an image reference; None where it may not be asked."""

    async def get_labels(self, image: str) -> Mapping[str, str] | None:
        """Return the labels of an image's configuration; None where they cannot be known. Repeatable."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool call that a model asks for; ``arguments`` is the raw JSON text."""

    id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """One answer of a model; ``text`` is empty where it calls tools."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    refusal: str | None = None


class LanguageModel(Protocol):
    """An OpenAI-compatible endpoint."""

    name: str

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "Answer",
        max_tokens: int = 1500,
    ) -> ModelAnswer:
        """Ask once, never retried; Transient, RateLimited, Unauthorized or Unreachable."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool of an MCP server; ``schema`` is the JSON schema of its arguments."""

    server: str
    name: str
    description: str
    schema: Mapping[str, Any]


class ToolHost(Protocol):
    """MCP servers by name."""

    async def list_tools(self, server: str) -> Sequence[Tool]:
        """Return the allowed tools of one server."""

    async def call_tool(self, server: str, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool (20 s); its text, bounded; Transient or Stalled when the server is down."""

    async def close(self) -> None:
        """End all connections and children."""


class Renderer(Protocol):
    """Kustomize and Helm in a confined subprocess: no network, no file but the given ones, limits."""

    async def render(self, files: Mapping[str, bytes], root: Root) -> str:
        """Render a root to YAML documents; may be repeated, changes nothing outside.

        HandOver ``RenderFailed`` or ``RenderTooLarge`` where the source cannot be rendered;
        Stalled ``RendererMissing`` or ``RendererNotConfined`` where this installation cannot do it.
        """


Performer = Callable[..., Awaitable[Any]]
