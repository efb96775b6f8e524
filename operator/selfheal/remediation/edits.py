"""Edits as typed values: what a fix changes, at which place, and why."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

PathStep = str | int


class Operation(enum.Enum):
    """What an edit does at its path."""

    SET = "set"  # replace an existing value
    ADD = "add"  # add a key (or a block) that is not there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of one YAML document.

    ``document`` counts the documents of the file from 0; ``path`` are keys and list indexes.
    ``old`` is what must stand there now (None for ADD): anything else refuses the edit.
    """

    file: str
    document: int
    path: tuple[PathStep, ...]
    operation: Operation
    old: Any
    new: Any
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where the running object stands in the repository: file and document number."""

    file: str
    document: int
    manifest: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """A fix: edits, their result (``files``: path to new content), its proof and its rollback."""

    summary: str
    edits: tuple[Edit, ...]
    files: Mapping[str, bytes]
    diff: str
    risk: str  # Low | Medium | High
    risk_reason: str
    rollback: str
    arithmetic: str  # how the numbers came about
    checks: tuple[str, ...]  # names of the verification contract
    explanation: str = ""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """No safe edit: ``reason`` is CamelCase, ``message`` says which object, field and rule."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason and the sentence."""
        super().__init__(message)
        self.reason, self.message = reason, message
