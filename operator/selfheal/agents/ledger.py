"""What a run of agents may cost and has cost: checked before each call, counted after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from selfheal import ports
from selfheal.api import policy
from selfheal.api.incident import Usage


class AccountRun(Protocol):
    """A run's place in the day's account."""

    lost: Usage

    async def reserve(self, agent: str, tokens: int, cost: float) -> bool:
        """Take a call from the day's budget before it is made; False: not granted."""

    async def settle(self, usage: Usage) -> None:
        """Give back what was reserved and not used."""


class Account(Protocol):
    """The day's budget, and what runs that were cut off have reserved; kept across restarts."""

    async def open(self, spent: Usage) -> AccountRun:
        """Begin a run of an incident whose saved status counts ``spent``."""


MAX_SECONDS = 300.0  # of one run, below the shortest time-out of a phase that asks agents
_SLOW_CALLS = 3  # of a model whose policy grants a call more than that: an answer and a repair
_CHARACTERS_A_TOKEN = 3  # cautious: English has about 4, JSON and identifiers fewer
_PRICE_UNIT = 1_000_000  # prices are for a million tokens


class Ledger:
    """Budget of one incident and one day, over one run.

    ``spent`` is what the incident has used before; ``run`` reserves tokens and cost of the day's
    budget before they are spent, and knows what earlier runs lost when they were cut off.
    """

    def __init__(
        self,
        *,
        spec: policy.AgentsSpec,
        spent: Usage,
        clock: ports.Clock,
        run: AccountRun | None = None,
    ) -> None:
        """Begin a run at the clock's present time."""
        self._spec = spec
        self._before = spent
        self._run = run
        self._lost = run.lost if run is not None else Usage()
        self._clock = clock
        self._began = clock.monotonic()
        self._calls: dict[str, int] = dict(self._lost.by_agent)
        self._input, self._output = self._lost.input_tokens, 0

    @property
    def usage(self) -> Usage:
        """What this run has cost so far, with what was lost before it."""
        return Usage(
            model_calls=sum(self._calls.values()),
            input_tokens=self._input,
            output_tokens=self._output,
            cost=self._lost.cost + self._price(self._input - self._lost.input_tokens, self._output),
            by_agent=dict(self._calls),
        )

    def _limit_seconds(self) -> float:
        model = self._spec.model
        return max(MAX_SECONDS, _SLOW_CALLS * model.timeout.total_seconds() if model else 0.0)

    async def admit(self, agent: str, request: Sequence[Any], *, max_tokens: int) -> str | None:
        """Return why a call must not be made, None if it may; reserves the day's budget if so."""
        limit = self._limit_seconds()
        if self._clock.monotonic() - self._began > limit:
            return f"the run took longer than {limit:.0f} s"
        budget = self._spec.budget.per_incident
        done, before = self.usage, self._before
        prompt = estimate_tokens(request)
        if before.model_calls + done.model_calls + 1 > budget.calls:
            return f"the incident's budget of {budget.calls} calls is spent"
        used = before.input_tokens + before.output_tokens + self._input + self._output
        if used + prompt + max_tokens > budget.tokens:
            return f"the incident's budget of {budget.tokens} tokens does not suffice for a call"
        price = self._price(prompt, max_tokens)
        if before.cost + done.cost + price > budget.cost:
            return f"the incident's budget of {budget.cost:g} (cost) does not suffice for a call"
        if self._run is not None and not await self._run.reserve(agent, prompt + max_tokens, price):
            return "the day's budget is spent"
        return None

    async def settle(self) -> None:
        """End the run: what was reserved and not used goes back to the day's budget."""
        if self._run is not None:
            await self._run.settle(self.usage)

    def charge(self, agent: str, answer: ports.ModelAnswer | None) -> None:
        """Count one call of an agent; a failed one has no answer and counts all the same."""
        self._calls[agent] = self._calls.get(agent, 0) + 1
        if answer is not None:
            self._input += max(answer.input_tokens, 0)
            self._output += max(answer.output_tokens, 0)

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        model = self._spec.model
        if model is None:
            return 0.0
        return (tokens_in * model.input_price + tokens_out * model.output_price) / _PRICE_UNIT


def estimate_tokens(request: Sequence[Any] | Mapping[str, Any]) -> int:
    """Estimate the tokens of messages and tools from their length, rather too many than too few."""
    return len(json.dumps(request, ensure_ascii=False, default=str)) // _CHARACTERS_A_TOKEN + 1
