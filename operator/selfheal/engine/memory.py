"""Memory: earlier incidents of the same workload, with their fixes and verdicts, as evidence."""

from __future__ import annotations

import datetime as dt

from selfheal.api.evidence import DocumentType
from selfheal.api.incident import Incident, TargetRef
from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.domain import errors
from selfheal.engine.context import Context

KEPT = 10
"""Incidents remembered, the newest; older ones are in Git and in their tickets."""

_EPOCH = dt.datetime.min.replace(tzinfo=dt.UTC)


async def recall(context: Context, target: TargetRef) -> list[Item]:
    """Return what is known of earlier incidents of a target and of this one's earlier runs.

    Reads only, may be repeated; what the API server does not tell now is not remembered.
    """
    try:
        stored = await context.deps.store.list_incidents(context.namespace)
        documents = await context.deps.store.list_documents(
            context.namespace, context.incident.metadata.name
        )
    except errors.Transient:
        return []
    own = [
        Item(
            id=f"earlier/{document.name}",
            kind=ItemKind.EARLIER,
            value={"incident": document.incident, "run": document.run}
            | {key: document.content["diagnosis"].get(key) for key in ("cause", "container")}
            | {"class": document.content["diagnosis"].get("class_")},
        )
        for document in documents
        if document.type is DocumentType.EVIDENCE
        and "diagnosis" in document.content
        and document.run < context.status.run
    ]
    others = sorted(
        (one for one in stored if _is_earlier(one, context, target)),
        key=lambda one: one.metadata.creation_timestamp or _EPOCH,
    )
    return [*map(_item, others[-KEPT:]), *own[-KEPT:]]


def _is_earlier(one: Incident, context: Context, target: TargetRef) -> bool:
    known = one.status.target
    return (
        one.metadata.uid != context.incident.metadata.uid
        and one.status.diagnosis is not None
        and known is not None
        and (known.kind, known.name) == (target.kind, target.name)
    )


def _item(one: Incident) -> Item:
    status, found = one.status, one.status.diagnosis
    pull = status.pull_request
    return Item(
        id=f"earlier/{one.metadata.name}",
        kind=ItemKind.EARLIER,
        at=status.phase_since,
        value={
            "incident": one.metadata.name,
            "class": found.class_.value if found else None,
            "cause": found.cause if found else None,
            "container": found.container if found else None,
            "fix": status.fix.summary if status.fix else None,
            "merged": pull is not None and pull.merge_sha is not None,
            "verdict": status.verification.verdict if status.verification else None,
            "phase": status.phase.value if status.phase else None,
        },
    )
