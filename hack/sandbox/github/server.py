"""The strict proxy: refuses what GitHub refuses, answers what emulate lacks, passes the rest through."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from hack.sandbox.github import (
    deliveries,
    emulate,
    graph,
    openapi,
    pull_routes,
    pulls,
    references,
    state,
)
from hack.sandbox.github.answers import refuse

Handler = Callable[["Proxy", web.Request, "re.Match[str]", Any], Awaitable[web.Response | None]]
REPO = r"/repos/(?P<repo>[^/]+/[^/]+)"
RECORDED = 4000  # characters of a write's body that the journal keeps
RESET = "1893456000"


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
                actor=match.get("actor", ""),
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
        elif verb == "rules":  # what an owner sets in the settings of a repository
            for kept, wanted in ((self.kept.queues, body.get("queue")), (self.kept.archived, body.get("archived"))):
                if wanted is not None:
                    (kept.add if wanted else kept.discard)(body["repository"])
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
        entry = {
            "method": request.method, "path": request.path_qs, "actor": login, "time": state.now(),
            "at": time.time_ns() // 1_000_000, "agent": request.headers.get("User-Agent", ""),
        }  # fmt: skip
        if request.method != "GET":
            entry["body"] = (await request.text())[:RECORDED]
        self.kept.journal.append(entry)
        if self.kept.latency:
            await asyncio.sleep(self.kept.latency)
        answer = await self._break(request, "before")
        if answer is None:
            answer = await self._answer(request, path, login)
            answer = await self._break(request, "after", answer) or answer
        entry["status"] = answer.status
        answer.headers.setdefault("X-RateLimit-Limit", "5000")
        answer.headers.setdefault("X-RateLimit-Remaining", "4999")
        answer.headers.setdefault("X-RateLimit-Reset", RESET)
        return answer

    async def _break(self, request: web.Request, when: str, answer: web.Response | None = None) -> web.Response | None:
        actor = state.TOKENS.get(request.headers.get("Authorization", "").partition(" ")[2])
        fault = self.kept.take_fault(request.method, request.path, when, actor)
        if fault is None:
            return None
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.kind == "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault.kind == "truncate":  # the headers promise a whole body, the connection ends in its middle
            whole = answer.body if answer is not None and isinstance(answer.body, bytes) else b"{}"
            if request.transport is not None:
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(whole)}\r\n\r\n"
                request.transport.write(head.encode() + whole[: len(whole) // 2])
                request.transport.close()
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
        named = re.match(REPO, path)
        if writes and named and named["repo"] in self.kept.archived:
            return refuse(403, "Repository was archived so is read-only.")
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
        headers = {k: v for k, v in request.headers.items() if k.lower() in ("accept", "content-type")}
        token = request.headers.get("Authorization", "").partition(" ")[2]
        headers["Authorization"] = self.upstream.authorization(token)
        url = self.upstream.url + request.path_qs
        async with self.upstream.http.request(request.method, url, data=raw or None, headers=headers) as answer:
            content = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k.lower() in ("content-type", "link", "location", "etag")}
            return web.Response(body=content, status=answer.status, headers=kept)


async def graphql(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response:
    """https://docs.github.com/en/graphql/guides/forming-calls-with-graphql."""
    result = await graph.execute(proxy.reader, request["login"], body.get("query", ""), body.get("variables"))
    return web.json_response(result)


async def show_repository(proxy: Proxy, request: web.Request, found: re.Match[str], body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/repos/repos#get-a-repository of one that is archived."""
    if found["repo"] not in proxy.kept.archived:
        return None
    shown = json.loads((await proxy.forward(request, b"")).body or b"{}")
    return web.json_response({**shown, "archived": True})


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", REPO, show_repository),
    ("POST", r"/(?:api/)?graphql", graphql),
    ("POST", rf"{REPO}/statuses/(?P<sha>[0-9a-f]+)", deliveries.create_status),
    ("GET", rf"{REPO}/statuses/(?P<ref>.+)", deliveries.list_statuses),
    ("GET", rf"{REPO}/commits/(?P<ref>.+)/statuses", deliveries.list_statuses),
    ("GET", rf"{REPO}/commits/(?P<ref>.+)/status", deliveries.combined_status),
    ("GET", rf"{REPO}/deployments", deliveries.list_deployments),
    ("POST", rf"{REPO}/deployments", deliveries.create_deployment),
    ("GET", rf"{REPO}/deployments/(?P<id>\d+)", deliveries.get_deployment),
    ("GET", rf"{REPO}/deployments/(?P<id>\d+)/statuses", deliveries.list_deployment_statuses),
    ("POST", rf"{REPO}/deployments/(?P<id>\d+)/statuses", deliveries.create_deployment_status),
    ("GET", rf"{REPO}/actions/runs", deliveries.workflow_runs),
    ("GET", rf"{REPO}/git/(?:ref|matching-refs)/(?P<name>.+)", references.show),
    ("POST", rf"{REPO}/git/refs", references.create),
    ("PATCH", rf"{REPO}/git/refs/(?P<name>.+)", references.change),
    ("DELETE", rf"{REPO}/git/refs/(?P<name>.+)", references.change),
    ("GET", rf"{REPO}/compare/(?P<span>.+)", references.compare),
    *pull_routes.ROUTES,
]
OURS = (
    deliveries.create_status, deliveries.list_statuses, deliveries.combined_status, deliveries.list_deployments,
    deliveries.create_deployment, deliveries.workflow_runs, references.create, references.change,
    pull_routes.open_pull,
)  # fmt: skip
