"""A model endpoint that fails in each way `llmock` offers: the incident is healed by rules, which a condition says.

The whole of a life goes over the wire through the real adapter. Streams are not asked for, so of llmock's stream
faults none applies; its delays are longer than the deadline given here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from tests.scenario.world import World, approve_when_asked, policy_spec

from selfheal.adapters.llm.openai_model import OpenAIModel
from selfheal.api.incident import DiagnosedBy, Resolution

CALLS = 8  # of the incident's budget in these tests
Fault = Callable[[LLMock], Any]
FAULTS: dict[str, Fault] = {
    **{str(status): (lambda mock, status=status: mock.fail(status, times=None)) for status in (400, 401, 403, 404, 408, 422, 500, 502, 503, 529)},
    "rate limited": lambda mock: mock.rate_limit(times=None, retry_after=1),
    "outage": lambda mock: mock.outage(),
    "context overflow": lambda mock: mock.context_overflow(times=None),
    "too slow": lambda mock: mock.delay(1.0, times=None),
    "nonsense": lambda mock: mock.reply("The weather is fine.", times=None),
    "cut-off JSON": lambda mock: mock.reply('{"finding": 0, "cause": "mem', times=None),
    "empty": lambda mock: mock.reply(" ", times=None),
    "foreign JSON": lambda mock: mock.reply('{"answer": 42}', times=None),
    "a list": lambda mock: mock.reply("[1, 2]", times=None),
    "an unknown tool": lambda mock: mock.call_tool("launch_rockets", {}, times=None),
    "broken tool arguments": lambda mock: mock.call_tool("read_file", {"path": "x"}, times=None).break_tool_call(times=None),
    "tokens a minute": lambda mock: mock.limits(tpm=1),
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[LLMockServer]:
    with LLMockServer() as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_incident_is_healed_within_its_budget(fault: str, server: LLMockServer) -> None:
    mock = LLMock(server)
    mock.reset()
    FAULTS[fault](mock)
    model = OpenAIModel(
        name="gpt-4o-mini", base_url=server.base_url("openai"), api_key="sk-test-0123456789abcdef", timeout=0.3
    )
    world = World(model=model)  # type: ignore[arg-type]
    said: list[str] = []

    def listen(seen: World) -> None:
        degraded = seen.condition("ModelDegraded")
        if degraded is not None and degraded.message not in said:
            said.append(degraded.message)

    world.people += [approve_when_asked, listen]
    world.file_incident(policy_spec(agents={"budget": {"perIncident": {"calls": CALLS}}}))
    try:
        await world.run_to_end()
        asked = len(mock.requests)
    finally:
        await model.close()
        mock.reset()
    assert world.status.resolution is Resolution.FIXED
    assert world.status.diagnosis is not None
    assert world.status.diagnosis.by is DiagnosedBy.RULES
    assert said, "nobody was told that the model did not help"
    assert all("the rules' result stands" in message for message in said)
    assert 1 <= asked <= CALLS
    assert world.status.usage.model_calls <= CALLS
