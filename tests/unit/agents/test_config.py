"""The YAML files: packaged defaults, overrides, clear errors, and what their keys do."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest
import yaml
from tests.fakes.model import ScriptedModel, say
from tests.unit.agents.case import Build, analysis, change
from tests.unit.agents.test_crew import analyse, explain, propose

from selfheal.agents import config as agents_config
from selfheal.agents.config import (
    AGENTS_FILE,
    TASKS_FILE,
    ConfigError,
    Process,
    Stage,
    TaskDefinition,
)

PACKAGE = pathlib.Path(agents_config.__file__).parent


def write(folder: pathlib.Path, name: str, change_it) -> pathlib.Path:
    content = yaml.safe_load((PACKAGE / name).read_text())
    content = change_it(content) or content
    (folder / name).write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return folder


def test_the_packaged_files_name_the_five_agents() -> None:
    config = agents_config.load_config()
    assert [agent.role for agent in config.agents.values()] == [
        "JIRA Monitor",
        "Root Cause Analyzer",
        "Code Fix Generator",
        "PR Manager",
        "Deployment Monitor",
    ]
    assert all(config.find_plan(stage) for stage in Stage)
    assert config.process is Process.SEQUENTIAL
    servers = [agent.servers for agent in config.agents.values()]
    assert servers == [("jira",), ("kubernetes",), ("github",), ("github",), ("kubernetes", "jira")]


def test_a_folder_overrides_only_the_files_it_holds(tmp_path: pathlib.Path) -> None:
    def louder(agents):
        agents["pr_manager"]["role"] = "Pull Request Author"

    config = agents_config.load_config(write(tmp_path, AGENTS_FILE, louder))
    assert config.agents["pr_manager"].role == "Pull Request Author"
    assert "analyze_root_cause" in config.tasks


def test_names_may_end_in_agent(tmp_path: pathlib.Path) -> None:
    def rename(agents):
        return {f"{name}_agent": entry for name, entry in agents.items()}

    renamed = agents_config.load_config(write(tmp_path, AGENTS_FILE, rename)).agents
    assert {name: agent.name for name, agent in renamed.items()} == {name: name for name in agents_config.load_config().agents}


def test_a_crews_own_tasks_serve_by_their_agents(tmp_path: pathlib.Path) -> None:
    def own(tasks):
        return {
            f"my_{name}": {k: v for k, v in entry.items() if k != "context"} | {"expected_output": "All of it."}
            for name, entry in tasks.items()
            if isinstance(entry, dict) and name != "classify_review"
        }

    config = agents_config.load_config(write(tmp_path, TASKS_FILE, own))
    assert config.find_plan(Stage.ANALYSIS).principal.name == "my_analyze_root_cause"
    assert config.find_plan(Stage.REVIEW) is None


def put(section: str, **entries):
    def change_it(content):
        content[section] = content[section] | entries

    return change_it


def drop(section: str, key: str | None = None):
    def change_it(content):
        if key is None:
            del content[section]
        else:
            del content[section][key]

    return change_it


@pytest.mark.parametrize(
    ("file", "change_it", "words"),
    [
        (AGENTS_FILE, lambda _: "a: [", "not valid YAML"),
        (AGENTS_FILE, lambda _: "- a\n", "must map names"),
        (AGENTS_FILE, lambda _: "pr_manager: 5\n", "pr_manager: must be a mapping"),
        (AGENTS_FILE, drop("pr_manager", "goal"), "pr_manager: goal: Field required"),
        (AGENTS_FILE, put("pr_manager", max_iter=0), "pr_manager: max_iter"),
        (AGENTS_FILE, put("pr_manager", max_iter="many"), "pr_manager: max_iter"),
        (AGENTS_FILE, put("pr_manager", verbose="loud"), "pr_manager: verbose"),
        (AGENTS_FILE, put("pr_manager", role="  "), "pr_manager: role"),
        (AGENTS_FILE, put("pr_manager", temprature=1), "temprature: unknown key (known: allow_delegation"),
        (AGENTS_FILE, put("pr_manager", name="x"), "pr_manager: name: unknown key"),
        (AGENTS_FILE, drop("pr_manager"), "no agent 'pr_manager'"),
        (TASKS_FILE, put("generate_fix", agent="nobody"), "generate_fix: agent: no agent 'nobody'"),
        (TASKS_FILE, put("generate_fix", context=["nothing"]), "context: no task 'nothing'"),
        (TASKS_FILE, put("generate_fix", context=["monitor_deployment"]), "runs later"),
        (TASKS_FILE, put("generate_fix", context=["generate_fix"]), "generate_fix -> generate_fix"),
        (TASKS_FILE, put("generate_fix", expected_output="A `poem`."), "no field 'poem'"),
        (TASKS_FILE, put("generate_fix", stage="later"), "generate_fix: stage"),
        (TASKS_FILE, drop("triage_incident"), "no task for the stage triage"),
        (TASKS_FILE, lambda tasks: {**tasks, "process": "chaotic"}, "process: must be sequential or hierarchical"),
        (TASKS_FILE, lambda tasks: {**tasks, "manager": "nobody"}, "manager: no agent 'nobody'"),
    ],
)
def test_errors_name_file_key_and_fault(tmp_path: pathlib.Path, file: str, change_it, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        agents_config.load_config(write(tmp_path, file, change_it))
    assert words in str(caught.value)
    assert file in str(caught.value) or TASKS_FILE in str(caught.value)


def test_an_agent_of_ones_own_needs_a_stage_for_its_task(tmp_path: pathlib.Path) -> None:
    def more_agents(agents):
        agents["historian"] = dict(agents["pr_manager"])

    def more_tasks(tasks):
        tasks["history"] = {"description": "d", "expected_output": "e", "agent": "historian"}

    write(tmp_path, AGENTS_FILE, more_agents)
    write(tmp_path, TASKS_FILE, more_tasks)
    with pytest.raises(ConfigError, match="history: stage: say where it runs"):
        agents_config.load_config(tmp_path)


def test_a_missing_folder_and_an_unreadable_file_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        agents_config.load_config(tmp_path / "nowhere")
    (tmp_path / AGENTS_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        agents_config.load_config(tmp_path)


# --- effects -----------------------------------------------------------------------------------------


def add_tasks(*names: str, context: tuple[str, ...] | None = None, **more) -> agents_config.AgentsConfig:
    config = agents_config.load_config()
    extra = {
        name: TaskDefinition(
            name=name,
            description=f"Do {name}.",
            expected_output="A note.",
            agent="root_cause_analyzer",
            stage=Stage.ANALYSIS,
        )
        for name in names
    }
    config = dataclasses.replace(config, tasks={**config.tasks, **extra}, **more)
    return change(config, task="analyze_root_cause", context=context)


async def test_description_and_placeholders_reach_the_prompt(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), task="analyze_root_cause", description="Look at {target} in {namespace}: {x}")
    model.add(say(analysis()))
    await analyse(build_crew(config=config))
    assert "Task: Look at Deployment/checkout in shop: {x}" in model.asked[0].text


async def test_agent_says_who_runs_a_task(build_crew: Build, model: ScriptedModel) -> None:
    config = change(agents_config.load_config(), task="analyze_root_cause", agent="deployment_monitor_agent")
    model.add(say(analysis()))
    result = await analyse(build_crew(config=config))
    assert result.usage.by_agent == {"deployment_monitor": 1}
    assert "You are the Deployment Monitor" in model.asked[0].text


async def test_context_brings_outputs_of_the_named_tasks(build_crew: Build, model: ScriptedModel) -> None:
    config = add_tasks("read_logs", "read_events", context=("read_events",))
    model.add(say({"text": "logs say heap"}), say({"text": "events say kill"}), say(analysis()))
    result = await analyse(build_crew(config=config))
    last = model.asked[-1].text
    assert "events say kill" in last
    assert "logs say heap" not in last
    assert result.usage.model_calls == 3


async def test_without_context_all_that_ran_before_is_the_context(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say({"text": "logs say heap"}), say(analysis()))
    await analyse(build_crew(config=add_tasks("read_logs")))
    assert "logs say heap" in model.asked[-1].text


async def test_context_of_earlier_stages_is_the_diagnosis(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say({"choice": 0, "rationale": "r", "rollback": "b", "risk": "Low", "risk_reason": "x"}))
    await propose(build_crew(), context={"analyze_root_cause": "the heap is too large"})
    assert "the heap is too large" in model.asked[0].text
    config = change(agents_config.load_config(), task="monitor_deployment", context=("generate_fix",))
    model.add(say({"explanation": "e", "healthy": True, "concerns": [], "further_checks": []}))
    await explain(build_crew(config=config))
    assert "(this task has no output)" in model.asked[1].text


async def test_a_task_that_fails_degrades_but_the_principal_still_runs(build_crew: Build, model: ScriptedModel) -> None:
    model.add(say("", refusal="no"), say(analysis()))
    result = await analyse(build_crew(config=add_tasks("read_logs")))
    assert result.answer is not None
    assert "refused" in result.degraded


async def test_hierarchical_lets_a_lead_agent_order_the_tasks(build_crew: Build, model: ScriptedModel) -> None:
    config = add_tasks("first", "second", process=Process.HIERARCHICAL, manager="pr_manager")
    model.add(say({"order": ["second", "first"]}), say({"text": "a"}), say({"text": "b"}), say(analysis()))
    result = await analyse(build_crew(config=config))
    assert "You are the PR Manager" in model.asked[0].text
    tasks = [asked.messages[1]["content"].split("\n")[0] for asked in model.asked[1:3]]
    assert tasks == ["Task: Do second.", "Task: Do first."]
    assert result.usage.by_agent == {"pr_manager": 1, "root_cause_analyzer": 3}


async def test_an_order_that_forgets_a_task_falls_back_to_the_files(build_crew: Build, model: ScriptedModel) -> None:
    config = add_tasks("first", "second", process=Process.HIERARCHICAL)
    wrong = say({"order": ["second", "second"]})
    model.add(wrong, wrong, say({"text": "a"}), say({"text": "b"}), say(analysis()))
    result = await analyse(build_crew(config=config))
    tasks = [asked.messages[1]["content"].split("\n")[0] for asked in model.asked[2:4]]
    assert tasks == ["Task: Do first.", "Task: Do second."]
    assert result.answer is not None
    assert "name each of these once" in result.degraded
