"""The detector and its rounds: only what lasts for the quiet period becomes an incident."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.store import FakeStore
from tests.fakes.tracker import FakeTracker
from tests.scenario.world import START, VirtualClock, policy_spec
from tests.unit.intake.test_tickets import World, deployment

from selfheal import ports
from selfheal.adapters.kube import suspects
from selfheal.agents.crew import Crew
from selfheal.api.incident import SourceType, TicketStatus
from selfheal.api.policy import Policy
from selfheal.domain import errors
from selfheal.engine.perform_intake import ask_namespace, name_incident
from selfheal.intake.admission import Admission
from selfheal.intake.rounds import Rounds


class Watched:
    """A store with a policy that detects, a cluster, and the rounds over them."""

    def __init__(self, **spec: Any) -> None:
        self.clock = VirtualClock()
        self.store = FakeStore(now=self.clock.now)
        self.cluster = FakeCluster(now=self.clock.now, images=["good:1"])
        self.tracker = FakeTracker(self.clock)
        wanted = {"detection": {"enabled": True, "quietPeriod": "60s"}, **spec}
        self.store.apply_policy("default", policy_spec(**wanted))
        self.crew = World().monitor().crew
        self.rounds = Rounds(
            store=self.store, cluster=self.cluster, clock=self.clock,
            admission=Admission(self.store, self.clock), connect=self.connect, ask=ask_namespace, name=name_incident,
        )  # fmt: skip

    async def connect(self, policy: Policy) -> tuple[ports.IssueTracker | None, Crew]:
        return self.tracker, self.crew

    def deploy(self, name: str, image: str) -> None:
        manifest = deployment(name, "production")
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self.cluster.apply(manifest)

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.rounds.go_round()
            self.clock.seconds += 1


async def test_a_fault_that_lasts_becomes_one_incident() -> None:
    world = Watched()
    world.deploy("checkout", "bad:1")
    world.deploy("cart", "good:1")
    await world.run(55)
    assert not world.store.incidents
    await world.run(300)
    (made,) = world.store.incidents.values()
    assert made.spec.source.type is SourceType.DETECTOR
    assert made.spec.target_ref is not None
    assert made.spec.target_ref.name == "checkout"
    assert "ImagePullBackOff" in made.spec.summary


async def test_a_fault_that_passes_is_forgotten() -> None:
    world = Watched()
    for _ in range(4):
        world.deploy("checkout", "bad:1")
        await world.run(50)
        world.deploy("checkout", "good:1")
        await world.run(20)
    assert not world.store.incidents


@pytest.mark.parametrize(
    "spec",
    [
        {"suspend": True},
        {"detection": {"enabled": False}},
        {"detection": {"enabled": True, "reasons": ["OOMKilled"]}},
        {"detection": {"enabled": True, "namespaces": ["staging"]}},
    ],
)
async def test_what_the_policy_leaves_out_is_left_out(spec: dict[str, Any]) -> None:
    world = Watched(**spec)
    world.deploy("checkout", "bad:1")
    await world.run(200)
    assert not world.store.incidents


async def test_tickets_are_polled_at_the_policys_interval_or_the_flags() -> None:
    world = Watched(tracker={"intake": {"enabled": True}}, detection={"enabled": False})
    searches: list[float] = []
    searched = world.tracker.search_tickets

    async def search(jql: str, *, limit: int = 100) -> Any:
        searches.append(world.clock.seconds)
        return await searched(jql, limit=limit)

    world.tracker.search_tickets = search  # type: ignore[method-assign]
    await world.run(601)
    assert searches == [0, 300, 600]
    world.rounds.poll_interval = dt.timedelta(seconds=100)
    await world.run(200)
    assert len(searches) == 5
    world.rounds.poll_now()
    await world.run(1)
    assert len(searches) == 6


async def test_a_further_ticket_about_an_open_incident_is_told_once_where_it_is_followed() -> None:
    world = Watched(tracker={"intake": {"enabled": True}}, detection={"enabled": False})
    world.deploy("checkout", "bad:1")
    first = world.tracker.add_ticket("checkout is down")
    await world.run(1)
    (made,) = world.store.incidents.values()
    ticket = await world.tracker.get_ticket(first)
    status = made.status.evolve(ticket=TicketStatus(id=ticket.id, key=first))
    world.store.incidents[made.key] = made.evolve(status=status)
    second = world.tracker.add_ticket("checkout does not answer")
    await world.run(700)
    assert list(world.store.incidents) == [made.key]
    (said,) = (await world.tracker.get_ticket(second)).comments
    assert f"{first} is about this already" in said.body
    assert not (await world.tracker.get_ticket(first)).comments


async def test_a_policy_that_cannot_be_served_holds_up_no_other() -> None:
    world = Watched(tracker={"intake": {"enabled": True}}, detection={"enabled": False})
    world.store.apply_policy("other", policy_spec(tracker={"intake": {"enabled": True}}))
    world.tracker.add_ticket("checkout is down")
    calls = []

    async def connect(policy: Policy) -> Any:
        calls.append(policy.metadata.name)
        if policy.metadata.name == "default":
            raise errors.Unreachable("jira is down", system="jira")
        return world.tracker, world.crew

    world.rounds.connect = connect
    await world.run(1)
    assert sorted(calls) == ["default", "other"]
    assert len(world.store.incidents) == 1
    assert await world.rounds.poll_once() == ["tickets of policy default: jira is down"]


def pod(name: str, owner: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    owners = [{"controller": True, **owner}] if owner else []
    return {"metadata": {"name": name, "uid": name, "ownerReferences": owners}, "status": status}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "app", "ready": False, **fields}


AGO = {"finishedAt": (START - dt.timedelta(minutes=5)).isoformat(), "exitCode": 1, "reason": "Error"}
LONG_AGO = {**AGO, "finishedAt": (START - dt.timedelta(hours=5)).isoformat()}


@pytest.mark.parametrize(
    ("status", "reasons"),
    [
        ({"phase": "Succeeded"}, ()),
        ({"phase": "Running", "containerStatuses": [container(state={"waiting": {"reason": "CrashLoopBackOff"}})]}, ("CrashLoopBackOff",)),
        ({"phase": "Pending", "containerStatuses": [container(state={"waiting": {"reason": "ContainerCreating"}})]}, ()),
        ({"phase": "Running", "containerStatuses": [container(ready=True, state={"running": {}}, lastState={"terminated": LONG_AGO})], "conditions": [{"type": "Ready", "status": "True"}]}, ()),
        ({"phase": "Running", "containerStatuses": [container(ready=True, state={"running": {}}, lastState={"terminated": AGO})], "conditions": [{"type": "Ready", "status": "True"}]}, ("Error",)),
        ({"phase": "Running", "containerStatuses": [container(state={"running": {}})]}, ("NotReady",)),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}, ("FailedScheduling",)),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, ("Evicted",)),
    ],
)  # fmt: skip
def test_signs_of_a_pod(status: dict[str, Any], reasons: tuple[str, ...]) -> None:
    found = suspects.build("shop", {"Pod": [pod("a", **status)]}, START)
    assert [one.reasons for one in found] == ([reasons] if reasons else [])


def test_suspects_stand_at_the_topmost_owner() -> None:
    top = {"metadata": {"name": "checkout", "uid": "d"}, "status": {"conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        {"type": "Available", "status": "False"},
    ]}}  # fmt: skip
    middle = {
        "metadata": {"name": "checkout-1", "uid": "r", "ownerReferences": [{"controller": True, "uid": "d"}]},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]},
    }  # fmt: skip
    waiting = {"waiting": {"reason": "ImagePullBackOff"}}
    low = pod("checkout-1-a", {"uid": "r"}, phase="Pending", containerStatuses=[container(state=waiting)])
    gone = pod("checkout-1-b", {"uid": "r"}, phase="Failed", reason="Evicted")
    gone["metadata"]["deletionTimestamp"] = "now"
    job = {"metadata": {"name": "nightly", "uid": "j"}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}
    listed = {"Deployment": [top], "ReplicaSet": [middle], "Pod": [low, gone], "Job": [job]}
    one, other = suspects.build("shop", listed, START)
    assert (one.target.kind, one.target.name) == ("Deployment", "checkout")
    assert one.reasons == ("ProgressDeadlineExceeded", "FailedCreate", "ImagePullBackOff")
    assert one.message == "quota"
    assert (other.target.kind, other.reasons) == ("Job", ("BackoffLimitExceeded",))
