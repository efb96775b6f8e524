"""Storms of signals: one incident and one ticket for each cause, also where the process is killed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.scenario.ports_wrapper import Crash, Process
from tests.scenario.world import NAMESPACE, START, World, approve_when_asked, policy_spec

from selfheal.api import meta
from selfheal.api.incident import Phase, TargetRef
from selfheal.api.policy import Policy
from selfheal.domain.signals import Signal
from selfheal.engine.step import step
from selfheal.intake import alerts
from selfheal.intake.admission import Admission


def storm_of_one_deployment() -> bytes:
    """500 alerts of Alertmanager about the 50 pods of one Deployment, most of which are gone."""
    names = ("KubePodCrashLooping", "KubePodNotReady", "KubeContainerWaiting", "TargetDown", "Errors")
    fired = [
        {
            "status": "firing",
            "labels": {
                "alertname": names[n % 5], "namespace": NAMESPACE, "container": "app",
                "pod": f"checkout-7d5f9c-{n % 50:05d}", "severity": "critical",
            },
            "annotations": {"summary": f"alert number {n}"},
        }
        for n in range(500)
    ]  # fmt: skip
    return json.dumps({"version": "4", "status": "firing", "receiver": "x", "alerts": fired}).encode()


async def open_tickets(world: World, keys: Sequence[str], *, kills: int = 0) -> None:
    """Step incidents until each has its ticket; the process dies now and then."""
    for _ in range(60):
        open_ = [key for key in keys if world.store.incidents[key].status.ticket is None]
        if not open_:
            return
        if kills:
            kills -= 1
            world.restart(Process(crash_at=23 + kills, after=kills % 2 == 0))
        try:
            for key in open_:
                await step(key, world.deps)
        except Crash:
            world.restart()
        world.clock.seconds += 30
    raise AssertionError("some have no ticket")


async def test_500_alerts_and_50_pods_of_one_deployment_are_one_incident_and_one_ticket() -> None:
    world = World()
    world.people.append(approve_when_asked)
    world.store.apply_policy("default", policy_spec())
    policy = Policy(metadata=meta.ObjectMeta(name="default"), spec=policy_spec())
    group = alerts.parse(storm_of_one_deployment())
    found, left = await alerts.build_signals(
        group.alerts, policies=[policy], cluster=world.cluster, now=START
    )
    assert (len(found), left) == (500, [])
    gate = Admission(world.store, world.clock)
    for start in range(0, 500, 50):
        await gate.admit(found[start : start + 50])
    (key,) = world.store.incidents
    assert world.store.incidents[key].status.signals is not None
    assert world.store.incidents[key].status.signals.count == 499, "the first made it"
    await open_tickets(world, [key])
    await gate.admit(found[:20])
    for _ in range(3):
        await step(key, world.deps)
    assert list(world.store.incidents) == [key]
    assert len(world.tracker.tickets) == 1
    assert world.store.incidents[key].status.signals.count == 519
    target = world.store.incidents[key].status.target
    assert target is not None
    assert (target.kind, target.name) == ("Deployment", "checkout")


async def test_2000_signals_over_40_causes_killed_five_times_are_40_incidents_and_tickets() -> None:
    world = World()
    world.store.apply_policy("default", policy_spec())
    storm = [
        Signal(
            source="Alert", namespace=NAMESPACE, cause=f"Deployment/app-{n % 40}", at=START,  # type: ignore[arg-type]
            summary=f"app-{n % 40} is down", target=TargetRef(kind="Deployment", name=f"app-{n % 40}"),
        )
        for n in range(2_000)
    ]  # fmt: skip
    kills = 0
    for crash_at in (2, 5, 9, 20, 35):
        process = Process(crash_at=crash_at, after=crash_at % 2 == 1)
        try:
            await Admission(process.wrap(world.store, "store"), world.clock).admit(storm)
        except Crash:
            kills += 1
    assert kills == 5
    await Admission(world.store, world.clock).admit(storm)  # Alertmanager sends it again
    assert len(world.store.incidents) == 40
    await open_tickets(world, list(world.store.incidents), kills=5)
    assert len(world.tracker.tickets) == 40
    owners = {one.facts.mirror.uid for one in world.tracker.tickets.values() if one.facts.mirror}
    assert len(owners) == 40
    phases = {one.status.phase for one in world.store.incidents.values()}
    assert phases <= {Phase.INCIDENT_DETECTED, Phase.ANALYSIS_IN_PROGRESS}
