"""The CodeHost port on GitHub."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence

import github

from selfheal import ports
from selfheal.adapters.github import (
    branches,
    credentials,
    delivery,
    pulls,
    repositories,
    session,
    source,
)
from selfheal.adapters.github import errors as translation
from selfheal.api import policy
from selfheal.domain import errors, facts


def connect(
    spec: policy.CodeSpec, credential: Mapping[str, str], *, pace: session.Pace | None = None
) -> GitHubCodeHost:
    """Return the code host of a policy; nothing is sent before its first call.

    ``credential`` holds ``GITHUB_TOKEN`` (or ``token``), or ``appId``, ``installationId`` and
    ``privateKey`` (PEM) of a GitHub App. Unauthorized where it holds neither, PolicyInvalid where
    the base URL is none.
    """
    base_url = (spec.base_url or github.Consts.DEFAULT_BASE_URL).rstrip("/")
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "spec.code.baseURL is not an http(s) URL"
        raise errors.PolicyInvalid(message, system=translation.SYSTEM)
    make_auth = credentials.make_auth(credential)
    pace = pace or session.pace_of(parts.hostname)
    return GitHubCodeHost(session.Session(base_url, make_auth, pace))


class GitHubCodeHost:
    """GitHub and GitHub Enterprise; contracts are those of ``ports.CodeHost``."""

    def __init__(self, connection: session.Session) -> None:
        """Serve by one session."""
        self._session = connection
        self._blobs = source.BlobCache()
        self._required: dict[tuple[str, str], frozenset[str]] = {}
        self._labels: set[tuple[str, str]] = set()
        self._own_login: str | None = None
        self._signer: str | None = None

    async def get_repository(self, repository: str) -> facts.RepositoryFacts:
        """Read what the repository allows; remembers its required checks for later reads."""
        found, required = await self._session.read(lambda api: repositories.read(api, repository))
        self._required[repository, found.default_branch] = required
        return found

    async def get_signer(self, repository: str) -> str:
        """Return our account's name and its address that GitHub keeps private; read once."""
        if self._signer is None:
            self._signer = await self._session.read(repositories.read_signer)
        return self._signer

    async def get_branch_sha(self, repository: str, branch: str) -> str:
        """Return the head commit of a branch."""
        return await self._session.read(lambda api: branches.head(api, repository, branch))

    async def get_tree(self, repository: str, sha: str, path: str) -> ports.SourceTree:
        """Read the files below path; one request and one a file not read before."""
        return await self._session.read(
            lambda api: source.read_tree(api, repository, sha, path, self._blobs)
        )

    async def list_commits(
        self, repository: str, sha: str, path: str, *, limit: int = 20
    ) -> Sequence[ports.CommitFacts]:
        """Return the newest commits that touch path, without their files."""
        return await self._session.read(
            lambda api: source.list_commits(api, repository, sha, path, limit)
        )

    async def find_branch(self, repository: str, name: str) -> facts.BranchFacts | None:
        """Read a branch and its head's trailer."""
        return await self._session.read(lambda api: branches.find(api, repository, name))

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
        """Create a branch with one commit on base, or adopt it by our trailer."""
        return await self._session.write(
            lambda api: branches.ensure(
                api,
                repository,
                name,
                base_sha=base_sha,
                files=files,
                message=message,
                key=key,
            )
        )

    async def push_revision(
        self,
        repository: str,
        name: str,
        *,
        head_sha: str,
        parent_sha: str,
        files: Mapping[str, bytes | None],
        message: str,
        key: str,
    ) -> facts.BranchFacts:
        """Move a branch of ours by one commit, only while its head is the one we know."""
        return await self._session.write(
            lambda api: branches.push(
                api,
                repository,
                name,
                head_sha=head_sha,
                parent_sha=parent_sha,
                files=files,
                message=message,
                key=key,
            )
        )

    async def list_branches(self, repository: str, prefix: str) -> Sequence[str]:
        """Return names of branches that begin with prefix."""
        return await self._session.read(lambda api: branches.names(api, repository, prefix))

    async def delete_branch(self, repository: str, name: str) -> None:
        """Delete; gone already is fine."""
        await self._session.write(lambda api: branches.delete(api, repository, name))

    async def find_pull_request(
        self, repository: str, branch: str, key: str
    ) -> facts.PullRequestFacts | None:
        """Find by head branch in any state, only with our key in the body."""

        def work(api: session.Api) -> facts.PullRequestFacts | None:
            number = pulls.find_number(api, repository, branch, key)
            return None if number is None else self._read(api, repository, number)

        return await self._session.read(work)

    async def ensure_pull_request(self, draft: ports.PullRequestDraft) -> facts.PullRequestFacts:
        """Open, or adopt one with our key."""
        number = await self._session.write(lambda api: pulls.ensure(api, draft))
        try:
            return await self.get_pull_request(draft.repository, number)
        except errors.NotFound as exc:  # a replica that lags behind our write
            message = f"pull request {number} is made but cannot be read yet"
            raise errors.Transient(message, system=translation.SYSTEM) from exc

    async def get_pull_request(self, repository: str, number: int) -> facts.PullRequestFacts:
        """Read one."""
        return await self._session.read(lambda api: self._read(api, repository, number))

    async def get_pull_requests(
        self, wanted: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], facts.PullRequestFacts]:
        """Read many, 50 in one GraphQL request; missing ones are absent."""
        if not wanted:
            return {}
        return await self._session.read(
            lambda api: pulls.read_many(api, wanted, self._login(api), self._required)
        )

    async def save_pull_request_mirror(
        self, pull: facts.PullRequestFacts, *, label: str, status_block: str
    ) -> None:
        """Replace phase label and status block; nothing is written when both stand."""
        if pulls.mirrors(pull.labels, pull.body, label, status_block):
            return
        await self._session.write(
            lambda api: pulls.save_mirror(
                api, pull, label=label, status_block=status_block, known=self._labels
            )
        )

    async def save_pull_request_title(self, repository: str, number: int, *, title: str) -> None:
        """Set the title; nothing is written when it stands."""
        await self._session.write(lambda api: pulls.save_title(api, repository, number, title))

    async def ask_review(self, repository: str, number: int, *, logins: Sequence[str]) -> None:
        """Ask people to review again."""
        if logins:
            await self._session.write(
                lambda api: pulls.ask_reviewers(api, repository, number, logins)
            )

    async def ensure_pull_request_comment(
        self, repository: str, number: int, *, marker: str, body: str
    ) -> str:
        """Post a comment with the marker, or edit ours; return its id."""
        return await self._session.write(
            lambda api: pulls.ensure_comment(api, repository, number, marker=marker, body=body)
        )

    async def merge_pull_request(
        self, pull: facts.PullRequestFacts, *, sha: str, method: str
    ) -> str:
        """Merge if the head still is ``sha``; return the merge commit."""
        return await self._session.write(lambda api: pulls.merge(api, pull, sha=sha, method=method))

    async def leave_merge_queue(self, repository: str, number: int) -> None:
        """Take it out of the merge queue; one that is in none is fine."""
        await self._session.write(lambda api: pulls.leave_queue(api, repository, number))

    async def close_pull_request(self, repository: str, number: int) -> None:
        """Close; closed already is fine."""
        await self._session.write(lambda api: pulls.close(api, repository, number))

    async def get_delivery(self, repository: str, sha: str, strategy: str) -> facts.DeliveryFacts:
        """Read what the strategy says about delivery of the commit."""
        return await self._session.read(lambda api: delivery.read(api, repository, sha, strategy))

    def close(self) -> None:
        """Let threads and connections go; not part of the port."""
        self._session.close()

    def _read(self, api: session.Api, repository: str, number: int) -> facts.PullRequestFacts:
        return pulls.read(api, (repository, number), self._login(api), self._required)

    def _login(self, api: session.Api) -> str:
        """Return our own account, read once; an App's installation is no user and has none."""
        if self._own_login is None:
            try:
                self._own_login = "" if api.permissions() is not None else api.get("/user")["login"]
            except (errors.Forbidden, errors.NotFound):
                self._own_login = ""
        return self._own_login
