"""Pull requests at the proxy: what GitHub refuses and emulate would not, and what the overlay puts right."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hack.sandbox.github import overlay, pulls, references
from hack.sandbox.github.answers import refuse

if TYPE_CHECKING:
    from hack.sandbox.github.server import Proxy


async def open_pull(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request; 422 as GitHub words it."""
    repo, head = found["repo"], str(body.get("head", "")).split(":")[-1]
    overlaid, base = proxy.reader.overlay, str(body.get("base", ""))
    for field, branch in (("head", head), ("base", base)):
        if await overlaid.head_of(repo, branch) is None:
            return refuse(422, "Validation Failed", errors=[{"resource": "PullRequest", "field": field, "code": "invalid"}])
    if await overlaid.head_of(repo, head) == await overlaid.head_of(repo, base):
        message = f"No commits between {base} and {head}"
        return refuse(422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": message}])
    is_open = await proxy.upstream.call("GET", f"/repos/{repo}/pulls?state=open&per_page=100") or []
    if any(pull["head"]["ref"] == head and pull["base"]["ref"] == body.get("base") for pull in is_open):
        message = f"A pull request already exists for {repo.split('/')[0]}:{head}."
        return refuse(422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": message}])
    return None


async def review(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/reviews#create-a-review-for-a-pull-request; nobody approves their own."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return None
    if pull["user"]["login"] == request["login"] and body.get("event") in ("APPROVE", "REQUEST_CHANGES"):
        verb = "approve" if body["event"] == "APPROVE" else "request changes on"
        return refuse(422, "Unprocessable Entity", errors=[f"Can not {verb} your own pull request"])
    spoken = {"commit_id": pull["head"]["sha"], **body}
    answer = await proxy.forward(request, json.dumps(spoken).encode())
    if answer.status in (200, 201):  # emulate says 201, GitHub 200; whoever has reviewed is asked no longer
        path = f"/repos/{found['repo']}/pulls/{found['number']}/requested_reviewers"
        await proxy.upstream.call("DELETE", path, {"reviewers": [request["login"]]})
        answer.set_status(200)
    return answer


async def merge(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request; 409 for a moved head, 405 where it cannot be."""
    async with proxy.merging:  # one after another, so that each is judged by what the one before left
        return await _merge(proxy, request, found, body)


async def _merge(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    repo, reader = found["repo"], proxy.reader
    pull = await reader.overlay.pull(repo, found["number"])
    if pull is None:
        return refuse(404, "Not Found")
    head, base = pull["head"]["sha"], pull["base"]["ref"]
    if repo in proxy.kept.queues:
        return refuse(405, "Repository rule violations found\n\nChanges must be made through the merge queue")
    if pull["state"] != "open" or pull.get("draft"):
        return refuse(405, "Pull Request is not mergeable")
    if body.get("sha") not in (None, head):
        return refuse(409, "Head branch was modified. Review and try the merge again.")
    method = body.get("merge_method", "merge")
    repository = await proxy.upstream.call("GET", f"/repos/{repo}")
    field, words = overlay.METHODS[method]
    if repository.get(field) is False:
        return refuse(405, f"{words} are not allowed on this repository.")
    if not await reader.mergeable(repo, base, head):
        return refuse(405, "Pull Request is not mergeable")
    required = await reader.required_contexts(repo, base)
    passed = {
        entry.get("context") or entry.get("name")
        for entry in await reader.contexts(repo, head, required)
        if (entry.get("state") or entry.get("conclusion")) in ("SUCCESS", "NEUTRAL", "SKIPPED")
    }
    missing = [name for name in required if name not in passed]
    if missing:
        return refuse(405, f'Required status check "{missing[0]}" is expected.')
    wanted = await reader.required_reviews(repo, base)
    if wanted and pulls.decide(await reader.reviews(repo, int(found["number"])), wanted) != "APPROVED":
        return refuse(405, f"At least {wanted} approving review is required by reviewers with write access.")
    token = request.headers["Authorization"].partition(" ")[2]
    sha = await reader.overlay.merge(repo, pull, method, request["login"], token)
    return web.json_response({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def get_pull(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request with an honest `mergeable`."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return None
    if references.wants_diff(request):
        return await references.diff(proxy, found["repo"], await references.pull_span(proxy, found["repo"], pull))
    pull["node_id"] = f"{found['repo']}#{found['number']}"  # by which GraphQL's mutations know it
    pull["mergeable"], pull["mergeable_state"] = None, "unknown"
    if pull["state"] == "open":
        pull["mergeable"] = await proxy.reader.mergeable(found["repo"], pull["base"]["ref"], pull["head"]["sha"])
        pull["mergeable_state"] = "clean" if pull["mergeable"] else "dirty"
    return web.json_response(pull)


async def list_pulls(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """List, as in https://docs.github.com/en/rest/pulls/pulls#list-pull-requests."""
    listed = await proxy.upstream.call("GET", request.path_qs)
    if not isinstance(listed, list):
        return None
    return web.json_response([await proxy.reader.overlay.shown(found["repo"], pull) for pull in listed])


async def edit_pull(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request; the head stays what it was when it is closed."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return None
    if pull["merged"] and body.get("state") == "open":
        return refuse(422, "Validation Failed", errors=[{"resource": "PullRequest", "field": "state", "code": "invalid"}])
    answer = await proxy.forward(request, json.dumps(body).encode())
    if answer.status == 200:
        return web.json_response(await proxy.reader.overlay.pull(found["repo"], found["number"]))
    return answer


async def assign(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/issues/assignees#add-assignees-to-an-issue; pull requests are issues, too."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return None
    known = proxy.kept.assignees.setdefault((found["repo"], pull["number"]), [])
    known.extend(login for login in body.get("assignees", []) if login not in known)
    return web.json_response(await proxy.reader.overlay.pull(found["repo"], found["number"]), status=201)


REPO = r"/repos/(?P<repo>[^/]+/[^/]+)"
PULL = rf"{REPO}/pulls/(?P<number>\d+)"
ROUTES = [
    ("POST", rf"{REPO}/pulls", open_pull),
    ("POST", rf"{PULL}/reviews", review),
    ("PUT", rf"{PULL}/merge", merge),
    ("GET", rf"{PULL}/files", references.pull_files),
    ("GET", PULL, get_pull),
    ("PATCH", PULL, edit_pull),
    ("GET", rf"{REPO}/pulls", list_pulls),
    ("POST", rf"{REPO}/issues/(?P<number>\d+)/assignees", assign),
]
