"""Asks the agents about a stored incident, and judges what they make of the rules' result."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Sequence

import httpx2
from tests.e2e.faults.running import MINIMUM
from tests.evals.incidents import Stored

from selfheal.adapters.llm import OpenAIModel
from selfheal.agents import config, crew
from selfheal.api import policy
from selfheal.api.incident import Usage
from selfheal.diagnosis.evidence import Finding
from selfheal.domain.facts import CheckResult
from selfheal.wiring import SystemClock

CONTEXT_TOKENS = 6_144  # what leaves a small model on two cores two minutes a question
TIMEOUT = dt.timedelta(minutes=10)  # a small model on two cores reads a prompt for minutes
ALL_STAGES = ("triage", "analysis", "fix", "pull request", "deployment")


@dataclasses.dataclass(kw_only=True)
class Evaluation:
    """What came of one incident; ``class_right`` and ``cause_right`` of rules and model together."""

    name: str
    by: str
    class_right: bool
    cause_right: bool
    handed_over: bool
    rules_class_right: bool
    rules_cause_right: bool
    cause: str
    asked: list[str] = dataclasses.field(default_factory=list)
    degraded: list[str] = dataclasses.field(default_factory=list)
    usage: Usage = dataclasses.field(default_factory=Usage)
    within_budget: bool = True
    seconds: float = 0.0
    wrong_target: bool = False
    fix_refused: bool = False  # proposals were there, and the agent took none

    @property
    def worse(self) -> bool:
        """Whether the model took something away that the rules had right."""
        lost_class = self.rules_class_right and not self.class_right
        return lost_class or (self.rules_cause_right and not self.cause_right)


class Evaluator:
    """One model behind one transport, asked with the operator's own crew and adapter."""

    def __init__(
        self, *, url: str, model: str, key: str | None = None, transport: httpx2.AsyncBaseTransport | None = None,
        prices: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        """Keep what is needed to ask; nothing is sent."""
        spec = policy.ModelSpec(
            name=model, base_url=url, context_tokens=CONTEXT_TOKENS, input_price=prices[0], output_price=prices[1],
            timeout=TIMEOUT,
        )
        self.budget = policy.BudgetSpec()
        self._model = OpenAIModel(name=model, base_url=url, api_key=key, timeout=TIMEOUT.total_seconds(), transport=transport)
        self._crew = crew.Crew(
            model=self._model,
            tools=None,
            spec=policy.AgentsSpec(model=spec, budget=self.budget),
            config=config.load_config(None),
            consent=True,  # the evidence is our own
            clock=SystemClock(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._model.close()

    async def evaluate(self, stored: Stored, *, stages: Sequence[str] = ("analysis",)) -> Evaluation:
        """Ask the agents of these stages in their order, each told what the ones before found."""
        begun = time.monotonic()
        usage = Usage()
        analysed = await self._crew.analyse(
            bundle=stored.bundle, findings=stored.findings, earlier=(), hint=None, spent=usage
        )
        settled = crew.settle(stored.findings, analysed.answer)
        found = _judge(stored, settled.finding, settled.by.value)
        self._charge(found, "analysis", analysed)
        if "triage" in stages:
            await self._triage(stored, found)
        if settled.finding is not None and stored.proposals:
            await self._fix(stored, settled.finding, settled.summary, stages, found)
        if "deployment" in stages:
            await self._deployment(found)
        found.seconds = time.monotonic() - begun
        limits = self.budget.per_incident
        found.within_budget = (
            found.usage.model_calls <= limits.calls
            and found.usage.input_tokens + found.usage.output_tokens <= limits.tokens
            and found.usage.cost <= limits.cost
        )
        return found

    async def _triage(self, stored: Stored, found: Evaluation) -> None:
        name = stored.bundle.target.name
        result = await self._crew.triage(
            summary=f"{name} is not working",
            description=f"Since the last change {name} does not come up any more. Please look at it.",
            candidates=stored.candidates,
            spent=found.usage,
        )
        self._charge(found, "triage", result)
        target = result.answer.target if result.answer is not None else None
        found.wrong_target = target is not None and target.name != name

    async def _fix(
        self, stored: Stored, finding: Finding, summary: str, stages: Sequence[str], found: Evaluation
    ) -> None:
        chosen = stored.proposals[0]
        if "fix" in stages:
            result = await self._crew.propose(
                finding=finding, bundle=stored.bundle, files=stored.files, proposals=stored.proposals,
                spent=found.usage,
            )  # fmt: skip
            self._charge(found, "fix", result)
            found.fix_refused = result.answer is None
        if "pull request" in stages:
            text = await self._crew.describe_pull_request(
                proposal_summary=chosen.summary, diff=chosen.diff, cause=finding.cause, explanation=summary,
                spent=found.usage,
            )  # fmt: skip
            self._charge(found, "pull request", text)

    async def _deployment(self, found: Evaluation) -> None:
        result = await self._crew.explain_deployment(
            cause=found.cause,
            checks=[
                CheckResult(name="RolloutComplete", holds=True, message="1 of 1 pods are new and ready"),
                CheckResult(name="NoRestart", holds=True, message="no restart for 600 s"),
            ],
            events=["Normal Started: Started container"],
            spent=found.usage,
        )
        self._charge(found, "deployment", result)

    def _charge(self, found: Evaluation, stage: str, result: crew.AgentResult[crew.Analysis]) -> None:
        found.asked.append(stage)
        found.usage = add(found.usage, result.usage)
        if result.degraded:
            found.degraded.append(result.degraded)


def add(one: Usage, other: Usage) -> Usage:
    """The sum of two uses."""
    return one.evolve(
        model_calls=one.model_calls + other.model_calls,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost=one.cost + other.cost,
    )


def _judge(stored: Stored, finding: Finding | None, by: str) -> Evaluation:
    counts = finding is not None and finding.confidence >= MINIMUM
    rules = stored.best
    return Evaluation(
        name=stored.name,
        by=by if counts else "",
        class_right=_class_right(stored, finding if counts else None),
        cause_right=_cause_right(stored, finding if counts else None),
        handed_over=not counts,
        rules_class_right=_class_right(stored, rules),
        rules_cause_right=_cause_right(stored, rules),
        cause=finding.cause if finding is not None else "",
    )


def _class_right(stored: Stored, finding: Finding | None) -> bool:
    return finding is not None and finding.class_.value in stored.accepted


def _cause_right(stored: Stored, finding: Finding | None) -> bool:
    if finding is None or finding.class_.value not in stored.accepted:
        return False
    said = finding.cause.lower()
    return all(any(word.lower() in said for word in some) for some in stored.cause)
