"""Runs the tasks of one stage: order, context, tools, delegation, one ledger for all."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from selfheal import ports
from selfheal.agents import checks, loop, prompts, tools
from selfheal.agents.answers import Answer, Note, TaskOrder, list_fields
from selfheal.agents.config import (
    AgentDefinition,
    AgentsConfig,
    Plan,
    Process,
    Stage,
    TaskDefinition,
)
from selfheal.agents.ledger import Account, Ledger
from selfheal.api import policy
from selfheal.api.incident import Usage

T = TypeVar("T", bound=Answer)
U = TypeVar("U", bound=Answer)

DELEGATE = "ask_colleague"
_NO_OUTPUT = "(this task has no output)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentResult(Generic[T]):
    """What a stage came to; see Crew."""

    answer: T | None  # None: not asked, refused, out of budget, down, nonsense
    degraded: str | None  # one sentence why, for a condition; None when fine or not configured
    usage: Usage  # what this run cost
    transcript: Sequence[Mapping[str, Any]]  # redacted messages and answers

    @classmethod
    def none(cls) -> AgentResult[T]:
        """Nobody was asked, and nothing is wrong with that."""
        return cls(answer=None, degraded=None, usage=Usage(), transcript=())

    def map(self, change: Callable[[T], U | None], *, none: str | None = None) -> AgentResult[U]:
        """Return a copy with the answer changed; ``none`` is said where that takes it away."""
        changed = change(self.answer) if self.answer is not None else None
        lost = none if self.answer is not None and changed is None else None
        degraded = "; ".join(text for text in (self.degraded, lost) if text) or None
        return AgentResult(
            answer=changed, degraded=degraded, usage=self.usage, transcript=self.transcript
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """What the tasks of a stage work on; ``parts`` hold text of others in blocks already."""

    parts: tuple[str, ...]
    values: Mapping[str, str]
    context: Mapping[str, str]
    scope: tools.Scope
    memory: str = ""
    local_tools: tuple[tools.AgentTool, ...] = ()


@dataclasses.dataclass(kw_only=True)
class _Run:
    """One run of a stage, while it lasts."""

    ledger: Ledger
    material: Material
    outputs: dict[str, str]
    transcript: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Office:
    """What all runs share."""

    model: ports.LanguageModel | None
    host: ports.ToolHost | None
    spec: policy.AgentsSpec
    config: AgentsConfig
    consent: bool
    clock: ports.Clock
    account: Account | None

    async def run(
        self,
        stage: Stage,
        answer: type[T],
        material: Material,
        *,
        check: Callable[[T], str | None],
        spent: Usage,
    ) -> AgentResult[T]:
        """Run a stage's other tasks, then its principal, whose answer is the result."""
        plan = self.config.find_plan(stage)
        if plan is None or self.model is None:
            return AgentResult.none()
        opened = await self.account.open(spent) if self.account is not None else None
        run = _Run(
            ledger=Ledger(spec=self.spec, spent=spent, clock=self.clock, run=opened),
            material=material,
            outputs=dict(material.context),
        )
        for task in await self._order(plan, run):
            note = await self._run_task(run, plan, task, Note, checks.check_nothing)
            if note is not None:
                run.outputs[task.name] = note.text
        found = await self._run_task(run, plan, plan.principal, answer, check)
        await run.ledger.settle()
        return AgentResult(
            answer=found,
            degraded="; ".join(dict.fromkeys(run.problems)) or None,
            usage=run.ledger.usage,
            transcript=tuple(run.transcript),
        )

    async def _order(self, plan: Plan, run: _Run) -> Sequence[TaskDefinition]:
        if self.config.process is not Process.HIERARCHICAL or len(plan.extras) < 2:
            return plan.extras
        names = [task.name for task in plan.extras]
        lead = self.config.agents[self.config.manager or plan.principal.agent_key]
        listing = "\n".join(f"{task.name}: {task.description}" for task in plan.extras)
        prompt = f"You lead this stage. In which order should its tasks run?\n{listing}"
        order = await self._ask(
            run, lead, "order", prompt, TaskOrder, checks.check_order(names), required=frozenset()
        )
        if order is None:
            return plan.extras
        return sorted(plan.extras, key=lambda task: order.order.index(task.name))

    async def _run_task(
        self,
        run: _Run,
        plan: Plan,
        task: TaskDefinition,
        answer: type[T],
        check: Callable[[T], str | None],
    ) -> T | None:
        agent = self.config.agents[task.agent_key]
        memory = (run.material.memory,) if agent.memory else ()
        prompt = prompts.render_task(
            task,
            values=run.material.values,
            parts=(*run.material.parts, *memory),
            context=self._find_context(run, plan, task),
        )
        required = task.required_fields & list_fields(answer)
        return await self._ask(run, agent, task.name, prompt, answer, check, required=required)

    def _find_context(self, run: _Run, plan: Plan, task: TaskDefinition) -> dict[str, str]:
        if task.context is not None:
            return {name: run.outputs.get(name, _NO_OUTPUT) for name in task.context}
        # As in the original crew: without the key, what ran before in this stage is the context.
        own = {each.name for each in plan.extras}
        return {name: text for name, text in run.outputs.items() if name in own}

    async def _ask(
        self,
        run: _Run,
        agent: AgentDefinition,
        task: str,
        prompt: str,
        answer: type[T],
        check: Callable[[T], str | None],
        *,
        required: frozenset[str],
        may_delegate: bool = True,
    ) -> T | None:
        assert self.model is not None  # noqa: S101 - run() has looked
        offered = await self._find_tools(run, agent)
        if agent.allow_delegation and may_delegate:
            offered += [self._build_delegate(run, agent)]
        outcome = await loop.run(
            self.model,
            loop.Assignment(
                agent=agent,
                task=task,
                prompt=prompt,
                answer=answer,
                check=check,
                required=required,
                tools=offered,
            ),
            run.ledger,
        )
        run.transcript += outcome.transcript
        if outcome.problem is not None:
            run.problems.append(f"{agent.role}: {outcome.problem}; the rules' result stands")
        return outcome.answer

    async def _find_tools(self, run: _Run, agent: AgentDefinition) -> list[tools.AgentTool]:
        if agent.max_iter < 2:
            return []  # the only round is the answer's
        remote, problems = await tools.build_remote(
            self.host,
            agent.servers,
            configured=frozenset(server.name for server in self.spec.mcp_servers),
            scope=run.material.scope,
            consent=self.consent,
        )
        run.problems += problems
        return [*remote, *run.material.local_tools]

    def _build_delegate(self, run: _Run, asker: AgentDefinition) -> tools.AgentTool:
        colleagues = sorted(name for name in self.config.agents if name != asker.name)
        schema = {
            "type": "object",
            "properties": {
                "agent": {"type": "string", "enum": colleagues},
                "question": {"type": "string"},
            },
            "required": ["agent", "question"],
            "additionalProperties": False,
        }
        listing = "; ".join(f"{name}: {self.config.agents[name].role}" for name in colleagues)
        return tools.AgentTool(
            name=DELEGATE,
            description=f"Ask a colleague one question, within the same budget. {listing}",
            schema=schema,
            run=functools.partial(self._delegate, run, asker),
        )

    async def _delegate(
        self, run: _Run, asker: AgentDefinition, arguments: Mapping[str, Any]
    ) -> str:
        name = str(arguments.get("agent"))
        if name == asker.name or name not in self.config.agents:
            return "error: there is no such colleague"
        prompt = "\n\n".join(
            [
                "A colleague asks you a question. Answer it from the material and your tools.",
                prompts.block(f"question of {asker.name}", str(arguments.get("question", ""))),
                *run.material.parts,
            ]
        )
        note = await self._ask(
            run,
            self.config.agents[name],
            f"question of {asker.name}",
            prompt,
            Note,
            checks.check_nothing,
            required=frozenset(),
            may_delegate=False,  # one step deep: questions cannot go in circles
        )
        return note.text if note is not None else "error: the colleague has no answer"
