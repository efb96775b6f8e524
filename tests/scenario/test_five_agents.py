"""Each of the five agents has its part in an incident's life; taken away, the test that bears its name fails."""

from __future__ import annotations

import pytest
from tests.scenario.world import PlausibleModel, World, approve_when_asked

from selfheal.agents.crew import AgentResult, Crew
from selfheal.api.incident import Phase

PARTS = {  # agent: the crew's method that the engine calls, the type of its answer
    "jira_monitor": ("triage", "TriageAnswer"),
    "root_cause_analyzer": ("analyse", "Analysis"),
    "code_fix_generator": ("propose", "FixAnswer"),
    "pr_manager": ("describe_pull_request", "PullRequestText"),
    "deployment_monitor": ("explain_deployment", "DeploymentReport"),
}


async def has_its_part(agent: str) -> bool:
    """Let an incident live, and say whether the agent was called, answered, and was charged for."""
    model = PlausibleModel()
    world = World(model=model)
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_to_end()
    assert world.phase is Phase.INCIDENT_RESOLVED
    return PARTS[agent][1] in model.asked and world.status.usage.by_agent.get(agent, 0) >= 1


@pytest.mark.parametrize("agent", PARTS)
async def test_an_incident_is_worked_on_by(agent: str) -> None:
    assert await has_its_part(agent)


@pytest.mark.parametrize("agent", PARTS)
async def test_taken_away_it_is_missed(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object, **__: object) -> AgentResult[object]:
        return AgentResult.none()

    monkeypatch.setattr(Crew, PARTS[agent][0], nobody)
    assert not await has_its_part(agent)
