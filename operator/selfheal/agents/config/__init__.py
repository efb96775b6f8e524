"""``self_heal_agents.yaml`` and ``self_heal_tasks.yaml``: who the agents are, what they are told.

The packaged files stand beside this module; a folder given by the user overrides each file that it
holds, whole. The keys are those of the original crew, and each has an effect:

================  ==================================================================================
agent             ``role``, ``goal``, ``backstory``: the system prompt. ``max_iter``: model rounds
                  a task. ``memory``: earlier incidents of the workload in the prompt.
                  ``verbose``: full redacted prompts and answers in the agent's log.
                  ``allow_delegation``: may ask another agent within the same budget.
                  ``servers`` (ours): MCP servers it may use.
task              ``description``: the prompt. ``expected_output``: told to the model and checked in
                  the answer (fields named in backticks must be filled). ``context``: outputs of
                  these tasks enter the prompt. ``agent``: who runs it.
                  ``stage`` (ours): where it runs.
tasks file        ``process``: sequential, or hierarchical (a lead agent, ``manager``, orders the
                  tasks of a stage); never the order of phases.
================  ==================================================================================
"""

from __future__ import annotations

import importlib.resources
import pathlib
from typing import Any

import pydantic
import yaml

from selfheal.agents.config.model import (
    AGENTS_FILE,
    TASKS_FILE,
    AgentDefinition,
    AgentsConfig,
    ConfigError,
    Plan,
    Process,
    TaskDefinition,
    normalise,
)
from selfheal.agents.config.rules import check
from selfheal.agents.stages import Stage

__all__ = [
    "AGENTS_FILE",
    "TASKS_FILE",
    "AgentDefinition",
    "AgentsConfig",
    "ConfigError",
    "Plan",
    "Process",
    "Stage",
    "TaskDefinition",
    "load_config",
]

_RESERVED = frozenset({"process", "manager"})


def load_config(directory: pathlib.Path | None = None) -> AgentsConfig:
    """Read and check both files; ConfigError names file, key and what is wrong. May be repeated.

    A file that ``directory`` does not hold is the packaged one; a missing directory is an error.
    """
    if directory is not None and not directory.is_dir():
        raise ConfigError(f"{directory}: no such folder for {AGENTS_FILE} and {TASKS_FILE}")
    agents = _read(directory, AGENTS_FILE)
    tasks = _read(directory, TASKS_FILE)
    settings = {key: tasks.pop(key) for key in _RESERVED if key in tasks}
    config = AgentsConfig(
        agents={
            normalise(name): _parse(AgentDefinition, AGENTS_FILE, normalise(name), entry)
            for name, entry in agents.items()
        },
        tasks={
            name: _parse(TaskDefinition, TASKS_FILE, name, entry) for name, entry in tasks.items()
        },
        process=_parse_process(settings.get("process", Process.SEQUENTIAL)),
        manager=normalise(str(settings["manager"])) if settings.get("manager") else None,
    )
    check(config)
    return config


def _read(directory: pathlib.Path | None, name: str) -> dict[str, Any]:
    path = directory / name if directory is not None else None
    try:
        if path is not None and path.is_file():
            text = path.read_text(encoding="utf-8")
        else:
            text = importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path or name}: cannot be read ({error})") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path or name}: not valid YAML: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path or name}: must map names to definitions")
    return {str(key): value for key, value in content.items()}


def _parse(kind: type[Any], file: str, name: str, entry: Any) -> Any:
    if not isinstance(entry, dict):
        raise ConfigError(f"{file}: {name}: must be a mapping")
    if "name" in entry:
        raise ConfigError(f"{file}: {name}: name: unknown key, the name is the entry's own")
    try:
        return kind.model_validate({"name": name, **entry})
    except pydantic.ValidationError as error:
        raise ConfigError(f"{file}: {name}: {_describe(kind, error)}") from error


def _describe(kind: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    known = ", ".join(sorted(set(kind.model_fields) - {"name"}))
    parts = []
    for problem in error.errors(include_url=False):
        where = ".".join(str(step) for step in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        parts.append(
            f"{where}: unknown key (known: {known})" if unknown else f"{where}: {problem['msg']}"
        )
    return "; ".join(parts)


def _parse_process(value: Any) -> Process:
    try:
        return Process(str(value).lower())
    except ValueError:
        choices = " or ".join(Process)
        raise ConfigError(f"{TASKS_FILE}: process: must be {choices}, not {value!r}") from None
