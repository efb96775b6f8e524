"""What the two YAML files say, as frozen values."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from typing import Annotated

import pydantic

from selfheal.agents.stages import PRINCIPALS, STAGE_AGENTS, Stage
from selfheal.domain import errors

AGENTS_FILE = "self_heal_agents.yaml"
TASKS_FILE = "self_heal_tasks.yaml"


class ConfigError(errors.Stalled):
    """A file is wrong; the message names file, key and what is wrong."""

    default_reason = "ConfigInvalid"


class Process(enum.StrEnum):
    """How the tasks of one stage are ordered."""

    SEQUENTIAL = "sequential"
    HIERARCHICAL = "hierarchical"


def normalise(name: str) -> str:
    """Return an agent's key without the suffix ``_agent``, so that both spellings name the same."""
    return re.sub(r"_agent$", "", name)


_Text = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]


class _Entry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=False)

    name: str


class AgentDefinition(_Entry):
    """One agent; see the package's table for the effect of each key."""

    role: _Text
    goal: _Text
    backstory: _Text
    max_iter: int = pydantic.Field(default=6, ge=1, le=25)
    memory: pydantic.StrictBool = True
    verbose: pydantic.StrictBool = False
    allow_delegation: pydantic.StrictBool = False
    servers: tuple[str, ...] = ()


class TaskDefinition(_Entry):
    """One task; see the package's table for the effect of each key."""

    description: _Text
    expected_output: _Text
    agent: _Text
    context: tuple[str, ...] | None = None
    stage: Stage | None = None

    @property
    def agent_key(self) -> str:
        """The agent's key as AgentsConfig holds it."""
        return normalise(self.agent)

    @property
    def required_fields(self) -> frozenset[str]:
        """Fields named in backticks in expected_output: they must be filled in the answer."""
        return frozenset(re.findall(r"`([a-z_]+)`", self.expected_output))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The tasks of one stage: the principal's answer counts, the others' notes are its context."""

    stage: Stage
    principal: TaskDefinition
    extras: tuple[TaskDefinition, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentsConfig:
    """Both files together."""

    agents: Mapping[str, AgentDefinition]
    tasks: Mapping[str, TaskDefinition]
    process: Process = Process.SEQUENTIAL
    manager: str | None = None

    def stage_of(self, task: TaskDefinition) -> Stage | None:
        """Return where a task runs: by ``stage``, packaged name, or its agent's first stage."""
        if task.stage is not None:
            return task.stage
        for stage, name in PRINCIPALS.items():
            if name == task.name:
                return stage
        return next((s for s, agent in STAGE_AGENTS.items() if agent == task.agent_key), None)

    def find_plan(self, stage: Stage) -> Plan | None:
        """Return the tasks of a stage in the file's order; None where the file has none for it.

        The principal is the task with the packaged name, else the last one of the stage: a crew's
        own file ends a stage with the task that sums it up.
        """
        tasks = [task for task in self.tasks.values() if self.stage_of(task) is stage]
        if not tasks:
            return None
        principal = next((t for t in tasks if t.name == PRINCIPALS[stage]), tasks[-1])
        extras = tuple(task for task in tasks if task is not principal)
        return Plan(stage=stage, principal=principal, extras=extras)
