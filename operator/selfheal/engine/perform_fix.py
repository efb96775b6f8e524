"""Fix generation: source, edits, render, comparison, dry run, guards; the result is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api.evidence import DocumentType
from selfheal.api.policy import RepositorySpec
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import ProposalFacts
from selfheal.engine import documents, placing, related, sources
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import NO_USAGE, Outcome, add_usage
from selfheal.engine.perform_analysis import store_document, store_transcript
from selfheal.engine.sources import Located
from selfheal.remediation import compare, guards, propose, rendering, serialise
from selfheal.remediation.edits import Proposal, Refusal, Source

LOOKED_FOR_AGAIN = frozenset({"SourceNotFound", "SourceAmbiguous"})
"""Refusals that a person mends in the repository: stalled, no attempt spent (api.md)."""


async def generate_fix(context: Context, effect: Effect) -> Outcome:
    """Make the smallest right edit, prove it, and store it; a refusal is stored as well."""
    attempt = context.status.attempts.fix
    finding, bundle = await _chosen(context)
    name = documents.proposal_name(context.incident, context.uid, context.status, attempt)
    try:
        return await _generate(context, finding, bundle, name, attempt)
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


async def _chosen(context: Context) -> tuple[Finding, Bundle]:
    diagnosis = context.status.diagnosis
    if diagnosis is None or diagnosis.evidence_ref is None:
        raise errors.HandOver("NoDiagnosis", "There is no diagnosis that a fix could rest on.")
    stored = await context.deps.store.find_document(context.namespace, diagnosis.evidence_ref)
    if stored is None or not stored.content.get("chosen"):
        raise errors.HandOver(
            "EvidenceMissing", f"The evidence {diagnosis.evidence_ref} of the diagnosis is gone."
        )
    finding = documents.finding_from_json(stored.content["chosen"])
    return finding, documents.bundle_from_json(stored.content["bundle"])


async def _generate(
    context: Context, finding: Finding, bundle: Bundle, name: str, attempt: int
) -> Outcome:
    mapped = _mapped(context)
    code = require_code(context.systems)
    target = context.status.target
    live = await context.deps.cluster.find_object(context.namespace, target) if target else None
    if live is None:
        raise errors.Stalled("The target does not exist any more.", reason="TargetNotFound")
    base = await code.get_branch_sha(mapped.repository, mapped.branch)
    tree = await code.get_tree(mapped.repository, base, mapped.path)
    located = await sources.locate(
        context.deps.renderer, tree.files, path=mapped.path, live=live, namespace=context.namespace
    )
    proposals = propose.propose(
        finding, bundle=bundle, source=located.source, files=located.files,
        guards=context.spec.guards,
    )  # fmt: skip
    choice = await context.systems.crew.propose(
        finding=finding, bundle=bundle, files=tree.files, proposals=proposals,
        spent=context.status.usage,
    )  # fmt: skip
    index = choice.answer.choice if choice.answer is not None else 0
    ordered = [proposals[index], *proposals[:index], *proposals[index + 1 :]]
    proposal, after, others = await _prove_first(context, mapped, located, ordered, live)
    explanation = choice.answer.rationale if choice.answer is not None else ""
    facts = _facts(name, proposal, base)
    await store_document(
        context, name=name, type=DocumentType.PROPOSAL, attempt=attempt,
        content={
            "facts": documents.proposal_facts_to_json(facts),
            "proposal": serialise.proposal_to_json(proposal),
            "after": after,
            "related": others,
            "explanation": explanation,
            "original": {
                path: tree.files[path].decode() for path in proposal.files if path in tree.files
            },
        },
    )  # fmt: skip
    await store_transcript(context, "fix", attempt, choice.transcript)
    return Outcome(
        facts={"proposal": facts},
        usage=add_usage(NO_USAGE, choice.usage),
        degraded=choice.degraded,
        ref=name,
    )


def _mapped(context: Context) -> RepositorySpec:
    if context.repository is None:
        raise errors.PolicyInvalid(
            f"No repository is mapped to namespace {context.namespace}.", reason="NoRepository"
        )
    return context.repository


async def _prove_first(
    context: Context,
    mapped: RepositorySpec,
    located: Located,
    proposals: Sequence[Proposal],
    live: Mapping[str, Any],
) -> tuple[Proposal, Mapping[str, Any], list[dict[str, Any]]]:
    """Return the first proposal that passes every proof; raises the last refusal."""
    refusal: Refusal | None = None
    for proposal in proposals:
        try:
            return await _prove(context, mapped, located, proposal, live)
        except Refusal as refused:
            refusal = refused
    raise refusal or Refusal("NoSafeFix", "No edit was proposed.")


async def _prove(
    context: Context,
    mapped: RepositorySpec,
    located: Located,
    proposal: Proposal,
    live: Mapping[str, Any],
) -> tuple[Proposal, Mapping[str, Any], list[dict[str, Any]]]:
    """Prove a proposal; return it as edits of real files, and what target and others become."""
    source, files = located.source, located.files
    guards.check_proposal(
        proposal,
        guards=context.spec.guards,
        namespace=context.namespace,
        mapped_path=mapped.path,
        files=files,
    )
    edited = {**files, **proposal.files}
    before = _rendered(files, mapped.path, source)
    after = _rendered(edited, mapped.path, source)
    edits = [
        edit
        for edit in proposal.edits
        if (edit.file, edit.document) == (source.file, source.document)
    ]
    compare.check_equivalence(rendered_before=before, rendered_after=after, live=live, edits=edits)
    others = await related.prove(context, files, proposal, source)
    if located.roots:
        placed = await placing.place(context.deps.renderer, located, proposal)
        proposal, after = placed.proposal, placed.manifest
        others = [
            {**entry, "manifest": placed.others[entry["file"], entry["document"]]}
            for entry in others
        ]
        guards.check_files(
            proposal, guards=context.spec.guards, mapped_path=mapped.path, files=located.tree
        )
    if not edits:  # the target stays as it is
        return proposal, after, others
    answer = await context.deps.cluster.dry_run_update(
        compare.intended_manifest(live, proposal, source)
    )
    if not answer.accepted:
        raise Refusal("DryRunRefused", f"The API server refuses the change: {answer.message}")
    return proposal, after, others


def _rendered(files: Mapping[str, bytes], path: str, source: Source) -> Mapping[str, Any]:
    """Return the document of the target as the source renders it."""
    for name, number, manifest in rendering.iterate_manifests(files, path):
        if (name, number) == (source.file, source.document):
            return manifest
    raise Refusal("ComparisonFailed", f"{source.file} does not render any more after the change.")


def _facts(name: str, proposal: Proposal, base: str) -> ProposalFacts:
    return ProposalFacts(
        ref=name,
        summary=proposal.summary,
        risk=proposal.risk,
        diff=proposal.diff,
        rollback=proposal.rollback,
        files=tuple(count_lines(proposal.diff)),
        base_sha=base,
    )


def count_lines(diff: str) -> list[tuple[str, int, int]]:
    """Return path, added and removed lines of each file of a unified diff."""
    counts: dict[str, list[int]] = {}
    path = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            path = line[4:].removeprefix("b/")
            counts[path] = [0, 0]
        elif line.startswith("+") and path:
            counts[path][0] += 1
        elif line.startswith("-") and not line.startswith("--- ") and path:
            counts[path][1] += 1
    return [(name, added, removed) for name, (added, removed) in counts.items()]
