"""The strict proxy: refuses what GitHub refuses, answers what emulate lacks, passes the rest through."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from hack.sandbox.github import emulate, graph, openapi, overlay, pulls, state

Handler = Callable[["Proxy", web.Request, "re.Match[str]", Any], Awaitable[web.Response | None]]
REPO = r"/repos/(?P<repo>[^/]+/[^/]+)"
RESET = "1893456000"


def refuse(status: int, message: str, *, errors: list[Any] | None = None, headers: dict[str, str] | None = None) -> web.Response:
    """An error in GitHub's form: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api"""
    body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    if errors is not None:
        body["errors"] = errors
    return web.json_response(body, status=status, headers=headers)


class Proxy:
    """One sandbox."""

    def __init__(self, upstream: emulate.Emulate, kept: state.State, checker: openapi.Checker | None = None) -> None:
        self.upstream, self.kept, self.checker = upstream, kept, checker
        self.reader = pulls.Reader(upstream, kept)
        self.merging = asyncio.Lock()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=32 << 20)
        app.router.add_route("*", "/_sandbox/{verb}", self.control)
        app.router.add_route("*", "/{path:.*}", self.serve)
        return app

    async def control(self, request: web.Request) -> web.Response:
        """Faults, journal, latency, new repositories and workflow runs: for tests only."""
        verb, body = request.match_info["verb"], await request.json() if request.can_read_body else {}
        if verb == "faults" and request.method == "POST":
            match = body.pop("match", {})
            pattern = re.compile(match.get("path", "."))
            fault = state.Fault(
                method=match.get("method", "*"), path=pattern, times=body.get("times", 1),
                when=body.get("when", "before"), kind=body.get("kind", "status"), status=body.get("status", 502),
                headers=body.get("headers", {}), body=body.get("body", ""), seconds=body.get("seconds", 0.0),
            )  # fmt: skip
            self.kept.faults.append(fault)
        elif verb == "faults":
            self.kept.faults.clear()
        elif verb == "requests" and request.method == "DELETE":
            self.kept.journal.clear()
        elif verb == "requests":
            return web.json_response(self.kept.journal)
        elif verb == "violations":
            return web.json_response({"checked": self.checker is not None, "violations": self.kept.violations})
        elif verb == "config":
            self.kept.latency = float(body.get("latency", self.kept.latency))
        elif verb == "repositories":
            return await self._create_repository(body["name"])
        elif verb == "runs":
            run = {"id": self.kept.next_id(), "run_number": self.kept.ids, "html_url": f"{self.upstream.public_url}/runs", **body}
            self.kept.runs.setdefault(body["repository"], []).append(run)
            return web.json_response(run)
        else:
            return refuse(404, "Not Found")
        return web.json_response({})

    async def _create_repository(self, name: str) -> web.Response:
        made = await self.upstream.call("POST", "/user/repos", {"name": name, "auto_init": True})
        for login in ("selfheal-bot", "alice", "bob"):
            await self.upstream.add_collaborator(state.OWNER, name, login)
        return web.json_response(made)

    async def serve(self, request: web.Request) -> web.Response:
        """One request: who asks, what is refused or broken on purpose, then the answer, journalled."""
        path = request.path
        token = request.headers.get("Authorization", "").partition(" ")[2]
        login = state.TOKENS.get(token)
        entry = {"method": request.method, "path": request.path_qs, "actor": login, "time": state.now()}
        self.kept.journal.append(entry)
        if self.kept.latency:
            await asyncio.sleep(self.kept.latency)
        answer = await self._break(request, "before")
        if answer is None:
            answer = await self._answer(request, path, login)
            answer = await self._break(request, "after") or answer
        entry["status"] = answer.status
        answer.headers.setdefault("X-RateLimit-Limit", "5000")
        answer.headers.setdefault("X-RateLimit-Remaining", "4999")
        answer.headers.setdefault("X-RateLimit-Reset", RESET)
        return answer

    async def _break(self, request: web.Request, when: str) -> web.Response | None:
        fault = self.kept.take_fault(request.method, request.path, when)
        if fault is None:
            return None
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.kind == "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault.kind == "html":
            return web.Response(text="<html>Unicorn!</html>", content_type="text/html", status=fault.status)
        if fault.body:
            return web.Response(text=fault.body, content_type="application/json", status=fault.status, headers=fault.headers)
        return refuse(fault.status, "Sandbox fault", headers=fault.headers)

    async def _answer(self, request: web.Request, path: str, login: str | None) -> web.Response:
        if path in ("/", "") and login is None:
            return web.json_response({"current_user_url": f"{self.upstream.public_url}/user"})
        if login is None:
            return refuse(401, "Bad credentials")
        writes = request.method not in ("GET", "HEAD") and path not in ("/graphql", "/api/graphql")
        if writes and login in state.READERS:
            return refuse(403, "Resource not accessible by personal access token")
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            return refuse(400, "Problems parsing JSON")
        request["login"] = login
        if self.checker is not None and not path.endswith("/graphql"):
            faults = self.checker.check(request.method, request.raw_path.partition("?")[0], request.query, body if raw else None)
            self.kept.violations.extend(f"{login}: {fault}" for fault in faults)
        for method, pattern, handler in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and request.method == method:
                if handler in OURS and not await self.reader.exists(found["repo"]):
                    return refuse(404, "Not Found")
                answer = await handler(self, request, found, body)
                if answer is not None:
                    return answer
        return await self.forward(request, raw)

    async def forward(self, request: web.Request, raw: bytes) -> web.Response:
        """Pass a request to emulate as it is."""
        headers = {k: v for k, v in request.headers.items() if k.lower() in ("authorization", "accept", "content-type")}
        url = self.upstream.url + request.path_qs
        async with self.upstream.http.request(request.method, url, data=raw or None, headers=headers) as answer:
            content = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k.lower() in ("content-type", "link", "location", "etag")}
            return web.Response(body=content, status=answer.status, headers=kept)


async def graphql(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/graphql/guides/forming-calls-with-graphql"""
    result = await graph.execute(proxy.reader, request["login"], body.get("query", ""), body.get("variables"))
    return web.json_response(result)


async def create_status(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/commits/statuses#create-a-commit-status"""
    if body.get("state") not in ("error", "failure", "pending", "success"):
        return refuse(422, "Validation Failed", errors=[{"resource": "Status", "field": "state", "code": "custom"}])
    entry = {
        "id": proxy.kept.next_id(), "state": body["state"], "context": body.get("context", "default"),
        "description": body.get("description"), "target_url": body.get("target_url"), "created_at": state.now(),
        "updated_at": state.now(), "node_id": "", "url": "", "avatar_url": None,
    }  # fmt: skip
    proxy.kept.statuses.setdefault((found["repo"], found["sha"]), []).append(entry)
    return web.json_response(entry, status=201)


async def _sha(proxy: Proxy, repo: str, ref: str) -> str:
    branch = await proxy.upstream.call("GET", f"/repos/{repo}/git/ref/heads/{ref}")
    return str(branch["object"]["sha"]) if branch and "object" in branch else ref


async def combined_status(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference"""
    repository = await proxy.upstream.call("GET", f"/repos/{found['repo']}")
    combined = proxy.kept.combined(found["repo"], await _sha(proxy, found["repo"], found["ref"]))
    return web.json_response({**combined, "repository": repository, "commit_url": "", "url": ""})


async def deployments(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/deployments"""
    known = proxy.kept.deployments.setdefault(found["repo"], [])
    if request.method == "GET":
        sha = request.query.get("sha")
        return web.json_response([d for d in reversed(known) if sha in (None, d["sha"])])
    entry = {
        "id": proxy.kept.next_id(), "sha": await _sha(proxy, found["repo"], body["ref"]), "ref": body["ref"],
        "task": body.get("task", "deploy"), "environment": body.get("environment", "production"), "payload": {},
        "description": body.get("description"), "created_at": state.now(), "updated_at": state.now(), "creator": None,
        "node_id": "", "url": "", "statuses_url": "", "repository_url": "",
    }  # fmt: skip
    known.append(entry)
    return web.json_response(entry, status=201)


async def deployment_statuses(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/deployments/statuses"""
    known = proxy.kept.deployment_statuses.setdefault(int(found["id"]), [])
    if request.method == "GET":
        return web.json_response(list(reversed(known)))
    entry = {
        "id": proxy.kept.next_id(), "state": body["state"], "description": body.get("description", ""),
        "log_url": body.get("log_url", ""), "target_url": body.get("log_url", ""), "creator": None, "node_id": "",
        "created_at": state.now(), "updated_at": state.now(), "url": "", "deployment_url": "", "repository_url": "",
    }  # fmt: skip
    known.append(entry)
    return web.json_response(entry, status=201)


async def workflow_runs(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-repository"""
    sha = request.query.get("head_sha")
    runs = [run for run in proxy.kept.runs.get(found["repo"], []) if sha in (None, run["head_sha"])]
    return web.json_response({"total_count": len(runs), "workflow_runs": runs})


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


async def create_ref(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/git/refs#create-a-reference; an existing one is refused."""
    name = str(body.get("ref", "")).removeprefix("refs/")
    known = await proxy.upstream.call("GET", f"/repos/{found['repo']}/git/ref/{name}")
    if known and "object" in known:
        return refuse(422, "Reference already exists")
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
    repo, reader = found["repo"], proxy.reader
    pull = await reader.overlay.pull(repo, found["number"])
    if pull is None:
        return refuse(404, "Not Found")
    head, base = pull["head"]["sha"], pull["base"]["ref"]
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
    async with proxy.merging:
        sha = await reader.overlay.merge(repo, pull, method, request["login"], token)
    return web.json_response({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def files(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files, from the comparison."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return refuse(404, "Not Found")
    span = f"{pull['base']['sha']}...{pull['head']['sha']}"
    compared = await proxy.upstream.call("GET", f"/repos/{found['repo']}/compare/{span}")
    return web.json_response((compared or {}).get("files", []))


async def get_pull(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request with an honest `mergeable`."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return None
    pull["mergeable"], pull["mergeable_state"] = None, "unknown"
    if pull["state"] == "open":
        pull["mergeable"] = await proxy.reader.mergeable(found["repo"], pull["base"]["ref"], pull["head"]["sha"])
        pull["mergeable_state"] = "clean" if pull["mergeable"] else "dirty"
    return web.json_response(pull)


async def list_pulls(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/pulls/pulls#list-pull-requests"""
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


PULL = rf"{REPO}/pulls/(?P<number>\d+)"
ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", r"/(?:api/)?graphql", graphql),
    ("POST", rf"{REPO}/statuses/(?P<sha>[0-9a-f]+)", create_status),
    ("GET", rf"{REPO}/commits/(?P<ref>.+)/status", combined_status),
    ("GET", rf"{REPO}/deployments", deployments),
    ("POST", rf"{REPO}/deployments", deployments),
    ("GET", rf"{REPO}/deployments/(?P<id>\d+)/statuses", deployment_statuses),
    ("POST", rf"{REPO}/deployments/(?P<id>\d+)/statuses", deployment_statuses),
    ("GET", rf"{REPO}/actions/runs", workflow_runs),
    ("POST", rf"{REPO}/pulls", open_pull),
    ("POST", rf"{REPO}/git/refs", create_ref),
    ("POST", rf"{PULL}/reviews", review),
    ("PUT", rf"{PULL}/merge", merge),
    ("GET", rf"{PULL}/files", files),
    ("GET", PULL, get_pull),
    ("PATCH", PULL, edit_pull),
    ("GET", rf"{REPO}/pulls", list_pulls),
    ("POST", rf"{REPO}/issues/(?P<number>\d+)/assignees", assign),
]
OURS = (create_status, combined_status, deployments, deployment_statuses, workflow_runs, open_pull)
