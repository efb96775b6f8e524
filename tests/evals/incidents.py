"""Incidents as they were seen on the real cluster: evidence, the rules' findings and proposals, what is expected.

Stored as JSON, so that a model is asked the same question again years later, whatever became of the rules.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.faults.running import MINIMUM, Result

from selfheal import redaction
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.engine import documents
from selfheal.remediation.edits import Proposal

FOLDER = pathlib.Path(__file__).resolve().parent / "incidents"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """One incident; ``cause`` are words that its cause must have, all entries, any word of an entry."""

    name: str
    accepted: frozenset[str]
    cause: Sequence[Sequence[str]]
    action: str  # as in fault.yaml
    by_model: bool
    candidates: Sequence[TargetRef]  # every workload that stood in the namespace
    bundle: Bundle
    findings: Sequence[Finding]
    files: Mapping[str, bytes]  # the repository's folder
    proposals: Sequence[Proposal]

    @property
    def best(self) -> Finding | None:
        """What the rules alone say; None: nothing that counts."""
        return next(iter(finding for finding in self.findings if finding.confidence >= MINIMUM), None)


def save(result: Result, folder: pathlib.Path) -> None:
    """Write what was seen of a fault; the evidence without credentials, as the operator stores it."""
    fault, look = result.fault, result.looks[0]
    names = result.names
    found = {
        "accepted": sorted(fault.accepted),
        "cause": [[names(word) for word in some] for some in fault.cause],
        "action": fault.action,
        "by_model": fault.by_model,
        "candidates": sorted({look.target, *(one.target for one in [*result.twins, *result.decoys])}),
        "bundle": redaction.redact(documents.bundle_to_json(look.bundle)),
        "findings": [redaction.redact(documents.finding_to_json(finding)) for finding in look.findings],
        "files": {"manifests.yaml": names(fault.manifests)},
        "proposals": [_proposal_to_json(proposal) for proposal in result.proposals],
    }
    (folder / f"{fault.name}.json").write_text(json.dumps(found, indent=1, sort_keys=True, default=str) + "\n")


def load_all(folder: pathlib.Path = FOLDER) -> list[Stored]:
    """All stored incidents, by name."""
    return [load(path) for path in sorted(folder.glob("*.json"))]


def load(path: pathlib.Path) -> Stored:
    """Read one."""
    said = json.loads(path.read_text())
    return Stored(
        name=path.stem,
        accepted=frozenset(said["accepted"]),
        cause=said["cause"],
        action=said["action"],
        by_model=said["by_model"],
        candidates=[TargetRef(kind=one.partition("/")[0], name=one.partition("/")[2]) for one in said["candidates"]],
        bundle=documents.bundle_from_json(said["bundle"]),
        findings=[documents.finding_from_json(one) for one in said["findings"]],
        files={path: text.encode() for path, text in said["files"].items()},
        proposals=[_proposal_from_json(one) for one in said["proposals"]],
    )


def _proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """What an agent sees of a proposal; the edits themselves never leave code."""
    fields = {field.name: getattr(proposal, field.name) for field in dataclasses.fields(proposal)}
    fields["files"] = {path: content.decode() for path, content in proposal.files.items()}
    del fields["edits"]
    return fields


def _proposal_from_json(said: Mapping[str, Any]) -> Proposal:
    files = {path: text.encode() for path, text in said["files"].items()}
    return Proposal(**{**said, "edits": (), "files": files, "checks": tuple(said["checks"])})
