"""The stored revisions of an open pull request, as facts."""

from __future__ import annotations

from collections.abc import Mapping

from selfheal.domain.effects import EffectKind
from selfheal.domain.facts import RevisionFacts
from selfheal.engine import documents
from selfheal.engine.context import Context


async def read_stored(context: Context) -> Mapping[str, RevisionFacts]:
    """Return the newest stored revision of each kind in this run."""
    attempts = context.status.attempts
    found: dict[str, RevisionFacts] = {}
    for kind, attempt in (
        (EffectKind.REVISE, attempts.revision), (EffectKind.REAPPLY, attempts.reapply)
    ):  # fmt: skip
        name = documents.revision_name(context.incident, context.uid, context.status, kind, attempt)
        stored = (
            await context.deps.store.find_document(context.namespace, name) if attempt else None
        )
        if stored is not None and stored.incident_uid == context.incident.metadata.uid:
            found[kind.value] = documents.revision_from_json(stored.content)
    return found
