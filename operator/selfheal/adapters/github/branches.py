"""Branches with one commit of ours, through the Git database.

https://docs.github.com/en/rest/guides/using-the-rest-api-to-interact-with-your-git-database
Blobs, tree and commit are invisible until the reference is created: that one request is the effect.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.adapters.github import errors as translation
from selfheal.adapters.github import marks, queries, repositories, session, source
from selfheal.domain import errors, facts

_WRITE = "contents: write"
_READ = "contents: read"


def head(api: session.Api, repository: str, name: str) -> str:
    """Return the head commit of a branch; NotFound without the branch."""
    try:
        return _ref_sha(api, repository, name)
    except errors.NotFound as exc:
        raise repositories.explain_missing(api, repository, exc, _READ) from exc


def find(api: session.Api, repository: str, name: str) -> facts.BranchFacts | None:
    """Read a branch and the trailer of its head commit."""
    try:
        sha = _ref_sha(api, repository, name)
    except errors.NotFound as exc:
        missing = repositories.explain_missing(api, repository, exc, _READ)
        if missing is exc:
            return None
        raise missing from exc
    commit = api.get(f"/repos/{repository}/git/commits/{sha}")
    return facts.BranchFacts(name=name, sha=sha, effect_key=marks.trailer(commit["message"]))


def ensure(
    api: session.Api,
    repository: str,
    name: str,
    *,
    base_sha: str,
    files: Mapping[str, bytes | None],
    message: str,
    key: str,
) -> facts.BranchFacts:
    """Create the branch with one commit on base, or adopt it by our trailer; else Conflict."""
    there = find(api, repository, name)
    if there is not None:
        return _adopt(there, key)
    try:
        sha = _commit(api, repository, base_sha, files, marks.with_trailer(message, key))
        api.send("POST", f"/repos/{repository}/git/refs", {"ref": f"refs/heads/{name}", "sha": sha})
    except errors.NotFound as exc:  # GitHub hides what may not be written
        raise repositories.not_visible(repository, _WRITE) from exc
    except translation.RefusedError as exc:
        if exc.says("already exists"):
            winner = find(api, repository, name)
            if winner is not None:
                return _adopt(winner, key)
            raise errors.Conflict(f"branch {name} was there and is gone again") from exc
        raise
    return facts.BranchFacts(name=name, sha=sha, effect_key=key)


def push(
    api: session.Api,
    repository: str,
    name: str,
    *,
    head_sha: str,
    parent_sha: str,
    files: Mapping[str, bytes | None],
    message: str,
    key: str,
) -> facts.BranchFacts:
    """Put one commit on ``parent_sha`` and move the branch to it, or adopt a head with our key.

    Onto the head itself the branch moves forward, which GitHub refuses once the head has moved;
    onto another base only GraphQL's updateRefs compares the head before it forces:
    https://docs.github.com/en/graphql/reference/mutations#updaterefs
    """
    there = find(api, repository, name)
    if there is None:
        raise errors.Conflict(f"branch {name} is gone")
    if there.effect_key == key:
        return there
    if there.sha != head_sha:
        raise errors.Conflict(f"the head of branch {name} has moved to {there.sha}")
    try:
        sha = _commit(api, repository, parent_sha, files, marks.with_trailer(message, key))
        if parent_sha == head_sha:
            path = f"/repos/{repository}/git/refs/heads/{session.quote(name)}"
            api.send("PATCH", path, {"sha": sha, "force": False})
        else:
            _force(api, repository, name, before=head_sha, after=sha)
    except errors.NotFound as exc:
        raise repositories.not_visible(repository, _WRITE) from exc
    except translation.RefusedError as exc:
        if exc.says("not a fast forward", "does not exist") or _has_moved(
            api, repository, name, head_sha
        ):
            raise errors.Conflict(f"the head of branch {name} has moved") from exc
        raise
    return facts.BranchFacts(name=name, sha=sha, effect_key=key)


def _force(api: session.Api, repository: str, name: str, *, before: str, after: str) -> None:
    update = {"name": f"refs/heads/{name}", "beforeOid": before, "afterOid": after, "force": True}
    api.mutate(
        queries.UPDATE_REFS,
        {"input": {"repositoryId": _node_id(api, repository), "refUpdates": [update]}},
    )


def _node_id(api: session.Api, repository: str) -> str:
    return str(api.get(f"/repos/{repository}")["node_id"])


def _has_moved(api: session.Api, repository: str, name: str, sha: str) -> bool:
    there = find(api, repository, name)
    return there is None or there.sha != sha


def names(api: session.Api, repository: str, prefix: str) -> Sequence[str]:
    """Return the names of branches that begin with prefix."""
    path = f"/repos/{repository}/git/matching-refs/heads/{session.quote(prefix)}"
    try:
        found = api.get(path)  # not paginated
    except errors.NotFound as exc:
        missing = repositories.explain_missing(api, repository, exc, _READ)
        if missing is exc:
            return ()
        raise missing from exc
    return tuple(ref["ref"].removeprefix("refs/heads/") for ref in found)


def delete(api: session.Api, repository: str, name: str) -> None:
    """Delete a branch; gone already is fine."""
    try:
        api.send("DELETE", f"/repos/{repository}/git/refs/heads/{session.quote(name)}")
    except errors.NotFound as exc:
        missing = repositories.explain_missing(api, repository, exc, _WRITE)
        if missing is not exc:
            raise missing from exc
    except translation.RefusedError as exc:
        if not exc.says("does not exist"):
            raise


def _adopt(branch: facts.BranchFacts, key: str) -> facts.BranchFacts:
    if branch.effect_key != key:
        raise errors.Conflict(f"branch {branch.name} exists and its head commit is not ours")
    return branch


def _ref_sha(api: session.Api, repository: str, name: str) -> str:
    ref = api.get(f"/repos/{repository}/git/ref/heads/{session.quote(name)}")
    return str(ref["object"]["sha"])


def _commit(
    api: session.Api,
    repository: str,
    base_sha: str,
    files: Mapping[str, bytes | None],
    message: str,
) -> str:
    where = f"/repos/{repository}/git"
    base_tree = api.get(f"{where}/commits/{base_sha}")["tree"]["sha"]
    modes = _modes(api, where, base_tree, files)
    entries = [
        _entry(api, where, path, content, modes.get(path, "100644"))
        for path, content in sorted(files.items())
    ]
    tree = api.send("POST", f"{where}/trees", {"base_tree": base_tree, "tree": entries})
    body = {"message": message, "tree": tree["sha"], "parents": [base_sha]}
    signer = marks.signer(message)
    if signer is not None and api.permissions() is None:
        # The author must be who signs off. An App's commits are left without one: GitHub then
        # makes its bot the author, and signs them itself:
        # https://docs.github.com/en/authentication/managing-commit-signature-verification/about-commit-signature-verification#signature-verification-for-bots
        body["author"] = signer
    return str(api.send("POST", f"{where}/commits", body)["sha"])


def _modes(
    api: session.Api, where: str, tree: str, files: Mapping[str, bytes | None]
) -> Mapping[str, str]:
    """Return the modes of the files as they are, so that an executable one stays so."""
    listing = api.get(f"{where}/trees/{tree}", recursive="1")
    modes = {entry["path"]: entry["mode"] for entry in listing["tree"] if entry["path"] in files}
    for path, mode in modes.items():
        if mode not in source.REGULAR:
            raise errors.HandOver("ContentRefused", f"{path} is not a regular file ({mode})")
    return modes


def _entry(
    api: session.Api, where: str, path: str, content: bytes | None, mode: str
) -> dict[str, Any]:
    """Return a tree entry; text goes in with the tree, only other content needs a blob."""
    entry: dict[str, Any] = {"path": path, "mode": mode, "type": "blob"}
    if content is None:
        return {**entry, "sha": None}
    if content and b"\0" not in content:
        with contextlib.suppress(UnicodeDecodeError):
            return {**entry, "content": content.decode()}
    body = {"content": base64.b64encode(content).decode(), "encoding": "base64"}
    return {**entry, "sha": api.send("POST", f"{where}/blobs", body)["sha"]}
