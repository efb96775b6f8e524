"""The operator under kopf: what wakes a key, what does not, restarts, deletion, liveness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from tests.handlers.api_server import Threaded
from tests.handlers.conftest import PATIENCE, Recorder

from selfheal.engine import step as engine_step
from selfheal.engine.deps import Deps
from selfheal.engine.requeue import ASLEEP, GONE, Requeue
from selfheal.handlers import lifecycle, runner
from selfheal.settings import Settings

KEY, OTHER = "production/checkout", "staging/cart"
SPEC = {"summary": "checkout is restarting"}

Start = Callable[[], Any]


async def test_creation_wakes(start: Start, api: Threaded, recorder: Recorder) -> None:
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])


async def test_the_running_operator_tells_prometheus_what_it_does(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    async with start() as running, aiohttp.ClientSession() as session:
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        async with session.get(running.metrics) as answer:
            text = await answer.text()
    assert 'selfheal_incidents{class="Unknown",phase="INCIDENT_DETECTED"} 1.0' in text
    assert "selfheal_step_duration_seconds_count" in text


async def test_a_metrics_port_that_is_taken_keeps_nobody_from_healing(
    start: Start, api: Threaded, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken(*_: Any) -> None:
        raise OSError(98, "address already in use")

    monkeypatch.setattr(lifecycle.hooks, "serve", taken)
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"selfheal.dev/poke": "1"}}},
        {"metadata": {"annotations": {"selfheal.dev/transition-to": "ANALYSIS_IN_PROGRESS/x"}}},
        {"spec": {"priority": "Critical"}},
        {"metadata": {"deletionTimestamp": "2026-11-23T07:00:00Z"}},
    ],
    ids=["poke", "transition-to", "spec", "being-deleted"],
)
async def test_a_persons_change_wakes(
    start: Start, api: Threaded, recorder: Recorder, change: dict[str, Any]
) -> None:
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: len(recorder.steps) == 1)
        await api.call(api.server.merge(KEY, change))
        await recorder.until(lambda: recorder.steps == [KEY, KEY])


async def test_our_own_status_patch_does_not_wake(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    saved: list[str] = []

    async def save(key: str, deps: Deps) -> Requeue:
        incident = await deps.store.get_incident(key)
        status = incident.status.evolve(message=f"step {len(recorder.steps)}")
        done = await deps.store.save_status(incident, status)
        saved.append(done.metadata.resource_version)
        recorder.changed.set()
        return ASLEEP

    recorder.behaviour = save
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: len(saved) == 1)
        await recorder.until_observed(saved[0])
        assert recorder.steps == [KEY]
        assert len(lifecycle.running().scheduler) == 0
    assert api.server.objects["selfhealingincidents", "production", "checkout"]["status"] == {
        "message": "step 1"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}},
        {"metadata": {"labels": {"team": "shop"}}},
    ],
    ids=["foreign annotation", "label"],
)
async def test_what_does_not_concern_us_does_not_wake(
    start: Start, api: Threaded, recorder: Recorder, change: dict[str, Any]
) -> None:
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        await recorder.until_observed(await api.call(api.server.merge(KEY, change)))
        assert recorder.steps == [KEY]
        assert len(lifecycle.running().scheduler) == 0


async def test_deletion_wakes_once_and_is_forgotten(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    async def forget(key: str, deps: Deps) -> Requeue:
        present = key in {one.key for one in await deps.store.list_incidents()}
        return Requeue(after=3600.0) if present else GONE

    recorder.behaviour = forget
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        await api.call(api.server.delete(KEY))
        await recorder.until(lambda: recorder.steps == [KEY, KEY])
        steps = [task for task in asyncio.all_tasks() if task.get_name() == f"step {KEY}"]
        await asyncio.gather(*steps)
        assert len(lifecycle.running().scheduler) == 0


async def test_a_name_created_again_is_another_incident(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    async with start():
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        await api.call(api.server.delete(KEY))
        await recorder.until(lambda: len(recorder.steps) == 2)
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: len(recorder.steps) == 3)


async def test_a_restart_arms_every_incident_again(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    await api.call(api.server.create(KEY, SPEC))
    await api.call(api.server.create(OTHER, SPEC))
    for _ in range(2):
        recorder.steps.clear()
        async with start():
            await recorder.until(lambda: {KEY, OTHER} <= set(recorder.steps))


async def test_a_stop_lets_a_running_step_end(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    ended: list[str] = []
    entered, finish = asyncio.Event(), asyncio.Event()

    async def slow(key: str, deps: Deps) -> Requeue:
        entered.set()
        await finish.wait()
        ended.append((await deps.store.get_incident(key)).key)
        return ASLEEP

    recorder.behaviour = slow
    async with start() as running:
        await api.call(api.server.create(KEY, SPEC))
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
        running.stop.set()
        await asyncio.sleep(0)
        finish.set()
    assert ended == [KEY], "the step ran to its end with its connection still open"


async def test_liveness_is_200_while_steps_end(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    async with start() as running, aiohttp.ClientSession() as client:
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        async with client.get(running.health) as answer:
            assert answer.status == 200
            assert set(await answer.json()) == {"steps"}


async def test_liveness_is_500_when_steps_are_due_and_none_runs(
    start: Start, api: Threaded, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as running, aiohttp.ClientSession() as client:
        await api.call(api.server.create(KEY, SPEC))
        await recorder.until(lambda: recorder.steps == [KEY])
        operator = lifecycle.running()
        operator.tasks[0].cancel()  # the scheduler's loop is gone, and nobody noticed
        operator.scheduler.wake(KEY)
        later = operator.runtime.deps.clock.monotonic() + lifecycle.STUCK_AFTER + 1
        monkeypatch.setattr(type(operator.runtime.deps.clock), "monotonic", lambda self: later)
        async with client.get(running.health) as answer:
            assert answer.status == 500


async def test_an_api_server_that_comes_later_is_waited_for(
    start: Start, api: Threaded, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "START_AGAIN", 0.01)
    await api.call(api.server.create(KEY, SPEC))
    api.server.broken.add("selfhealingincidents")
    real = lifecycle.wiring.build
    tries = 0

    async def build(settings: Settings) -> Any:
        nonlocal tries
        tries += 1
        if tries == 2:
            api.server.broken.clear()
        return await real(settings)

    monkeypatch.setattr(lifecycle.wiring, "build", build)
    async with start():
        await recorder.until(lambda: KEY in recorder.steps)
    assert tries == 2


async def test_a_start_without_cluster_access_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("selfheal.adapters.kube.connection.KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(lifecycle.errors.Unreachable, match="set KUBECONFIG"):
        await runner.run_operator(Settings())


async def test_the_real_step_over_the_wire_stalls_on_an_unknown_policy(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    recorder.behaviour = engine_step.step
    spec = SPEC | {"policyRef": "nowhere"}
    async with start():
        await api.call(api.server.create(KEY, spec))
        place = ("selfhealingincidents", "production", "checkout")
        await api.until(
            lambda server: any(
                condition["type"] == "Stalled"
                for condition in server.objects[place].get("status", {}).get("conditions", [])
            ),
            PATIENCE,
        )
    status = api.server.objects[place]["status"]
    reasons = {entry["type"]: entry["reason"] for entry in status["conditions"]}
    assert reasons["Stalled"] == "PolicyInvalid"
    assert status["phase"] == "INCIDENT_DETECTED"


async def test_a_policy_is_reviewed_and_wakes_its_incidents(
    start: Start, api: Threaded, recorder: Recorder
) -> None:
    async with start():
        await api.call(api.server.create(KEY, SPEC | {"policyRef": "late"}))
        await api.call(api.server.create(OTHER, SPEC))
        await recorder.until(lambda: len(recorder.steps) == 2)
        wrong = {"tracker": {"type": "Jira"}}
        await api.call(api.server.create_policy("late", wrong))
        await recorder.until(lambda: recorder.steps[2:] == [KEY])
        status = api.server.objects["selfhealingpolicies", "", "late"]["status"]
    (ready,) = status["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "Invalid")
    assert ready["message"].startswith("spec.tracker.project: ")
