"""A merged fix taken back because a person asks for it, outside the phases; safe to repeat."""

from __future__ import annotations

import dataclasses

from selfheal.api.incident import Phase, RevertStatus
from selfheal.domain import effects, errors
from selfheal.domain.effects import Effect, EffectKind
from selfheal.domain.facts import PullRequestFacts
from selfheal.engine import perform_revert, save, setup, standing
from selfheal.engine.context import Context
from selfheal.engine.deps import Deps
from selfheal.remediation import diff


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollback:
    """What taking a fix back does, or has done."""

    pull_request: str
    summary: str
    diff: str
    revert: RevertStatus | None = None


async def plan(key: str, deps: Deps) -> Rollback:
    """Return what would be taken back; nothing is written. HandOver where nothing was merged."""
    context = await _load(key, deps)
    return await _describe(context)


async def roll_back(key: str, deps: Deps) -> Rollback:
    """Open the revert of the merged fix and merge it, as far as the repository lets us.

    HandOver ``RevertConflict`` where somebody has changed the files since. May be repeated: the
    revert that stands is taken up.
    """
    context = await _load(key, deps)
    described = await _describe(context)
    standing_revert = context.status.revert
    if standing_revert is None:
        effect = _effect(context, EffectKind.OPEN_REVERT)
        outcome = await perform_revert.open_revert(context, effect)
        standing_revert = await _remember(context, outcome.facts["revert"])
    effect = _effect(context, EffectKind.MERGE_REVERT, number=standing_revert.number)
    outcome = await perform_revert.merge_revert(context, effect)
    found = await _remember(context, outcome.facts["revert"])
    return dataclasses.replace(described, revert=found)


async def _load(key: str, deps: Deps) -> Context:
    context = await setup.load(deps, await deps.store.get_incident(key))
    known = context.status.pull_request
    if known is None or known.merge_sha is None:
        raise errors.HandOver("NotMerged", f"No fix of {key} was merged: nothing is taken back.")
    if context.facts.policy.problem is not None:
        raise errors.PolicyInvalid(context.facts.policy.problem)
    return context


async def _describe(context: Context) -> Rollback:
    proposal, content = await standing.read_proposal(context)
    before = {path: text.encode() for path, text in content["original"].items()}
    known = context.status.pull_request
    return Rollback(
        pull_request=known.url if known else "",
        summary=proposal.summary,
        diff=diff.render_diff(proposal.files, before),
        revert=context.status.revert,
    )


def _effect(context: Context, kind: EffectKind, *, number: int = 0) -> Effect:
    status = context.status
    key = effects.compute_key(context.uid, status, status.phase or Phase.INCIDENT_DETECTED, kind)
    return Effect(kind=kind, key=key, number=number)


async def _remember(context: Context, pull: PullRequestFacts) -> RevertStatus:
    found = RevertStatus(number=pull.number, url=pull.url, state=pull.state.value)
    if context.status.revert != found:
        context.status = context.status.evolve(revert=found)
        saved = await save.save(context.deps, context.incident, context.status)
        context.incident = saved.incident
    return found
