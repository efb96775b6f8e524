"""Budgets of a day and of an incident, also when the operator dies in the middle of a call."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from tests.fakes.model import ScriptedModel, say
from tests.fakes.store import FakeStore
from tests.unit.agents.case import Build, StillClock, analysis
from tests.unit.agents.test_crew import analyse

from selfheal.api.incident import Usage
from selfheal.api.policy import BudgetSpec, DayBudget, IncidentBudget, PolicySpec
from selfheal.domain import errors
from selfheal.model_account import KEPT_RUNS, Account

UID = "0f0f-1"


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


@pytest.fixture
def store() -> FakeStore:
    made = FakeStore()
    made.apply_policy("default", PolicySpec())
    return made


def account(store: FakeStore, clock: StillClock, **more: Any) -> Account:
    given = {"policy": "default", "budget": DayBudget(tokens=100_000, cost=1.0), "incident_uid": UID} | more
    return Account(store=store, clock=clock, **given)


def used(store: FakeStore) -> tuple[int, float]:
    usage = store.policies["default"].status.usage
    return (usage.tokens, round(usage.cost, 6)) if usage is not None else (0, 0.0)


async def test_what_was_reserved_and_not_used_is_given_back(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock).open(Usage())
    assert await run.reserve("pr_manager", 5_000, 0.05)
    assert used(store) == (5_000, 0.05)
    await run.settle(Usage(model_calls=1, input_tokens=400, output_tokens=100, cost=0.01))
    assert used(store) == (500, 0.01)


async def test_a_run_without_a_call_writes_nothing(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock).open(Usage())
    await run.settle(Usage())
    assert store.policies["default"].status.usage is None


@pytest.mark.parametrize("budget", [DayBudget(tokens=9_999, cost=1.0), DayBudget(tokens=10**6, cost=0.19)])
async def test_the_day_is_not_overspent(store: FakeStore, clock: StillClock, budget: DayBudget) -> None:
    run = await account(store, clock, budget=budget).open(Usage())
    other = await account(store, clock, budget=budget, incident_uid="0f0f-2").open(Usage())
    assert await run.reserve("pr_manager", 5_000, 0.1)
    assert not await other.reserve("pr_manager", 5_000, 0.1)
    await run.settle(Usage(model_calls=1, input_tokens=10, cost=0.001))
    assert await other.reserve("pr_manager", 5_000, 0.1)


async def test_a_new_day_begins_at_nothing_and_forgets_no_run(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock).open(Usage())
    await run.reserve("pr_manager", 5_000, 0.05)
    clock.seconds += dt.timedelta(days=1).total_seconds()
    other = await account(store, clock, incident_uid="0f0f-2").open(Usage())
    await other.reserve("pr_manager", 100, 0.001)
    assert used(store) == (100, 0.001)
    assert (await account(store, clock).open(Usage())).lost.input_tokens == 5_000


async def test_what_a_dead_process_reserved_counts_for_the_incident_once(store: FakeStore, clock: StillClock) -> None:
    dead = await account(store, clock).open(Usage(model_calls=3))
    await dead.reserve("root_cause_analyzer", 5_000, 0.05)
    run = await account(store, clock).open(Usage(model_calls=3))
    assert run.lost == Usage(model_calls=1, input_tokens=5_000, cost=0.05, by_agent={"root_cause_analyzer": 1})
    await run.reserve("pr_manager", 2_000, 0.02)
    whole = Usage(
        model_calls=2, input_tokens=5_300, output_tokens=50, cost=0.054,
        by_agent={"root_cause_analyzer": 1, "pr_manager": 1},
    )  # fmt: skip
    await run.settle(whole)
    assert used(store) == (5_350, 0.054)
    again = await account(store, clock).open(Usage(model_calls=3))  # died before the status was saved
    assert (again.lost.model_calls, again.lost.input_tokens, again.lost.cost) == (2, 5_350, 0.054)
    saved = await account(store, clock).open(Usage(model_calls=5))
    assert saved.lost == Usage()


async def test_runs_of_no_incident_use_the_days_budget_only(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock, incident_uid=None).open(Usage())
    await run.reserve("jira_monitor", 5_000, 0.05)
    assert used(store) == (5_000, 0.05)
    usage = store.policies["default"].status.usage
    assert usage is not None
    assert usage.runs == {}


async def test_without_a_policy_object_nothing_is_kept(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock, policy="absent").open(Usage())
    assert run.lost == Usage()
    assert await run.reserve("pr_manager", 5_000, 0.05)
    await run.settle(Usage(model_calls=1))


async def test_another_who_wrote_first_is_looked_at_again(store: FakeStore, clock: StillClock) -> None:
    class Busy(FakeStore):
        left = 2

        async def save_policy_status(self, *words: Any, **more: Any) -> Any:
            if self.left:
                self.left -= 1
                raise errors.Conflict("somebody wrote first")
            return await super().save_policy_status(*words, **more)

    busy = Busy()
    busy.apply_policy("default", PolicySpec())
    run = await account(busy, clock).open(Usage())
    assert await run.reserve("pr_manager", 5_000, 0.05)
    busy.left = 100
    assert not await run.reserve("pr_manager", 5_000, 0.05)
    await run.settle(Usage(model_calls=1))
    assert used(busy) == (5_000, 0.05)


async def test_a_store_that_is_down_at_the_end_leaves_the_reservation(store: FakeStore, clock: StillClock) -> None:
    run = await account(store, clock).open(Usage())
    await run.reserve("pr_manager", 5_000, 0.05)

    async def down(name: str) -> Any:
        raise errors.Transient("the API server is away")

    store.get_policy = down  # type: ignore[method-assign]
    await run.settle(Usage(model_calls=1))
    assert used(store) == (5_000, 0.05)


async def test_the_runs_remembered_are_bounded(store: FakeStore, clock: StillClock) -> None:
    for number in range(KEPT_RUNS + 3):
        run = await account(store, clock, incident_uid=f"uid-{number}").open(Usage())
        await run.reserve("pr_manager", 1, 0.0)
    usage = store.policies["default"].status.usage
    assert usage is not None
    assert len(usage.runs) == KEPT_RUNS
    assert f"uid-{KEPT_RUNS + 2}" in usage.runs


async def test_a_crash_loop_in_the_middle_of_calls_never_spends_past_the_budget(
    store: FakeStore, build_crew: Build, model: ScriptedModel, clock: StillClock
) -> None:
    """The operator is killed in every call, before it can save anything; it starts again, a hundred times."""

    def die(_: Any) -> Any:
        raise Killed

    budget = BudgetSpec(per_incident=IncidentBudget(calls=5, tokens=10**6, cost=100.0))
    problem = None
    for _ in range(100):
        model.steps = [die]
        crew = build_crew(account=account(store, clock, budget=DayBudget()), budget=budget)
        try:
            result = await analyse(crew)
        except Killed:
            continue
        problem = result.degraded
        assert result.usage.by_agent == {"root_cause_analyzer": 5}
    assert len(model.asked) == 5
    assert problem is not None
    assert "budget of 5 calls is spent" in problem


async def test_the_days_budget_holds_in_a_crash_loop_of_many_incidents(
    store: FakeStore, build_crew: Build, model: ScriptedModel, clock: StillClock
) -> None:
    def die(_: Any) -> Any:
        raise Killed

    day = DayBudget(tokens=20_000, cost=100.0)
    for number in range(30):
        model.steps = [die]
        crew = build_crew(account=account(store, clock, budget=day, incident_uid=f"uid-{number}"))
        try:
            result = await analyse(crew)
        except Killed:
            continue
        assert "the day's budget is spent" in (result.degraded or "")
    tokens, _ = used(store)
    assert 0 < len(model.asked) < 30
    assert tokens <= day.tokens


async def test_an_answered_run_costs_what_it_used(
    store: FakeStore, build_crew: Build, model: ScriptedModel, clock: StillClock
) -> None:
    model.add(say(analysis()))
    result = await analyse(build_crew(account=account(store, clock)))
    assert result.answer is not None
    assert used(store) == (result.usage.input_tokens + result.usage.output_tokens, round(result.usage.cost, 6))
