"""What must hold between the two files."""

from __future__ import annotations

from selfheal.agents import answers, stages
from selfheal.agents.config import model

_OPTIONAL = frozenset({stages.Stage.REVIEW, stages.Stage.CODE})
_ORDER = tuple(stages.Stage)


def check(config: model.AgentsConfig) -> None:
    """Raise ConfigError for the first thing that is wrong, naming file and key."""
    for task in config.tasks.values():
        _check_task(config, task)
    _check_cycles(config)
    for stage in stages.Stage:
        _check_stage(config, stage)
    if config.manager is not None and config.manager not in config.agents:
        raise model.ConfigError(f"{model.TASKS_FILE}: manager: no agent {config.manager!r}")


def _check_task(config: model.AgentsConfig, task: model.TaskDefinition) -> None:
    where = f"{model.TASKS_FILE}: {task.name}"
    if task.agent_key not in config.agents:
        known = ", ".join(sorted(config.agents))
        raise model.ConfigError(f"{where}: agent: no agent {task.agent!r} (known: {known})")
    stage = config.stage_of(task)
    if stage is None:
        choices = ", ".join(stages.Stage)
        raise model.ConfigError(
            f"{where}: stage: say where it runs, its agent has no stage of its own ({choices})"
        )
    for name in task.context or ():
        if name not in config.tasks:
            raise model.ConfigError(f"{where}: context: no task {name!r}")
        other = config.stage_of(config.tasks[name])
        if other is not None and _ORDER.index(other) > _ORDER.index(stage):
            raise model.ConfigError(
                f"{where}: context: {name!r} runs later ({other}); the order of phases is fixed"
            )


def _check_cycles(config: model.AgentsConfig) -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise model.ConfigError(f"{model.TASKS_FILE}: context: goes in a circle: {circle}")
        if name not in done:
            for other in config.tasks[name].context or ():
                visit(other, (*path, name))
            done.add(name)

    for name in config.tasks:
        visit(name, ())


def _check_stage(config: model.AgentsConfig, stage: stages.Stage) -> None:
    plan = config.find_plan(stage)
    if plan is None:
        if stage in _OPTIONAL:
            return
        raise model.ConfigError(
            f"{model.TASKS_FILE}: no task for the stage {stage}: name one"
            f" {stages.PRINCIPALS[stage]!r}, or give one the agent {stages.STAGE_AGENTS[stage]!r}"
        )
    fields = answers.list_fields(answers.TYPES[stage])
    unknown = sorted(plan.principal.required_fields - fields)
    if unknown and plan.principal.name == stages.PRINCIPALS[stage]:
        raise model.ConfigError(
            f"{model.TASKS_FILE}: {plan.principal.name}: expected_output: the answer has no field"
            f" {unknown[0]!r} (it has: {', '.join(sorted(fields))})"
        )
