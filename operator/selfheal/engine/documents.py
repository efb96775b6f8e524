"""Stored results of analysis and fix generation: names, contents, and facts read from them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Incident, IncidentStatus, TargetRef
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.domain.facts import CheckResult, DiagnosisFacts, ProposalFacts, RevisionFacts

MAX_BUNDLE_BYTES = 200_000
"""Uncompressed bound of the items kept with a diagnosis; the document itself is at most 64 KiB."""


def compute_name(incident: Incident, uid: str, *, run: int, step: str, attempt: int) -> str:
    """Return the deterministic name of a document."""
    return f"{incident.metadata.name[:40]}-{uid[:8]}-r{run}-{step}-{attempt}"


def item_to_json(item: Item) -> dict[str, Any]:
    """Render an item of evidence."""
    return {
        "id": item.id,
        "kind": item.kind.value,
        "value": item.value,
        "at": item.at.isoformat() if item.at else None,
    }


def bundle_to_json(bundle: Bundle, keep: Collection[str] = ()) -> dict[str, Any]:
    """Render a bundle, dropping the largest items first until it fits.

    Items whose ids are in ``keep`` (what a finding quotes) and the target go last.
    """
    items = [item_to_json(item) for item in bundle.items]
    gaps = list(bundle.gaps)
    sizes = {entry["id"]: len(json.dumps(entry, default=str)) for entry in items}
    while items and sum(sizes[entry["id"]] for entry in items) > MAX_BUNDLE_BYTES:
        largest = max(items, key=lambda entry: (not _is_kept(entry, keep), sizes[entry["id"]]))
        items.remove(largest)
        gaps.append(f"{largest['id']}: left out, too large")
    return {
        "target": bundle.target.to_wire(),
        "namespace": bundle.namespace,
        "now": bundle.now.isoformat(),
        "items": items,
        "gaps": gaps,
    }


def _is_kept(entry: Mapping[str, Any], keep: Collection[str]) -> bool:
    return entry["id"] in keep or entry["kind"] == ItemKind.OBJECT.value


def bundle_from_json(content: Mapping[str, Any]) -> Bundle:
    """Read a bundle back."""
    return Bundle(
        target=TargetRef.model_validate(content["target"]),
        namespace=content["namespace"],
        now=dt.datetime.fromisoformat(content["now"]),
        items=tuple(
            Item(
                id=entry["id"],
                kind=ItemKind(entry["kind"]),
                value=entry["value"],
                at=dt.datetime.fromisoformat(entry["at"]) if entry["at"] else None,
            )
            for entry in content["items"]
        ),
        gaps=tuple(content["gaps"]),
    )


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """Render a finding."""
    return dataclasses.asdict(finding) | {"class_": finding.class_.value}


def finding_from_json(content: Mapping[str, Any]) -> Finding:
    """Read a finding back."""
    fields = dict(content)
    fields["class_"] = IncidentClass(fields["class_"])
    fields["evidence"] = tuple(fields["evidence"])
    return Finding(**fields)


def diagnosis_to_json(found: DiagnosisFacts) -> dict[str, Any]:
    """Render a diagnosis."""
    fields = dataclasses.asdict(found) | {"class_": found.class_.value}
    fields["at"] = found.at.isoformat() if found.at else None
    return fields


def diagnosis_from_json(content: Mapping[str, Any]) -> DiagnosisFacts:
    """Read a diagnosis back."""
    fields = dict(content)
    fields["class_"] = IncidentClass(fields["class_"])
    fields["at"] = dt.datetime.fromisoformat(fields["at"]) if fields["at"] else None
    fields["checks"] = tuple(CheckResult(**check) for check in fields["checks"])
    return DiagnosisFacts(**fields)


def proposal_facts_to_json(found: ProposalFacts) -> dict[str, Any]:
    """Render what a proposal means for the state machine."""
    return dataclasses.asdict(found)


def proposal_facts_from_json(content: Mapping[str, Any]) -> ProposalFacts:
    """Read it back."""
    fields = dict(content)
    fields["files"] = tuple((path, added, removed) for path, added, removed in fields["files"])
    return ProposalFacts(**fields)


def analysis_name(incident: Incident, uid: str, status: IncidentStatus, attempt: int) -> str:
    """Return the name of an analysis' document."""
    return compute_name(incident, uid, run=status.run, step="analysis", attempt=attempt)


def proposal_name(incident: Incident, uid: str, status: IncidentStatus, attempt: int) -> str:
    """Return the name of a proposal's document."""
    return compute_name(incident, uid, run=status.run, step="fix", attempt=attempt)


def revision_name(
    incident: Incident, uid: str, status: IncidentStatus, kind: str, attempt: int
) -> str:
    """Return the name of a revision's document; ``kind``: revise or reapply."""
    return compute_name(incident, uid, run=status.run, step=kind, attempt=attempt)


def revision_from_json(content: Mapping[str, Any]) -> RevisionFacts:
    """Read what a stored revision means for the state machine."""
    return RevisionFacts(
        proposal=proposal_facts_from_json(content["facts"]),
        head_sha=content["head_sha"],
        answers=tuple(review["id"] for review in content["reviews"]),
    )


def earlier_fixes(documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what earlier attempts tried, for memory."""
    return [content["facts"] for content in documents if "facts" in content]
