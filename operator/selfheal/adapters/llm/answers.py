"""Reads an endpoint's answer without trusting its shape: the library does not validate it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from selfheal import ports
from selfheal.domain import errors

_CHARACTERS_A_TOKEN = 4
UNKNOWN = -1


def parse(response: Any, *, where: str) -> ports.ModelAnswer:
    """Return the first choice as our value; Transient when it is not a chat completion at all.

    Missing usage is marked with UNKNOWN: see fill_usage.
    """
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices:
        kind = "no choices" if choices == [] else "no chat completion"
        raise errors.Transient(f"{where} sent {kind}", system="model")
    message = getattr(choices[0], "message", None)
    if message is None:
        raise errors.Transient(f"{where} sent a choice without a message", system="model")
    usage = getattr(response, "usage", None)
    return ports.ModelAnswer(
        text=_text(getattr(message, "content", None)),
        tool_calls=_tool_calls(getattr(message, "tool_calls", None)),
        finish_reason=_text(getattr(choices[0], "finish_reason", None)) or "stop",
        input_tokens=_count(getattr(usage, "prompt_tokens", None)),
        output_tokens=_count(getattr(usage, "completion_tokens", None)),
        refusal=_text(getattr(message, "refusal", None)) or None,
    )


def fill_usage(answer: ports.ModelAnswer, *, prompt_tokens: int) -> ports.ModelAnswer:
    """Replace unknown counts by estimates: a free answer would escape the budget."""
    written = answer.text + "".join(call.name + call.arguments for call in answer.tool_calls)
    estimate = math.ceil(len(written) / _CHARACTERS_A_TOKEN)
    return dataclasses.replace(
        answer,
        input_tokens=prompt_tokens if answer.input_tokens == UNKNOWN else answer.input_tokens,
        output_tokens=estimate if answer.output_tokens == UNKNOWN else answer.output_tokens,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and value >= 0 else UNKNOWN


def _tool_calls(value: Any) -> tuple[ports.ToolCall, ...]:
    if not isinstance(value, list):
        return ()
    calls = []
    for number, call in enumerate(value):
        function = getattr(call, "function", None)
        name = _text(getattr(function, "name", None))
        if name:
            calls.append(
                ports.ToolCall(
                    id=_text(getattr(call, "id", None)) or f"call-{number}",
                    name=name,
                    arguments=_text(getattr(function, "arguments", None)) or "{}",
                )
            )
    return tuple(calls)
