"""What polling tickets costs: calls a minute to Jira with 1 to 5,000 open incidents; and a storm.

Before (each resting incident reads its ticket at each poll) and after (one search a policy and
interval) are measured in the same run, against the sandbox Jira over the wire; the cluster is in
memory and time is virtual, so that minutes pass in seconds. Incidents wait for a person. Before
was linear, and is measured up to 500 only.

With ``--storm`` the installed operator (``make demo`` has installed it) is sent 2,000 alerts over
40 causes and killed five times meanwhile.

    python -m bench.tickets [--json FILE] [--incidents 1,50,500,5000] [--storm]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import heapq
import json
import pathlib
import tempfile
import time
import uuid
from typing import Any

from hack import storm, world
from tests.contract import issue_tracker_worlds as worlds
from tests.fakes.store import FakeStore
from tests.scenario.world import CONFIG, VirtualClock, policy_spec

from selfheal import ports
from selfheal.adapters import jira
from selfheal.agents.crew import Crew
from selfheal.api.incident import Incident, IncidentSpec, IncidentStatus, Phase, TicketStatus
from selfheal.api.policy import Policy, TrackerSpec
from selfheal.domain import mapping
from selfheal.engine.deps import Deps, Systems
from selfheal.engine.step import step
from selfheal.engine.ticket_watch import TicketWatch

INTERVAL = 30.0
MINUTES = 3
TIMES = ("before", "after")
BEFORE_AT_MOST = 500
"""Incidents up to which the old way is measured, too."""


class NoWatch(TicketWatch):
    """What was before: nothing is kept, so that each poll reads."""

    def keep(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""


@dataclasses.dataclass
class Fleet:
    """Open incidents whose tickets stand in one project, and the operator that polls them."""

    server: worlds.Server
    count: int
    after: bool

    async def prepare(self) -> None:
        """Open tickets and incidents that wait for a person."""
        self.clock, self.base = VirtualClock(), time.time()
        self.store: Any = FakeStore(now=self.clock.now)
        wire = {"baseURL": self.server.url, "cloudId": worlds.CLOUD_ID, "issueType": "Task"}
        self.policy = policy_spec(tracker={**wire, "pollInterval": f"{INTERVAL:.0f}s"})
        self.tracker: ports.IssueTracker = jira.connect(
            TrackerSpec.model_validate(self.policy.tracker.to_wire()), {"token": worlds.TOKEN}
        )
        self.store.apply_policy("default", self.policy)
        self.deps = Deps(
            store=self.store, cluster=None, clock=self.clock, connect=self._connect,  # type: ignore[arg-type]
            holder="bench", tickets=TicketWatch() if self.after else NoWatch(),
        )  # fmt: skip
        http = worlds.Http(
            self.server.url + "/rest/api/3", worlds.basic("alice@example.com", "alice-token")
        )
        self.keys = [self._add(http, number) for number in range(self.count)]
        self.deps.tickets.wakers.append(lambda key: heapq.heappush(self.due, (0.0, key)))
        self.due = [(INTERVAL * i / self.count, key) for i, key in enumerate(self.keys)]

    def _add(self, http: worlds.Http, number: int) -> str:
        fields = {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "bench"}
        made = http("POST", "/issue", {"fields": fields})
        path = f"/issue/{made['key']}/transitions"
        offered = http("GET", path)["transitions"]
        chosen = next(one["id"] for one in offered if one["to"]["name"].startswith("Needs Human"))
        http("POST", path, {"transition": {"id": chosen}})
        key = f"production/bench-{number}"
        self.store.apply_incident(key, IncidentSpec(summary="bench"))
        stored: Incident = self.store.incidents[key]
        history = http("GET", f"/issue/{made['key']}/changelog")["values"]
        status = IncidentStatus(
            phase=Phase.INCIDENT_REQUIRES_HUMAN,
            ticket=TicketStatus(id=made["id"], key=made["key"], seen_change=history[-1]["id"]),
            identity=mapping.compute_identity(stored.metadata.uid, self.policy.tracker, None),
        )
        self.store.incidents[key] = stored.evolve(status=status)
        return key

    async def _connect(self, policy: Policy, incident: Incident) -> Systems:
        crew = Crew(
            model=None, tools=None, spec=policy.spec.agents, config=CONFIG, consent=False,
            clock=self.clock,
        )  # fmt: skip
        return Systems(tracker=self.tracker, code=None, registry=None, crew=crew)

    async def run(self, seconds: float) -> None:
        """Let time pass with every step that falls due."""
        until = self.clock.seconds + seconds
        heapq.heapify(self.due)
        while self.due and self.due[0][0] <= until:
            at, key = heapq.heappop(self.due)
            self.clock.seconds = max(self.clock.seconds, at)
            requeue = await step(key, self.deps)
            heapq.heappush(self.due, (self.clock.seconds + (requeue.after or 0.0), key))
        self.clock.seconds = until

    def count_calls(self) -> tuple[int, int]:
        """Return the operator's requests, and its searches without their further pages."""
        answer = worlds.Http(self.server.url + "/_sandbox")("GET", "/requests")
        ours = [entry for entry in answer if entry["account"] == "selfheal"]
        searches = [entry for entry in ours if entry["path"].endswith("/search/jql")]
        return len(ours), sum("nextPageToken" not in entry["query"] for entry in searches)

    def forget_calls(self) -> None:
        """Empty the sandbox's journal, which is bounded."""
        worlds.Http(self.server.url + "/_sandbox")("DELETE", "/requests")


async def measure(count: int, *, after: bool) -> tuple[float, float]:
    """Return calls a minute to Jira, and searches a poll."""
    with tempfile.TemporaryDirectory() as folder:
        server = worlds.start_sandbox(pathlib.Path(folder))
        try:
            fleet = Fleet(server=server, count=count, after=after)
            await fleet.prepare()
            await fleet.run(4 * INTERVAL)  # mirrors are written, and it comes to rest
            calls = searches = 0
            for _ in range(MINUTES * 2):
                fleet.forget_calls()
                await fleet.run(INTERVAL)
                made = fleet.count_calls()
                calls, searches = calls + made[0], searches + made[1]
            phases = {one.status.phase for one in fleet.store.incidents.values()}
            assert phases == {Phase.INCIDENT_REQUIRES_HUMAN}, phases
            return calls / MINUTES, searches / (MINUTES * 2)
        finally:
            server.close()


def measure_storm() -> dict[str, dict[str, object]]:
    """Send the installed operator a storm; return figures. Its namespace goes again."""
    namespace = f"storm-{uuid.uuid4().hex[:8]}"
    world.install(namespaces=["production"], say=print)
    world.put(world.policy("default", namespaces=["production", namespace]))
    world.apply(*storm.causes(namespace, 40))
    storm.take_alerts()
    try:
        found = storm.run(namespace)
    finally:
        world.kubectl("delete", "namespace", namespace, "--wait=false")
        world.put(world.policy("default", namespaces=["production"]))
        storm.leave_alerts()
    print(f"storm: {found}")
    kinds = ("incidents", "tickets")
    return {f"{name}_from_storm": {"value": found[name], "unit": "1"} for name in kinds}


def main() -> None:
    """Measure, print a table, and write figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--incidents", default="1,50,500,5000")
    parser.add_argument("--storm", action="store_true")
    options = parser.parse_args()
    figures: dict[str, dict[str, object]] = {}
    heads = ("open incidents", "before, calls/min", "after, calls/min", "searches a poll")
    print(" ".join(f"{head:>18}" for head in heads))
    most = 0.0
    for count in map(int, options.incidents.split(",")):
        ways = (False, True) if count <= BEFORE_AT_MOST else (True,)
        found = {TIMES[after]: asyncio.run(measure(count, after=after)) for after in ways}
        shown = f"{found['before'][0]:.1f}" if "before" in found else "-"
        calls, searches = found["after"]
        print(f"{count:>18} {shown:>18} {calls:>18.1f} {searches:>18.2f}", flush=True)
        for name, (measured, _) in found.items():
            figure = {"value": measured, "unit": "1/min"}
            figures[f"ticket_calls_per_minute_{count}_{name}"] = figure
        most = max(most, searches)
    figures["searches_per_poll"] = {"value": most, "unit": "1"}
    print("Further calls are pages: one for each 100 tickets that changed within some 5 minutes,")
    print("which here are all of them, for they were just made.")
    if options.storm:
        figures |= measure_storm()
    if options.json:
        options.json.write_text(json.dumps({"figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
