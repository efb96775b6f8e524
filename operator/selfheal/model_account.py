"""What model calls have cost, kept in the policy's status: reserved before a call, corrected after.

Each call is reserved under its incident before it is made, by resourceVersion. So a process that
dies in the middle of a call has spent neither the day's nor the incident's budget unseen: the next
run of the incident finds what was reserved, and counts it as used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from selfheal import ports
from selfheal.api.incident import Usage
from selfheal.api.policy import DayBudget
from selfheal.api.usage import DayUsage, OpenRun
from selfheal.domain import errors

TRIES = 5
"""Bound on looking again when several incidents reserve from one day's budget at once."""
KEPT_RUNS = 200
"""Runs remembered at once; beyond, the oldest are forgotten (they belong to deleted incidents)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """The budget of a policy, for the runs of one incident (None: runs of none, as in intake)."""

    store: ports.IncidentStore
    clock: ports.Clock
    policy: str
    budget: DayBudget
    incident_uid: str | None = None

    async def open(self, spent: Usage) -> Run:
        """Begin a run; ``spent`` is what the incident's saved status counts already."""
        run = Run(account=self, before=spent.model_calls)
        try:
            policy = await self.store.get_policy(self.policy)
        except errors.NotFound:
            return run  # built-in policy: the incident's own budget still holds
        run.lost = _find_lost(policy.status.usage, self.incident_uid, spent.model_calls)
        return run

    async def change(self, edit: Callable[[DayUsage], DayUsage | None]) -> bool:
        """Save an edit of the day's usage; False where it answers None or others keep winning."""
        for _ in range(TRIES):
            try:
                policy = await self.store.get_policy(self.policy)
                changed = edit(self._today(policy.status.usage))
                if changed is None:
                    return False
                await self.store.save_policy_status(policy, policy.status.evolve(usage=changed))
                return True
            except errors.Conflict:
                continue
            except errors.NotFound:
                return True
        return False

    def _today(self, used: DayUsage | None) -> DayUsage:
        today = self.clock.now().date().isoformat()
        if used is None:
            return DayUsage(day=today)
        return used if used.day == today else DayUsage(day=today, runs=used.runs)


@dataclasses.dataclass(kw_only=True)
class Run:
    """One run of agents: ``lost`` is what earlier runs reserved and never came to tell."""

    account: Account
    before: int
    lost: Usage = dataclasses.field(default_factory=Usage)
    _tokens: int = 0
    _cost: float = 0.0

    async def reserve(self, agent: str, tokens: int, cost: float) -> bool:
        """Take one call from the day's budget and note it under the incident; False: spent."""

        def edit(used: DayUsage) -> DayUsage | None:
            budget = self.account.budget
            total = used.evolve(tokens=used.tokens + tokens, cost=used.cost + cost)
            if total.tokens > budget.tokens or total.cost > budget.cost:
                return None
            run = self._find(used)
            calls = {**run.by_agent, agent: run.by_agent.get(agent, 0) + 1}
            return self._put(
                total,
                run.evolve(tokens=run.tokens + tokens, cost=run.cost + cost, by_agent=calls),
            )

        granted = await self.account.change(edit)
        if granted:
            self._tokens, self._cost = self._tokens + tokens, self._cost + cost
        return granted

    async def settle(self, usage: Usage) -> None:
        """Give back what was reserved and not used; ``usage`` is the run's own, ``lost`` included.

        The note under the incident stays with the true figures until the incident's status counts
        them: a crash in between loses nothing.
        """
        if not self._tokens:
            return
        used_tokens = usage.input_tokens + usage.output_tokens - self.lost.input_tokens
        spare_tokens = self._tokens - used_tokens
        spare_cost = self._cost - (usage.cost - self.lost.cost)

        def edit(used: DayUsage) -> DayUsage:
            left = used.evolve(
                tokens=max(used.tokens - spare_tokens, 0), cost=max(used.cost - spare_cost, 0.0)
            )
            run = self._find(used)
            true = run.evolve(
                tokens=usage.input_tokens + usage.output_tokens,
                cost=usage.cost,
                by_agent=dict(usage.by_agent),
            )
            return self._put(left, true)

        try:
            await self.account.change(edit)
        except errors.SelfHealError:
            return  # what stays reserved errs on the side of the budget

    def _find(self, used: DayUsage) -> OpenRun:
        known = used.runs.get(self.account.incident_uid or "")
        same = known is not None and known.before == self.before
        return known if known is not None and same else OpenRun(before=self.before)

    def _put(self, used: DayUsage, run: OpenRun) -> DayUsage:
        uid = self.account.incident_uid
        if uid is None:
            return used
        others = {key: entry for key, entry in used.runs.items() if key != uid}
        for oldest in list(others)[: max(len(others) + 1 - KEPT_RUNS, 0)]:
            del others[oldest]
        return used.evolve(runs={**others, uid: run})


def _find_lost(used: DayUsage | None, uid: str | None, before: int) -> Usage:
    run = used.runs.get(uid) if used is not None and uid is not None else None
    if run is None or run.before != before:
        return Usage()  # nothing was noted, or the incident's status counts it by now
    return Usage(
        model_calls=sum(run.by_agent.values()),
        input_tokens=run.tokens,
        cost=run.cost,
        by_agent=dict(run.by_agent),
    )
