"""The loop: budgets before each call, tools within bounds, one repair, and an end in every case."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest
from tests.fakes.model import FakeToolHost, ScriptedModel, call, say
from tests.unit.agents import case
from tests.unit.agents.case import NO_USAGE, Build, StillClock, analysis, change
from tests.unit.agents.test_crew import analyse

from selfheal.agents import answers, loop, prompts
from selfheal.agents import config as agents_config
from selfheal.api import policy
from selfheal.api.incident import Usage
from selfheal.domain import errors

LOG_CALL = call("kubernetes__pods_log", {"name": "checkout-1"})


def budget(**incident) -> policy.BudgetSpec:
    return policy.BudgetSpec(per_incident=policy.IncidentBudget(**incident))


# --- budgets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "spent", "words"),
    [
        ({"calls": 40}, Usage(model_calls=40), "40 calls"),
        ({"calls": 0}, Usage(), "0 calls"),
        ({"tokens": 10_000}, Usage(input_tokens=8_000, output_tokens=1_999), "10000 tokens"),
        ({"cost": 0.01}, Usage(cost=0.0099), "0.01 (cost)"),
    ],
)
async def test_a_spent_budget_stops_before_the_call(
    limits, spent: Usage, words: str, build_crew: Build, model: ScriptedModel
) -> None:
    result = await analyse(build_crew(budget=budget(**limits)), spent=spent)
    assert result.answer is None
    assert words in result.degraded
    assert result.usage == Usage()
    assert model.asked == []


async def test_the_budget_counts_calls_of_this_run(build_crew: Build, model: ScriptedModel) -> None:
    model.add(LOG_CALL, say(analysis()))
    result = await analyse(build_crew(budget=budget(calls=1)))
    assert "1 calls" in result.degraded
    assert len(model.asked) == 1


class OneCall:
    """An account that grants one call."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, float]] = []
        self.settled: list[Usage] = []
        self.lost = Usage()

    async def open(self, spent: Usage) -> OneCall:
        return self

    async def reserve(self, agent: str, tokens: int, cost: float) -> bool:
        self.asked.append((agent, tokens, cost))
        return len(self.asked) < 2

    async def settle(self, usage: Usage) -> None:
        self.settled.append(usage)


async def test_the_days_budget_is_reserved_before_each_call(build_crew: Build, model: ScriptedModel) -> None:
    account = OneCall()
    model.add(LOG_CALL)
    result = await analyse(build_crew(account=account))
    assert "the day's budget is spent" in result.degraded
    assert len(model.asked) == 1
    agent, tokens, cost = account.asked[0]
    assert agent == "root_cause_analyzer"
    assert tokens > prompts.ANSWER_TOKENS
    assert cost == pytest.approx(((tokens - prompts.ANSWER_TOKENS) * 1.0 + prompts.ANSWER_TOKENS * 10.0) / 1e6)
    assert account.settled == [result.usage]


async def test_a_run_that_takes_too_long_ends(build_crew: Build, model: ScriptedModel, clock: StillClock) -> None:
    def slow(_):
        clock.seconds += 301
        return LOG_CALL

    model.add(slow)
    assert "longer than 300 s" in (await analyse(build_crew())).degraded


async def test_a_failed_call_is_counted(build_crew: Build, model: ScriptedModel) -> None:
    model.add(LOG_CALL, errors.Transient("model m failed (500)"))
    result = await analyse(build_crew())
    assert result.usage.model_calls == 2
    assert result.usage.input_tokens == 100
    assert "500" in result.degraded


# --- rounds and repair -------------------------------------------------------------------------------


async def test_max_iter_bounds_the_rounds_and_the_last_one_has_no_tools(
    build_crew: Build, model: ScriptedModel
) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", max_iter=3)
    calls = [call("kubernetes__pods_log", {"name": name}) for name in "ab"]
    model.add(*calls, say(analysis()))
    assert (await analyse(build_crew(config=config))).answer is not None
    assert [bool(asked.tools) for asked in model.asked] == [True, True, False]
    assert [asked.schema is None for asked in model.asked] == [True, True, False]


async def test_max_iter_of_one_asks_once_without_tools(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", max_iter=1)
    model.add(say(analysis()))
    assert (await analyse(build_crew(config=config))).answer is not None
    assert model.asked[0].tools == []


async def test_a_model_that_calls_tools_without_end_is_given_up(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", max_iter=2)
    model.add(LOG_CALL, LOG_CALL, LOG_CALL)
    result = await analyse(build_crew(config=config))
    assert "it is empty" in result.degraded
    assert result.usage.model_calls == 3


async def test_the_repair_says_what_is_wrong_and_gives_the_schema(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis(confidence=100)), say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    repair = model.asked[1]
    assert "confidence" in repair.messages[-1]["content"]
    assert repair.schema == answers.build_schema(answers.Analysis)
    assert repair.schema_name == "Analysis"
    assert repair.tools == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (say("{", finish_reason="length"), "cut off"),
        (say("  \n"), "empty"),
        (say("[]"), "answer: Input should be an object"),
        (say("null"), "answer: Input should be an object"),
        (say(analysis() | {"command": "kubectl delete"}), "command"),
    ],
)
async def test_what_cannot_be_used_is_named(bad, words: str, build_crew: Build, model: ScriptedModel) -> None:
    model.add(bad, say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    assert words in model.asked[1].messages[-1]["content"]


@pytest.mark.parametrize(
    "text",
    ["```json\n%s\n```", "```\n%s\n```", "Here it is: %s Good luck!", "  %s  "],
)
async def test_fences_and_chatter_are_stripped(text: str, build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(text % json.dumps(analysis())))
    assert (await analyse(build_crew())).answer is not None
    assert len(model.asked) == 1


async def test_expected_output_is_checked(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis(explanation="")), say(analysis(explanation="because")))
    assert (await analyse(build_crew())).answer.explanation == "because"
    assert "explanation is empty" in model.asked[1].messages[-1]["content"]
    config = change(agents_config.load_config(), task="analyze_root_cause", expected_output="A cause.")
    model.add(say(analysis(explanation="")))
    assert (await analyse(build_crew(config=config))).answer.explanation == ""
    assert "Expected output: A cause." in model.asked[-1].text


# --- tools -------------------------------------------------------------------------------------------


async def test_identical_calls_are_not_repeated(build_crew: Build, model: ScriptedModel, host: FakeToolHost) -> None:
    again = call("kubernetes__pods_log", ' {"name":   "checkout-1"}')
    model.add(LOG_CALL, again, say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    assert len(host.calls) == 1
    assert "already" in model.asked[2].messages[-1]["content"]


async def test_a_model_that_goes_in_circles_loses_its_tools(build_crew: Build, model: ScriptedModel) -> None:
    model.add(LOG_CALL, LOG_CALL, LOG_CALL, say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    assert [bool(asked.tools) for asked in model.asked] == [True, True, True, False]


async def test_the_number_of_tool_calls_is_bounded(build_crew: Build, model: ScriptedModel, host: FakeToolHost) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", max_iter=25)
    model.add(*(call("kubernetes__pods_log", {"name": str(n)}) for n in range(loop.MAX_TOOL_CALLS)))
    model.add(say(analysis()))
    assert (await analyse(build_crew(config=config))).answer is not None
    assert len(host.calls) == loop.MAX_TOOL_CALLS
    assert model.asked[-1].tools == []


async def test_more_calls_in_one_answer_than_allowed_are_refused(
    build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    calls = tuple(
        call("kubernetes__pods_log", {"name": str(n)}).tool_calls[0] for n in range(loop.MAX_TOOL_CALLS + 2)
    )
    model.add(dataclasses.replace(LOG_CALL, tool_calls=calls), say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    assert len(host.calls) == loop.MAX_TOOL_CALLS
    assert "no more tool calls" in model.asked[1].messages[-1]["content"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (call("kubernetes__nodes_drain", {"name": "n"}), "no such tool"),
        (call("rm -rf /", {}), "no such tool"),
        (call("kubernetes__pods_log", "{not json"), "not valid JSON"),
        (call("kubernetes__pods_log", "[1]"), "must be a JSON object"),
        (call("kubernetes__pods_log", {"name": "a", "namespace": "kube-system"}), "fixed to 'shop'"),
        (call("kubernetes__pods_log", {"name": "a", "cluster": "b"}), "unknown argument 'cluster'"),
        (call("kubernetes__resources_get", {"kind": "Secret", "name": "a"}), "Secrets are never read"),
        (call("kubernetes__pods_top", {"all_namespaces": True}), "fixed to False"),
    ],
)
async def test_a_wrong_call_is_told_and_not_made(
    asked, words: str, build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    model.add(asked, say(analysis()))
    assert (await analyse(build_crew())).answer is not None
    assert words in model.asked[1].messages[-1]["content"]
    assert host.calls == []


async def test_the_models_own_right_namespace_is_accepted(
    build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    model.add(call("kubernetes__pods_log", {"name": "a", "namespace": "shop"}), say(analysis()))
    await analyse(build_crew())
    assert len(host.calls) == 1


async def test_pinned_arguments_are_not_offered(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis()))
    await analyse(build_crew())
    offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in model.asked[0].tools}
    assert set(offered) == {"kubernetes__pods_log", "kubernetes__resources_get", "kubernetes__pods_top"}
    assert set(offered["kubernetes__pods_log"]["properties"]) == {"name"}
    assert offered["kubernetes__pods_top"]["properties"] == {}


async def test_a_failing_tool_is_told_and_the_run_goes_on(
    build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    host.add_tool("kubernetes", "pods_log", errors.Transient("MCP server kubernetes went away"),
                  properties={"name": {}, "namespace": {}})  # fmt: skip
    model.add(LOG_CALL, say(analysis()))
    result = await analyse(build_crew())
    assert result.answer is not None
    assert "went away" in model.asked[1].messages[-1]["content"]


async def test_a_server_that_is_down_degrades_but_does_not_stop(
    build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    host.down["kubernetes"] = errors.Unreachable("MCP server kubernetes is down")
    model.add(say(analysis()))
    result = await analyse(build_crew())
    assert result.answer is not None
    assert result.degraded == "tools of kubernetes are missing: MCP server kubernetes is down"


async def test_a_server_that_the_policy_does_not_name_is_not_asked(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis()))
    await analyse(build_crew(mcp_servers=[]))
    assert model.asked[0].tools == []


async def test_tool_results_are_blocks_and_redacted(build_crew: Build, model: ScriptedModel) -> None:
    model.add(LOG_CALL, say(analysis()))
    result = await analyse(build_crew())
    content = model.asked[1].messages[-1]["content"]
    assert content.startswith("<data ")
    assert "hunter2" not in model.asked[1].text
    assert "hunter2" not in json.dumps(result.transcript)


# --- what may be shared ------------------------------------------------------------------------------


async def test_without_consent_no_log_reaches_the_model(
    build_crew: Build, model: ScriptedModel, host: FakeToolHost
) -> None:
    model.add(call("kubernetes__pods_log", {"name": "checkout-1"}), say(analysis()))
    result = await analyse(build_crew(consent=False))
    assert result.answer is not None
    everything = "\n".join(asked.text for asked in model.asked) + json.dumps(result.transcript)
    assert case.LOG not in everything
    assert "the end of the log" not in everything
    assert "[not shared with the model: policy]" in everything
    assert host.calls == []


async def test_with_consent_logs_are_told(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis()))
    await analyse(build_crew(consent=True))
    assert case.LOG in model.asked[0].text
    assert "the end of the log" in model.asked[0].text
    assert "hunter2" not in model.asked[0].text


# --- what the keys of the YAML files do --------------------------------------------------------------


async def test_memory_tells_earlier_incidents_or_not(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", memory=False)
    model.add(say(analysis()), say(analysis()))
    for crew in (build_crew(), build_crew(config=config)):
        await analyse(crew, earlier=[{"fix": "raised it before"}])
    assert ["raised it before" in asked.text for asked in model.asked] == [True, False]


async def test_verbose_logs_everything_redacted_and_quiet_only_a_line(
    build_crew: Build, model: ScriptedModel, caplog: pytest.LogCaptureFixture
) -> None:
    logger = "selfheal.agents.root_cause_analyzer"
    with caplog.at_level(logging.INFO, logger=logger):
        model.add(say(analysis()))
        await analyse(build_crew())
        assert len(caplog.messages) == 1
        caplog.clear()
        config = change(agents_config.load_config(), agent="root_cause_analyzer", verbose=True)
        model.add(say(analysis()))
        await analyse(build_crew(config=config))
    assert len(caplog.messages) == 4
    assert case.LOG in caplog.text
    assert "The kubelet killed it." in caplog.text
    assert "hunter2" not in caplog.text


async def test_delegation_asks_another_agent_within_the_same_budget(
    build_crew: Build, model: ScriptedModel
) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", allow_delegation=True)
    question = call("ask_colleague", {"agent": "code_fix_generator", "question": "Who sets the heap?"})
    model.add(question, say({"text": "The Dockerfile does."}), say(analysis()))
    result = await analyse(build_crew(config=config))
    assert result.usage.by_agent == {"root_cause_analyzer": 2, "code_fix_generator": 1}
    assert "Who sets the heap?" in model.asked[1].text
    assert "Code Fix Generator" in model.asked[1].text
    assert "ask_colleague" not in model.asked[1].tool_names
    assert "The Dockerfile does." in model.asked[2].text


async def test_delegation_shares_the_budget(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", allow_delegation=True)
    model.add(call("ask_colleague", {"agent": "pr_manager", "question": "?"}))
    result = await analyse(build_crew(config=config, budget=budget(calls=1)))
    assert result.answer is None
    assert result.usage.model_calls == 1


@pytest.mark.parametrize("name", ["root_cause_analyzer", "nobody"])
async def test_delegation_needs_a_colleague(name: str, build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), agent="root_cause_analyzer", allow_delegation=True)
    model.add(call("ask_colleague", {"agent": name, "question": "?"}), say(analysis()))
    await analyse(build_crew(config=config))
    assert "no such colleague" in model.asked[1].text


async def test_without_delegation_it_is_not_offered(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say(analysis()))
    await analyse(build_crew())
    assert "ask_colleague" not in model.asked[0].tool_names


async def test_the_transcript_is_bounded_and_says_who_and_what(build_crew: Build, model: ScriptedModel) -> None:
    model.add(LOG_CALL, say(analysis()))
    result = await analyse(build_crew(), hint="x" * 50_000)
    roles = [entry["role"] for entry in result.transcript]
    assert roles == ["system", "user", "answer", "tool", "answer"]
    assert {entry["agent"] for entry in result.transcript} == {"root_cause_analyzer"}
    assert max(len(entry["content"]) for entry in result.transcript) <= 6_000
    assert result.transcript[2]["toolCalls"][0]["name"] == "kubernetes__pods_log"
    assert Usage() == NO_USAGE
