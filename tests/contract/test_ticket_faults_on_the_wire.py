"""Whole lives with the real Jira adapter against the sandbox Jira while the wire between them breaks.

Cluster, repository and clock are the scenario's; everything of the tracker goes over HTTP. Each fault is injected by the
sandbox; that nothing is lost or doubled is counted there, too: tickets, comments, moves, links.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract import issue_tracker_worlds as worlds
from tests.scenario.world import KEY, World, approve_when_asked, policy_spec

from selfheal.api.incident import Incident, Phase, Resolution
from selfheal.api.policy import Policy
from selfheal.domain import phases
from selfheal.engine.deps import Systems

pytestmark = pytest.mark.sandbox

FAULTS: dict[str, list[dict[str, Any]]] = {
    "429 with Retry-After": [
        {"match": {"path": "/issue"}, "status": 429, "headers": {"Retry-After": "1"}, "times": 5},
    ],
    "401 in the middle": [{"match": {"path": "/issue"}, "status": 401, "times": 3}],
    "409 on transition": [
        {"match": {"method": "POST", "path": "/transitions"}, "status": 409, "times": 3},
    ],
    "409 on transition that was made": [
        {"match": {"method": "POST", "path": "/transitions"}, "status": 409, "when": "after", "times": 2},
    ],
    "500 burst": [{"match": {"path": "/issue"}, "status": 500, "times": 8}],
    "500 after each write": [
        {"match": {"method": verb, "path": "/issue"}, "status": 500, "when": "after", "times": 4}
        for verb in ("POST", "PUT")
    ],
    "slow answers": [{"match": {"path": "/issue"}, "kind": "delay", "seconds": 0.1, "times": 20}],
    "truncated bodies": [{"match": {"path": "/issue"}, "kind": "truncate", "times": 6}],
    "line dropped before writes": [
        {"match": {"method": verb, "path": "/issue"}, "kind": "drop", "times": 3} for verb in ("POST", "PUT")
    ],
    "line dropped after writes": [
        {"match": {"method": verb, "path": "/issue"}, "kind": "drop", "when": "after", "times": 3}
        for verb in ("POST", "PUT")
    ],
    "a page of a proxy": [{"match": {"path": "/issue"}, "kind": "html", "status": 503, "times": 4}],
}
WHEN = {
    "from the start": None,
    "in review": Phase.PR_CREATED,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    running = worlds.start_sandbox(tmp_path_factory.mktemp("sandbox"))
    yield running
    running.close()


@dataclasses.dataclass
class WireWorld(World):
    """The scenario's world with a tracker that is reached over HTTP."""

    wire: Any = None

    async def _connect(self, policy: Policy, incident: Incident) -> Systems:
        systems = await super()._connect(policy, incident)
        return dataclasses.replace(systems, tracker=self.process.wrap(self.wire, "tracker"))


@dataclasses.dataclass
class Life:
    """One incident, its world, and the sandbox beside it."""

    side: worlds.SandboxWorld
    world: WireWorld

    def inject(self, name: str) -> None:
        for fault in FAULTS[name]:
            self.side.control("POST", "/faults", fault)

    def left(self) -> int:
        return sum(fault["times"] for fault in self.side.control("GET", "/faults"))

    def issues(self) -> list[dict[str, Any]]:
        found = self.side._as("alice")("GET", "/search/jql?jql=project%20%3D%20OPS&fields=summary,status&expand=changelog")
        return [one for one in found["issues"] if "checkout" in one["fields"]["summary"]]


def begin(server: worlds.Server, flavour: str = "gateway") -> Life:
    side = worlds.make_sandbox_world(server, flavour)
    side.control("POST", "/reset")
    world = WireWorld(wire=side.tracker)
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec())
    return Life(side=side, world=world)


def assert_whole(life: Life) -> None:
    """The end is reached; the counterpart holds one ticket, each comment once, each status in order."""
    world = life.world
    assert world.status.resolution is Resolution.FIXED, world.describe()
    assert len(world.code.repo().pulls) == 1
    issues = life.issues()
    assert len(issues) == 1, issues
    key = issues[0]["key"]
    assert issues[0]["fields"]["status"]["name"] == "Done"
    assert world.status.ticket is not None
    assert world.status.ticket.key == key
    said = [str(one["body"]) for one in life.side.get_comments(key)]
    markers = collections.Counter(m for text in said for m in re.findall(r"selfheal: ([^\s'\"]+)", text))
    assert markers
    assert set(markers.values()) == {1}, markers
    log = life.side._as("alice")("GET", f"/issue/{key}/changelog")["values"]
    stood = [i["toString"] for h in log for i in h["items"] if i["field"] == "status"]
    table = [phases.DEFAULT_STATUSES[phase][0] for phase in phases.CHAIN]
    assert stood == list(dict.fromkeys(table))[1:]
    assert world.phases() == list(phases.CHAIN)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_loses_and_doubles_nothing(server: worlds.Server, fault: str, when: str) -> None:
    life = begin(server)
    if (phase := WHEN[when]) is not None:
        await life.world.run_until(phase)
    life.inject(fault)
    planned = life.left()
    await life.world.run_to_end()
    assert life.left() < planned, "the fault was met"
    assert_whole(life)


async def test_a_search_that_lags_a_minute_and_an_answer_that_is_lost_make_one_ticket(server: worlds.Server) -> None:
    life = begin(server)
    life.side.lag(60)
    life.side.control(
        "POST", "/faults", {"match": {"method": "POST", "path": "/issue$"}, "kind": "drop", "when": "after"}
    )
    await life.world.run_for(3)
    life.world.restart()
    life.side.lag(0)
    await life.world.run_to_end()
    assert_whole(life)
    assert life.world.incident.key == KEY
