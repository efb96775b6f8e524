"""A Git repository with pull requests, in memory: what the fake code host keeps."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.domain import errors, facts

Files = Mapping[str, bytes]

OPEN = facts.PullRequestState.OPEN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit with its whole tree."""

    sha: str
    parent: str | None
    files: Files
    author: str
    message: str
    at: dt.datetime


@dataclasses.dataclass
class Comment:
    """A comment on a pull request."""

    id: str
    author: str
    body: str


@dataclasses.dataclass
class Repository:
    """State of one repository; ``required`` names the required checks of the default branch."""

    allows: facts.RepositoryFacts
    operator: str
    required: frozenset[str] = frozenset()
    commits: dict[str, Commit] = dataclasses.field(default_factory=dict)
    branches: dict[str, str] = dataclasses.field(default_factory=dict)
    pulls: dict[int, facts.PullRequestFacts] = dataclasses.field(default_factory=dict)
    comments: dict[int, list[Comment]] = dataclasses.field(default_factory=dict)
    mergeable: dict[int, bool | None] = dataclasses.field(default_factory=dict)
    checks: dict[str, facts.ChecksState] = dataclasses.field(default_factory=dict)
    delivery: dict[tuple[str, str], facts.DeliveryFacts] = dataclasses.field(default_factory=dict)
    titles: dict[int, str] = dataclasses.field(default_factory=dict)
    merges_by_queue: bool = False
    queued: set[int] = dataclasses.field(default_factory=set)
    strict: bool = False
    """Whether only what is up to date with its base may be merged."""

    def files(self, ref: str) -> Files:
        """Return the tree of a branch or commit."""
        return self.commits[self.branches.get(ref, ref)].files

    def commit(
        self, branch: str, files: Files, *, author: str, message: str, at: dt.datetime
    ) -> str:
        """Put a commit with this whole tree onto a branch, which begins with it if it is new."""
        parent = self.branches.get(branch)
        text = f"{len(self.commits)} {parent} {author} {message} {sorted(files.items())}"
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = Commit(
            sha=sha, parent=parent, files=dict(files), author=author, message=message, at=at
        )
        self.branches[branch] = sha
        return sha

    def set(self, number: int, **changes: Any) -> None:
        """Change stored fields of a pull request."""
        self.pulls[number] = dataclasses.replace(self.pulls[number], **changes)

    def view(self, number: int) -> facts.PullRequestFacts:
        """Return a pull request with what is computed from the rest of the repository."""
        pull = self.pulls[number]
        is_open = pull.state is OPEN
        head = self.branches[pull.branch] if is_open else pull.head_sha
        ours = {self.operator, pull.author}
        can_merge = self.mergeable.get(number, self._fits(pull, head)) if is_open else None
        none_yet = facts.ChecksState.PENDING if self.required else facts.ChecksState.NONE
        return dataclasses.replace(
            pull,
            head_sha=head,
            mergeable=can_merge,
            person_comments=sum(comment.author not in ours for comment in self.comments[number]),
            required_checks=self.checks.get(head, none_yet) if self.required else none_yet,
            review_decision=_decision(pull, self.allows.required_reviews),
            queued=is_open and number in self.queued,
            behind=is_open and self.strict and self._is_behind(pull, head),
        )

    def open(self, draft: ports.PullRequestDraft, body: str, author: str) -> facts.PullRequestFacts:
        """Open a pull request; HandOver as the real host refuses its content."""
        if not {draft.branch, draft.base} <= set(self.branches):
            raise errors.HandOver("ContentRefused", "head or base does not exist")
        if self.branches[draft.branch] == self.branches[draft.base]:
            raise errors.HandOver("ContentRefused", f"no commits between {draft.base} and head")
        if any(pull.branch == draft.branch and pull.state is OPEN for pull in self.pulls.values()):
            raise errors.HandOver("PullRequestTaken", f"another one from {draft.branch} is open")
        number = len(self.pulls) + 1
        self.comments[number] = []
        self.titles[number] = draft.title
        self.pulls[number] = facts.PullRequestFacts(
            repository=draft.repository,
            number=number,
            url=f"https://github.example/{draft.repository}/pull/{number}",
            state=OPEN,
            branch=draft.branch,
            base=draft.base,
            head_sha=self.branches[draft.branch],
            author=author,
            draft=draft.draft,
            labels=frozenset(draft.labels),
            body=body,
            requested_reviewers=tuple(name for name in draft.reviewers if "/" not in name),
        )
        return self.view(number)

    def review(
        self,
        number: int,
        name: str,
        state: facts.ReviewState,
        body: str,
        at: dt.datetime,
        comments: Sequence[str] = (),
    ) -> None:
        """Add a review of the present head by a person."""
        pull = self.view(number)
        review = facts.Review(
            by=facts.Actor(id=name, name=name, is_operator=name in (self.operator, pull.author)),
            is_person=name not in (self.operator, pull.author),
            state=state,
            sha=pull.head_sha,
            at=at,
            body=body,
            id=f"review-{number}-{len(pull.reviews)}",
            url=f"{pull.url}#review-{len(pull.reviews)}",
            comments=tuple(comments),
        )
        asked = tuple(login for login in pull.requested_reviewers if login != name)
        self.set(number, reviews=(*pull.reviews, review), requested_reviewers=asked)

    def close(self, number: int) -> None:
        """Close an open pull request, its head frozen; others stay as they are."""
        pull = self.view(number)
        if pull.state is OPEN:
            state = facts.PullRequestState.CLOSED
            self.set(number, state=state, head_sha=pull.head_sha)

    def merge(self, number: int, by: str, at: dt.datetime) -> str:
        """Merge, whatever protection says; return the merge commit."""
        pull = self.view(number)
        fork, ours = self._fork(pull.base, pull.head_sha), self.files(pull.head_sha)
        change = {name: ours.get(name) for name in difference(fork, ours)}
        files = changed(self.files(pull.base), change)
        sha = self.commit(pull.base, files, author=by, message=f"Merge #{number}", at=at)
        state = facts.PullRequestState.MERGED
        self.set(number, state=state, head_sha=pull.head_sha, merge_sha=sha, merged_by=by)
        return sha

    def _fits(self, pull: facts.PullRequestFacts, head: str) -> bool:
        base, fork, ours = self.files(pull.base), self._fork(pull.base, head), self.files(head)
        both = difference(fork, ours) & difference(fork, base)
        return all(ours.get(name) == base.get(name) for name in both)

    def _is_behind(self, pull: facts.PullRequestFacts, head: str) -> bool:
        return self.branches[pull.base] not in {commit.sha for commit in self.ancestry(head)}

    def _fork(self, base: str, head: str) -> Files:
        """Return the tree where head left base."""
        known = {commit.sha for commit in self.ancestry(base)}
        shared = (commit.files for commit in self.ancestry(head) if commit.sha in known)
        return next(shared, {})

    def ancestry(self, ref: str) -> list[Commit]:
        """Return the commits of a branch or commit, newest first."""
        found: list[Commit] = []
        sha: str | None = self.branches.get(ref, ref)
        while sha is not None:
            found.append(self.commits[sha])
            sha = found[-1].parent
        return found


def changed(files: Files, change: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the files with a change applied; None deletes."""
    merged = {**files, **change}
    return {name: content for name, content in merged.items() if content is not None}


def difference(before: Files, after: Files) -> set[str]:
    """Return the names of files that differ."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _decision(pull: facts.PullRequestFacts, required: int) -> str | None:
    """Return GitHub's reviewDecision: the last verdict of each person counts."""
    verdicts = (facts.ReviewState.APPROVED, facts.ReviewState.CHANGES_REQUESTED)
    last = {review.by.id: review.state for review in pull.reviews if review.state in verdicts}
    if facts.ReviewState.CHANGES_REQUESTED in last.values():
        return "CHANGES_REQUESTED"
    approvals = sum(state is facts.ReviewState.APPROVED for state in last.values())
    if not required:
        return "APPROVED" if approvals else None
    return "APPROVED" if approvals >= required else "REVIEW_REQUIRED"
