"""Taking a fix back: the pull request that reverts it, and its merge where the policy says so."""

from __future__ import annotations

from selfheal import ports
from selfheal.domain import errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import PullRequestState
from selfheal.engine import messages, observe, proving, standing
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import Outcome
from selfheal.engine.perform_pull_request import commit_message, reserve_merge

LEFT_TO_PEOPLE = (errors.Conflict, errors.HandOver, errors.Stalled, errors.Waiting)
"""What keeps a revert from being merged at once: it stays proposed, and a person decides."""


async def open_revert(context: Context, effect: Effect) -> Outcome:
    """Propose to take a merged fix back, where nobody has changed its files since."""
    mapped = proving.require_mapping(context)
    code = require_code(context.systems)
    proposal, content = await standing.read_proposal(context)
    base = await code.get_branch_sha(mapped.repository, mapped.branch)
    tree = await code.get_tree(mapped.repository, base, mapped.path)
    for path, text in proposal.files.items():
        if tree.files.get(path) != text:
            raise _conflict(effect.why, path)
    original: dict[str, bytes | None] = {path: None for path in proposal.files}
    original.update({path: text.encode() for path, text in content["original"].items()})
    known = context.status.pull_request
    branch = f"{known.branch}-revert" if known else f"{observe.compute_branch(context)}-revert"
    summary = f"Revert: {proposal.summary}"
    await code.ensure_branch(
        mapped.repository, branch, base_sha=base, files=original, key=effect.key,
        message=await commit_message(context, summary),
    )  # fmt: skip
    body = messages.render_revert(context.incident, context.status, effect.why)
    pull = await code.ensure_pull_request(
        ports.PullRequestDraft(
            repository=mapped.repository, base=mapped.branch, branch=branch, title=summary[:200],
            body=body, key=effect.key, labels=tuple(mapped.pull_request.labels),
        )
    )  # fmt: skip
    return Outcome(facts={"revert": pull}, ref=pull.url)


def _conflict(why: str, path: str) -> errors.HandOver:
    """A failed proof stays one where it cannot be taken back; else a person asked in vain."""
    said = f"The fix is not taken back: {path} was changed since. Revert it by hand."
    if not why:
        return errors.HandOver("RevertConflict", said)
    return errors.HandOver(
        "VerificationFailed", f"The fix did not prove itself: {why.rstrip('.')}. {said}"
    )


async def merge_revert(context: Context, effect: Effect) -> Outcome:
    """Merge the revert as it was opened; whatever forbids it leaves it to a person.

    Only while its head is our own commit. The merge is counted in the policy before the call.
    """
    mapped = proving.require_mapping(context)
    code = require_code(context.systems)
    pull = await code.get_pull_request(mapped.repository, effect.number)
    branch = await code.find_branch(mapped.repository, pull.branch)
    own = branch is not None and branch.sha == pull.head_sha and branch.effect_key is not None
    if pull.state is PullRequestState.OPEN and own:
        await reserve_merge(context)
        repository = await code.get_repository(mapped.repository)
        methods = [mapped.merge.method, *sorted(repository.merge_methods)]
        method = next(name for name in methods if name in repository.merge_methods)
        try:
            await code.merge_pull_request(pull, sha=pull.head_sha, method=method)
        except LEFT_TO_PEOPLE:
            return Outcome(facts={"revert": pull}, ref=pull.url)
        pull = await code.get_pull_request(mapped.repository, effect.number)
    return Outcome(facts={"revert": pull}, ref=pull.url)
