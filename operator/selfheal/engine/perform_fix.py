"""Fix generation: source, edits, render, comparison, dry run, guards; the result is stored."""

from __future__ import annotations

from selfheal.api.evidence import DocumentType
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import ProposalFacts
from selfheal.engine import code_fix, documents, node_group, proving
from selfheal.engine.context import Context
from selfheal.engine.outcome import NO_USAGE, Outcome, add_usage
from selfheal.engine.perform_analysis import store_document, store_transcript
from selfheal.remediation.edits import Refusal

LOOKED_FOR_AGAIN = frozenset({"SourceNotFound", "SourceAmbiguous"})
"""Refusals that a person mends in the repository: stalled, no attempt spent (api.md)."""


async def generate_fix(context: Context, effect: Effect) -> Outcome:
    """Make the smallest right edit, prove it, and store it; a refusal is stored as well."""
    attempt = context.status.attempts.fix
    finding, bundle = await proving.choose_finding(context)
    name = documents.proposal_name(context.incident, context.uid, context.status, attempt)
    try:
        return await _generate_any(context, finding, bundle, name, attempt)
    except Refusal as refusal:
        if refusal.reason in LOOKED_FOR_AGAIN:
            raise errors.Stalled(refusal.message, reason=refusal.reason) from refusal
        facts = ProposalFacts(
            ref=name, summary="", risk="High", diff="", rollback="", files=(), base_sha="",
            refused=refusal.message, refused_reason=refusal.reason,
        )  # fmt: skip
        await store_document(
            context, name=name, type=DocumentType.PROPOSAL, attempt=attempt,
            content={"facts": documents.proposal_facts_to_json(facts)},
        )  # fmt: skip
        return Outcome(facts={"proposal": facts}, ref=name)


async def _generate_any(
    context: Context, finding: Finding, bundle: Bundle, name: str, attempt: int
) -> Outcome:
    """Edit manifests; where none is right, perhaps the nodes, or the application's code."""
    try:
        return await _generate(context, finding, bundle, name, attempt)
    except Refusal as refusal:
        grown = await node_group.generate(context, finding, bundle, name, refusal)
        return grown or await code_fix.generate(context, finding, bundle, name, refusal)


async def _generate(
    context: Context, finding: Finding, bundle: Bundle, name: str, attempt: int
) -> Outcome:
    ground = await proving.survey(context, finding, bundle)
    proposals = ground.proposals
    choice = await context.systems.crew.propose(
        finding=finding, bundle=bundle, files=ground.tree.files, proposals=proposals,
        spent=context.status.usage,
    )  # fmt: skip
    index = choice.answer.choice if choice.answer is not None else 0
    ordered = [proposals[index], *proposals[:index], *proposals[index + 1 :]]
    proved = await proving.prove_first(context, ground, ordered)
    explanation = choice.answer.rationale if choice.answer is not None else ""
    facts = proving.render_facts(name, proved.proposal, ground.base_sha)
    await store_document(
        context, name=name, type=DocumentType.PROPOSAL, attempt=attempt,
        content=proving.render_content(facts, proved, ground, explanation=explanation),
    )  # fmt: skip
    await store_transcript(context, "fix", attempt, choice.transcript)
    return Outcome(
        facts={"proposal": facts},
        usage=add_usage(NO_USAGE, choice.usage),
        degraded=choice.degraded,
        ref=name,
    )
