"""What emulate gets wrong about pull requests, put right: heads that move, merges of both sides, assignees.

emulate keeps the head and base that a pull request was opened with, and merges by taking the head's whole tree, which
would undo whatever reached the base meanwhile. Here the head is the branch's, and a merge joins the changes of both.
"""

from __future__ import annotations

import json
from typing import Any

from hack.sandbox.github import emulate, state

METHODS = {
    "merge": ("allow_merge_commit", "Merge commits"),
    "squash": ("allow_squash_merge", "Squash merges"),
    "rebase": ("allow_rebase_merge", "Rebase merges"),
}


class Overlay:
    """Pull requests of emulate as GitHub would show them."""

    def __init__(self, upstream: emulate.Emulate, kept: state.State) -> None:
        self.upstream, self.kept = upstream, kept

    async def head_of(self, repo: str, branch: str) -> str | None:
        found = await self.upstream.call("GET", f"/repos/{repo}/git/ref/heads/{branch}")
        return str(found["object"]["sha"]) if found and "object" in found else None

    async def pull(self, repo: str, number: int | str) -> dict[str, Any] | None:
        """One pull request; None where there is none."""
        found = await self.upstream.call("GET", f"/repos/{repo}/pulls/{number}")
        return await self.shown(repo, found) if found else None

    async def shown(self, repo: str, pull: dict[str, Any]) -> dict[str, Any]:
        """The pull request with its true head, its merge and its assignees."""
        key = (repo, pull["number"])
        if pull["state"] == "open":
            head = await self.head_of(repo, pull["head"]["ref"])
            if head is not None:
                self.kept.heads[key] = head
        pull["head"]["sha"] = self.kept.heads.get(key, pull["head"]["sha"])
        pull["assignees"] = [await self.user(login) for login in self.kept.assignees.get(key, [])]
        pull["assignee"] = pull["assignees"][0] if pull["assignees"] else None
        return {**pull, **self.kept.merged.get(key, {})}

    async def user(self, login: str) -> dict[str, Any]:
        return dict(await self.upstream.call("GET", f"/users/{login}") or {"login": login, "type": "User"})

    async def tree(self, repo: str, sha: str) -> dict[str, dict[str, Any]]:
        """Files of a commit by path."""
        found = await self.upstream.call("GET", f"/repos/{repo}/git/trees/{sha}?recursive=1")
        return {entry["path"]: entry for entry in (found or {}).get("tree", []) if entry["type"] != "tree"}

    async def merge(self, repo: str, pull: dict[str, Any], method: str, login: str, token: str) -> str:
        """Join the head's changes with the base as it is now; return the commit."""
        base, head, number = pull["base"]["ref"], pull["head"]["sha"], pull["number"]
        onto = await self.head_of(repo, base)
        compared = await self.upstream.call("GET", f"/repos/{repo}/compare/{base}...{head}")
        fork, ours = await self.tree(repo, compared["merge_base_commit"]["sha"]), await self.tree(repo, head)
        entries = [
            {"path": path, "mode": file["mode"], "type": file["type"], "sha": ours[path]["sha"] if path in ours else None}
            for path, file in {**fork, **ours}.items()
            if (fork.get(path) or {}).get("sha") != (ours.get(path) or {}).get("sha")
            or (fork.get(path) or {}).get("mode") != (ours.get(path) or {}).get("mode")
        ]
        body: dict[str, Any] = {"base_tree": await self._tree_sha(repo, onto), "tree": entries}
        tree = await self.upstream.call("POST", f"/repos/{repo}/git/trees", body, token=token)
        parents = [onto, head] if method == "merge" else [onto]
        body = {"message": await self._message(repo, pull, method), "tree": tree["sha"], "parents": parents}
        made = await self.upstream.call("POST", f"/repos/{repo}/git/commits", body, token=token)
        await self._move(repo, base, made["sha"])
        await self.upstream.call("PATCH", f"/repos/{repo}/pulls/{number}", {"state": "closed"})
        self.kept.merged[repo, number] = {
            "merged": True, "merged_at": state.now(), "merge_commit_sha": made["sha"], "state": "closed",
            "closed_at": state.now(), "merged_by": await self.user(login), "mergeable": None,
        }  # fmt: skip
        return str(made["sha"])

    async def _tree_sha(self, repo: str, commit: str | None) -> str:
        return str((await self.upstream.call("GET", f"/repos/{repo}/git/commits/{commit}"))["tree"]["sha"])

    async def _message(self, repo: str, pull: dict[str, Any], method: str) -> str:
        """Return the default message.

        https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges
        """
        if method == "merge":
            return f"Merge pull request #{pull['number']} from {pull['head']['label'].replace(':', '/')}\n\n{pull['title']}"
        commit = await self.upstream.call("GET", f"/repos/{repo}/git/commits/{pull['head']['sha']}")
        return f"{pull['title']} (#{pull['number']})\n\n{commit['message']}" if method == "squash" else str(commit["message"])

    async def _move(self, repo: str, branch: str, sha: str) -> None:
        """Set the base's head; what protects it was judged before, on what emulate cannot see."""
        path = f"/repos/{repo}/branches/{branch}/protection"
        found = await self.upstream.call("GET", path)
        guarded = found if found and "enforce_admins" in found else None
        if guarded:
            await self.upstream.call("DELETE", path)
        moved = await self.upstream.call("PATCH", f"/repos/{repo}/git/refs/heads/{branch}", {"sha": sha, "force": False})
        if guarded:
            await self.upstream.call("PUT", path, _as_put(guarded))
        if not moved or "object" not in moved:
            raise RuntimeError(f"emulate does not move {branch}: {json.dumps(moved)[:300]}")


def _as_put(found: dict[str, Any]) -> dict[str, Any]:
    """The protection as it is written, from how it is read."""
    checks, reviews = found.get("required_status_checks"), found.get("required_pull_request_reviews")
    count = (reviews or {}).get("required_approving_review_count", 0)
    return {
        "required_status_checks": {"strict": checks.get("strict", False), "contexts": checks.get("contexts", [])} if checks else None,
        "enforce_admins": bool((found.get("enforce_admins") or {}).get("enabled")),
        "required_pull_request_reviews": {"required_approving_review_count": count} if reviews else None,
        "restrictions": None,
    }
