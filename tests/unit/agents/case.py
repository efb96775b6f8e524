"""A small incident for agents: one workload killed for memory, its evidence and two proposals."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.model import FakeToolHost, ScriptedModel

from selfheal.agents import config as agents_config
from selfheal.agents import crew as crew_module
from selfheal.agents.ledger import Account
from selfheal.agents.tools import Scope
from selfheal.api import policy
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef, Usage
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.remediation.edits import Proposal

NOW = dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC)
CHECKOUT = TargetRef(kind="Deployment", name="checkout")
CART = TargetRef(kind="StatefulSet", name="cart")
NO_USAGE = Usage()
LOG = "java.lang.OutOfMemoryError: Java heap space"


class StillClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def build_bundle(**more: Any) -> Bundle:
    pod = {
        "metadata": {"name": "checkout-1"},
        "spec": {"containers": [{"name": "app", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]},
        "status": {
            "containerStatuses": [
                {"name": "app", "lastState": {"terminated": {"reason": "OOMKilled", "message": "the end of the log"}}}
            ]
        },
    }
    items = (
        Item(id="pod/checkout-1", kind=ItemKind.POD, value=pod),
        Item(id="event/1", kind=ItemKind.EVENT, value={"reason": "BackOff", "message": "restarting"}),
        Item(
            id="log/1",
            kind=ItemKind.LOG,
            value={"pod": "checkout-1", "container": "app", "previous": True, "text": LOG},
        ),
        Item(id="commit/1", kind=ItemKind.COMMIT, value={"sha": "abc", "message": "halve the memory"}),
    )
    given = {"target": CHECKOUT, "namespace": "shop", "now": NOW, "items": items} | more
    return Bundle(**given)


def build_finding(**more: Any) -> Finding:
    given: dict[str, Any] = {
        "class_": IncidentClass.OOM_KILLED,
        "cause": "app was killed at its memory limit of 64Mi",
        "confidence": 0.95,
        "evidence": ("pod/checkout-1",),
        "container": "app",
        "parameters": {"limit": "64Mi"},
    }
    return Finding(**(given | more))


def build_proposal(**more: Any) -> Proposal:
    given: dict[str, Any] = {
        "summary": "raise the memory limit of app to 128Mi",
        "edits": (),
        "files": {"checkout.yaml": b"memory: 128Mi\n"},
        "diff": "-memory: 64Mi\n+memory: 128Mi\n",
        "risk": "Medium",
        "risk_reason": "restarts the pods",
        "rollback": "revert the commit",
        "arithmetic": "64Mi x 2",
        "checks": ("NoOOMKill",),
    }
    return Proposal(**(given | more))


def analysis(**more: Any) -> dict[str, Any]:
    given = {
        "finding": 0,
        "class": "OOMKilled",
        "cause": "the heap is larger than the limit",
        "confidence": 0.9,
        "evidence": ["pod/checkout-1", "log/1"],
        "container": "app",
        "ranking": [0],
        "explanation": "The kubelet killed it.",
    }
    return given | more


TRIAGE = {
    "target": "Deployment/checkout",
    "incident_class": "OOMKilled",
    "priority": "Critical",
    "confidence": 0.9,
    "reason": "it names the checkout",
}
FIX = {
    "choice": 0,
    "rationale": "It is the smallest edit.",
    "rollback": "Revert the commit.",
    "risk": "Low",
    "risk_reason": "one line",
}
TEXT = {"title": "Raise the memory limit of checkout", "body": "It was killed for memory."}
REPORT = {
    "explanation": "No kill since the rollout.",
    "healthy": True,
    "concerns": [],
    "further_checks": [{"kind": "RestartsStill", "argument": "app"}],
}


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def host() -> FakeToolHost:
    text = {"type": "string"}
    fake = FakeToolHost()
    fake.add_tool(
        "kubernetes",
        "pods_log",
        lambda arguments: f"{arguments['namespace']}: {LOG} password=hunter2",
        properties={"name": text, "namespace": text},
        required=["name"],
    )
    fake.add_tool(
        "kubernetes",
        "resources_get",
        "kind: Deployment",
        properties={"kind": text, "name": text, "namespace": text},
        required=["kind", "name"],
    )
    fake.add_tool(
        "kubernetes",
        "pods_top",
        "memory 60Mi",
        properties={"namespace": text, "all_namespaces": {"type": "boolean"}},
    )
    fake.add_tool("kubernetes", "nodes_drain", "drained", properties={"name": text})
    return fake


Build = Callable[..., crew_module.Crew]


@pytest.fixture
def build_crew(model: ScriptedModel, host: FakeToolHost, clock: StillClock) -> Build:
    def build(
        *,
        config: agents_config.AgentsConfig | None = None,
        consent: bool = True,
        account: Account | None = None,
        scope: Scope | None = None,
        no_model: bool = False,
        **spec: Any,
    ) -> crew_module.Crew:
        servers = [policy.McpServerSpec(name="kubernetes", command="kubernetes")]
        given = {
            "model": policy.ModelSpec(name="m", input_price=1.0, output_price=10.0),
            "mcp_servers": servers,
        } | spec
        return crew_module.Crew(
            model=None if no_model else model,
            tools=host,
            spec=policy.AgentsSpec(**given),
            config=config or agents_config.load_config(),
            consent=consent,
            clock=clock,
            account=account,
            scope=scope,
        )

    return build


def change(
    config: agents_config.AgentsConfig, agent: str | None = None, task: str | None = None, **changes: Any
) -> agents_config.AgentsConfig:
    """Return a copy with one agent or task changed."""
    if task is not None:
        more = {"agent": agent} if agent is not None else {}
        changed = config.tasks[task].model_copy(update=changes | more)
        return dataclasses.replace(config, tasks={**config.tasks, task: changed})
    assert agent is not None
    entry = config.agents[agent].model_copy(update=changes)
    return dataclasses.replace(config, agents={**config.agents, agent: entry})
