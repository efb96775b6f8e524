"""A code host in memory: the CodeHost port, and what people and pipelines do beside us."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.github import marks, source
from selfheal.domain import errors, facts

Files = Mapping[str, bytes]
OnMerge = Callable[[Files], None]


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
    """A repository; ``allows`` and ``required`` (names of checks) may be replaced by a test."""

    allows: facts.RepositoryFacts
    required: frozenset[str] = frozenset()
    commits: dict[str, Commit] = dataclasses.field(default_factory=dict)
    branches: dict[str, str] = dataclasses.field(default_factory=dict)
    pulls: dict[int, facts.PullRequestFacts] = dataclasses.field(default_factory=dict)
    comments: dict[int, list[Comment]] = dataclasses.field(default_factory=dict)
    mergeable: dict[int, bool | None] = dataclasses.field(default_factory=dict)
    checks: dict[str, facts.ChecksState] = dataclasses.field(default_factory=dict)
    delivery: dict[tuple[str, str], facts.DeliveryFacts] = dataclasses.field(default_factory=dict)


_OPEN = facts.RepositoryFacts(
    default_branch="main",
    merge_methods=frozenset({"merge", "squash", "rebase"}),
    has_required_checks=False,
    required_reviews=0,
    can_push=True,
    can_merge=True,
)


class FakeCodeHost:
    """The port in memory. ``created`` counts outside creations by kind, ``label_history`` the
    ``selfheal/…`` labels of each pull request in the order they were set. ``outage``, when set,
    is raised by every call of the port. People's actions name ``repository`` where there are several.
    """

    def __init__(
        self, clock: ports.Clock, *, login: str = "selfheal-bot", on_merge: OnMerge | None = None
    ) -> None:
        """Begin without repositories; ``on_merge`` gets the whole tree of a branch after a merge."""
        self.clock, self.login, self.on_merge = clock, login, on_merge
        self.repositories: dict[str, Repository] = {}
        self.created: collections.Counter[str] = collections.Counter()
        self.label_history: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
        self.outage: errors.SelfHealError | None = None

    # Set-up and what others do.

    def add_repository(self, name: str, files: Files, *, branch: str = "main") -> str:
        """Make a repository with one commit; return that commit."""
        repo = Repository(allows=dataclasses.replace(_OPEN, default_branch=branch))
        self.repositories[name] = repo
        return self._add_commit(repo, branch, files, author="ann", message="Begin")

    def protect(
        self, *, reviews: int = 0, checks: Sequence[str] = (), repository: str | None = None
    ) -> None:
        """Demand reviews and named checks on the default branch."""
        repo = self._repo(repository)
        repo.required = frozenset(checks)
        repo.allows = dataclasses.replace(
            repo.allows, required_reviews=reviews, has_required_checks=bool(checks)
        )

    def push(
        self,
        branch: str,
        files: Mapping[str, bytes | None],
        *,
        name: str = "ann",
        message: str = "Change",
        repository: str | None = None,
    ) -> str:
        """Let a person commit onto a branch; return the commit."""
        repo = self._repo(repository)
        tree = _changed(repo.commits[repo.branches[branch]].files, files)
        return self._add_commit(repo, branch, tree, author=name, message=message)

    def push_foreign_commit(
        self,
        number: int,
        files: Mapping[str, bytes | None] | None = None,
        *,
        name: str = "ann",
        repository: str | None = None,
    ) -> str:
        """Let a person commit onto the head of a pull request; return the commit."""
        branch = self._repo(repository).pulls[number].branch
        return self.push(
            branch, files or {"foreign.txt": b"by a person\n"}, name=name, repository=repository
        )

    def approve(self, number: int, name: str, *, repository: str | None = None) -> None:
        """Let a person approve the present head."""
        self._review(number, name, facts.ReviewState.APPROVED, "", repository)

    def request_changes(
        self, number: int, name: str, body: str = "no", *, repository: str | None = None
    ) -> None:
        """Let a person ask for changes."""
        self._review(number, name, facts.ReviewState.CHANGES_REQUESTED, body, repository)

    def comment(self, number: int, name: str, body: str, *, repository: str | None = None) -> None:
        """Let a person comment."""
        self._repo(repository).comments[number].append(
            Comment(self._id("person-comment"), name, body)
        )

    def assign(self, number: int, name: str, *, repository: str | None = None) -> None:
        """Let a person take the pull request."""
        repo = self._repo(repository)
        self._set(repo, number, assignees=(*repo.pulls[number].assignees, name))

    def label(self, number: int, *names: str, repository: str | None = None) -> None:
        """Let a person add labels."""
        repo = self._repo(repository)
        self._set(repo, number, labels=repo.pulls[number].labels | set(names))

    def edit_body(
        self, number: int, name: str, body: str, *, repository: str | None = None
    ) -> None:
        """Let a person edit the description."""
        self._set(self._repo(repository), number, body=body)

    def merge_by_person(self, number: int, name: str, *, repository: str | None = None) -> str:
        """Let a person merge; return the merge commit."""
        return self._merge(self._repo(repository), number, name)

    def close(self, number: int, name: str = "ann", *, repository: str | None = None) -> None:
        """Let a person close without merging."""
        self._set(self._repo(repository), number, state=facts.PullRequestState.CLOSED)

    def set_checks(
        self, number: int, state: facts.ChecksState, *, repository: str | None = None
    ) -> None:
        """Set the state of all required checks of the present head."""
        repo = self._repo(repository)
        repo.checks[repo.branches[repo.pulls[number].branch]] = state

    def set_mergeable(
        self, number: int, mergeable: bool | None, *, repository: str | None = None
    ) -> None:
        """Say whether a pull request can be merged; None: not computed yet."""
        self._repo(repository).mergeable[number] = mergeable

    def set_delivery(
        self,
        sha: str,
        state: facts.DeliveryState,
        *,
        strategy: str = "Rollout",
        url: str | None = None,
        message: str = "",
        repository: str | None = None,
    ) -> None:
        """Say what a strategy tells about a commit."""
        found = facts.DeliveryFacts(revision=sha, state=state, url=url, message=message)
        self._repo(repository).delivery[strategy, sha] = found

    def files(self, branch: str = "main", *, repository: str | None = None) -> Files:
        """Return the tree of a branch."""
        repo = self._repo(repository)
        return repo.commits[repo.branches[branch]].files

    def comments(self, number: int, *, repository: str | None = None) -> Sequence[str]:
        """Return the bodies of all comments."""
        return [comment.body for comment in self._repo(repository).comments[number]]

    # The port.

    async def get_repository(self, repository: str) -> facts.RepositoryFacts:
        """See CodeHost."""
        return self._seen(repository).allows

    async def get_branch_sha(self, repository: str, branch: str) -> str:
        """See CodeHost."""
        sha = self._seen(repository).branches.get(branch)
        if sha is None:
            raise errors.NotFound(f"{repository} has no branch {branch}")
        return sha

    async def get_tree(self, repository: str, sha: str, path: str) -> ports.SourceTree:
        """See CodeHost."""
        commit = self._commit(repository, sha)
        below = sorted(name for name in commit.files if _is_below(name, path))
        files: dict[str, bytes] = {}
        for name in below:
            content = commit.files[name]
            if (
                len(files) >= source.MAX_FILES
                or sum(map(len, files.values())) + len(content) > source.MAX_BYTES
            ):
                return ports.SourceTree(repository=repository, sha=sha, files=files, truncated=True)
            files[name] = content
        return ports.SourceTree(repository=repository, sha=sha, files=files)

    async def list_commits(
        self, repository: str, sha: str, path: str, *, limit: int = 20
    ) -> Sequence[ports.CommitFacts]:
        """See CodeHost."""
        repo = self._seen(repository)
        found: list[ports.CommitFacts] = []
        commit: Commit | None = self._commit(repository, sha)
        while commit is not None and len(found) < limit:
            parent = repo.commits[commit.parent] if commit.parent else None
            if any(
                _is_below(name, path)
                for name in _difference(parent.files if parent else {}, commit.files)
            ):
                found.append(
                    ports.CommitFacts(
                        sha=commit.sha, author=commit.author, at=commit.at, message=commit.message
                    )
                )
            commit = parent
        return tuple(found)

    async def find_branch(self, repository: str, name: str) -> facts.BranchFacts | None:
        """See CodeHost."""
        repo = self._seen(repository)
        if name not in repo.branches:
            return None
        commit = repo.commits[repo.branches[name]]
        return facts.BranchFacts(
            name=name, sha=commit.sha, effect_key=marks.trailer(commit.message)
        )

    async def ensure_branch(
        self,
        repository: str,
        name: str,
        *,
        base_sha: str,
        files: Mapping[str, bytes | None],
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """See CodeHost."""
        found = await self.find_branch(repository, name)
        if found is None:
            repo, base = self._seen(repository), self._commit(repository, base_sha)
            repo.branches[name] = base.sha
            text = marks.with_trailer(message, key)
            sha = self._add_commit(
                repo, name, _changed(base.files, files), author=self.login, message=text
            )
            self.created["branch"] += 1
            return facts.BranchFacts(name=name, sha=sha, effect_key=key)
        if found.effect_key != key:
            raise errors.Conflict(f"branch {name} exists and its head commit is not ours")
        return found

    async def list_branches(self, repository: str, prefix: str) -> Sequence[str]:
        """See CodeHost."""
        return tuple(
            sorted(name for name in self._seen(repository).branches if name.startswith(prefix))
        )

    async def delete_branch(self, repository: str, name: str) -> None:
        """See CodeHost; open pull requests from the branch close, as on GitHub."""
        repo = self._seen(repository)
        for pull in [self._view(repo, number) for number in repo.pulls]:
            if pull.branch == name:
                closed = pull.state is facts.PullRequestState.OPEN
                state = facts.PullRequestState.CLOSED if closed else pull.state
                self._set(repo, pull.number, head_sha=pull.head_sha, state=state)
        repo.branches.pop(name, None)

    async def find_pull_request(
        self, repository: str, branch: str, key: str
    ) -> facts.PullRequestFacts | None:
        """See CodeHost."""
        repo = self._seen(repository)
        pulls = [self._view(repo, number) for number in sorted(repo.pulls, reverse=True)]
        ours = [pull for pull in pulls if pull.branch == branch and marks.has_key(pull.body, key)]
        ours.sort(key=lambda pull: pull.state is not facts.PullRequestState.OPEN)
        return ours[0] if ours else None

    async def ensure_pull_request(self, draft: ports.PullRequestDraft) -> facts.PullRequestFacts:
        """See CodeHost."""
        found = await self.find_pull_request(draft.repository, draft.branch, draft.key)
        return found or self._open(
            self._seen(draft.repository), draft, marks.with_key(draft.body, draft.key)
        )

    def open_by_person(self, draft: ports.PullRequestDraft, name: str) -> int:
        """Let a person open a pull request, without our key; return its number."""
        repo = self._repo(draft.repository)
        number = self._open(repo, draft, draft.body).number
        self._set(repo, number, author=name)
        return number

    async def get_pull_request(self, repository: str, number: int) -> facts.PullRequestFacts:
        """See CodeHost."""
        repo = self._seen(repository)
        if number not in repo.pulls:
            raise errors.NotFound(f"{repository} has no pull request {number}")
        return self._view(repo, number)

    async def get_pull_requests(
        self, wanted: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], facts.PullRequestFacts]:
        """See CodeHost."""
        self._look()
        return {
            (name, number): self._view(self.repositories[name], number)
            for name, number in wanted
            if name in self.repositories and number in self.repositories[name].pulls
        }

    async def save_pull_request_mirror(
        self, pull: facts.PullRequestFacts, *, label: str, status_block: str
    ) -> None:
        """See CodeHost."""
        now = await self.get_pull_request(pull.repository, pull.number)
        repo = self._seen(pull.repository)
        if not marks.shows_status(now.body, status_block):
            self._set(repo, now.number, body=marks.with_status(now.body, status_block))
            self.created["mirror"] += 1
        if marks.with_phase(now.labels, label) != now.labels:
            self._set(repo, now.number, labels=marks.with_phase(now.labels, label))
            self.label_history[now.repository, now.number].append(label)
            self.created["mirror"] += 1

    async def ensure_pull_request_comment(
        self, repository: str, number: int, *, marker: str, body: str
    ) -> str:
        """See CodeHost."""
        await self.get_pull_request(repository, number)
        comments, text = self._seen(repository).comments[number], marks.marked(body, marker)
        for comment in comments:
            if marks.has_key(comment.body, marker):
                comment.body = text
                return comment.id
        comments.append(Comment(self._id("comment"), self.login, text))
        return comments[-1].id

    async def merge_pull_request(
        self, pull: facts.PullRequestFacts, *, sha: str, method: str
    ) -> str:
        """See CodeHost."""
        now = await self.get_pull_request(pull.repository, pull.number)
        repo = self._seen(pull.repository)
        if now.merge_sha is not None:
            return now.merge_sha
        if now.state is not facts.PullRequestState.OPEN or now.head_sha != sha:
            raise errors.Conflict("the pull request was closed or its head has moved")
        if method not in repo.allows.merge_methods:
            raise errors.PolicyInvalid(
                f"no merge method {method}", reason="MergeMethodNotAllowed", system="GitHub"
            )
        if now.mergeable is None:
            raise errors.Transient("not computed yet whether this can be merged", system="GitHub")
        green = not repo.required or now.required_checks is facts.ChecksState.SUCCESS
        approved = now.review_decision in (None, "APPROVED")
        if not (now.mergeable and green and approved) or now.draft:
            raise errors.HandOver("NotMergeable", "refused: conflict, checks, reviews or draft")
        return self._merge(repo, pull.number, self.login)

    async def close_pull_request(self, repository: str, number: int) -> None:
        """See CodeHost."""
        pull = await self.get_pull_request(repository, number)
        if pull.state is facts.PullRequestState.OPEN:
            self._set(self._seen(repository), number, state=facts.PullRequestState.CLOSED)
            self.created["close"] += 1

    async def get_delivery(self, repository: str, sha: str, strategy: str) -> facts.DeliveryFacts:
        """See CodeHost; unset: PENDING where the strategy has a word of its own, else UNKNOWN."""
        speaks = strategy in ("Actions", "Deployments")
        state = facts.DeliveryState.PENDING if speaks else facts.DeliveryState.UNKNOWN
        unset = facts.DeliveryFacts(revision=sha, state=state)
        return self._seen(repository).delivery.get((strategy, sha), unset)

    # Within.

    def _look(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _seen(self, repository: str) -> Repository:
        self._look()
        if repository not in self.repositories:
            raise errors.Stalled(
                f"{repository} cannot be seen", reason="RepositoryNotFound", system="GitHub"
            )
        return self.repositories[repository]

    def _repo(self, repository: str | None) -> Repository:
        return self.repositories[repository or next(iter(self.repositories))]

    def _commit(self, repository: str, sha: str) -> Commit:
        repo = self._seen(repository)
        commit = repo.commits.get(repo.branches.get(sha, sha))
        if commit is None:
            raise errors.NotFound(f"{repository} has no commit {sha}")
        return commit

    def _id(self, kind: str) -> str:
        self.created[kind] += 1
        return f"{kind}-{self.created[kind]}"

    def _add_commit(
        self, repo: Repository, branch: str, files: Files, *, author: str, message: str
    ) -> str:
        parent = repo.branches.get(branch)
        text = f"{len(repo.commits)} {parent} {author} {message} {sorted(files.items())}"
        sha = hashlib.sha1(text.encode()).hexdigest()
        repo.commits[sha] = Commit(
            sha=sha,
            parent=parent,
            files=dict(files),
            author=author,
            message=message,
            at=self.clock.now(),
        )
        repo.branches[branch] = sha
        return sha

    def _open(
        self, repo: Repository, draft: ports.PullRequestDraft, body: str
    ) -> facts.PullRequestFacts:
        if draft.branch not in repo.branches or draft.base not in repo.branches:
            raise errors.HandOver("ContentRefused", "head or base does not exist")
        if repo.branches[draft.branch] == repo.branches[draft.base]:
            raise errors.HandOver(
                "ContentRefused", f"no commits between {draft.base} and {draft.branch}"
            )
        open_ = [self._view(repo, number) for number in repo.pulls]
        if any(
            pull.branch == draft.branch and pull.state is facts.PullRequestState.OPEN
            for pull in open_
        ):
            raise errors.HandOver(
                "PullRequestTaken", f"another pull request from {draft.branch} is open"
            )
        number = len(repo.pulls) + 1
        repo.comments[number] = []
        repo.pulls[number] = facts.PullRequestFacts(
            repository=draft.repository,
            number=number,
            url=f"https://github.example/{draft.repository}/pull/{number}",
            state=facts.PullRequestState.OPEN,
            branch=draft.branch,
            base=draft.base,
            head_sha=repo.branches[draft.branch],
            author=self.login,
            draft=draft.draft,
            labels=frozenset(draft.labels),
            body=body,
            requested_reviewers=tuple(name for name in draft.reviewers if "/" not in name),
        )
        self.created["pull_request"] += 1
        return self._view(repo, number)

    def _set(self, repo: Repository, number: int, **changes: Any) -> None:
        repo.pulls[number] = dataclasses.replace(repo.pulls[number], **changes)

    def _view(self, repo: Repository, number: int) -> facts.PullRequestFacts:
        pull = repo.pulls[number]
        is_open = pull.state is facts.PullRequestState.OPEN
        head = repo.branches.get(pull.branch, pull.head_sha) if is_open else pull.head_sha
        by_us = {self.login, pull.author}
        checks = (
            repo.checks.get(head, facts.ChecksState.PENDING)
            if repo.required
            else facts.ChecksState.NONE
        )
        return dataclasses.replace(
            pull,
            head_sha=head,
            mergeable=repo.mergeable.get(number, self._can_merge(repo, pull, head))
            if is_open
            else None,
            person_comments=sum(comment.author not in by_us for comment in repo.comments[number]),
            required_checks=checks,
            review_decision=_decision(pull, repo.allows.required_reviews),
        )

    def _can_merge(self, repo: Repository, pull: facts.PullRequestFacts, head: str) -> bool:
        base = repo.commits[repo.branches[pull.base]].files
        fork, ours = self._fork(repo, pull.base, head), repo.commits[head].files
        both = _difference(fork, ours) & _difference(fork, base)
        return all(ours.get(name) == base.get(name) for name in both)

    def _fork(self, repo: Repository, base: str, head: str) -> Files:
        """Return the tree where head left base."""
        known, sha = set(), repo.branches.get(base)
        while sha:
            known.add(sha)
            sha = repo.commits[sha].parent
        sha = head
        while sha and sha not in known:
            sha = repo.commits[sha].parent
        return repo.commits[sha].files if sha else {}

    def _merge(self, repo: Repository, number: int, by: str) -> str:
        pull = self._view(repo, number)
        fork, ours = self._fork(repo, pull.base, pull.head_sha), repo.commits[pull.head_sha].files
        change = {name: ours.get(name) for name in _difference(fork, ours)}
        files = _changed(repo.commits[repo.branches[pull.base]].files, change)
        sha = self._add_commit(repo, pull.base, files, author=by, message=f"Merge #{number}")
        state = facts.PullRequestState.MERGED
        self._set(repo, number, state=state, head_sha=pull.head_sha, merge_sha=sha, merged_by=by)
        self.created["merge"] += 1
        if self.on_merge is not None:
            self.on_merge(files)
        return sha

    def _review(
        self, number: int, name: str, state: facts.ReviewState, body: str, repository: str | None
    ) -> None:
        repo = self._repo(repository)
        pull = self._view(repo, number)
        review = facts.Review(
            by=facts.Actor(id=name, name=name, is_operator=name == self.login),
            is_person=name not in (self.login, pull.author),
            state=state,
            sha=pull.head_sha,
            at=self.clock.now(),
            body=body,
        )
        asked = tuple(login for login in pull.requested_reviewers if login != name)
        self._set(repo, number, reviews=(*pull.reviews, review), requested_reviewers=asked)


def _changed(files: Files, change: Mapping[str, bytes | None]) -> dict[str, bytes]:
    merged = {**files, **change}
    return {name: content for name, content in merged.items() if content is not None}


def _difference(before: Files, after: Files) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _is_below(name: str, path: str) -> bool:
    folder = path.strip("/")
    return not folder or name == folder or name.startswith(f"{folder}/")


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
