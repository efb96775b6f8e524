"""MCP servers whose credential is missing or bound elsewhere: left out, said, and the others go on."""

from __future__ import annotations

import pytest
from tests.fakes.store import FakeStore
from tests.unit.agents.case import StillClock

from selfheal import credentials, wiring
from selfheal.agents.config import load_config
from selfheal.agents.tools import Scope, build_remote
from selfheal.api.incident import Identity, IncidentSpec, TicketStatus
from selfheal.api.policy import Policy, PolicySpec
from selfheal.domain import errors
from selfheal.settings import Settings

URL = "https://mcp.example/kubernetes"


def build(credentials: dict[str, dict[str, str]], *servers: dict[str, object]) -> tuple[wiring.Wiring, Policy]:
    store = FakeStore()
    store.credentials.update(credentials)
    spec = PolicySpec.model_validate({"agents": {"mcpServers": list(servers)}})
    policy = store.apply_policy("default", spec)
    made = wiring.Wiring(settings=Settings(), store=store, clock=StillClock(), config=load_config(None))
    return made, policy


KUBERNETES = {"name": "kubernetes", "url": URL, "credentialsRef": {"name": "mcp"}}
OPEN = {"name": "github", "url": "https://mcp.example/github"}


@pytest.mark.parametrize(
    ("credentials", "word"),
    [
        ({}, "mcp"),
        ({"mcp": {"token": "t-123", "hosts": "elsewhere.example"}}, "not bound to mcp.example"),
        ({"mcp": {"apiKey": "t-123", "hosts": "mcp.example"}}, "no key token"),
    ],
)
async def test_a_server_without_its_credential_is_left_out_and_said(
    credentials: dict[str, dict[str, str]], word: str
) -> None:
    made, policy = build(credentials, KUBERNETES, OPEN)
    host = await made._tools(policy)
    assert host is not None
    tools, problems = await build_remote(
        host, ["kubernetes"], configured=frozenset({"kubernetes"}), scope=Scope(namespace="shop"), consent=True
    )
    assert tools == []
    assert len(problems) == 1
    assert problems[0].startswith("tools of kubernetes are missing")
    assert word in problems[0]
    assert "t-123" not in problems[0]
    with pytest.raises(errors.Forbidden):  # the other server is there: it refuses only the tool
        await host.call_tool("github", "delete_repository", {})
    await made.close()


async def test_a_credential_goes_to_the_host_it_is_bound_to() -> None:
    made, policy = build({"mcp": {"token": "t-123", "hosts": "mcp.example"}}, KUBERNETES)
    held, refused = await credentials.resolve_servers(made.store, policy.spec.agents.mcp_servers)
    assert (held["kubernetes"]["token"], refused) == ("t-123", {})


async def test_a_secret_that_comes_later_mends_it() -> None:
    made, policy = build({}, KUBERNETES)
    first = await made._tools(policy)
    made.store.credentials["mcp"] = {"token": "t-123", "hosts": "mcp.example"}  # type: ignore[attr-defined]
    assert await made._tools(policy) is not first
    await made.close()


async def test_an_incident_binds_the_tools_to_its_namespace_repository_and_ticket() -> None:
    made, policy = build({}, OPEN)
    tracker = policy.spec.tracker.evolve(cloud_id="cloud-1")
    policy = policy.evolve(spec=policy.spec.evolve(tracker=tracker))
    incident = made.store.apply_incident("shop/oom", IncidentSpec(summary="s"))  # type: ignore[attr-defined]
    bare = await made.connect(policy, incident)
    assert bare.crew._scope == Scope(namespace="shop", site="cloud-1")
    status = incident.status.evolve(
        identity=Identity(uid="u", repository="acme/gitops"), ticket=TicketStatus(id="1", key="OPS-1")
    )
    known = await made.connect(policy, incident.evolve(status=status))
    assert known.crew._scope == Scope(
        namespace="shop", repository="acme/gitops", ticket="OPS-1", site="cloud-1"
    )
