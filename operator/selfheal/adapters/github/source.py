"""Files and history of a repository."""

from __future__ import annotations

import base64
import collections
import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.github import repositories, session
from selfheal.domain import errors

MAX_FILES = 2000
MAX_BYTES = 8 << 20

_CACHE_BYTES = 32 << 20
_READ = "contents: read"
REGULAR = frozenset({"100644", "100755"})  # not 120000 (symlink), 160000 (submodule)


class BlobCache:
    """Contents by blob sha, which never change; drops the oldest beyond 32 MiB."""

    def __init__(self, capacity: int = _CACHE_BYTES) -> None:
        """Begin empty; ``capacity`` in bytes."""
        self._capacity, self._size = capacity, 0
        self._blobs: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    def find(self, sha: str) -> bytes | None:
        """Return a content that is still kept."""
        with self._lock:
            content = self._blobs.get(sha)
            if content is not None:
                self._blobs.move_to_end(sha)
            return content

    def keep(self, sha: str, content: bytes) -> None:
        """Keep a content."""
        with self._lock:
            if sha not in self._blobs:
                self._blobs[sha] = content
                self._size += len(content)
            while self._size > self._capacity:
                self._size -= len(self._blobs.popitem(last=False)[1])


def read_tree(
    api: session.Api, repository: str, sha: str, path: str, cache: BlobCache
) -> ports.SourceTree:
    """Read the regular files below ``path`` at a commit; NotFound where the commit is not there."""
    folder = path.strip("/")
    prefix = f"{folder}/" if folder else ""
    entries, cut = _entries(api, repository, sha, folder)
    files: dict[str, bytes] = {}
    size = 0
    for entry in entries:
        if entry["type"] != "blob" or entry["mode"] not in REGULAR:
            continue
        size += entry.get("size") or 0
        if len(files) >= MAX_FILES or size > MAX_BYTES:
            return _tree(repository, sha, files, truncated=True)
        files[prefix + entry["path"]] = _blob(api, repository, entry["sha"], cache)
    return _tree(repository, sha, files, truncated=cut)


def list_commits(
    api: session.Api, repository: str, sha: str, path: str, limit: int
) -> Sequence[ports.CommitFacts]:
    """Read the newest commits that touch a path; ``files`` stay empty (a request each)."""
    where = {"path": path.strip("/")} if path.strip("/") else {}
    try:
        found = list(api.pages(f"/repos/{repository}/commits", limit=limit, sha=sha, **where))
    except errors.NotFound as exc:
        raise repositories.explain_missing(api, repository, exc, _READ) from exc
    return tuple(_commit(item) for item in found[:limit])


def _entries(
    api: session.Api, repository: str, sha: str, folder: str
) -> tuple[list[Mapping[str, Any]], bool]:
    """Return entries below a folder, paths relative to it, and whether GitHub left some out."""
    whole = _read_entries(api, repository, sha, recursive=True)
    if not whole["truncated"]:
        return _below(whole["tree"], folder), False
    # More than 100,000 entries in the repository: walk down to the folder, then read only that.
    tree_sha = sha
    for part in [name for name in folder.split("/") if name]:
        level = _read_entries(api, repository, tree_sha, recursive=False)
        match = [e for e in level["tree"] if e["path"] == part and e["type"] == "tree"]
        if not match:
            return [], False
        tree_sha = match[0]["sha"]
    below = _read_entries(api, repository, tree_sha, recursive=True) if folder else whole
    return below["tree"], below["truncated"]


def _below(entries: Sequence[Mapping[str, Any]], folder: str) -> list[Mapping[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    return [
        {**entry, "path": entry["path"][len(prefix) :]}
        for entry in entries
        if entry["path"].startswith(prefix)
    ]


def _read_entries(api: session.Api, repository: str, sha: str, *, recursive: bool) -> Any:
    params = {"recursive": "1"} if recursive else {}
    try:
        return api.get(f"/repos/{repository}/git/trees/{sha}", **params)
    except errors.NotFound as exc:
        raise repositories.explain_missing(api, repository, exc, _READ) from exc


def _blob(api: session.Api, repository: str, sha: str, cache: BlobCache) -> bytes:
    content = cache.find(sha)
    if content is None:
        blob = api.get(f"/repos/{repository}/git/blobs/{sha}")
        text = blob["content"]
        content = base64.b64decode(text) if blob["encoding"] == "base64" else text.encode()
        cache.keep(sha, content)
    return content


def _tree(
    repository: str, sha: str, files: Mapping[str, bytes], *, truncated: bool
) -> ports.SourceTree:
    return ports.SourceTree(repository=repository, sha=sha, files=files, truncated=truncated)


def _commit(item: Mapping[str, Any]) -> ports.CommitFacts:
    commit = item["commit"]
    account, author = item.get("author") or {}, commit.get("author") or {}
    return ports.CommitFacts(
        sha=item["sha"],
        author=account.get("login") or author.get("name") or "unknown",
        at=dt.datetime.fromisoformat((commit.get("committer") or author)["date"]),
        message=commit["message"],
    )
