"""Fakes of LanguageModel and ToolHost: they answer by script and record what they were asked."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.domain import errors


def say(text: str | Mapping[str, Any], **more: Any) -> ports.ModelAnswer:
    """An answer in words; a mapping becomes JSON."""
    return ports.ModelAnswer(
        text=text if isinstance(text, str) else json.dumps(text),
        tool_calls=(),
        finish_reason=more.get("finish_reason", "stop"),
        input_tokens=more.get("input_tokens", 100),
        output_tokens=more.get("output_tokens", 20),
        refusal=more.get("refusal"),
    )


def call(name: str, arguments: Mapping[str, Any] | str | None = None) -> ports.ModelAnswer:
    """An answer that calls one tool; a string is sent as it is."""
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return ports.ModelAnswer(
        text="",
        tool_calls=(ports.ToolCall(id=f"call-{name}", name=name, arguments=raw),),
        finish_reason="tool_calls",
        input_tokens=100,
        output_tokens=20,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One recorded request."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    schema: Mapping[str, Any] | None
    schema_name: str
    max_tokens: int

    @property
    def text(self) -> str:
        """All message contents in one string."""
        return "\n".join(str(message.get("content") or "") for message in self.messages)

    @property
    def tool_names(self) -> list[str]:
        """Names of the tools on offer."""
        return [tool["function"]["name"] for tool in self.tools]


Step = ports.ModelAnswer | Exception | Callable[[Asked], ports.ModelAnswer]


class ScriptedModel:
    """Answers with its steps in order, one a call; an exception is raised, a callable is asked."""

    def __init__(self, steps: Iterable[Step] = (), *, name: str = "scripted") -> None:
        self.name = name
        self.steps: list[Step] = list(steps)
        self.asked: list[Asked] = []

    def add(self, *steps: Step) -> ScriptedModel:
        self.steps += steps
        return self

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "Answer",
        max_tokens: int = 1500,
    ) -> ports.ModelAnswer:
        asked = Asked(
            messages=copy.deepcopy(list(messages)),
            tools=copy.deepcopy(list(tools)),
            schema=schema,
            schema_name=schema_name,
            max_tokens=max_tokens,
        )
        self.asked.append(asked)
        if not self.steps:
            raise AssertionError(f"the script of {self.name} is at its end; asked: {asked.text[-500:]}")
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, ports.ModelAnswer) else step(asked)


Answer = str | Exception | Callable[[Mapping[str, Any]], str]


class FakeToolHost:
    """Servers as plain functions; enforces its allow-list as the port demands."""

    def __init__(self) -> None:
        self._tools: dict[str, dict[str, tuple[ports.Tool, Answer]]] = {}
        self._allowed: dict[str, frozenset[str] | None] = {}
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.down: dict[str, Exception] = {}
        self.closed = False

    def add_server(self, server: str, *, allowed: Iterable[str] | None = None) -> FakeToolHost:
        self._tools.setdefault(server, {})
        self._allowed[server] = None if allowed is None else frozenset(allowed)
        return self

    def add_tool(
        self,
        server: str,
        name: str,
        answer: Answer = "",
        *,
        properties: Mapping[str, Any] | None = None,
        required: Sequence[str] = (),
        description: str = "",
    ) -> FakeToolHost:
        if server not in self._tools:
            self.add_server(server)
        schema = {"type": "object", "properties": dict(properties or {}), "required": list(required)}
        tool = ports.Tool(server=server, name=name, description=description or name, schema=schema)
        self._tools[server][name] = (tool, answer)
        return self

    async def list_tools(self, server: str) -> Sequence[ports.Tool]:
        return [tool for name, (tool, _) in self._find(server).items() if self._is_allowed(server, name)]

    async def call_tool(self, server: str, name: str, arguments: Mapping[str, Any]) -> str:
        tools = self._find(server)
        if not self._is_allowed(server, name):
            raise errors.Forbidden(f"tool {name!r} is not among allowedTools of {server}", system="mcp")
        self.calls.append((server, name, dict(arguments)))
        if name not in tools:
            return f"error: no tool {name!r}"
        answer = tools[name][1]
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else answer(arguments)
        raw = text.encode()
        return text if len(raw) <= 16384 else raw[:16000].decode(errors="ignore") + "[… left out …]"

    async def close(self) -> None:
        self.closed = True

    def _find(self, server: str) -> Mapping[str, tuple[ports.Tool, Answer]]:
        if server in self.down:
            raise self.down[server]
        if server not in self._tools:
            raise errors.PolicyInvalid(f"no MCP server {server!r} is configured", system="mcp")
        return self._tools[server]

    def _is_allowed(self, server: str, name: str) -> bool:
        allowed = self._allowed.get(server)
        return allowed is None or name in allowed
