"""Saving a status: fenced, skipped when equal, and told as events afterwards."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from selfheal import redaction
from selfheal.api.incident import Incident, IncidentStatus
from selfheal.api.meta import Condition
from selfheal.domain import errors
from selfheal.engine.deps import Deps

log = logging.getLogger("selfheal.phase")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saved:
    """The incident as it stands now."""

    incident: Incident


async def save(deps: Deps, incident: Incident, status: IncidentStatus) -> Saved:
    """Patch /status if it differs, then post events; Conflict when somebody was faster."""
    before, status = incident.status, redact_status(status)
    if status == before:
        return Saved(incident=incident)
    saved = await deps.store.save_status(incident, status)
    await _tell(deps, saved, before, status)
    return Saved(incident=saved.evolve(status=status))


def redact_status(status: IncidentStatus) -> IncidentStatus:
    """Return the status without credentials: logs, files and people's words may have brought some.

    Events and comments are made of it, so none gets there either.
    """
    wire = status.to_wire()
    texts = "\n".join(_list_texts(wire))
    if redaction.redact_text(texts) == texts:
        return status
    return IncidentStatus.model_validate(_redact_texts(wire))


def _list_texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for each in value for text in _list_texts(each)]
    return [value] if isinstance(value, str) else []


def _redact_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redact_texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_redact_texts(each) for each in value]
    return redaction.redact_text(value) if isinstance(value, str) else value


async def _tell(
    deps: Deps, incident: Incident, before: IncidentStatus, after: IncidentStatus
) -> None:
    try:
        if before.phase is not after.phase and after.phase is not None:
            entry = after.history[-1]
            log.info(
                "phase",
                extra={
                    "incident": incident.key,
                    "from": str(before.phase),
                    "to": str(after.phase),
                    "by": entry.by,
                    "why": entry.why,
                },
            )
            await deps.store.emit_event(
                incident, type="Normal", reason="PhaseChanged",
                message=f"{before.phase or 'new'} → {after.phase} by {entry.by}: {entry.why}",
            )  # fmt: skip
        stalled = _find(after, "Stalled")
        known = _find(before, "Stalled")
        if stalled is not None and (known is None or known.message != stalled.message):
            await deps.store.emit_event(
                incident, type="Warning", reason=stalled.reason, message=stalled.message
            )
    except errors.SelfHealError as error:
        log.info("event not posted", extra={"incident": incident.key, "error": str(error)})


def _find(status: IncidentStatus, type_: str) -> Condition | None:
    return next((entry for entry in status.conditions if entry.type == type_), None)
