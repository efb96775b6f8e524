"""Proposals as JSON, so that they can be stored as evidence and read back."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

from selfheal.remediation.edits import Edit, Operation, Proposal


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """Render a proposal; files are text where they are UTF-8, else base64."""
    fields = {field.name: getattr(proposal, field.name) for field in dataclasses.fields(proposal)}
    fields["edits"] = [_edit_to_json(edit) for edit in proposal.edits]
    fields["files"] = {path: _content_to_json(proposal.files[path]) for path in proposal.files}
    fields["checks"] = list(proposal.checks)
    return fields


def proposal_from_json(content: Mapping[str, Any]) -> Proposal:
    """Read a proposal back, equal to the one that was rendered."""
    fields = dict(content)
    fields["edits"] = tuple(_edit_from_json(entry) for entry in content["edits"])
    fields["files"] = {path: _content_from_json(entry) for path, entry in content["files"].items()}
    fields["checks"] = tuple(content["checks"])
    return Proposal(**fields)


def _edit_to_json(edit: Edit) -> dict[str, Any]:
    return {
        "file": edit.file,
        "document": edit.document,
        "path": list(edit.path),
        "operation": edit.operation.value,
        "old": edit.old,
        "new": edit.new,
        "reason": edit.reason,
    }


def _edit_from_json(content: Mapping[str, Any]) -> Edit:
    operation = Operation(content["operation"])
    return Edit(**{**content, "path": tuple(content["path"]), "operation": operation})


def _content_to_json(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _content_from_json(entry: Mapping[str, str]) -> bytes:
    return entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
