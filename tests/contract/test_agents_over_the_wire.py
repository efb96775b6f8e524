"""The five agents with the real adapters: a model over HTTP, tools over MCP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.test_tool_host import ROOT, find_kubernetes_binary
from tests.fakes.model_server import MODEL, ModelServer
from tests.unit.agents import case
from tests.unit.agents.test_crew import HOLDS

from selfheal.adapters.llm.openai_model import OpenAIModel
from selfheal.adapters.mcp import build_servers, host, servers
from selfheal.agents import config as agents_config
from selfheal.agents import crew as crew_module
from selfheal.agents.tools import Scope
from selfheal.api import policy
from selfheal.api.incident import TargetRef, Usage

KEY = "test-key-0123456789"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    running = ModelServer(key=KEY)
    yield running
    await running.close()


async def build_crew(
    server: ModelServer, tools: host.McpToolHost | None, namespace: str, **more: object
) -> tuple[crew_module.Crew, OpenAIModel]:
    base_url = await server.start()
    model = OpenAIModel(name=MODEL, base_url=base_url, api_key=str(more.get("key", KEY)))
    spec = policy.AgentsSpec(
        model=policy.ModelSpec(name=MODEL, base_url=base_url),
        mcp_servers=[policy.McpServerSpec(name="kubernetes", command="kubernetes")],
    )
    crew = crew_module.Crew(
        model=model,
        tools=tools,
        spec=spec,
        config=agents_config.load_config(),
        consent=True,
        clock=case.StillClock(),
        scope=Scope(namespace=namespace),
    )
    return crew, model


async def run_all(crew: crew_module.Crew, namespace: str) -> dict[str, int]:
    """Ask all five agents as the engine does; returns calls by agent."""
    bundle = case.build_bundle(namespace=namespace)
    spent = Usage()
    results = [
        await crew.triage(
            summary="checkout restarts",
            description="",
            candidates=[case.CART, TargetRef(kind="Deployment", name="checkout")],
            spent=spent,
        ),
        await crew.analyse(
            bundle=bundle, findings=[case.build_finding()], earlier=[], hint=None, spent=spent
        ),
        await crew.propose(
            finding=case.build_finding(),
            bundle=bundle,
            files={"a.yaml": b"a: 1\n"},
            proposals=[case.build_proposal()],
            spent=spent,
        ),
        await crew.describe_pull_request(
            proposal_summary="raise the limit", diff="+a", cause="killed", explanation="", spent=spent
        ),
        await crew.explain_deployment(cause="killed", checks=[HOLDS], events=[], spent=spent),
    ]
    assert [result.degraded for result in results] == [None] * 5
    triage, analysis, fix, text, report = (result.answer for result in results)
    assert triage.target == case.CHECKOUT
    assert (analysis.finding, analysis.evidence) == (0, ["pod/checkout-1"])
    assert (fix.choice, fix.risk) == (0, policy.Risk.MEDIUM)
    assert text.title == "Raise the limit"
    assert report.healthy is True
    calls: dict[str, int] = {}
    for result in results:
        for agent, count in result.usage.by_agent.items():
            calls[agent] = calls.get(agent, 0) + count
    return calls


async def test_all_five_agents_answer_over_http(server: ModelServer) -> None:
    crew, model = await build_crew(server, None, "shop")
    calls = await run_all(crew, "shop")
    assert calls == dict.fromkeys(agents_config.load_config().agents, 1)
    assert server.types == {
        "TriageAnswer": 1, "Analysis": 1, "FixAnswer": 1, "PullRequestText": 1, "DeploymentReport": 1
    }  # fmt: skip
    await model.close()


async def test_a_refused_key_degrades_and_says_so(server: ModelServer) -> None:
    crew, model = await build_crew(server, None, "shop", key="wrong-key-0123456789")
    result = await crew.explain_deployment(cause="c", checks=[HOLDS], events=[], spent=Usage())
    assert result.answer is None
    assert "refuses the API key" in result.degraded
    assert "wrong-key" not in result.degraded
    await model.close()


@pytest.mark.e2e
async def test_agents_look_into_the_cluster_through_the_real_server(server: ModelServer) -> None:
    binary, kubeconfig = find_kubernetes_binary(), ROOT / ".cluster" / "kubeconfig"
    if binary is None or not kubeconfig.exists():
        pytest.skip("needs the local cluster and kubernetes-mcp-server")
    command = servers.Command(argv=(binary,), env={"KUBECONFIG": str(kubeconfig)})
    spec = policy.McpServerSpec(name="kubernetes", command="kubernetes")
    tools = host.McpToolHost(build_servers([spec], commands={"kubernetes": command}))
    crew, model = await build_crew(server, tools, "kube-system")
    calls = await run_all(crew, "kube-system")
    assert calls["root_cause_analyzer"] == 2
    assert calls["deployment_monitor"] == 2
    assert server.tool_calls == 2
    await tools.close()
    await model.close()
