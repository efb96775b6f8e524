"""Which fix answers a review, failing checks or a base that moved: rules first, then the agents.

What reviews say is data. Rules read a plain request for a value, or the name of another known fix;
an agent says what kind of comment it is and chooses among the known fixes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api.incident import PullRequestStatus, Usage
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.domain.facts import Review
from selfheal.engine import standing
from selfheal.engine.context import Context
from selfheal.engine.outcome import NO_USAGE, add_usage
from selfheal.engine.proving import Ground
from selfheal.remediation import asking
from selfheal.remediation.edits import Proposal, Refusal

ANSWERED_BY_COMMIT = "ChangeRequest"
"""The kind of comment that another commit can answer; questions and objections are a person's."""


@dataclasses.dataclass
class Talk:
    """What was said with agents in this run, also when it ends in a refusal."""

    usage: Usage = NO_USAGE
    degraded: str | None = None
    transcript: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, result: Any) -> Any:
        """Count one agent's run and return its answer."""
        self.usage = add_usage(self.usage, result.usage)
        self.degraded = result.degraded or self.degraded
        self.transcript += result.transcript
        return result.answer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Before:
    """What stands in the pull request: the fix, which of the rules' it is, and what was tried."""

    pull: PullRequestStatus
    proposal: Proposal
    original: Mapping[str, str]
    candidate: str
    asked: asking.Asked | None
    tried: tuple[str, ...]

    def find(self, ground: Ground) -> Proposal | None:
        """Return the rules' fix that this one is made of, on the base as it is now."""
        return next((one for one in ground.proposals if one.summary == self.candidate), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Fixes to be proved in this order; ``asked`` is the value that makes the only one."""

    proposals: Sequence[Proposal]
    candidate: str | None = None
    asked: asking.Asked | None = None
    explanation: str = ""


async def read_before(context: Context) -> Before:
    """Return what stands in the pull request now."""
    proposal, content = await standing.read_proposal(context)
    if content.get("code"):
        raise Refusal("CodeFix", "The fix edits the application's code; a person revises that.")
    pull = context.status.pull_request
    if pull is None:
        raise errors.Conflict("a revision without a pull request")
    asked = content.get("asked")
    candidate = content.get("candidate") or proposal.summary
    return Before(
        pull=pull,
        proposal=proposal,
        original=content["original"],
        candidate=candidate,
        asked=asking.Asked(**asked) if asked else None,
        tried=tuple(content.get("tried") or [candidate]),
    )


def same_again(ground: Ground, before: Before) -> Options:
    """Return the fix that stands, made anew on the base as it is now."""
    present = before.find(ground)
    if present is None:
        raise Refusal(
            "FixDoesNotFit",
            "On its base as it is now the rules would make another fix than the one reviewed.",
        )
    if before.asked is not None:
        present = asking.with_value(present, before.asked, files=ground.located.files)
    return Options(proposals=[present], candidate=before.candidate, asked=before.asked)


def read_text(review: Review) -> str:
    """Return all that a review says."""
    return "\n".join(text for text in (review.body, *review.comments) if text)


async def choose(
    context: Context,
    ground: Ground,
    before: Before,
    reviews: Sequence[Review],
    diagnosed: tuple[Finding, Bundle],
    talk: Talk,
) -> Options:
    """Return what the reviews, or failing checks, lead to: rules first, then the agents."""
    texts = [text for text in map(read_text, reviews) if text]
    present = before.find(ground)
    if present is not None:
        shown = same_again(ground, before).proposals[0]
        asked = asking.find_asked(texts, shown)
        if asked is not None:
            wanted = asking.with_value(present, asked, files=ground.located.files)
            return Options(proposals=[wanted], candidate=before.candidate, asked=asked)
    others = [one for one in ground.proposals if one.summary not in before.tried]
    named = asking.find_named(texts, others)
    if len(named) > 1:
        raise Refusal("ReviewsDisagree", "The reviews name more than one of the known fixes.")
    if named:
        return Options(proposals=named)
    await _classify(context, texts, talk)
    if not others:
        raise Refusal(
            "NoOtherFix",
            "No value is asked for that the fix could take, and no other safe fix is known."
            if texts
            else "No other safe fix is known.",
        )
    return await _ask_generator(context, ground, others, diagnosed, talk)


async def _classify(context: Context, texts: Sequence[str], talk: Talk) -> None:
    """Let the agent say what the comments are; Refusal where a commit is no answer to them."""
    if not texts:
        return
    spent = add_usage(context.status.usage, talk.usage)
    answer = talk.add(await context.systems.crew.classify_comments(comments=texts, spent=spent))
    if answer is None:
        return
    kinds = [entry.kind for entry in answer.comments]
    if any(kind in ("Question", "Objection") for kind in kinds) or ANSWERED_BY_COMMIT not in kinds:
        raise Refusal(
            "ReviewNeedsPerson",
            f"The review is no request that a commit could answer ({', '.join(kinds)}).",
        )


async def _ask_generator(
    context: Context,
    ground: Ground,
    others: Sequence[Proposal],
    diagnosed: tuple[Finding, Bundle],
    talk: Talk,
) -> Options:
    finding, bundle = diagnosed
    answer = talk.add(
        await context.systems.crew.propose(
            finding=finding, bundle=bundle, files=ground.tree.files, proposals=others,
            spent=add_usage(context.status.usage, talk.usage),
        )
    )  # fmt: skip
    index = answer.choice if answer is not None else 0
    ordered = [others[index], *others[:index], *others[index + 1 :]]
    return Options(proposals=ordered, explanation=answer.rationale if answer is not None else "")
