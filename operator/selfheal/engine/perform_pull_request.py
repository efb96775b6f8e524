"""Effects on the code host: branch, pull request, merge, revert."""

from __future__ import annotations

import contextlib
import datetime as dt

from selfheal import ports, redaction
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import PullRequestFacts
from selfheal.domain.machine import mirrors
from selfheal.engine import messages, observe, proving, pull_request_text, standing
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import Outcome

HOUR = dt.timedelta(hours=1)
NOT_MERGED = (errors.Conflict, errors.HandOver, errors.RateLimited, errors.Stalled)
"""Errors after which it is known that nothing was merged."""


async def push_branch(context: Context, effect: Effect) -> Outcome:
    """Create the branch with one commit, or adopt the one that carries our key."""
    mapped = proving.require_mapping(context)
    proposal, content = await standing.read_proposal(context)
    branch = await require_code(context.systems).ensure_branch(
        mapped.repository,
        effect.branch,
        base_sha=content["facts"]["base_sha"],
        files=proposal.files,
        message=await commit_message(context, proposal.summary),
        key=effect.key,
    )
    return Outcome(facts={"branch": branch}, ref=branch.sha)


async def open_pull_request(context: Context, effect: Effect) -> Outcome:
    """Open the pull request, or adopt the one that carries our key."""
    mapped = proving.require_mapping(context)
    proposal, content = await standing.read_proposal(context)
    text = await context.systems.crew.describe_pull_request(
        proposal_summary=proposal.summary,
        diff=proposal.diff,
        cause=context.status.diagnosis.cause if context.status.diagnosis else "",
        explanation=content.get("explanation", ""),
        spent=context.status.usage,
    )
    title = text.answer.title if text.answer is not None else proposal.summary
    finding, bundle = await _quoted(context)
    body = pull_request_text.render_body(
        context.incident,
        context.status,
        proposal,
        namespace=context.deps.namespace,
        prose=text.answer.body if text.answer is not None else "",
        finding=finding,
        bundle=bundle,
    )
    spec = mapped.pull_request
    pull = await require_code(context.systems).ensure_pull_request(
        ports.PullRequestDraft(
            repository=mapped.repository,
            base=mapped.branch,
            branch=effect.branch,
            title=pull_request_text.render_title(title, context.status),
            body=body,
            key=observe.pull_request_key(context),
            labels=tuple(spec.labels),
            reviewers=tuple(spec.reviewers),
            draft=spec.draft,
        )
    )
    return Outcome(
        facts={"pull_request": pull}, usage=text.usage, degraded=text.degraded, ref=pull.url
    )


async def commit_message(context: Context, summary: str) -> str:
    """Return the message of a commit of ours."""
    text = messages.render_commit_message(summary, context.incident, context.status)
    return await standing.sign(context, text)


async def _quoted(context: Context) -> tuple[Finding | None, Bundle | None]:
    """Return what the diagnosis quotes; without it the body is shorter, nothing more."""
    try:
        return await proving.choose_finding(context)
    except errors.HandOver:
        return None, None


def _pull(context: Context) -> PullRequestFacts:
    if context.facts.pull_request is None:
        raise errors.Conflict("the pull request was not read in this step")
    return context.facts.pull_request


async def save_mirror(context: Context, effect: Effect) -> Outcome:
    """Bring label and status block up to date."""
    code = require_code(context.systems)
    pull = _pull(context)
    await code.save_pull_request_mirror(
        pull,
        label=f"{mirrors.LABEL_PREFIX}{context.status.phase}",
        status_block=redaction.redact_text(mirrors.render_status_block(context.view())),
    )
    return Outcome(
        facts={"pull_request": await code.get_pull_request(pull.repository, pull.number)}
    )


async def comment(context: Context, effect: Effect) -> Outcome:
    """Say a milestone in the pull request."""
    pull = context.status.pull_request
    if pull is None or effect.milestone is None:
        raise errors.Conflict("a comment without a pull request or milestone")
    body = messages.render_milestone(
        effect.milestone, context.incident, context.status, proposal=None, explanation=effect.why
    )
    identity = await require_code(context.systems).ensure_pull_request_comment(
        pull.repository, pull.number, marker=effect.key, body=body
    )
    return Outcome(ref=identity)


async def merge(context: Context, effect: Effect) -> Outcome:
    """Merge the head that was approved; the merge is counted in the policy before the call."""
    mapped = proving.require_mapping(context)
    pull = _pull(context)
    code = require_code(context.systems)
    await reserve_merge(context)
    repository = await code.get_repository(mapped.repository)
    method = mapped.merge.method
    if method not in repository.merge_methods:
        method = sorted(repository.merge_methods)[0]
    try:
        await code.merge_pull_request(pull, sha=effect.sha, method=method)
    except NOT_MERGED:
        await _give_back_merge(context)
        raise
    return Outcome(
        facts={"pull_request": await code.get_pull_request(pull.repository, pull.number)}
    )


async def leave_queue(context: Context, effect: Effect) -> Outcome:
    """Take the pull request out of the merge queue: a person has moved the ticket."""
    pull = _pull(context)
    code = require_code(context.systems)
    await code.leave_merge_queue(pull.repository, pull.number)
    return Outcome(
        facts={"pull_request": await code.get_pull_request(pull.repository, pull.number)}
    )


async def reserve_merge(context: Context) -> None:
    """Count a merge in the policy before it is made."""
    policy = context.policy
    if not policy.metadata.resource_version:
        return  # built-in policy: there is no object to count in
    recent = [moment for moment in policy.status.merges if context.now - moment < HOUR]
    status = policy.status.evolve(merges=[*recent, context.now])
    context.policy = await context.deps.store.save_policy_status(policy, status)


async def _give_back_merge(context: Context) -> None:
    """Take back the count of a merge that surely was not made, so that a refusal spends nothing."""
    policy = context.policy
    left = [moment for moment in policy.status.merges if moment != context.now]
    if left == policy.status.merges:
        return
    with contextlib.suppress(errors.SelfHealError):  # one counted too many only waits longer
        context.policy = await context.deps.store.save_policy_status(
            policy, policy.status.evolve(merges=left)
        )


async def close(context: Context, effect: Effect) -> Outcome:
    """Close a pull request of ours and delete its branch, saying why where no milestone does."""
    code = require_code(context.systems)
    known = context.status.pull_request
    repository = known.repository if known else proving.require_mapping(context).repository
    if known is None or known.number != effect.number:
        body = f"Closed: {effect.why} (run {context.status.run} of `{context.incident.key}`)."
        await code.ensure_pull_request_comment(
            repository, effect.number, marker=effect.key, body=body
        )
    await code.close_pull_request(repository, effect.number)
    branch = effect.branch or (known.branch if known else "")
    if branch:
        await code.delete_branch(repository, branch)
    if known is not None and known.number == effect.number:
        return Outcome(
            facts={"pull_request": await code.get_pull_request(repository, effect.number)}
        )
    return Outcome(facts=await observe.read_leftovers(context))


async def delete_branch(context: Context, effect: Effect) -> Outcome:
    """Delete a branch that has no pull request."""
    mapped = proving.require_mapping(context)
    await require_code(context.systems).delete_branch(mapped.repository, effect.branch)
    return Outcome(facts=await observe.read_leftovers(context))
