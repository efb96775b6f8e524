"""From ``kubectl apply`` to INCIDENT_RESOLVED, as every outsider sees it."""

from __future__ import annotations

import difflib

import pytest
from tests.scenario.world import (
    FILE,
    KEY,
    REPOSITORY,
    SOURCE,
    PlausibleModel,
    World,
    approve_when_asked,
)

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import phases

MILESTONES = ["diagnosis", "fix", "pull-request", "approval", "deployment", "verification"]
CHAIN = list(phases.CHAIN)


async def live(world: World) -> World:
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_to_end()
    return world


@pytest.fixture(params=[False, True], ids=["rules", "model"])
async def world(request: pytest.FixtureRequest) -> World:
    return await live(World(model=PlausibleModel() if request.param else None))


async def test_all_phases_in_order_wherever_one_looks(world: World) -> None:
    assert world.phases() == CHAIN
    assert world.store.phases[KEY] == CHAIN, "as kubectl get shi -w shows them"
    assert world.mirrored == CHAIN, "the ticket's entity property"
    statuses = [phases.DEFAULT_STATUSES[phase][0] for phase in CHAIN]
    assert world.tracker.statuses_of(world.ticket.key) == list(dict.fromkeys(statuses))
    labels = world.code.label_history[REPOSITORY, world.pull.number]
    assert labels == [f"selfheal/{phase}" for phase in CHAIN[CHAIN.index(Phase.PR_CREATED) :]]
    assert {entry.by for entry in world.status.history} == {"operator"}


async def test_one_line_is_changed(world: World) -> None:
    after = world.code.files()[FILE].decode().splitlines()
    changed = [
        line
        for line in difflib.unified_diff(SOURCE.splitlines(), after, n=0, lineterm="")
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert changed == [
        "-              memory: 64Mi   # was enough in spring",
        "+              memory: 128Mi   # was enough in spring",
    ]
    container = next(iter(world.cluster.objects.values()))["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["resources"]["limits"] == {"memory": "128Mi"}
    assert "readinessProbe" in container


async def test_each_milestone_is_said_once(world: World) -> None:
    assert world.milestones() == MILESTONES
    assert world.tracker.created == {"ticket": 1, "comment": len(MILESTONES), "remote_link": 1}
    assert len(world.tracker.tickets) == 1
    created = world.code.created
    assert [created[kind] for kind in ("branch", "pull_request", "comment", "merge", "close")] == [
        1, 1, 1, 1, 0,
    ]  # fmt: skip


async def test_conditions_at_the_end(world: World) -> None:
    found = {condition.type: condition.status for condition in world.status.conditions}
    assert found == {
        "Ready": "True",
        "TicketSynced": "True",
        "Diagnosed": "True",
        "FixProposed": "True",
        "PullRequestMerged": "True",
        "Deployed": "True",
        "Verified": "True",
    }
    assert world.status.resolution is Resolution.FIXED
    assert world.status.intent is None
    assert world.status.verification is not None
    assert world.status.verification.verdict == "Passed"
    reasons = [event.reason for event in world.store.events]
    assert reasons == ["PhaseChanged"] * len(CHAIN)


async def test_five_patches_to_the_analysis() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    assert len(world.patches) <= 5, "\n".join(world.patches)
    assert world.store.status_patches[KEY] == len(world.patches)


async def test_rest_costs_nothing() -> None:
    world = await live(World())
    patches, writes = len(world.patches), world.tracker.writes.total()
    await world.run_for(3600)
    assert len(world.patches) == patches
    assert world.tracker.writes.total() == writes


async def test_every_agent_is_called() -> None:
    world = await live(World(model=PlausibleModel()))
    assert world.model is not None
    assert set(world.status.usage.by_agent) == {
        "jira_monitor",
        "root_cause_analyzer",
        "code_fix_generator",
        "pr_manager",
        "deployment_monitor",
    }
    assert world.status.usage.model_calls == len(world.model.asked)
    assert world.condition("ModelDegraded") is None
    assert world.status.diagnosis is not None
    assert world.status.diagnosis.by.value == "Both"
