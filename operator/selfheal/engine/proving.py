"""Where a fix starts from, and every proof and guard that it passes, whoever proposes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.api.policy import RepositorySpec
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.domain.facts import ProposalFacts
from selfheal.engine import documents, placing, related, sources
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.sources import Located
from selfheal.remediation import compare, guards, propose, rendering, serialise
from selfheal.remediation.edits import Proposal, Refusal, Source


async def choose_finding(context: Context) -> tuple[Finding, Bundle]:
    """Return the finding that the diagnosis rests on, with its evidence."""
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


def require_mapping(context: Context) -> RepositorySpec:
    """Return the repository mapped to the incident's namespace."""
    if context.repository is None:
        raise errors.PolicyInvalid(
            f"No repository is mapped to namespace {context.namespace}.", reason="NoRepository"
        )
    return context.repository


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ground:
    """What a fix starts from: the branch as it is now, the source in it, and the rules' fixes."""

    mapped: RepositorySpec
    base_sha: str
    tree: ports.SourceTree
    located: Located
    live: Mapping[str, Any]
    proposals: Sequence[Proposal]


async def survey(context: Context, finding: Finding, bundle: Bundle) -> Ground:
    """Read the delivered branch, find the source of the target and what the rules would edit.

    Refusal where there is no source or no safe fix; may be repeated.
    """
    mapped = require_mapping(context)
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
    return Ground(
        mapped=mapped, base_sha=base, tree=tree, located=located, live=live, proposals=proposals
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proved:
    """A proposal that passed, what the target becomes, and what other objects become."""

    proposal: Proposal
    after: Mapping[str, Any]
    related: list[dict[str, Any]]


async def prove_first(context: Context, ground: Ground, proposals: Sequence[Proposal]) -> Proved:
    """Return the first proposal that passes every proof; raises the last refusal."""
    refusal: Refusal | None = None
    for proposal in proposals:
        try:
            found = await _prove(context, ground.mapped, ground.located, proposal, ground.live)
        except Refusal as refused:
            refusal = refused
        else:
            return Proved(proposal=found[0], after=found[1], related=found[2])
    raise refusal or Refusal("NoSafeFix", "No edit was proposed.")


def render_content(
    facts: ProposalFacts, proved: Proved, ground: Ground, *, explanation: str
) -> dict[str, Any]:
    """Return a proved proposal as it is stored."""
    files, tree = proved.proposal.files, ground.tree.files
    return {
        "facts": documents.proposal_facts_to_json(facts),
        "proposal": serialise.proposal_to_json(proved.proposal),
        "after": proved.after,
        "related": proved.related,
        "explanation": explanation,
        "original": {path: tree[path].decode() for path in files if path in tree},
    }


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


def render_facts(name: str, proposal: Proposal, base: str, *, code: bool = False) -> ProposalFacts:
    """Return what a proved proposal means for the state machine."""
    return ProposalFacts(
        ref=name,
        summary=proposal.summary,
        risk=proposal.risk,
        diff=proposal.diff,
        rollback=proposal.rollback,
        files=tuple(count_lines(proposal.diff)),
        base_sha=base,
        code=code,
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
