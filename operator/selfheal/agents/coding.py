"""The Code Fix Generator as a writer of code: what it is shown, and what it may answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from selfheal.agents import prompts
from selfheal.agents.answers import CodeAnswer, CodeHunk
from selfheal.agents.stage_run import AgentResult, Material, Office
from selfheal.agents.stages import Stage
from selfheal.api.incident import Usage
from selfheal.diagnosis.evidence import Bundle, Finding


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeTask:
    """What a program died of, and the code that may be edited.

    ``excerpts`` show each of those files around its line; ``judge`` says what is wrong with hunks,
    which the agent may mend once.
    """

    finding: Finding
    bundle: Bundle
    trace: str
    excerpts: Mapping[str, str]
    judge: Callable[[Sequence[CodeHunk]], str | None]


def render(task: CodeTask) -> tuple[str, ...]:
    """Render the material, text of others in blocks; pure."""
    return (
        prompts.render_findings([task.finding]),
        prompts.block("stack trace", task.trace),
        *(prompts.block(f"code of {name}", text) for name, text in task.excerpts.items()),
    )


async def write(
    office: Office, task: CodeTask, material: Material, *, spent: Usage
) -> AgentResult[CodeAnswer]:
    """Ask for hunks; an answer without any says that no small edit is right."""

    def check(answer: CodeAnswer) -> str | None:
        return task.judge(answer.hunks) if answer.hunks else None

    return await office.run(Stage.CODE, CodeAnswer, material, check=check, spent=spent)
