"""Each key of the agents' and tasks' YAML, by its effect on what goes over the wire to the model.

The files are written as a user writes them, read from a folder as `--config-path` does, and the crew asks a real HTTP
server through the real adapter. What is looked at is the request's own body: calls made, prompts, tools.
"""

from __future__ import annotations

import importlib.resources
import logging
import pathlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import yaml
from tests.fakes.model import FakeToolHost
from tests.fakes.model_server import MODEL, ModelServer
from tests.unit.agents import case

from selfheal.adapters.llm.openai_model import OpenAIModel
from selfheal.agents import config as agents_config
from selfheal.agents import crew as crew_module
from selfheal.agents.crew import AgentResult
from selfheal.api import policy
from selfheal.api.incident import Usage

AGENTS, TASKS = "self_heal_agents.yaml", "self_heal_tasks.yaml"
ANALYZER, TASK = "root_cause_analyzer", "analyze_root_cause"
EARLIER = [{"incident": "shop/first", "fix": "raised it before"}]


class Wire:
    """A crew of YAML files in a folder, and what its model was sent."""

    def __init__(self, server: ModelServer, base_url: str, folder: pathlib.Path) -> None:
        self.server, self._base_url, self._folder = server, base_url, folder
        self._models: list[OpenAIModel] = []

    async def analyse(
        self, *, agent: Mapping[str, Any] | None = None, task: Mapping[str, Any] | None = None,
        more_tasks: Mapping[str, Any] | None = None, **top: Any,
    ) -> AgentResult[crew_module.Analysis]:  # fmt: skip
        """Change the packaged files by these keys, and ask for an analysis; requests start afresh."""
        packaged = importlib.resources.files("selfheal.agents.config")
        agents = yaml.safe_load((packaged / AGENTS).read_text())
        tasks = yaml.safe_load((packaged / TASKS).read_text())
        agents[ANALYZER] |= agent or {}
        tasks[TASK] |= task or {}
        tasks |= {**(more_tasks or {}), **top}
        (self._folder / AGENTS).write_text(yaml.safe_dump(agents))
        (self._folder / TASKS).write_text(yaml.safe_dump(tasks, sort_keys=False))
        model = OpenAIModel(name=MODEL, base_url=self._base_url)
        self._models.append(model)
        host = FakeToolHost()
        text = {"type": "string"}
        host.add_tool(
            "kubernetes", "pods_log", "nothing unusual", properties={"name": text, "namespace": text}, required=["name"]
        )
        crew = crew_module.Crew(
            model=model,
            tools=host,
            spec=policy.AgentsSpec(
                model=policy.ModelSpec(name=MODEL, base_url=self._base_url),
                mcp_servers=[policy.McpServerSpec(name="kubernetes", command="kubernetes")],
            ),
            config=agents_config.load_config(self._folder),
            consent=True,
            clock=case.StillClock(),
        )
        self.server.bodies.clear()
        return await crew.analyse(
            bundle=case.build_bundle(), findings=[case.build_finding()], earlier=EARLIER, hint=None, spent=Usage()
        )

    @property
    def prompts(self) -> list[str]:
        """All text of each request."""
        return ["\n".join(str(m.get("content")) for m in body["messages"]) for body in self.server.bodies]

    @property
    def tools(self) -> list[list[str]]:
        """Names of the tools of each request."""
        return [[tool["function"]["name"] for tool in body.get("tools") or ()] for body in self.server.bodies]

    async def close(self) -> None:
        for model in self._models:
            await model.close()


@pytest.fixture
async def wire(tmp_path: pathlib.Path) -> AsyncIterator[Wire]:
    server = ModelServer()
    made = Wire(server, await server.start(), tmp_path)
    yield made
    await made.close()
    await server.close()


# --- agents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["role", "goal", "backstory"])
async def test_role_goal_and_backstory_are_told(wire: Wire, key: str) -> None:
    await wire.analyse(agent={key: "Night Watch of the Harbour"})
    assert "Night Watch of the Harbour" in wire.server.bodies[0]["messages"][0]["content"]
    await wire.analyse()
    assert "Night Watch of the Harbour" not in wire.prompts[0]


@pytest.mark.parametrize("rounds", [1, 2, 4])
async def test_max_iter_bounds_the_calls(wire: Wire, rounds: int) -> None:
    wire.server.restless = True
    result = await wire.analyse(agent={"max_iter": rounds})
    assert len(wire.server.bodies) == rounds == result.usage.model_calls
    assert [bool(names) for names in wire.tools] == [True] * (rounds - 1) + [False]
    assert result.answer is not None


async def test_memory_tells_earlier_incidents(wire: Wire) -> None:
    await wire.analyse(agent={"memory": True})
    assert "raised it before" in wire.prompts[0]
    await wire.analyse(agent={"memory": False})
    assert "raised it before" not in wire.prompts[0]


async def test_verbose_logs_what_goes_over_the_wire(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="selfheal.agents"):
        await wire.analyse(agent={"verbose": False})
        assert case.LOG not in caplog.text
        await wire.analyse(agent={"verbose": True})
    assert case.LOG in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in wire.prompts[0]


async def test_allow_delegation_offers_the_colleagues(wire: Wire) -> None:
    await wire.analyse(agent={"allow_delegation": False})
    assert not any("ask_colleague" in names for names in wire.tools)
    await wire.analyse(agent={"allow_delegation": True})
    [offered] = [
        tool["function"] for tool in wire.server.bodies[0]["tools"] if tool["function"]["name"] == "ask_colleague"
    ]
    colleagues = offered["parameters"]["properties"]["agent"]["enum"]
    assert sorted(colleagues) == ["code_fix_generator", "deployment_monitor", "jira_monitor", "pr_manager"]


async def test_servers_say_whose_tools_are_offered(wire: Wire) -> None:
    await wire.analyse(agent={"servers": ["kubernetes"]})
    assert wire.tools[0] == ["kubernetes__pods_log"]
    await wire.analyse(agent={"servers": ["github"]})
    assert wire.tools[0] == []


# --- tasks -------------------------------------------------------------------------------------------


async def test_description_is_the_task(wire: Wire) -> None:
    await wire.analyse(task={"description": "Look at {target} in {namespace} with care."})
    assert "Task: Look at Deployment/checkout in shop with care." in wire.prompts[0]


async def test_expected_output_is_told_and_checked_in_the_answer(wire: Wire) -> None:
    await wire.analyse(task={"expected_output": "A haiku and the `explanation`."})
    assert "Expected output: A haiku and the `explanation`." in wire.prompts[0]
    wire.server.changes = {"explanation": ""}
    await wire.analyse(task={"expected_output": "The `cause`."})
    assert len(wire.server.bodies) == 1
    result = await wire.analyse(task={"expected_output": "The `cause` and the `explanation`."})
    assert len(wire.server.bodies) == 2, "asked once more"
    assert "the field explanation is empty, but expected" in wire.prompts[1]
    assert result.answer is None


async def test_context_brings_the_named_tasks_outputs(wire: Wire) -> None:
    extra = {"description": "Read the logs of {target}.", "expected_output": "A note.", "agent": "pr_manager", "stage": "analysis"}
    await wire.analyse(more_tasks={"read_logs": extra}, task={"context": ["read_logs"]})
    assert len(wire.server.bodies) == 2
    assert "Nothing beyond what the material says." in wire.prompts[1]
    await wire.analyse(more_tasks={"read_logs": extra}, task={"context": []})
    assert "Nothing beyond what the material says." not in wire.prompts[1]


async def test_agent_says_who_runs_a_task(wire: Wire) -> None:
    await wire.analyse(task={"agent": "deployment_monitor"})
    assert "You are the Deployment Monitor" in wire.prompts[0]


async def test_process_hierarchical_asks_the_lead_for_the_order(wire: Wire) -> None:
    extra = {
        name: {"description": f"Do {name}.", "expected_output": "A note.", "agent": ANALYZER, "stage": "analysis"}
        for name in ("first", "second")
    }
    await wire.analyse(more_tasks=extra, process="sequential")
    assert [_type(body) for body in wire.server.bodies] == ["Note", "Note", "Analysis"]
    await wire.analyse(more_tasks=extra, process="hierarchical")
    assert [_type(body) for body in wire.server.bodies] == ["TaskOrder", "Note", "Note", "Analysis"]


def _type(body: Mapping[str, Any]) -> str:
    system = str(body["messages"][0]["content"])
    return system.partition("one JSON object of the type ")[2].partition(",")[0]
