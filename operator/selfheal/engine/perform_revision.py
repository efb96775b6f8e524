"""A further commit for an open pull request: chosen, proved and stored; then pushed and told.

Whatever is chosen passes the same proofs and guards as the first fix, on the base as it is now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api.evidence import DocumentType
from selfheal.domain import errors
from selfheal.domain.effects import Effect, EffectKind
from selfheal.domain.facts import ProposalFacts, Review
from selfheal.domain.machine import verdicts
from selfheal.engine import documents, proving, revision_text, standing
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import Outcome
from selfheal.engine.perform_analysis import store_document, store_transcript
from selfheal.engine.proving import Ground
from selfheal.engine.revision_choice import Before, Talk, choose, read_before, read_text, same_again
from selfheal.remediation import serialise
from selfheal.remediation.edits import Proposal, Refusal


async def revise(context: Context, effect: Effect) -> Outcome:
    """Choose, prove and store a revision; a refusal is stored as well."""
    known = context.status.pull_request
    pull = context.facts.pull_request
    if known is None or pull is None:
        raise errors.Conflict("the pull request was not read in this step")
    answered = known.answered
    kind = effect.kind
    reviews = verdicts.list_objections(pull, answered=answered) if _answers(kind) else ()
    attempt = _attempt(effect)
    name = documents.revision_name(context.incident, context.uid, context.status, kind, attempt)
    talk = Talk()
    try:
        content = await _make(context, kind, reviews, name, talk)
    except Refusal as refusal:
        facts = ProposalFacts(
            ref=name, summary="", risk="High", diff="", rollback="", files=(), base_sha="",
            refused=refusal.message, refused_reason=refusal.reason,
        )  # fmt: skip
        content = {"facts": documents.proposal_facts_to_json(facts)}
    content |= {"head_sha": known.head_sha, "reviews": [_review_to_json(one) for one in reviews]}
    await store_document(
        context, name=name, type=DocumentType.PROPOSAL, attempt=attempt, content=content
    )
    await store_transcript(context, kind, attempt, talk.transcript)
    stored = {**(context.facts.revisions or {}), kind.value: documents.revision_from_json(content)}
    return Outcome(facts={"revisions": stored}, usage=talk.usage, degraded=talk.degraded, ref=name)


def _answers(kind: EffectKind) -> bool:
    return kind is EffectKind.REVISE


def _attempt(effect: Effect) -> int:
    return int(effect.key.split("/")[3])


def _review_to_json(review: Review) -> dict[str, Any]:
    return {
        "id": review.id,
        "by": review.by.name,
        "url": review.url,
        "text": read_text(review),
    }


async def _make(
    context: Context,
    kind: EffectKind,
    reviews: Sequence[Review],
    name: str,
    talk: Talk,
) -> dict[str, Any]:
    before = await read_before(context)
    finding, bundle = await proving.choose_finding(context)
    ground = await proving.survey(context, finding, bundle)
    if _answers(kind):
        options = await choose(context, ground, before, reviews, (finding, bundle), talk)
    else:
        options = same_again(ground, before)
    proved = await proving.prove_first(context, ground, options.proposals)
    if _answers(kind) and proved.proposal.files == before.proposal.files:
        raise Refusal("NothingChanged", "That is what the pull request proposes already.")
    facts = proving.render_facts(name, proved.proposal, ground.base_sha)
    content = proving.render_content(facts, proved, ground, explanation=options.explanation)
    chosen = options.candidate or proved.proposal.summary
    return {
        **content,
        **await _place(context, kind, ground, before, proved.proposal),
        "candidate": chosen,
        "asked": dataclasses.asdict(options.asked) if options.asked else None,
        "tried": list(dict.fromkeys([*before.tried, chosen])),
    }


async def _place(
    context: Context,
    kind: EffectKind,
    ground: Ground,
    before: Before,
    proposal: Proposal,
) -> dict[str, Any]:
    """Say what the commit stands on: our head where its base has not moved under it, else the base.

    On top of our head, files that only the earlier fix changed go back to what they were.
    """
    code = require_code(context.systems)
    head = await code.get_tree(ground.mapped.repository, before.pull.head_sha, ground.mapped.path)
    first = {path: text.encode() for path, text in before.original.items()}
    touched = {*before.proposal.files, *proposal.files}
    still = all(
        ground.tree.files.get(path)
        == (first.get(path) if path in before.proposal.files else head.files.get(path))
        for path in touched
    )
    if kind is EffectKind.REAPPLY or not still:
        return {"parent_sha": ground.base_sha, "restore": {}}
    left = set(before.proposal.files) - set(proposal.files)
    restore = {path: before.original.get(path) for path in sorted(left)}
    return {"parent_sha": before.pull.head_sha, "restore": restore}


async def push_revision(context: Context, effect: Effect) -> Outcome:
    """Push the stored revision, or adopt the head that carries our key, and tell the reviewers."""
    known = context.status.pull_request
    kind, attempt = EffectKind(effect.why), _attempt(effect)
    name = documents.revision_name(context.incident, context.uid, context.status, kind, attempt)
    stored = await context.deps.store.find_document(context.namespace, name)
    if known is None or stored is None or "proposal" not in stored.content:
        raise errors.HandOver("ProposalMissing", f"The stored revision {name} is gone.")
    content = stored.content
    proposal = serialise.proposal_from_json(content["proposal"])
    files: dict[str, bytes | None] = {
        path: None if text is None else text.encode() for path, text in content["restore"].items()
    }
    code = require_code(context.systems)
    branch = await code.push_revision(
        known.repository,
        effect.branch,
        head_sha=effect.sha,
        parent_sha=content["parent_sha"],
        files={**files, **proposal.files},
        message=await standing.sign(
            context,
            revision_text.render_message(proposal.summary, context.incident, context.status),
        ),
        key=effect.key,
    )
    await _tell(context, effect, content, branch.sha)
    attempts = context.status.attempts
    found = dataclasses.replace(
        documents.revision_from_json(content),
        pushed_sha=branch.sha,
        number=attempts.revision + attempts.reapply,
    )
    pull = await code.get_pull_request(known.repository, known.number)
    return Outcome(facts={"pushed": found, "branch": branch, "pull_request": pull}, ref=branch.sha)


async def _tell(context: Context, effect: Effect, content: Mapping[str, Any], sha: str) -> None:
    """Answer the reviews in one comment, name the fix in the title, and ask them to look again."""
    known = context.status.pull_request
    assert known is not None  # noqa: S101 - push_revision has looked
    code = require_code(context.systems)
    body = revision_text.render_answer(
        content, kind=EffectKind(effect.why), attempt=_attempt(effect), sha=sha
    )
    await code.ensure_pull_request_comment(
        known.repository, known.number, marker=effect.key, body=body
    )
    if not _answers(EffectKind(effect.why)):
        return
    summary = content["facts"]["summary"]
    title = revision_text.render_title(summary, context.status)
    await code.save_pull_request_title(known.repository, known.number, title=title)
    people = list(dict.fromkeys(review["by"] for review in content["reviews"]))
    await code.ask_review(known.repository, known.number, logins=people)
