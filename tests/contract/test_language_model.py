"""The contract of LanguageModel: the fake, and the real adapter against llmock over the wire.

What llmock cannot say (lies, hangs, broken bodies) is said by ``httpx2.MockTransport``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from llmock.testing import LLMockServer
from tests.fakes import model as fakes

from selfheal import ports
from selfheal.adapters.llm.openai_model import OpenAIModel
from selfheal.domain import errors

QUESTION = [{"role": "user", "content": "Why does checkout restart?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "kubernetes__pods_log",
        "description": "Log of a pod",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"cause": {"type": "string"}},
    "required": ["cause"],
    "additionalProperties": False,
}
KEY = "sk-test-0123456789abcdef"


class Fake:
    """Scripts the fake."""

    def __init__(self) -> None:
        self.model = fakes.ScriptedModel()

    def reply(self, text: str) -> None:
        self.model.add(fakes.say(text))

    def call_tool(self, name: str, arguments: dict[str, Any]) -> None:
        self.model.add(fakes.call(name, arguments))

    def fail(self, status: int) -> None:
        after = dt.timedelta(seconds=7)
        self.model.add(
            {
                401: errors.Unauthorized("refused"),
                403: errors.Forbidden("forbidden"),
                404: errors.PolicyInvalid("no such model"),
                400: errors.Stalled("refused", reason="RequestRefused"),
                429: errors.RateLimited("slow down", retry_after=after),
                500: errors.Transient("failed"),
                503: errors.Transient("failed"),
            }[status]
        )

    def count(self) -> int:
        return len(self.model.asked)


class Wire:
    """Scripts llmock."""

    def __init__(self, server: LLMockServer) -> None:
        from llmock.pytest_plugin import LLMock

        self.mock = LLMock(server)
        self.model = OpenAIModel(name="gpt-4o-mini", base_url=server.base_url("openai"), api_key=KEY)

    def reply(self, text: str) -> None:
        self.mock.reply(text)

    def call_tool(self, name: str, arguments: dict[str, Any]) -> None:
        self.mock.call_tool(name, arguments)

    def fail(self, status: int) -> None:
        if status == 429:
            self.mock.rate_limit(retry_after=7)
        else:
            self.mock.fail(status)

    def count(self) -> int:
        return len(self.mock.requests)


@pytest.fixture(scope="module")
def server() -> Iterator[LLMockServer]:
    with LLMockServer() as running:
        yield running


@pytest.fixture(params=["fake", "wire"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Fake | Wire]:
    if request.param == "fake":
        yield Fake()
        return
    wire = Wire(request.getfixturevalue("server"))
    yield wire
    wire.mock.reset()
    await wire.model.close()


async def test_answers_in_words_with_usage(side: Fake | Wire) -> None:
    side.reply("It is killed for memory.")
    answer = await side.model.complete(QUESTION)
    assert answer.text == "It is killed for memory."
    assert answer.tool_calls == ()
    assert answer.finish_reason == "stop"
    assert answer.input_tokens > 0
    assert answer.output_tokens > 0


async def test_calls_a_tool_with_raw_arguments(side: Fake | Wire) -> None:
    side.call_tool("kubernetes__pods_log", {"name": "checkout-1"})
    answer = await side.model.complete(QUESTION, tools=[TOOL])
    assert [call.name for call in answer.tool_calls] == ["kubernetes__pods_log"]
    assert json.loads(answer.tool_calls[0].arguments) == {"name": "checkout-1"}
    assert answer.tool_calls[0].id


async def test_takes_tool_results_back(side: Fake | Wire) -> None:
    side.call_tool("kubernetes__pods_log", {"name": "checkout-1"})
    call = (await side.model.complete(QUESTION, tools=[TOOL])).tool_calls[0]
    asked = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        ],
    }
    result = {"role": "tool", "tool_call_id": call.id, "content": "Out of memory"}
    side.reply("Memory.")
    assert (await side.model.complete([*QUESTION, asked, result], tools=[TOOL])).text == "Memory."


async def test_sends_the_schema(side: Fake | Wire) -> None:
    side.reply('{"cause": "memory"}')
    answer = await side.model.complete(QUESTION, schema=SCHEMA, schema_name="Analysis")
    assert json.loads(answer.text) == {"cause": "memory"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.Stalled),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.PolicyInvalid),
        (429, errors.RateLimited),
        (500, errors.Transient),
        (503, errors.Transient),
    ],
)
async def test_translates_refusals_and_never_retries(
    side: Fake | Wire, status: int, error: type[Exception]
) -> None:
    side.fail(status)
    with pytest.raises(error) as caught:
        await side.model.complete(QUESTION)
    assert type(caught.value) is error
    assert side.count() == 1
    assert KEY not in str(caught.value)


async def test_carries_the_servers_wish_to_wait(side: Fake | Wire) -> None:
    side.fail(429)
    with pytest.raises(errors.RateLimited) as caught:
        await side.model.complete(QUESTION)
    assert caught.value.retry_after == dt.timedelta(seconds=7)


async def test_goes_on_after_a_failure(side: Fake | Wire) -> None:
    side.fail(503)
    side.reply("Here again.")
    with pytest.raises(errors.Transient):
        await side.model.complete(QUESTION)
    assert (await side.model.complete(QUESTION)).text == "Here again."


# --- the real adapter against lies -------------------------------------------------------------------


def build(handler: Any, **more: Any) -> OpenAIModel:
    return OpenAIModel(
        name="m", base_url="http://model.test/v1", api_key=KEY, transport=httpx2.MockTransport(handler), **more
    )


def completion(**message: Any) -> dict[str, Any]:
    finish = message.pop("finish_reason", "stop")
    usage = message.pop("usage", {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8})
    body: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}],
    }
    return body | ({"usage": usage} if usage else {})


LIES = {
    "html": httpx2.Response(200, html="<html>Please sign in</html>"),
    "no-choices": httpx2.Response(200, json={"id": "c1", "object": "chat.completion", "choices": []}),
    "choices-null": httpx2.Response(200, json={"id": "c1", "choices": None}),
    "no-message": httpx2.Response(200, json={"choices": [{"index": 0, "finish_reason": "stop"}]}),
    "a-list": httpx2.Response(200, json=["nothing"]),
    "a-string": httpx2.Response(200, json="nothing"),
    "null": httpx2.Response(200, json=None),
    "cut-off": httpx2.Response(
        200, content=b'{"choices": [{"mess', headers={"content-type": "application/json"}
    ),
    "empty": httpx2.Response(200, content=b""),
    "not-utf8": httpx2.Response(200, content=b"\xff\xfe\x00", headers={"content-type": "application/json"}),
}


@pytest.mark.parametrize("name", sorted(LIES))
async def test_a_lie_is_a_passing_fault(name: str) -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return LIES[name]

    with pytest.raises(errors.Transient) as caught:
        await build(handler).complete(QUESTION)
    assert "model m at model.test" in caught.value.message
    assert len(seen) == 1


async def test_a_cut_off_answer_says_so() -> None:
    body = completion(content='{"cause": "mem', finish_reason="length")
    answer = await build(lambda _: httpx2.Response(200, json=body)).complete(QUESTION)
    assert answer.finish_reason == "length"


async def test_a_refusal_is_carried() -> None:
    body = completion(content=None, refusal="I cannot help with that.")
    answer = await build(lambda _: httpx2.Response(200, json=body)).complete(QUESTION)
    assert answer.refusal == "I cannot help with that."
    assert answer.text == ""


async def test_missing_usage_is_estimated_so_that_budgets_count() -> None:
    body = completion(content="x" * 400, usage=None)
    answer = await build(lambda _: httpx2.Response(200, json=body)).complete(
        [{"role": "user", "content": "y" * 4000}]
    )
    assert answer.output_tokens == 100
    assert 1000 <= answer.input_tokens < 1100


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": "many"}, {"prompt_tokens": None}])
async def test_nonsense_usage_is_estimated(usage: dict[str, Any]) -> None:
    body = completion(content="four", usage=usage)
    answer = await build(lambda _: httpx2.Response(200, json=body)).complete(QUESTION)
    assert answer.output_tokens == 1
    assert answer.input_tokens > 0


async def test_broken_tool_calls_are_left_out_or_filled() -> None:
    calls = [
        {"id": None, "type": "function", "function": {"name": "a", "arguments": None}},
        {"id": "2", "type": "function", "function": None},
    ]
    body = completion(content=None, tool_calls=calls, finish_reason="tool_calls")
    answer = await build(lambda _: httpx2.Response(200, json=body)).complete(QUESTION)
    assert answer.tool_calls == (ports.ToolCall(id="call-0", name="a", arguments="{}"),)


async def test_a_hang_ends_at_the_deadline() -> None:
    async def handler(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(errors.Transient, match="did not answer in time"):
        await build(handler, timeout=0.05).complete(QUESTION)


async def test_a_trickle_of_bytes_does_not_renew_the_deadline() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0)

    response = httpx2.Response(200, content=drip(), headers={"content-type": "application/json"})
    with pytest.raises(errors.Transient, match="did not answer in time"):
        await build(lambda _: response, timeout=0.2).complete(QUESTION)


async def test_no_connection_is_unreachable() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with pytest.raises(errors.Unreachable, match="check baseURL"):
        await build(handler).complete(QUESTION)


async def test_a_redirect_is_not_followed() -> None:
    hosts: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        return httpx2.Response(307, headers={"location": "http://elsewhere.test/v1/chat/completions"})

    with pytest.raises(errors.SelfHealError):
        await build(handler).complete(QUESTION)
    assert hosts == ["model.test"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "999999"}, 3600),
        (
            {"retry-after": "Mon, 23 Nov 2026 05:00:30 GMT", "date": "Mon, 23 Nov 2026 05:00:00 GMT"},
            30,
        ),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
async def test_reads_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    response = httpx2.Response(429, headers=headers, json={"error": {"message": KEY}})
    with pytest.raises(errors.RateLimited) as caught:
        await build(lambda _: response).complete(QUESTION)
    wish = caught.value.retry_after
    assert (wish.total_seconds() if wish is not None else None) == seconds
    assert KEY not in str(caught.value)


async def test_a_spent_quota_stalls() -> None:
    body = {"error": {"message": f"quota of {KEY}", "code": "insufficient_quota", "type": "x"}}
    with pytest.raises(errors.Stalled) as caught:
        await build(lambda _: httpx2.Response(429, json=body)).complete(QUESTION)
    assert caught.value.reason == "QuotaSpent"
    assert KEY not in caught.value.message


async def test_a_prompt_that_is_too_long_stalls() -> None:
    body = {"error": {"message": "too long", "code": "context_length_exceeded", "type": "x"}}
    with pytest.raises(errors.Stalled, match="longer than its context"):
        await build(lambda _: httpx2.Response(400, json=body)).complete(QUESTION)


async def request_of(base_url: str, **arguments: Any) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append({"path": request.url.path, "headers": request.headers, **json.loads(request.content)})
        return httpx2.Response(200, json=completion(content="ok"))

    model = OpenAIModel(name="m", base_url=base_url, api_key=KEY, transport=httpx2.MockTransport(handler))
    await model.complete(QUESTION, **arguments)
    return seen[0]


async def test_the_request_is_what_the_api_documents() -> None:
    plain = await request_of("http://model.test/v1")
    assert plain["path"] == "/v1/chat/completions"
    assert plain["headers"]["authorization"] == f"Bearer {KEY}"
    assert plain["max_tokens"] == 1500
    assert "tools" not in plain
    assert "response_format" not in plain
    full = await request_of("http://model.test/v1", tools=[TOOL], schema=SCHEMA, schema_name="A", max_tokens=9)
    assert full["tools"] == [TOOL]
    assert full["parallel_tool_calls"] is False
    assert full["response_format"]["json_schema"] == {"name": "A", "strict": True, "schema": SCHEMA}
    assert full["max_tokens"] == 9


async def test_openai_itself_gets_the_newer_limit() -> None:
    sent = await request_of("https://api.openai.com/v1")
    assert sent["max_completion_tokens"] == 1500
    assert "max_tokens" not in sent
