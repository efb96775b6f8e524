"""The ticket monitor: which tickets become incidents, of which namespace, and when it asks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.tracker import FakeTracker
from tests.scenario.world import VirtualClock, policy_spec

from selfheal.agents.config import load_config
from selfheal.agents.crew import Crew
from selfheal.agents.tools import Scope
from selfheal.api import meta
from selfheal.api.incident import Priority, SourceType
from selfheal.api.policy import Policy
from selfheal.engine.perform_intake import ask_namespace
from selfheal.intake.tickets import Monitor, Narrowing


def deployment(name: str, namespace: str) -> dict[str, Any]:
    container = {"name": "app", "image": "busybox:1"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "template": {"metadata": {}, "spec": {"containers": [container]}}},
    }  # fmt: skip


class World:
    def __init__(self, namespaces: tuple[str, ...] = ("production", "staging"), **intake: Any) -> None:
        self.clock = VirtualClock()
        self.tracker = FakeTracker(self.clock)
        self.cluster = FakeCluster()
        self.cluster.apply(deployment("checkout", "production"))
        self.cluster.apply(deployment("cart", "staging"))
        self.cluster.apply(deployment("both", "production"))
        self.cluster.apply(deployment("both", "staging"))
        mapped = [
            {"match": {"namespaces": [name]}, "repository": "acme/gitops", "path": name}
            for name in namespaces
        ]
        spec = policy_spec(tracker={"intake": {"enabled": True, **intake}}, code={"repositories": mapped})
        self.policy = Policy(metadata=meta.ObjectMeta(name="default"), spec=spec)

    def monitor(self, **narrowing: Any) -> Monitor:
        crew = Crew(
            model=None, tools=None, spec=self.policy.spec.agents, config=load_config(None),
            consent=False, clock=self.clock, scope=Scope(namespace=None),  # type: ignore[arg-type]
        )  # fmt: skip
        return Monitor(
            policy=self.policy, tracker=self.tracker, cluster=self.cluster, crew=crew,
            clock=self.clock, ask=ask_namespace, narrowing=Narrowing(**narrowing),
        )  # fmt: skip


async def test_a_ticket_becomes_a_signal_with_its_target() -> None:
    world = World()
    key = world.tracker.add_ticket("checkout is down", "since noon", priority="Highest")
    (found,) = await world.monitor().poll()
    assert (found.namespace, found.ticket_key, found.priority) == ("production", key, Priority.CRITICAL)
    assert found.target is not None
    assert (found.target.kind, found.target.name) == ("Deployment", "checkout")
    assert (found.source, found.cause) == (SourceType.TICKET, "Deployment/checkout")


@pytest.mark.parametrize(
    ("ticket", "intake", "taken"),
    [
        ({"priority": "Medium"}, {}, False),
        ({"priority": "Medium"}, {"minimumPriority": "Medium"}, True),
        ({"priority": "odd"}, {"minimumPriority": "Medium"}, True),
        ({"status": "In Progress"}, {}, False),
        ({"status": "Done"}, {}, False),
        ({"labels": ["selfheal-phase-ANALYSIS_COMPLETE"]}, {}, False),
        ({"labels": ["selfheal-0000"]}, {}, False),
        ({"labels": ["selfheal-released"]}, {}, False),
        ({"labels": ["pager"]}, {"keywords": ["PAGER"]}, True),
        ({}, {"keywords": ["pager"]}, False),
        ({"labels": ["pager"]}, {"jql": "labels = pager"}, True),
        ({}, {"jql": "labels = pager"}, False),
    ],
)
async def test_which_tickets_are_taken(ticket: dict[str, Any], intake: dict[str, Any], taken: bool) -> None:
    world = World(**intake)
    world.tracker.add_ticket("checkout is down", **ticket)
    assert len(await world.monitor().poll()) == taken


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("namespace: production", True),
        ("the namespace is not known", True),
        ("namespace: elsewhere", False),
        ("Namespace = `elsewhere-2`, like namespace=another", False),
        ("namespace: elsewhere, or namespace: production", True),
    ],
)
async def test_a_ticket_that_states_another_namespace_is_somebody_elses(said: str, taken: bool) -> None:
    """Also where it names a workload that happens to be called like one of ours."""
    world = World()
    world.tracker.add_ticket("checkout is down", said)
    monitor = world.monitor()
    assert len(await monitor.poll()) == taken
    assert world.tracker.writes.total() == 0, "nobody is asked"


async def test_the_command_line_only_narrows() -> None:
    world = World()
    world.tracker.add_ticket("checkout is down", priority="Low")
    world.tracker.add_ticket("checkout is slow", priority="High")
    world.tracker.add_ticket("cart is down", priority="Highest")
    found = await world.monitor(priority=Priority.LOW).poll()
    assert {one.summary for one in found} == {"checkout is slow", "cart is down"}
    assert [s.summary for s in await world.monitor(priority=Priority.CRITICAL).poll()] == ["cart is down"]
    assert [s.summary for s in await world.monitor(keywords=("SLOW",)).poll()] == ["checkout is slow"]
    assert [s.summary for s in await world.monitor(namespace="staging").poll()] == ["cart is down"]
    world.tracker.add_ticket("who knows")
    writes = world.tracker.writes.total()
    assert await world.monitor(namespace="elsewhere").poll() == []
    assert world.tracker.writes.total() == writes


async def test_a_ticket_that_nobody_can_place_is_asked_about_once_and_taken_once_answered() -> None:
    world = World()
    key = world.tracker.add_ticket("both is down")
    monitor = world.monitor()
    for _ in range(3):
        assert await monitor.poll() == []
    ticket = await world.tracker.get_ticket(key)
    (question,) = [comment.body for comment in ticket.comments]
    assert "Which namespace is meant?" in question
    assert "production" in question
    writes = world.tracker.writes.total()
    assert await monitor.poll() == []
    assert world.tracker.writes.total() == writes
    world.clock.seconds += 60
    world.tracker.comment_by_person(key, "namespace: staging")
    (found,) = await monitor.poll()
    assert (found.namespace, found.target.name if found.target else "") == ("staging", "both")


async def test_a_single_mapped_namespace_is_meant_by_what_names_none() -> None:
    world = World(namespaces=("production",))
    world.tracker.add_ticket("everything is slow")
    (found,) = await world.monitor().poll()
    assert (found.namespace, found.target) == ("production", None)
    assert found.cause.startswith("ticket/")
    assert await world.monitor(namespace="staging").poll() == []


async def test_nothing_new_costs_one_search() -> None:
    world = World()
    reads = []
    world.tracker.get_tickets = lambda ids: reads.append(ids)  # type: ignore[assignment,method-assign,misc,return-value]
    assert await world.monitor().poll() == []
    assert not reads
