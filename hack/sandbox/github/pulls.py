"""Pull requests as GitHub shows them: mergeability, review decision, checks; read from emulate and our own state."""

from __future__ import annotations

import asyncio
from typing import Any

from hack.sandbox.github import emulate, overlay, state

GRAPH_REVIEW = {
    "approved": "APPROVED", "changes_requested": "CHANGES_REQUESTED", "commented": "COMMENTED",
    "dismissed": "DISMISSED", "pending": "PENDING",
}  # fmt: skip


class Reader:
    """Reads of one repository host."""

    def __init__(self, upstream: emulate.Emulate, kept: state.State) -> None:
        self.upstream, self.kept = upstream, kept
        self.overlay = overlay.Overlay(upstream, kept)

    async def exists(self, repository: str) -> bool:
        return await self.upstream.call("GET", f"/repos/{repository}") is not None

    async def _tree(self, repository: str, sha: str) -> dict[str, str]:
        found = await self.upstream.call("GET", f"/repos/{repository}/git/trees/{sha}?recursive=1")
        return {entry["path"]: entry["sha"] for entry in (found or {}).get("tree", []) if entry["type"] == "blob"}

    async def mergeable(self, repository: str, base: str, head_sha: str) -> bool:
        """A three-way look at files: a path that both sides changed differently conflicts."""
        compared = await self.upstream.call("GET", f"/repos/{repository}/compare/{base}...{head_sha}")
        ancestor = ((compared or {}).get("merge_base_commit") or {}).get("sha")
        if ancestor is None:
            return False
        old, ours, theirs = await asyncio.gather(
            self._tree(repository, ancestor), self._tree(repository, base), self._tree(repository, head_sha)
        )
        for path in old.keys() | ours.keys() | theirs.keys():
            was, here, there = old.get(path), ours.get(path), theirs.get(path)
            if here != was and there != was and here != there:
                return False
        return True

    async def required_contexts(self, repository: str, branch: str) -> list[str]:
        found = await self.upstream.call("GET", f"/repos/{repository}/branches/{branch}/protection")
        checks = (found or {}).get("required_status_checks") or {}
        return list(checks.get("contexts") or [entry["context"] for entry in checks.get("checks", [])])

    async def required_reviews(self, repository: str, branch: str) -> int:
        found = await self.upstream.call("GET", f"/repos/{repository}/branches/{branch}/protection")
        return int(((found or {}).get("required_pull_request_reviews") or {}).get("required_approving_review_count", 0))

    async def _merge_state(self, repository: str, pull: dict[str, Any]) -> str:
        """https://docs.github.com/en/graphql/reference/enums#mergestatestatus: behind where it must be up to date."""
        found = await self.upstream.call("GET", f"/repos/{repository}/branches/{pull['base']['ref']}/protection")
        if not ((found or {}).get("required_status_checks") or {}).get("strict"):
            return "CLEAN"
        span = f"{pull['base']['ref']}...{pull['head']['sha']}"
        compared = await self.upstream.call("GET", f"/repos/{repository}/compare/{span}")
        return "BEHIND" if (compared or {}).get("behind_by") else "CLEAN"

    async def reviews(self, repository: str, number: int) -> list[dict[str, Any]]:
        return list(await self.upstream.call("GET", f"/repos/{repository}/pulls/{number}/reviews?per_page=100") or [])

    async def contexts(self, repository: str, sha: str, required: list[str]) -> list[dict[str, Any]]:
        """Commit statuses of ours and check runs of emulate, as the rollup's contexts."""
        found: list[dict[str, Any]] = [
            {
                "__typename": "StatusContext", "context": entry["context"], "state": entry["state"].upper(),
                "isRequired": entry["context"] in required,
            }
            for entry in self.kept.combined(repository, sha)["statuses"]
        ]  # fmt: skip
        runs = await self.upstream.call("GET", f"/repos/{repository}/commits/{sha}/check-runs")
        for run in (runs or {}).get("check_runs", []):
            found.append(
                {
                    "__typename": "CheckRun", "name": run["name"], "status": run["status"].upper(),
                    "conclusion": (run.get("conclusion") or "").upper() or None, "isRequired": run["name"] in required,
                }
            )  # fmt: skip
        return found

    async def graph_pull(self, repository: str, number: int) -> dict[str, Any] | None:
        """One pull request in GraphQL's words."""
        call = self.upstream.call
        pull = await self.overlay.pull(repository, number)
        if pull is None:
            return None
        issue, comments, reviews, required = await asyncio.gather(
            call("GET", f"/repos/{repository}/issues/{number}"),
            call("GET", f"/repos/{repository}/issues/{number}/comments?per_page=100"),
            self.reviews(repository, number),
            self.required_contexts(repository, pull["base"]["ref"]),
        )
        spoken = await call("GET", f"/repos/{repository}/pulls/{number}/comments?per_page=100") or []
        contexts = await self.contexts(repository, pull["head"]["sha"], required)
        is_open = pull["state"] == "open"
        clean = is_open and await self.mergeable(repository, pull["base"]["ref"], pull["head"]["sha"])
        rollup = {"state": _rollup(contexts), "contexts": _nodes(contexts)} if contexts else None
        labels = (issue or pull).get("labels", [])
        return {
            "id": f"{repository}#{number}",
            "number": number,
            "url": pull["html_url"],
            "title": pull["title"],
            "body": pull.get("body") or "",
            "state": "MERGED" if pull["merged"] else pull["state"].upper(),
            "isDraft": bool(pull.get("draft")),
            "merged": pull["merged"],
            "mergedAt": pull["merged_at"],
            "closedAt": pull["closed_at"],
            "mergeCommit": {"oid": pull["merge_commit_sha"]} if pull["merged"] else None,
            "headRefOid": pull["head"]["sha"],
            "headRefName": pull["head"]["ref"],
            "baseRefName": pull["base"]["ref"],
            "mergeable": ("MERGEABLE" if clean else "CONFLICTING") if is_open else "UNKNOWN",
            "mergeStateStatus": await self._merge_state(repository, pull) if clean else "DIRTY",
            "isInMergeQueue": is_open and (repository, number) in self.kept.queued,
            "reviewDecision": decide(reviews, await self.required_reviews(repository, pull["base"]["ref"])),
            "author": _actor(pull["user"]),
            "mergedBy": _actor(pull.get("merged_by")),
            "labels": _nodes([{"name": label["name"]} for label in labels]),
            "reviews": _nodes(
                [
                    {
                        "id": review["node_id"],
                        "url": review["html_url"],
                        "comments": _nodes([{"body": one["body"]} for one in spoken if one.get("pull_request_review_id") == review["id"]]),
                        "state": GRAPH_REVIEW[review["state"].lower()],
                        "author": _actor(review["user"]),
                        "authorCanPushToRepository": review["user"]["login"] not in state.READERS,
                        "commit": {"oid": review["commit_id"]},
                        "submittedAt": review["submitted_at"],
                        "body": review.get("body") or "",
                    }
                    for review in reviews
                ]
            ),
            "reviewRequests": _nodes(
                [{"requestedReviewer": _actor(user)} for user in pull.get("requested_reviewers", [])]
            ),
            "comments": _nodes([{"author": _actor(c["user"]), "body": c["body"]} for c in comments or []]),
            "assignees": _nodes([_actor(user) for user in (issue or pull).get("assignees", [])]),
            "commits": _nodes([{"commit": {"oid": pull["head"]["sha"], "statusCheckRollup": rollup}}]),
        }


def _nodes(nodes: list[Any]) -> dict[str, Any]:
    return {"nodes": nodes, "totalCount": len(nodes)}


def _actor(user: dict[str, Any] | None) -> dict[str, Any] | None:
    """The operator's account is a machine user: GitHub calls it a User, too."""
    return {"__typename": user.get("type", "User"), "login": user["login"]} if user else None


def _rollup(contexts: list[dict[str, Any]]) -> str:
    words = [entry.get("state") or entry.get("conclusion") or "PENDING" for entry in contexts]
    if any(word in ("FAILURE", "ERROR", "TIMED_OUT", "CANCELLED") for word in words):
        return "FAILURE"
    return "SUCCESS" if all(word in ("SUCCESS", "NEUTRAL", "SKIPPED") for word in words) else "PENDING"


def decide(reviews: list[dict[str, Any]], required: int) -> str | None:
    """https://docs.github.com/en/graphql/reference/enums#pullrequestreviewdecision; null where none is required."""
    latest = {r["user"]["login"]: r["state"].lower() for r in reviews if r["state"].lower() != "commented"}
    if "changes_requested" in latest.values():
        return "CHANGES_REQUESTED"
    if required == 0:
        return None
    approvals = sum(1 for verdict in latest.values() if verdict == "approved")
    return "APPROVED" if approvals >= required else "REVIEW_REQUIRED"
