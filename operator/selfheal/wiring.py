"""Composition root: from settings to everything that a step needs."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import hashlib
import inspect
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from selfheal import credentials, ports
from selfheal.adapters import github, jira, kube
from selfheal.adapters.http.registry import OciRegistry
from selfheal.adapters.llm import OpenAIModel
from selfheal.adapters.mcp import Command, McpToolHost, build_servers
from selfheal.adapters.render import ConfinedRenderer
from selfheal.agents.config import AgentsConfig, load_config
from selfheal.agents.crew import Crew
from selfheal.agents.tools import Scope
from selfheal.api.incident import Incident
from selfheal.api.policy import ModelSpec, Policy, TrackerType
from selfheal.domain import errors
from selfheal.engine.deps import Deps, Systems
from selfheal.model_account import Account
from selfheal.settings import Settings
from selfheal.unavailable import Unavailable
from selfheal.web.metrics import Meter


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """Return the present time, aware, UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


@dataclasses.dataclass
class Wiring:
    """Adapters of all policies, each connected once for as long as its configuration stands."""

    settings: Settings
    store: ports.IncidentStore
    clock: ports.Clock
    config: AgentsConfig
    meter: Meter = dataclasses.field(default_factory=Meter)
    _known: dict[str, Any] = dataclasses.field(default_factory=dict)

    async def connect(self, policy: Policy, incident: Incident) -> Systems:
        """Return the adapters that serve one incident; what is misconfigured raises when called."""
        identity = incident.status.identity
        uid = identity.uid if identity is not None else incident.metadata.uid
        ticket, tracker = incident.status.ticket, policy.spec.tracker
        scope = Scope(
            namespace=incident.metadata.namespace,
            repository=identity.repository if identity is not None else None,
            ticket=ticket.key if ticket is not None else None,
            site=tracker.cloud_id or (urlsplit(tracker.site).netloc if tracker.site else None),
        )
        return await self.connect_policy(policy, scope, uid)

    async def connect_policy(
        self, policy: Policy, scope: Scope | None = None, uid: str | None = None
    ) -> Systems:
        """Return the adapters of a policy; logs reach a model only for namespaces that consent."""
        policy = self._with_environment_model(policy)
        return Systems(
            tracker=self.meter.watch(await self._tracker(policy), "tracker"),
            code=self.meter.watch(await self._code(policy), "code_host"),
            registry=self.meter.watch(await self._registry(policy), "registry"),
            crew=await self._crew(policy, scope or Scope(), uid),
        )

    def _with_environment_model(self, policy: Policy) -> Policy:
        """Use the environment's model where no policy names one and OPENAI_MODEL is set."""
        if policy.spec.agents.model is not None or not self.settings.openai_model:
            return policy
        model = ModelSpec(name=self.settings.openai_model, base_url=self.settings.openai_base_url)
        agents = policy.spec.agents.evolve(model=model)
        return policy.evolve(spec=policy.spec.evolve(agents=agents))

    async def _cached(self, kind: str, identity: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        """Make an adapter once per configuration; a new configuration replaces it."""
        digest = hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()
        key = f"{kind}/{digest}"
        if key not in self._known:
            try:
                self._known[key] = await make()
            except errors.SelfHealError as error:
                return Unavailable(error)
        return self._known[key]

    async def _tracker(self, policy: Policy) -> ports.IssueTracker | None:
        spec = policy.spec.tracker
        if spec.type is TrackerType.NONE:
            return None
        try:
            credential = await credentials.resolve(
                self.store, spec.credentials_ref, self.settings.atlassian_credential(),
                base_url=spec.site, field="tracker.baseURL",
            )  # fmt: skip
        except errors.SelfHealError as error:
            return cast("ports.IssueTracker", Unavailable(error))

        async def make() -> Any:
            return jira.connect(spec, credential)

        identity = [spec.to_wire(), dict(credential)]
        return cast("ports.IssueTracker", await self._cached("jira", identity, make))

    async def _code(self, policy: Policy) -> ports.CodeHost | None:
        spec = policy.spec.code
        if not spec.repositories:
            return None
        try:
            credential = await credentials.resolve(
                self.store, spec.credentials_ref, self.settings.github_credential(),
                base_url=spec.base_url, field="code.baseURL",
            )  # fmt: skip
        except errors.SelfHealError as error:
            return cast("ports.CodeHost", Unavailable(error))

        async def make() -> Any:
            return github.connect(spec, credential)

        identity = [spec.base_url, dict(credential)]
        return cast("ports.CodeHost", await self._cached("github", identity, make))

    async def _registry(self, policy: Policy) -> ports.Registry | None:
        specs = policy.spec.registries
        if not specs:
            return None
        logins: dict[str, Mapping[str, str]] = {}
        for spec in specs:
            if spec.credentials_ref is not None:
                try:
                    logins[spec.host] = await self.store.get_credential(spec.credentials_ref.name)
                except errors.SelfHealError:
                    continue  # asked without a login: the registry's own refusal is evidence

        async def make() -> Any:
            return OciRegistry(specs, logins)

        identity = [[spec.to_wire() for spec in specs], logins]
        return cast("ports.Registry", await self._cached("registry", identity, make))

    async def _crew(self, policy: Policy, scope: Scope, uid: str | None) -> Crew:
        spec, namespace = policy.spec.agents, scope.namespace
        model = await self._model(spec.model) if spec.model else None
        consent = False
        if namespace and spec.model is not None and spec.model.namespace_selector is not None:
            labels = await self.store.get_namespace_labels(namespace)
            consent = spec.model.namespace_selector.match_labels.items() <= labels.items()
        return Crew(
            model=model,
            tools=await self._tools(policy) if model is not None else None,
            spec=spec,
            config=self.config,
            consent=consent,
            clock=self.clock,
            account=Account(
                store=self.store,
                clock=self.clock,
                policy=policy.metadata.name,
                budget=spec.budget.per_day,
                incident_uid=uid,
            ),
            scope=scope,
        )

    async def _model(self, spec: ModelSpec) -> ports.LanguageModel:
        environment = self.settings.openai_credential()
        try:
            credential: Mapping[str, str] = await credentials.resolve(
                self.store, spec.credentials_ref, environment or {"apiKey": ""},
                base_url=spec.base_url, environment_url=self.settings.openai_base_url,
                field="agents.model.baseURL",
            )  # fmt: skip
        except errors.SelfHealError as error:
            return cast("ports.LanguageModel", _Named(spec.name, error))
        key = credential.get("apiKey") or credential.get("OPENAI_API_KEY")

        async def make() -> Any:
            return OpenAIModel(
                name=spec.name,
                base_url=spec.base_url,
                api_key=key,
                timeout=spec.timeout.total_seconds(),
            )

        identity = [spec.base_url, spec.name, key, spec.timeout]
        return cast("ports.LanguageModel", await self._cached("model", identity, make))

    async def _tools(self, policy: Policy) -> ports.ToolHost | None:
        specs = policy.spec.agents.mcp_servers
        if not specs:
            return None
        commands = {
            name: Command(argv=tuple(argv)) for name, argv in self.settings.mcp_commands.items()
        }
        held, refused = await credentials.resolve_servers(self.store, specs)

        async def make() -> Any:
            return McpToolHost(
                build_servers(specs, commands=commands, credentials=held, refused=refused)
            )

        reasons = {name: str(error) for name, error in refused.items()}
        identity = [[spec.to_wire() for spec in specs], held, reasons]
        return cast("ports.ToolHost", await self._cached("mcp", identity, make))

    async def close(self) -> None:
        """End connections and children of all adapters."""
        for adapter in self._known.values():
            close = getattr(adapter, "close", None)
            if close is None or isinstance(adapter, Unavailable):
                continue
            ended = close()
            if inspect.isawaitable(ended):
                await ended


class _Named(Unavailable):
    """A model that cannot be asked, but has a name."""

    def __init__(self, name: str, error: errors.SelfHealError) -> None:
        super().__init__(error)
        self.name = name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """What an entry point holds: the dependencies of a step, and how to end them."""

    deps: Deps
    wiring: Wiring
    connection: kube.Connection
    cluster: kube.KubeCluster

    async def identify(self) -> Runtime:
        """Return the same with the cluster's uid, which the API server is asked for."""
        uid = await self.deps.store.get_cluster_id()
        return dataclasses.replace(self, deps=dataclasses.replace(self.deps, cluster_uid=uid))

    async def close(self) -> None:
        """End all connections."""
        await self.wiring.close()
        await self.cluster.close()
        await self.connection.close()


async def build(settings: Settings) -> Runtime:
    """Connect to the cluster and wire everything; errors of configuration are raised at once."""
    connection = await kube.connect(namespace=settings.namespace)
    store = kube.KubeIncidentStore(connection)
    clock = SystemClock()
    wiring = Wiring(
        settings=settings, store=store, clock=clock, config=load_config(settings.config_path)
    )
    cluster = kube.KubeCluster(connection, insecure_kubelet=settings.insecure_kubelet)
    deps = Deps(
        store=store,
        cluster=cluster,
        clock=clock,
        connect=wiring.connect,
        holder=uuid.uuid4().hex[:12],
        renderer=ConfinedRenderer(kustomize=settings.kustomize, helm=settings.helm),
        read_only=settings.read_only,
        dry_run=settings.dry_run,
        namespace=settings.namespace,
    )
    return Runtime(deps=deps, wiring=wiring, connection=connection, cluster=cluster)
