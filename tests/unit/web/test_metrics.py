"""What is served at /metrics and /metrics.json, read back by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import test_utils
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.store import FakeStore
from tests.unit.cli.runtime import install
from tests.unit.domain.test_figures import FIXED, HUMAN, NEW

from selfheal.api.incident import Incident
from selfheal.cli import main
from selfheal.domain import errors
from selfheal.web import metrics

CLOSED = {"phase", "class", "milestone", "outcome", "system", "call", "le"}


class System:
    """Something with calls that succeed, fail and break."""

    name = "x"

    async def read(self) -> int:
        return 1

    async def fail(self) -> None:
        raise errors.RateLimited("slowly", system="jira", retry_after=1.0)

    async def break_off(self) -> None:
        raise RuntimeError("a bug")

    def plain(self) -> int:
        return 2


async def serve(listed: Sequence[Incident] | Exception) -> tuple[metrics.Meter, dict[str, float], list[dict[str, Any]]]:
    meter, asked = metrics.Meter(), []

    async def list_incidents() -> Sequence[Incident]:
        asked.append(1)
        if isinstance(listed, Exception):
            raise listed
        return listed

    system = meter.watch(System(), "tracker")
    assert meter.watch(None, "tracker") is None
    assert (await system.read(), system.plain(), system.name) == (1, 2, "x")
    for call, error in (("fail", errors.RateLimited), ("break_off", RuntimeError)):
        with pytest.raises(error):
            await getattr(system, call)()
    await meter.count_step(system.read())
    for error in (errors.Conflict("x"), RuntimeError("bug")):
        with pytest.raises(type(error)):
            await meter.count_step(_raise(error))
    app = metrics.build_app(metrics.Page(meter, list_incidents))
    async with test_utils.TestClient(test_utils.TestServer(app)) as client:
        text = await (await client.get("/metrics")).text()
        values = await (await client.get("/metrics.json")).json()
    assert len(asked) == (2 if isinstance(listed, Exception) else 1), "scrapes close together list once"
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) <= CLOSED
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return meter, found, values


async def _raise(error: Exception) -> None:
    raise error


async def test_incidents_calls_and_steps_are_counted() -> None:
    _, found, values = await serve([FIXED, HUMAN, NEW])
    assert found["selfheal_incidents{class=OOMKilled,phase=INCIDENT_RESOLVED}"] == 1
    assert found["selfheal_wrong_fixes{class=OOMKilled}"] == 1
    assert found["selfheal_model_tokens{class=OOMKilled}"] == 30
    assert found["selfheal_incident_time_to_milestone_seconds_bucket{le=15.0,milestone=diagnosed}"] == 1
    assert found["selfheal_incident_time_to_milestone_seconds_bucket{le=+Inf,milestone=diagnosed}"] == 2
    assert found["selfheal_calls_total{call=read,outcome=ok,system=tracker}"] == 2
    assert found["selfheal_calls_total{call=fail,outcome=RateLimited,system=tracker}"] == 1
    assert found["selfheal_calls_total{call=break_off,outcome=cut_off,system=tracker}"] == 1
    assert [found[f"selfheal_steps_total{{outcome={name}}}"] for name in ("ok", "Conflict", "bug")] == [1, 1, 1]
    same = [one for one in values if one["name"] == "selfheal_steps_total"]
    assert {one["labels"]["outcome"]: one["value"] for one in same} == {"ok": 1, "Conflict": 1, "bug": 1}


async def test_an_api_server_that_is_down_leaves_what_is_known() -> None:
    _, found, _ = await serve(errors.Unreachable("down", system="kubernetes"))
    assert found["selfheal_steps_total{outcome=ok}"] == 1
    assert not [name for name in found if name.startswith("selfheal_incidents{")]


def test_the_commands_print_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    install(monkeypatch, store)
    (key,) = store.incidents
    store.incidents[key] = FIXED.evolve(metadata=store.incidents[key].metadata)
    run = CliRunner().invoke
    assert 'selfheal_incidents{phase="INCIDENT_RESOLVED",class="OOMKilled"} 1' in run(main, ["metrics"]).output
    assert '"name": "selfheal_incidents"' in run(main, ["metrics", "--json"]).output
    table = run(main, ["report", "--since", "99999d"]).output.splitlines()
    assert table[0].split()[:3] == ["class", "incidents", "fixed"]
    assert table[1].split()[:4] == ["OOMKilled", "1", "1", "(100%)"]
    assert '"name": "OOMKilled"' in run(main, ["report", "--json", "--since", "99999d"]).output
    assert run(main, ["report", "--since", "soon"]).exit_code == 2
    assert asyncio.run(store.list_incidents())
