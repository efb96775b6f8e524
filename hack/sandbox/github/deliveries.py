"""What pipelines report, which emulate lacks: commit statuses, deployments and workflow runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hack.sandbox.github import answers, state

if TYPE_CHECKING:
    from hack.sandbox.github.server import Proxy

STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
Found = re.Match[str]


async def _sha(proxy: Proxy, repo: str, ref: str) -> str | None:
    """The commit that a branch or a hash names; None where there is none."""
    head = await proxy.reader.overlay.head_of(repo, ref)
    if head is not None:
        return head
    known = await proxy.upstream.call("GET", f"/repos/{repo}/git/commits/{ref}")
    return ref if known and "tree" in known else None


async def _user(proxy: Proxy, request: web.Request) -> dict[str, Any]:
    return await proxy.reader.overlay.user(request["login"])


def _custom(resource: str, field: str) -> web.Response:
    return answers.refuse(422, "Validation Failed", errors=[{"resource": resource, "field": field, "code": "custom"}])


async def create_status(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/commits/statuses#create-a-commit-status."""
    repo, sha = found["repo"], found["sha"]
    if body.get("state") not in ("error", "failure", "pending", "success"):
        return _custom("Status", "state")
    if await _sha(proxy, repo, sha) is None:
        return answers.refuse(422, f"No commit found for SHA: {sha}")
    entry = {
        "id": proxy.kept.next_id(), "state": body["state"], "context": body.get("context", "default"),
        "description": body.get("description"), "target_url": body.get("target_url"), "created_at": state.now(),
        "updated_at": state.now(), "node_id": "", "url": f"{proxy.upstream.public_url}/repos/{repo}/statuses/{sha}",
        "avatar_url": None, "creator": await _user(proxy, request),
    }  # fmt: skip
    proxy.kept.statuses.setdefault((repo, sha), []).append(entry)
    return web.json_response(entry, status=201)


async def list_statuses(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/commits/statuses#list-commit-statuses-for-a-reference; newest first.

    Also at the older /statuses/{ref}, which PyGithub's `Commit.get_statuses` reads.
    """
    sha = await _sha(proxy, found["repo"], found["ref"])
    known = proxy.kept.statuses.get((found["repo"], sha or ""), [])
    return answers.page(request, proxy.upstream.public_url, known[::-1])


async def combined_status(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference."""
    repo, public = found["repo"], proxy.upstream.public_url
    sha = await _sha(proxy, repo, found["ref"])
    if sha is None:
        return answers.refuse(404, "Not Found")
    url = f"{public}/repos/{repo}/commits/{sha}"
    repository = await proxy.upstream.call("GET", f"/repos/{repo}")
    combined = proxy.kept.combined(repo, sha)
    return web.json_response({**combined, "repository": repository, "commit_url": url, "url": f"{url}/status"})


async def list_deployments(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/deployments#list-deployments; newest first."""
    wanted = {name: request.query[name] for name in ("sha", "ref", "task", "environment") if name in request.query}
    known = [d for d in proxy.kept.deployments.get(found["repo"], []) if all(d[k] == v for k, v in wanted.items())]
    return answers.page(request, proxy.upstream.public_url, known[::-1])


async def create_deployment(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/deployments#create-a-deployment."""
    repo = found["repo"]
    if "ref" not in body:
        return answers.refuse(422, "Invalid request.\n\n\"ref\" wasn't supplied.")
    sha = await _sha(proxy, repo, body["ref"])
    if sha is None:
        return answers.refuse(422, f"No ref found for: {body['ref']}")
    number, base = proxy.kept.next_id(), f"{proxy.upstream.public_url}/repos/{repo}"
    entry = {
        "id": number, "sha": sha, "ref": body["ref"], "task": body.get("task", "deploy"), "payload": {},
        "environment": body.get("environment", "production"), "description": body.get("description"),
        "created_at": state.now(), "updated_at": state.now(), "creator": await _user(proxy, request), "node_id": "",
        "url": f"{base}/deployments/{number}", "statuses_url": f"{base}/deployments/{number}/statuses",
        "repository_url": base,
    }  # fmt: skip
    proxy.kept.deployments.setdefault(repo, []).append(entry)
    return web.json_response(entry, status=201)


def _deployment(proxy: Proxy, found: Found) -> dict[str, Any] | None:
    known = proxy.kept.deployments.get(found["repo"], [])
    return next((entry for entry in known if entry["id"] == int(found["id"])), None)


async def get_deployment(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/deployments#get-a-deployment."""
    known = _deployment(proxy, found)
    return answers.refuse(404, "Not Found") if known is None else web.json_response(known)


async def list_deployment_statuses(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/statuses#list-deployment-statuses; newest first."""
    if _deployment(proxy, found) is None:
        return answers.refuse(404, "Not Found")
    known = proxy.kept.deployment_statuses.get(int(found["id"]), [])
    return answers.page(request, proxy.upstream.public_url, known[::-1])


async def create_deployment_status(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status.

    A success makes earlier successes of the same environment inactive, unless `auto_inactive` is false.
    """
    deployment = _deployment(proxy, found)
    if deployment is None:
        return answers.refuse(404, "Not Found")
    if body.get("state") not in STATES:
        return _custom("DeploymentStatus", "state")
    if body["state"] == "success" and body.get("auto_inactive", True):
        for earlier in proxy.kept.deployments[found["repo"]]:
            history = proxy.kept.deployment_statuses.get(earlier["id"], [])
            same = earlier["environment"] == deployment["environment"] and earlier["id"] != deployment["id"]
            if same and history and history[-1]["state"] == "success":
                history.append(_status(proxy, earlier, history[-1]["creator"], {"state": "inactive"}))
    entry = _status(proxy, deployment, await _user(proxy, request), body)
    proxy.kept.deployment_statuses.setdefault(deployment["id"], []).append(entry)
    return web.json_response(entry, status=201)


def _status(proxy: Proxy, deployment: dict[str, Any], creator: Any, body: Any) -> dict[str, Any]:
    number = proxy.kept.next_id()
    return {
        "id": number, "state": body["state"], "description": body.get("description", ""), "creator": creator,
        "log_url": body.get("log_url", ""), "target_url": body.get("log_url", ""), "node_id": "",
        "created_at": state.now(), "updated_at": state.now(), "environment": deployment["environment"],
        "url": f"{deployment['statuses_url']}/{number}", "deployment_url": deployment["url"],
        "repository_url": deployment["repository_url"],
    }  # fmt: skip


async def workflow_runs(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-repository; order as reported."""
    wanted = {query: request.query[query] for query in ("head_sha", "event") if query in request.query}
    runs = [r for r in proxy.kept.runs.get(found["repo"], []) if all(r.get(k) == v for k, v in wanted.items())]
    return answers.page(request, proxy.upstream.public_url, runs, wrap="workflow_runs")
