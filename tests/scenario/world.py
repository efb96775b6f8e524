"""A whole world in memory: cluster, repository, tracker, people, delivery, and a clock of its own."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from tests.fakes import plausible
from tests.fakes.cluster import FakeCluster
from tests.fakes.code_host import FakeCodeHost
from tests.fakes.store import FakeStore
from tests.fakes.tracker import STATUSES, FakeTracker
from tests.scenario.ports_wrapper import Crash, Process

from selfheal import ports
from selfheal.agents.config import AgentsConfig, load_config
from selfheal.agents.crew import Crew
from selfheal.api.incident import Incident, IncidentSpec, IncidentStatus, Phase, TargetRef
from selfheal.api.policy import Policy, PolicySpec, TrackerType
from selfheal.domain import errors, facts
from selfheal.engine.deps import Deps, Systems
from selfheal.engine.requeue import Requeue
from selfheal.engine.step import step
from selfheal.unavailable import Unavailable

START = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
KEY = "production/checkout-oom"
NAMESPACE = "production"
REPOSITORY = "acme/gitops"
FILE = "apps/production/checkout.yaml"
SOURCE = textwrap.dedent(
    """\
    # The checkout of the shop; ask the payments team before you touch it.
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: checkout
      namespace: production
      labels: {app: checkout}
    spec:
      replicas: 1
      selector:
        matchLabels: {app: checkout}
      template:
        metadata:
          labels: {app: checkout}
        spec:
          containers:
            - name: app
              image: registry.example/shop/checkout:1.4.2
              resources:
                requests: {cpu: 100m, memory: 32Mi}
                limits:
                  memory: 64Mi   # was enough in spring
              readinessProbe:
                httpGet: {path: /healthz, port: 8080}
    """
)
CONFIG: AgentsConfig = load_config(None)
NO_RETURN = 10_000
"""Bound on steps; an incident that needs more than this has not come to rest."""


class VirtualClock:
    """Time that passes only when the driver lets it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class PlausibleModel:
    """A model that answers from its prompt alone (tests/fakes/plausible)."""

    name = "plausible"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "Answer",
        max_tokens: int = 1500,
    ) -> ports.ModelAnswer:
        self.asked.append(schema_name)
        said = plausible.answer(messages, tools)
        return ports.ModelAnswer(
            text=said["content"] or "", tool_calls=(), finish_reason="stop",
            input_tokens=100, output_tokens=20,
        )  # fmt: skip


def policy_spec(**changes: Any) -> PolicySpec:
    """Return the policy of a shop; ``changes`` replace sections, by wire name."""
    wire: dict[str, Any] = {
        "clusterName": "test",
        "tracker": {"type": "Jira", "project": "OPS", "pollInterval": "10s"},
        "code": {
            "pollInterval": "10s",
            "repositories": [
                {
                    "match": {"namespaces": [NAMESPACE]},
                    "repository": REPOSITORY,
                    "path": "apps/production",
                }
            ],
        },
        "verification": {"stableFor": "20s"},
    }
    return PolicySpec.model_validate(merge(wire, changes))


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings with changes applied."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def repository_spec(**changes: Any) -> dict[str, Any]:
    """Return the mapping of the shop's repository with changes, by wire name."""
    base = policy_spec().code.repositories[0].to_wire()
    return {"code": {"repositories": [merge(base, changes)]}}


def incident_spec(**changes: Any) -> IncidentSpec:
    """Return what a person applies."""
    wire = {
        "summary": "checkout is restarting",
        "targetRef": {"kind": "Deployment", "name": "checkout"},
    }
    return IncidentSpec.model_validate(merge(wire, changes))


Person = Callable[["World"], None]


class _Recording:
    """The store, noting what each status patch changed."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by copy.deepcopy
            raise AttributeError(name)
        return getattr(self._world.store, name)

    async def save_status(self, incident: Incident, status: IncidentStatus) -> Incident:
        before, after = incident.status.to_wire(), status.to_wire()
        fields = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        intent = status.intent.kind if status.intent else None
        self._world.patches.append(f"{status.phase} intent={intent} {fields}")
        return await self._world.store.save_status(incident, status)


@dataclasses.dataclass
class World:
    """Everything outside the operator, and the operator's present process."""

    model: PlausibleModel | None = None
    delivery_delay: float = 7.0
    read_only: bool = False
    dry_run: bool = False
    registry: Any = None
    consent: bool = False
    statuses: Sequence[str] = STATUSES
    workflow: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        """Begin with a sick checkout whose manifest stands in the repository."""
        self.clock = VirtualClock()
        self.store = FakeStore(now=self.clock.now)
        self.tracker = FakeTracker(self.clock, statuses=self.statuses, workflow=self.workflow)
        self.code = FakeCodeHost(self.clock, on_merge=self._schedule_delivery)
        self.cluster = FakeCluster(now=self.clock.now, needs={"app": "100Mi"})
        self.code.add_repository(REPOSITORY, {FILE: SOURCE.encode(), "README.md": b"# gitops\n"})
        self.deliveries: list[tuple[float, Mapping[str, bytes]]] = []
        self.connect_error: errors.SelfHealError | None = None
        self.tracker_error: errors.SelfHealError | None = None
        self.steps = 0
        self.requeue = Requeue(after=0.0)
        self.people: list[Person] = []
        self.process = Process()
        self.starts = 0
        self.on_crash: Callable[[], Process] = Process
        self.mirrored: list[Phase] = []  # the ticket's property over time
        self.patches: list[str] = []  # what each status patch said, in order
        self.deps = self.start()
        self.apply_source(SOURCE.encode())
        self.clock.seconds += 1

    # --- set-up -------------------------------------------------------------------------------

    def file_incident(self, policy: PolicySpec | None = None, **spec: Any) -> None:
        """Apply the policy and the incident, as ``kubectl apply`` does."""
        wanted = policy or policy_spec()
        if self.model is not None:
            agents = merge(wanted.agents.to_wire(), {"model": {"name": "plausible"}})
            wanted = PolicySpec.model_validate({**wanted.to_wire(), "agents": agents})
        self.store.apply_policy("default", wanted)
        self.store.apply_incident(KEY, incident_spec(**spec))

    def change_policy(self, **changes: Any) -> None:
        """Edit the policy in place."""
        wire = self.store.policies["default"].spec.to_wire()
        self.store.apply_policy("default", PolicySpec.model_validate(merge(wire, changes)))

    def change_incident(self, **changes: Any) -> None:
        """Edit the incident's spec in place, which wakes it as the watch does."""
        wire = self.incident.spec.to_wire()
        self.store.apply_incident(KEY, IncidentSpec.model_validate(merge(wire, changes)))
        self.wake()

    def apply_source(self, content: bytes) -> None:
        """Apply every document of a file to the cluster."""
        for manifest in yaml.safe_load_all(content):
            self.cluster.apply(manifest)

    def _schedule_delivery(self, files: Mapping[str, bytes]) -> None:
        self.deliveries.append((self.clock.seconds + self.delivery_delay, files))

    # --- the operator's process ---------------------------------------------------------------

    def start(self) -> Deps:
        """Return what the present process works with."""
        wrap = self.process.wrap
        store = wrap(_Recording(self), "store")
        self.starts += 1
        return Deps(
            store=store,
            cluster=wrap(self.cluster, "cluster"),
            clock=self.clock,
            connect=self._connect,
            holder=f"process-{self.starts}",
            read_only=self.read_only,
            dry_run=self.dry_run,
            jitter=lambda: 0.5,
        )

    async def _connect(self, policy: Policy, incident: Incident) -> Systems:
        if self.connect_error is not None:
            raise self.connect_error
        wrap = self.process.wrap
        tracked = policy.spec.tracker.type is TrackerType.JIRA
        tracker: Any = wrap(self.tracker, "tracker") if tracked else None
        if tracked and self.tracker_error is not None:
            tracker = Unavailable(self.tracker_error)
        model = self.model if policy.spec.agents.model is not None else None
        return Systems(
            tracker=tracker,
            code=wrap(self.code, "code") if policy.spec.code.repositories else None,
            registry=self.registry,
            crew=Crew(
                model=wrap(model, "model"), tools=None, spec=policy.spec.agents, config=CONFIG,
                consent=self.consent, clock=self.clock,
            ),
        )  # fmt: skip

    def restart(self, process: Process | None = None) -> None:
        """Start a new process of the operator, which lists and looks at once."""
        self.process = process or Process()
        self.deps = self.start()
        self.requeue = Requeue(after=0.0)

    def wake(self) -> None:
        """Let the operator look at once, as a watch event does."""
        self.requeue = Requeue(after=0.0)

    # --- time ---------------------------------------------------------------------------------

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, with deliveries and people, for tests that take the steps themselves."""
        self._pass(seconds)
        self.steps += 1
        for person in self.people:
            person(self)

    async def step(self) -> None:
        """Let time pass until the next step is due, then take it; a crash restarts the process."""
        self._pass(max(self.requeue.after or 0.0, 0.01))
        self.steps += 1
        try:
            self.requeue = await step(KEY, self.deps)
        except Crash:
            self.restart(self.on_crash())
        self._look_at_property()
        for person in self.people:
            person(self)

    def _look_at_property(self) -> None:
        for ticket in self.tracker.tickets.values():
            mirror = ticket.facts.mirror
            if mirror is not None and self.mirrored[-1:] != [mirror.phase]:
                self.mirrored.append(mirror.phase)

    def _pass(self, seconds: float) -> None:
        until = self.clock.seconds + seconds
        for due, files in [one for one in self.deliveries if one[0] <= until]:
            self.clock.seconds = max(self.clock.seconds, due)
            self.deliveries.remove((due, files))
            for name, content in files.items():
                if name.startswith("apps/production/") and name.endswith(".yaml"):
                    self.apply_source(content)
        self.clock.seconds = until

    async def run_until(self, goal: Phase | Callable[[World], bool], *, steps: int = 600) -> None:
        """Step until a phase is reached or a condition holds; fails when it rests or goes on for ever."""
        reached = goal if callable(goal) else lambda world: world.phase is goal
        for _ in range(steps):
            if self.steps and reached(self):
                return
            await self.step()
            if reached(self):
                return
            assert self.requeue.after is not None, f"it sleeps before the goal: {self.describe()}"
        raise AssertionError(f"not reached in {steps} steps: {self.describe()}")

    async def run_to_end(self) -> None:
        """Step until the incident is resolved and everything that is said of it has been said."""
        await self.run_until(lambda world: world.status.message.startswith("Resolved"))

    async def run_for(self, seconds: float) -> None:
        """Let time pass with every step that falls due."""
        until = self.clock.seconds + seconds
        for _ in range(NO_RETURN):
            after = self.requeue.after
            if after is None or self.clock.seconds + max(after, 0.01) > until:
                self._pass(max(until - self.clock.seconds, 0.0))
                if after is not None:
                    self.requeue = Requeue(after=0.0)
                return
            await self.step()
        raise AssertionError(f"a storm of steps: {self.describe()}")

    # --- looking ------------------------------------------------------------------------------

    @property
    def incident(self) -> Incident:
        """The incident as stored."""
        return self.store.incidents[KEY]

    @property
    def status(self) -> IncidentStatus:
        """Its status."""
        return self.incident.status

    @property
    def phase(self) -> Phase | None:
        """Its phase."""
        return self.status.phase

    @property
    def ticket(self) -> facts.TicketFacts:
        """The incident's ticket: the only one, or the first one."""
        return next(iter(self.tracker.tickets.values())).facts

    @property
    def pull(self) -> facts.PullRequestFacts:
        """The newest pull request."""
        repo = self.code.repo()
        return repo.view(max(repo.pulls))

    @property
    def calls(self) -> list[str]:
        """Port calls of the present process."""
        return self.process.names

    def condition(self, type_: str) -> Any:
        """Return a condition, or None."""
        return next((c for c in self.status.conditions if c.type == type_), None)

    def phases(self) -> list[Phase]:
        """Return the phases of the history, oldest first."""
        return [entry.to for entry in self.status.history]

    def describe(self) -> str:
        """Return what a person needs to understand where it stands."""
        status = self.status
        stalled = self.condition("Stalled")
        return (
            f"{status.phase} run {status.run} after {self.steps} steps, {self.clock.seconds:.0f} s: "
            f"{status.message!r}; stalled {stalled.reason if stalled else None}; "
            f"intent {status.intent}; next {self.requeue}; last calls {self.calls[-8:]}; "
            f"history {[(str(h.to), h.by, h.why) for h in status.history][-8:]}"
        )

    def milestones(self) -> list[str]:
        """Return the last part of the marker of each comment of ours on the ticket, in order."""
        lines = [c.body.rpartition("\n")[2] for c in self.ticket.comments if c.by.is_operator]
        return [line.rstrip(">- ").rpartition("/")[2].strip("]) ") for line in lines]

    def final(self) -> dict[str, Any]:
        """Return the whole world, without times, so that two lives can be compared."""
        repo = self.code.repo()
        status = self.status
        world = {
            "tickets": [
                {
                    "status": t.facts.status,
                    "stood": self.tracker.statuses_of(t.facts.key),
                    "labels": sorted(t.facts.labels),
                    "mirror": repr(t.facts.mirror),
                    "comments": [c.body for c in t.facts.comments],
                    "links": sorted(t.links),
                }
                for t in self.tracker.tickets.values()
            ],
            "branches": {name: _texts(repo.files(name)) for name in repo.branches},
            "commits": len(repo.commits),
            "pulls": [
                {
                    "state": str(p.state), "labels": sorted(p.labels), "title": p.title
                    if hasattr(p, "title") else "", "body": p.body, "branch": p.branch,
                    "comments": self.code.comments(number),
                }
                for number, p in repo.pulls.items()
            ],
            "labels": {str(k): v for k, v in self.code.label_history.items()},
            "created": [dict(self.tracker.created), _plain(self.code.created)],
            "cluster": [o["spec"] for o in self.cluster.objects.values()],
            "documents": sorted(name for _, name in self.store.stored_documents),
            "status": {
                "phases": [str(phase) for phase in self.phases()],
                "by": [entry.by for entry in status.history],
                "run": status.run,
                "resolution": str(status.resolution),
                "attempts": status.attempts.to_wire(),
                "receipts": [receipt.key for receipt in status.receipts],
                "intent": status.intent,
                "conditions": sorted((c.type, c.status, c.reason) for c in status.conditions),
                "diagnosis": status.diagnosis.to_wire() if status.diagnosis else None,
                "message": status.message,
            },
        }  # fmt: skip
        text = re.sub(r"\b[0-9a-f]{40}\b", "<sha>", json.dumps(world, default=str))
        return json.loads(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<time>", text))


def _plain(counter: Mapping[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in counter.items() if kind != "mirror"}


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: content.decode() for name, content in files.items()}


# --- people -----------------------------------------------------------------------------------


def approve_when_asked(world: World) -> None:
    """A reviewer who approves as soon as the pull request waits for them."""
    asked = world.phase in (Phase.PR_CREATED, Phase.PR_UNDER_REVIEW)
    if asked and world.code.repo().pulls and not world.pull.reviews:
        world.code.approve(world.pull.number, "rita")


TARGET = TargetRef(kind="Deployment", name="checkout")
