"""A code host in memory: the CodeHost port, and what people and pipelines do beside us."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from selfheal import ports
from selfheal.adapters.github import marks, source
from selfheal.domain import errors, facts
from tests.fakes import repository as store

Files = store.Files
Change = Mapping[str, bytes | None]
OnMerge = Callable[[Files], None]

_ALL = facts.RepositoryFacts(
    default_branch="main",
    merge_methods=frozenset({"merge", "squash", "rebase"}),
    has_required_checks=False,
    required_reviews=0,
    can_push=True,
    can_merge=True,
)


class People:
    """What everybody but the operator does. ``repository`` is needed only where there are several."""

    def __init__(self, clock: ports.Clock, login: str, on_merge: OnMerge | None) -> None:
        """Begin without repositories."""
        self.clock, self.login, self.on_merge = clock, login, on_merge
        self.repositories: dict[str, store.Repository] = {}
        self.created: collections.Counter[str] = collections.Counter()
        self.label_history: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
        self.outage: errors.SelfHealError | None = None

    def add_repository(self, name: str, files: Files, *, branch: str = "main") -> str:
        """Make a repository with one commit; return that commit."""
        allows = dataclasses.replace(_ALL, default_branch=branch)
        repo = store.Repository(allows=allows, operator=self.login)
        self.repositories[name] = repo
        return repo.commit(branch, files, author="ann", message="Begin", at=self.clock.now())

    def protect(
        self,
        *,
        reviews: int = 0,
        checks: Sequence[str] = (),
        strict: bool = False,
        repository: str | None = None,
    ) -> None:
        """Demand reviews and named checks on the default branch, ``strict``: of the newest base."""
        repo = self.repo(repository)
        repo.strict = strict
        repo.required = frozenset(checks)
        repo.allows = dataclasses.replace(
            repo.allows, required_reviews=reviews, has_required_checks=bool(checks)
        )

    def allow(self, *methods: str, repository: str | None = None) -> None:
        """Allow only these merge methods."""
        repo = self.repo(repository)
        repo.allows = dataclasses.replace(repo.allows, merge_methods=frozenset(methods))

    def push(
        self,
        branch: str,
        files: Change,
        name: str = "ann",
        message: str = "Change",
        repository: str | None = None,
    ) -> str:
        """Let a person commit onto a branch; return the commit."""
        repo = self.repo(repository)
        tree = store.changed(repo.files(branch), files)
        return repo.commit(branch, tree, author=name, message=message, at=self.clock.now())

    def push_foreign_commit(
        self, number: int, name: str = "ann", *, repository: str | None = None
    ) -> str:
        """Let a person commit onto the head of a pull request; return the commit."""
        branch = self.repo(repository).pulls[number].branch
        return self.push(branch, {"foreign.txt": b"by a person\n"}, name, repository=repository)

    def open_by_person(self, draft: ports.PullRequestDraft, name: str) -> int:
        """Let a person open a pull request, without our key; return its number."""
        return self.repo(draft.repository).open(draft, draft.body, name).number

    def approve(self, number: int, name: str, *, repository: str | None = None) -> None:
        """Let a person approve the present head."""
        verdict = facts.ReviewState.APPROVED
        self.repo(repository).review(number, name, verdict, "", self.clock.now())

    def request_changes(
        self,
        number: int,
        name: str,
        body: str = "no",
        *,
        comments: Sequence[str] = (),
        repository: str | None = None,
    ) -> None:
        """Let a person ask for changes, ``comments`` at lines of the change."""
        verdict = facts.ReviewState.CHANGES_REQUESTED
        repo = self.repo(repository)
        repo.review(number, name, verdict, body, self.clock.now(), comments)

    def rewrite(self, branch: str, files: Files, name: str = "ann") -> str:
        """Let a person force-push a branch to a history of one commit; return the commit."""
        repo = self.repo()
        repo.branches.pop(branch, None)
        return repo.commit(branch, files, author=name, message="Rewritten", at=self.clock.now())

    def comment(self, number: int, name: str, body: str, *, repository: str | None = None) -> None:
        """Let a person comment."""
        comments = self.repo(repository).comments[number]
        comments.append(store.Comment(f"{name}-{len(comments)}", name, body))

    def assign(self, number: int, name: str, *, repository: str | None = None) -> None:
        """Let a person take the pull request."""
        repo = self.repo(repository)
        repo.set(number, assignees=(*repo.pulls[number].assignees, name))

    def label(self, number: int, *names: str, repository: str | None = None) -> None:
        """Let a person add labels."""
        repo = self.repo(repository)
        repo.set(number, labels=repo.pulls[number].labels | set(names))

    def edit_body(
        self, number: int, name: str, body: str, *, repository: str | None = None
    ) -> None:
        """Let a person edit the description."""
        self.repo(repository).set(number, body=body)

    def merge_by_person(self, number: int, name: str, *, repository: str | None = None) -> str:
        """Let a person merge; return the merge commit."""
        return self.merge(self.repo(repository), number, name)

    def close(self, number: int, name: str = "ann", *, repository: str | None = None) -> None:
        """Let a person close without merging."""
        self.repo(repository).close(number)

    def set_checks(
        self, number: int, state: facts.ChecksState, *, repository: str | None = None
    ) -> None:
        """Set the state of all required checks of the present head."""
        repo = self.repo(repository)
        repo.checks[repo.view(number).head_sha] = state

    def set_mergeable(
        self, number: int, mergeable: bool | None, *, repository: str | None = None
    ) -> None:
        """Say whether a pull request can be merged; None: not computed yet."""
        self.repo(repository).mergeable[number] = mergeable

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
        self.repo(repository).delivery[strategy, sha] = found

    def files(self, branch: str = "main", *, repository: str | None = None) -> Files:
        """Return the tree of a branch."""
        return self.repo(repository).files(branch)

    def comments(self, number: int, *, repository: str | None = None) -> Sequence[str]:
        """Return the bodies of all comments."""
        return [comment.body for comment in self.repo(repository).comments[number]]

    def repo(self, name: str | None = None) -> store.Repository:
        """Return a repository by name, or the first."""
        return self.repositories[name or next(iter(self.repositories))]

    def merge(self, repo: store.Repository, number: int, by: str) -> str:
        """Merge and tell ``on_merge`` the whole tree that is now delivered."""
        sha = repo.merge(number, by, self.clock.now())
        if self.on_merge is not None:
            self.on_merge(repo.files(sha))
        return sha


class FakeCodeHost(People):
    """The port in memory; contracts are those of ``ports.CodeHost``.

    ``created`` counts what the operator made: branch, pull_request, comment, mirror, merge, close,
    delete. ``label_history`` has the phase labels of each pull request in the order they were set.
    ``outage``, when set, is raised by every call of the port.
    """

    def __init__(
        self,
        clock: ports.Clock,
        *,
        login: str = "selfheal-bot",
        on_merge: OnMerge | None = None,
    ) -> None:
        """Begin without repositories; ``on_merge`` gets the whole tree of the base after a merge."""
        super().__init__(clock, login, on_merge)

    async def get_repository(self, repository: str) -> facts.RepositoryFacts:
        """See CodeHost."""
        return self._seen(repository).allows

    async def get_signer(self, repository: str) -> str:
        """See CodeHost."""
        self._seen(repository)
        return f"{self.login} <7+{self.login}@users.noreply.github.example>"

    async def get_branch_sha(self, repository: str, branch: str) -> str:
        """See CodeHost."""
        sha = self._seen(repository).branches.get(branch)
        if sha is None:
            raise errors.NotFound(f"{repository} has no branch {branch}")
        return sha

    async def get_tree(self, repository: str, sha: str, path: str) -> ports.SourceTree:
        """See CodeHost."""
        whole = self._at(repository, sha)[0].files
        files: dict[str, bytes] = {}
        size, truncated = 0, False
        for name in sorted(name for name in whole if _is_below(name, path)):
            size += len(whole[name])
            truncated = len(files) >= source.MAX_FILES or size > source.MAX_BYTES
            if truncated:
                break
            files[name] = whole[name]
        return ports.SourceTree(repository=repository, sha=sha, files=files, truncated=truncated)

    async def list_commits(
        self, repository: str, sha: str, path: str, *, limit: int = 20
    ) -> Sequence[ports.CommitFacts]:
        """See CodeHost."""
        line = self._at(repository, sha)
        befores: list[Files] = [*(commit.files for commit in line[1:]), {}]
        touching = [
            commit
            for commit, before in zip(line, befores, strict=True)
            if any(_is_below(name, path) for name in store.difference(before, commit.files))
        ]
        return tuple(
            ports.CommitFacts(sha=item.sha, author=item.author, at=item.at, message=item.message)
            for item in touching[:limit]
        )

    async def find_branch(self, repository: str, name: str) -> facts.BranchFacts | None:
        """See CodeHost."""
        repo = self._seen(repository)
        if name not in repo.branches:
            return None
        commit = repo.commits[repo.branches[name]]
        key = marks.trailer(commit.message)
        return facts.BranchFacts(name=name, sha=commit.sha, effect_key=key)

    async def ensure_branch(
        self,
        repository: str,
        name: str,
        *,
        base_sha: str,
        files: Change,
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """See CodeHost."""
        found = await self.find_branch(repository, name)
        if found is not None and found.effect_key != key:
            raise errors.Conflict(f"branch {name} exists and its head commit is not ours")
        if found is not None:
            return found
        base, repo = self._at(repository, base_sha)[0], self._seen(repository)
        repo.branches[name] = base.sha
        tree, text = store.changed(base.files, files), marks.with_trailer(message, key)
        sha = repo.commit(name, tree, author=self.login, message=text, at=self.clock.now())
        self.created["branch"] += 1
        return facts.BranchFacts(name=name, sha=sha, effect_key=key)

    async def push_revision(
        self,
        repository: str,
        name: str,
        *,
        head_sha: str,
        parent_sha: str,
        files: Change,
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """See CodeHost."""
        found = await self.find_branch(repository, name)
        if found is not None and found.effect_key == key:
            return found
        if found is None or found.sha != head_sha:
            raise errors.Conflict(f"the head of branch {name} is not {head_sha}")
        parent, repo = self._at(repository, parent_sha)[0], self._seen(repository)
        tree, text = store.changed(parent.files, files), marks.with_trailer(message, key)
        repo.branches[name] = parent.sha
        sha = repo.commit(name, tree, author=self.login, message=text, at=self.clock.now())
        self.created["revision"] += 1
        return facts.BranchFacts(name=name, sha=sha, effect_key=key)

    async def list_branches(self, repository: str, prefix: str) -> Sequence[str]:
        """See CodeHost."""
        names = self._seen(repository).branches
        return tuple(sorted(name for name in names if name.startswith(prefix)))

    async def delete_branch(self, repository: str, name: str) -> None:
        """See CodeHost; open pull requests from the branch close, as on GitHub."""
        repo = self._seen(repository)
        if name in repo.branches:
            for number in [n for n, pull in repo.pulls.items() if pull.branch == name]:
                repo.close(number)
            del repo.branches[name]
            self.created["delete"] += 1

    async def find_pull_request(
        self, repository: str, branch: str, key: str
    ) -> facts.PullRequestFacts | None:
        """See CodeHost."""
        repo = self._seen(repository)
        pulls = [repo.view(number) for number in sorted(repo.pulls, reverse=True)]
        ours = [pull for pull in pulls if pull.branch == branch and marks.has_key(pull.body, key)]
        ours.sort(key=lambda pull: pull.state is not store.OPEN)
        return ours[0] if ours else None

    async def ensure_pull_request(self, draft: ports.PullRequestDraft) -> facts.PullRequestFacts:
        """See CodeHost."""
        found = await self.find_pull_request(draft.repository, draft.branch, draft.key)
        if found is not None:
            return found
        body = marks.with_key(draft.body, draft.key)
        made = self._seen(draft.repository).open(draft, body, self.login)
        self.created["pull_request"] += 1
        return made

    async def get_pull_request(self, repository: str, number: int) -> facts.PullRequestFacts:
        """See CodeHost."""
        repo = self._seen(repository)
        if number not in repo.pulls:
            raise errors.NotFound(f"{repository} has no pull request {number}")
        return repo.view(number)

    async def get_pull_requests(
        self, wanted: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], facts.PullRequestFacts]:
        """See CodeHost."""
        self._look()
        return {
            (name, number): self.repositories[name].view(number)
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
            repo.set(now.number, body=marks.with_status(now.body, status_block))
            self.created["mirror"] += 1
        if marks.with_phase(now.labels, label) != now.labels:
            repo.set(now.number, labels=marks.with_phase(now.labels, label))
            self.label_history[now.repository, now.number].append(label)
            self.created["mirror"] += 1

    async def save_pull_request_title(self, repository: str, number: int, *, title: str) -> None:
        """See CodeHost."""
        await self.get_pull_request(repository, number)
        self._seen(repository).titles[number] = title

    async def ask_review(self, repository: str, number: int, *, logins: Sequence[str]) -> None:
        """See CodeHost."""
        pull = await self.get_pull_request(repository, number)
        asked = (*pull.requested_reviewers, *logins)
        self._seen(repository).set(number, requested_reviewers=tuple(dict.fromkeys(asked)))

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
        self.created["comment"] += 1
        comments.append(store.Comment(f"comment-{self.created['comment']}", self.login, text))
        return comments[-1].id

    async def merge_pull_request(
        self, pull: facts.PullRequestFacts, *, sha: str, method: str
    ) -> str:
        """See CodeHost."""
        now = await self.get_pull_request(pull.repository, pull.number)
        repo = self._seen(pull.repository)
        if now.merge_sha is not None:
            return now.merge_sha
        if now.state is not store.OPEN or now.head_sha != sha:
            raise errors.Conflict("the pull request was closed or its head has moved")
        if method not in repo.allows.merge_methods:
            raise errors.PolicyInvalid(f"no {method}", reason="MergeMethodNotAllowed")
        if now.mergeable is None:
            raise errors.Transient("not computed yet whether this can be merged", system="GitHub")
        green = not repo.required or now.required_checks is facts.ChecksState.SUCCESS
        approved = now.review_decision in (None, "APPROVED")
        if now.draft or not (now.mergeable and green and approved):
            raise errors.HandOver("NotMergeable", "refused: conflict, checks, reviews or draft")
        if repo.merges_by_queue:
            repo.queued.add(pull.number)
            self.created["queue"] += 1
            raise errors.Waiting("InMergeQueue", "it is queued", after=dt.timedelta(seconds=30))
        self.created["merge"] += 1
        return self.merge(repo, pull.number, self.login)

    async def leave_merge_queue(self, repository: str, number: int) -> None:
        """See CodeHost."""
        self._seen(repository).queued.discard(number)

    async def close_pull_request(self, repository: str, number: int) -> None:
        """See CodeHost."""
        pull = await self.get_pull_request(repository, number)
        if pull.state is store.OPEN:
            self._seen(repository).close(number)
            self.created["close"] += 1

    async def get_delivery(self, repository: str, sha: str, strategy: str) -> facts.DeliveryFacts:
        """See CodeHost; unset: PENDING where the strategy has a word of its own, else UNKNOWN."""
        speaks = strategy in ("Actions", "Deployments")
        state = facts.DeliveryState.PENDING if speaks else facts.DeliveryState.UNKNOWN
        unset = facts.DeliveryFacts(revision=sha, state=state)
        return self._seen(repository).delivery.get((strategy, sha), unset)

    def _look(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _seen(self, repository: str) -> store.Repository:
        self._look()
        if repository not in self.repositories:
            message = f"{repository} cannot be seen"
            raise errors.Stalled(message, reason="RepositoryNotFound", system="GitHub")
        return self.repositories[repository]

    def _at(self, repository: str, ref: str) -> list[store.Commit]:
        """Return the history of a commit or branch; NotFound without it."""
        repo = self._seen(repository)
        if repo.branches.get(ref, ref) not in repo.commits:
            raise errors.NotFound(f"{repository} has no commit {ref}")
        return repo.ancestry(ref)


def _is_below(name: str, path: str) -> bool:
    folder = path.strip("/")
    return not folder or name == folder or name.startswith(f"{folder}/")
