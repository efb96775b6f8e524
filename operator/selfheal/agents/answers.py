"""What each agent answers: frozen types, and the strict JSON schema that an endpoint is given.

The schema only guides: grammars enforce no ranges, and some endpoints enforce nothing. What counts
is that each answer is validated here, and then by the checks of its role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from selfheal.agents.stages import Stage
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Priority, TargetRef
from selfheal.api.policy import Risk

_Line = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, max_length=500)]
_Prose = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, max_length=6000)]
_Confidence = Annotated[float, Field(ge=0, le=1)]


class Answer(pydantic.BaseModel):
    """Base of all answers; every field is required, as strict schemas demand."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TriageAnswer(Answer):
    """Which workload a report speaks of, as a model says it."""

    target: _Line | None = Field(
        description="One of the candidates as written, or null if none fits."
    )
    incident_class: IncidentClass = Field(
        description="Class of the fault, Unknown if it is not clear."
    )
    priority: Priority | None = Field(description="Urgency as the text tells it, or null.")
    confidence: _Confidence = Field(description="0 to 1: how sure the target is.")
    reason: _Line = Field(description="One sentence: which words led to it.")

    def find_target(self, candidates: Sequence[TargetRef]) -> TargetRef | None:
        """Return the candidate that was named; None where none was."""
        return next((ref for ref in candidates if name_target(ref) == self.target), None)


class Triage(Answer):
    """Which workload a report speaks of; ``target`` is one of the candidates, or None."""

    target: TargetRef | None
    incident_class: IncidentClass
    priority: Priority | None
    confidence: float
    reason: str


class Analysis(Answer):
    """The root cause, resting on quoted evidence."""

    finding: int | None = Field(
        description="Number of the finding that this confirms or refines; null for a new cause."
    )
    class_: IncidentClass = Field(alias="class", description="Class of the fault.")
    cause: _Line = Field(description="The cause in one sentence.")
    confidence: _Confidence = Field(description="0 to 1.")
    evidence: list[_Line] = Field(description="Ids of the evidence it rests on, at least one.")
    container: _Line | None = Field(description="Container concerned, or null.")
    ranking: list[int] = Field(description="Numbers of all findings, nearest to the cause first.")
    explanation: _Prose = Field(description="At most four sentences: how the evidence leads to it.")


class FixAnswer(Answer):
    """Which of the proposed edits is right, and why, as a model says it."""

    choice: int | None = Field(description="Number of the proposal, or null if none is right.")
    rationale: _Prose = Field(description="In two sentences: why this is the smallest right edit.")
    rollback: _Prose = Field(description="How to undo it.")
    risk: Risk = Field(description="Low, Medium or High.")
    risk_reason: _Line = Field(description="Why the risk is so.")


class FixChoice(Answer):
    """The chosen proposal, by its number, and why; its risk is never below the computed one."""

    choice: int
    rationale: str
    rollback: str
    risk: Risk
    risk_reason: str


_Code = Annotated[str, pydantic.StringConstraints(max_length=20_000)]


class CodeHunk(Answer):
    """One replacement in one file of the application."""

    path: _Line = Field(description="Path of the file, exactly as given.")
    search: _Code = Field(description="Text that stands in the file exactly once, copied from it.")
    replace: _Code = Field(description="What stands there instead.")
    reason: _Line = Field(description="One sentence.")


class CodeAnswer(Answer):
    """An edit of the application's code; no hunk where none is right."""

    hunks: list[CodeHunk] = Field(description="At most four; empty if no small edit is right.")
    rationale: _Prose = Field(description="In two sentences: why this mends it.")
    risk_reason: _Line = Field(description="What could go wrong with it.")


class PullRequestText(Answer):
    """Title and prose of a pull request."""

    title: Annotated[str, pydantic.StringConstraints(strip_whitespace=True, max_length=120)] = (
        Field(description="One line, imperative, at most 72 characters.")
    )
    body: _Prose = Field(description="What changes and why, in Markdown, at most twelve lines.")


CommentKind = Literal["Approval", "Question", "ChangeRequest", "Objection", "Other"]


class CommentClass(Answer):
    """What one review comment is."""

    number: int = Field(description="Number of the comment.")
    kind: CommentKind = Field(description="What the comment is.")
    reason: _Line = Field(description="One sentence.")


class CommentClasses(Answer):
    """What the review comments are; it never replaces the code host's own review state."""

    comments: list[CommentClass] = Field(description="One entry a comment.")


CheckKind = Literal["NoWarningEvent", "LogLineAbsent", "RestartsStill"]


class FurtherCheck(Answer):
    """One more thing that should hold, from a closed list of kinds."""

    kind: CheckKind = Field(description="What is checked.")
    argument: _Line = Field(
        description="Event reason, log text, or container name, according to the kind."
    )


class DeploymentReport(Answer):
    """What the delivery and the checks mean."""

    explanation: _Prose = Field(description="At most four sentences: why the checks hold or not.")
    healthy: bool = Field(description="Whether the evidence speaks for the fix.")
    concerns: list[_Line] = Field(description="What remains worrying; empty if nothing.")
    further_checks: list[FurtherCheck] = Field(description="Further checks; empty if none.")


class Note(Answer):
    """Free words: of a task that is no stage's principal, or of a colleague who was asked."""

    text: _Prose = Field(description="The answer in plain words.")


class TaskOrder(Answer):
    """In which order a lead agent wants a stage's tasks to run."""

    order: list[_Line] = Field(description="Task names, first to last, each once.")


TYPES: Mapping[Stage, type[Answer]] = {
    Stage.TRIAGE: TriageAnswer,
    Stage.ANALYSIS: Analysis,
    Stage.FIX: FixAnswer,
    Stage.CODE: CodeAnswer,
    Stage.PULL_REQUEST: PullRequestText,
    Stage.REVIEW: CommentClasses,
    Stage.DEPLOYMENT: DeploymentReport,
}

# Keywords that strict mode does not know or that some endpoints refuse; we check them ourselves.
# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_DROPPED = frozenset(
    {
        "default",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "title",
    }
)


def name_target(ref: TargetRef) -> str:
    """Return how a candidate is written to and by the model."""
    return f"{ref.kind}/{ref.name}"


def list_fields(kind: type[Answer]) -> frozenset[str]:
    """Return the names of an answer's fields as the model writes them."""
    return frozenset(field.alias or name for name, field in kind.model_fields.items())


def build_schema(kind: type[Answer]) -> dict[str, Any]:
    """Build the strict schema: no references, everything required, nothing additional; pure."""
    raw = kind.model_json_schema(by_alias=True)
    schema = _strict(raw, raw.get("$defs", {}))
    assert isinstance(schema, dict)  # noqa: S101 - for the type checker
    return schema


def _strict(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_strict(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[str(node["$ref"]).rpartition("/")[2]]
        merged = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        return _strict(merged, definitions)
    strict = {
        key: _properties(value, definitions) if key == "properties" else _strict(value, definitions)
        for key, value in node.items()
        if key not in _DROPPED and key != "$defs"
    }
    if "properties" in strict:
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    return strict


def _properties(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    # Names of fields are not keywords: a field called ``title`` stays.
    return {name: _strict(value, definitions) for name, value in properties.items()}
