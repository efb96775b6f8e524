"""The one place that touches the world: performs one effect, once it was decided and saved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from selfheal.domain.effects import Effect, EffectKind
from selfheal.engine import (
    perform_analysis,
    perform_command,
    perform_fix,
    perform_pull_request,
    perform_revert,
    perform_revision,
    perform_ticket,
)
from selfheal.engine.context import Context
from selfheal.engine.outcome import Outcome

Performer = Callable[[Context, Effect], Awaitable[Outcome]]

PERFORMERS: Mapping[EffectKind, Performer] = {
    EffectKind.CREATE_TICKET: perform_ticket.create_ticket,
    EffectKind.CLAIM_TICKET: perform_ticket.claim_ticket,
    EffectKind.MOVE_TICKET: perform_ticket.move_ticket,
    EffectKind.SAVE_TICKET_MIRROR: perform_ticket.save_mirror,
    EffectKind.COMMENT_TICKET: perform_ticket.comment,
    EffectKind.OBEY_COMMAND: perform_command.obey,
    EffectKind.LINK_TICKET: perform_ticket.link_duplicate,
    EffectKind.TRIAGE: perform_analysis.triage,
    EffectKind.ANALYSE: perform_analysis.analyse,
    EffectKind.GENERATE_FIX: perform_fix.generate_fix,
    EffectKind.REVISE: perform_revision.revise,
    EffectKind.REAPPLY: perform_revision.revise,
    EffectKind.PUSH_REVISION: perform_revision.push_revision,
    EffectKind.PUSH_BRANCH: perform_pull_request.push_branch,
    EffectKind.OPEN_PULL_REQUEST: perform_pull_request.open_pull_request,
    EffectKind.SAVE_PULL_REQUEST_MIRROR: perform_pull_request.save_mirror,
    EffectKind.COMMENT_PULL_REQUEST: perform_pull_request.comment,
    EffectKind.MERGE_PULL_REQUEST: perform_pull_request.merge,
    EffectKind.LEAVE_QUEUE: perform_pull_request.leave_queue,
    EffectKind.CLOSE_PULL_REQUEST: perform_pull_request.close,
    EffectKind.DELETE_BRANCH: perform_pull_request.delete_branch,
    EffectKind.OPEN_REVERT: perform_revert.open_revert,
    EffectKind.MERGE_REVERT: perform_revert.merge_revert,
}


async def perform(context: Context, effect: Effect) -> Outcome:
    """Perform one effect; errors are those of ``domain.errors``. Safe to repeat after observing."""
    return await PERFORMERS[effect.kind](context, effect)
