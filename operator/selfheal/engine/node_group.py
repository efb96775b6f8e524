"""A larger node group as a fix: read, proposed, guarded, stored; followed by whether pods run."""

from __future__ import annotations

import posixpath

from selfheal.api.classes import IncidentClass
from selfheal.api.evidence import DocumentType
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain.facts import WorkloadFacts
from selfheal.engine import documents, proving
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import Outcome
from selfheal.engine.perform_analysis import store_document
from selfheal.remediation import guards, node_group_fix, serialise
from selfheal.remediation.edits import Refusal
from selfheal.verification import contract

HELD_BACK = frozenset({"NodesFull", "NoObservedUse"})
"""Refusals of a smaller request after which the nodes may be what is wrong."""


async def generate(
    context: Context, finding: Finding, bundle: Bundle, name: str, refusal: Refusal
) -> Outcome | None:
    """Store the growth of the policy's node group as the fix; None where that is no answer.

    Refusal of the node group goes after what was said of the requests.
    """
    mapped = proving.require_mapping(context)
    group = mapped.node_group
    full = finding.class_ is IncidentClass.NODE_EXHAUSTION and refusal.reason in HELD_BACK
    if not full or group is None or finding.parameters.get("fault") != "Full":
        return None
    code = require_code(context.systems)
    base = await code.get_branch_sha(mapped.repository, mapped.branch)
    folder = posixpath.dirname(group.file)
    tree = await code.get_tree(mapped.repository, base, folder)
    proposal = node_group_fix.propose(finding, bundle, group, tree.files)
    guards.check_files(proposal, guards=context.spec.guards, mapped_path=folder, files=tree.files)
    facts = proving.render_facts(name, proposal, base)
    await store_document(
        context, name=name, type=DocumentType.PROPOSAL, attempt=context.status.attempts.fix,
        content={
            "facts": documents.proposal_facts_to_json(facts),
            "proposal": serialise.proposal_to_json(proposal),
            "after": {}, "related": [], "explanation": finding.cause,
            "original": {path: tree.files[path].decode() for path in proposal.files},
            "nodeGroup": group.name,
        },
    )  # fmt: skip
    return Outcome(facts={"proposal": facts}, ref=name)


def is_live(workload: WorkloadFacts, context: Context) -> bool:
    """Tell whether the target's pods have found nodes: that is what the growth is for."""
    results = contract.evaluate((contract.SCHEDULED,), workload, since=None, now=context.now)
    return all(result.holds for result in results)
