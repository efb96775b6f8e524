"""One agent's run: a bounded conversation with tools; it ends in a valid answer or a reason."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pydantic

from selfheal import ports, redaction
from selfheal.agents import prompts
from selfheal.agents.answers import Answer, build_schema
from selfheal.agents.config import AgentDefinition
from selfheal.agents.ledger import Ledger
from selfheal.agents.tools import MAX_RESULT, AgentTool
from selfheal.domain import errors

T = TypeVar("T", bound=Answer)

MAX_TOOL_CALLS = 12  # of one run
_MAX_REPEATS = (
    2  # identical calls asked for before tools are taken away: small models go in circles
)
_TRANSCRIPT_CHARACTERS = 6_000  # of one message in the transcript
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.S)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assignment(Generic[T]):
    """What one agent is asked, with which tools, and what its answer must pass.

    ``check`` returns what is wrong with a well-formed answer, or None; ``required`` names fields
    that must not be empty.
    """

    agent: AgentDefinition
    task: str
    prompt: str
    answer: type[T]
    check: Callable[[T], str | None]
    required: frozenset[str] = frozenset()
    tools: Sequence[AgentTool] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """The answer, or why there is none; and everything that was said, redacted."""

    answer: T | None
    problem: str | None
    transcript: Sequence[Mapping[str, Any]]


async def run(model: ports.LanguageModel, assignment: Assignment[T], ledger: Ledger) -> Outcome[T]:
    """Ask until there is a valid answer: ``max_iter`` rounds and one repair; never raises ours.

    The schema is sent only in rounds without tools: several servers refuse both at once, and a last
    round without tools is what ends a conversation in an answer.
    """
    return await _Conversation(model, assignment, ledger).run()


class _Stop(Exception):  # noqa: N818 - it ends a run, with a reason for people
    pass


class _Conversation(Generic[T]):
    def __init__(
        self, model: ports.LanguageModel, assignment: Assignment[T], ledger: Ledger
    ) -> None:
        self._model, self._ledger, self._a = model, ledger, assignment
        self._agent = assignment.agent
        self._tools = {tool.name: tool for tool in assignment.tools}
        self._messages: list[dict[str, Any]] = []
        self._transcript: list[Mapping[str, Any]] = []
        self._seen: set[str] = set()
        self._calls = self._repeats = 0
        self._log = logging.getLogger(f"selfheal.agents.{self._agent.name}")

    async def run(self) -> Outcome[T]:
        """Hold the conversation."""
        system = prompts.render_system(self._agent, self._a.answer)
        self._say({"role": "system", "content": system})
        self._say({"role": "user", "content": self._a.prompt})
        try:
            return self._end(await self._converse(), None)
        except _Stop as stop:
            return self._end(None, str(stop))

    async def _converse(self) -> T:
        left = self._agent.max_iter - 1
        with_tools = bool(self._tools) and left > 0
        answer = await self._ask(with_tools=with_tools)
        while with_tools and answer.tool_calls:
            await self._call_tools(answer)
            left -= 1
            with_tools = left > 0 and self._may_call()
            answer = await self._ask(with_tools=with_tools)
        found, problem = self._read(answer)
        return found if found is not None else await self._repair(answer, problem)

    def _may_call(self) -> bool:
        return self._calls < MAX_TOOL_CALLS and self._repeats < _MAX_REPEATS

    async def _repair(self, answer: ports.ModelAnswer, problem: str) -> T:
        said = redaction.redact_text(answer.text)
        self._say({"role": "assistant", "content": said or "(nothing)"})
        self._say(
            {
                "role": "user",
                "content": f"This cannot be used: {problem}. Answer again, only the JSON object.",
            }
        )
        found, problem = self._read(await self._ask(with_tools=False))
        if found is None:
            raise _Stop(f"its answer cannot be used: {problem}")
        return found

    async def _ask(self, *, with_tools: bool) -> ports.ModelAnswer:
        tools = [tool.render() for tool in self._tools.values()] if with_tools else []
        refused = await self._ledger.admit(
            self._agent.name, [self._messages, tools], max_tokens=prompts.ANSWER_TOKENS
        )
        if refused is not None:
            raise _Stop(refused)
        schema = None if with_tools else build_schema(self._a.answer)
        try:
            answer = await self._model.complete(
                self._messages,
                tools=tools,
                schema=schema,
                schema_name=self._a.answer.__name__,
                max_tokens=prompts.ANSWER_TOKENS,
            )
        except errors.SelfHealError as error:
            self._ledger.charge(self._agent.name, None)
            raise _Stop(str(error)) from error
        self._ledger.charge(self._agent.name, answer)
        self._record_answer(answer)
        if answer.refusal:
            raise _Stop("the model refused to answer")
        if answer.finish_reason == "content_filter":
            raise _Stop("the endpoint's content filter withheld the answer")
        return answer

    def _read(self, answer: ports.ModelAnswer) -> tuple[T | None, str]:
        if answer.finish_reason == "length":
            return None, "it was cut off; be shorter"
        if not answer.text.strip():
            return None, "it is empty"
        try:
            found = self._a.answer.model_validate_json(strip_fence(answer.text))
        except pydantic.ValidationError as error:
            return None, describe_invalid(error)
        problem = self._find_empty(found) or self._a.check(found)
        return (None, problem) if problem else (found, "")

    def _find_empty(self, found: T) -> str | None:
        filled = found.model_dump(by_alias=True)
        empty = sorted(n for n in self._a.required if n in filled and filled[n] in (None, "", []))
        optional = {n for n in empty if _is_nullable(self._a.answer, n) and filled[n] is None}
        missing = [name for name in empty if name not in optional]
        return f"the field {missing[0]} is empty, but expected" if missing else None

    async def _call_tools(self, answer: ports.ModelAnswer) -> None:
        calls = answer.tool_calls
        self._messages.append(
            {
                "role": "assistant",
                "content": redaction.redact_text(answer.text) or None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    }
                    for call in calls
                ],
            }
        )
        for call in calls:
            result = await self._call(call)
            content = prompts.block(f"result of {call.name[:64]}", result, limit=MAX_RESULT)
            self._say({"role": "tool", "tool_call_id": call.id, "content": content})

    async def _call(self, call: ports.ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"error: there is no such tool (there are: {', '.join(self._tools)})"
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            return "error: the arguments are not valid JSON"
        if not isinstance(arguments, dict):
            return "error: the arguments must be a JSON object"
        key = json.dumps([call.name, arguments], sort_keys=True)
        if key in self._seen:
            self._repeats += 1
            return "You have made this very call already; its result stands above."
        if self._calls >= MAX_TOOL_CALLS:
            return "error: no more tool calls in this run; answer with what you know"
        self._calls += 1
        self._seen.add(key)
        try:
            return await tool.run(arguments)
        except errors.SelfHealError as error:
            return f"error: {error}"

    def _say(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._record({**message, "task": self._a.task})

    def _record_answer(self, answer: ports.ModelAnswer) -> None:
        calls = [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]
        self._record(
            {
                "role": "answer",
                "task": self._a.task,
                "content": answer.text,
                "finish": answer.finish_reason,
                "tokens": [answer.input_tokens, answer.output_tokens],
                **({"toolCalls": calls} if calls else {}),
                **({"refusal": answer.refusal} if answer.refusal else {}),
            }
        )

    def _record(self, entry: Mapping[str, Any]) -> None:
        clean = redaction.redact({"agent": self._agent.name, **entry})
        if self._agent.verbose:
            self._log.info("%s", json.dumps(clean, ensure_ascii=False))
        short = prompts.shorten(str(clean.get("content") or ""), _TRANSCRIPT_CHARACTERS)
        self._transcript.append({**clean, "content": short})

    def _end(self, answer: T | None, problem: str | None) -> Outcome[T]:
        calls = self._ledger.usage.by_agent.get(self._agent.name, 0)
        said = problem or "answered"
        self._log.info("%s %s: %s (%d calls)", self._agent.name, self._a.task, said, calls)
        return Outcome(answer=answer, problem=problem, transcript=tuple(self._transcript))


def _is_nullable(kind: type[Answer], name: str) -> bool:
    branches = build_schema(kind)["properties"][name].get("anyOf", ())
    return any(branch.get("type") == "null" for branch in branches)


def strip_fence(text: str) -> str:
    """Return the JSON within a Markdown fence or other words; the text itself if there is none."""
    fenced = _FENCE.match(text)
    inner = fenced.group(1) if fenced else text.strip()
    first, last = inner.find("{"), inner.rfind("}")
    return inner[first : last + 1] if 0 <= first < last else inner


def describe_invalid(error: pydantic.ValidationError) -> str:
    """Say what does not fit the schema, without repeating the values; at most five problems."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    texts = [f"{'.'.join(map(str, p['loc'])) or 'answer'}: {p['msg']}" for p in problems[:5]]
    return "; ".join(redaction.redact_text(text)[:200] for text in texts)
