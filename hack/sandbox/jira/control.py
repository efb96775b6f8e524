"""What is not Jira: faults on demand, the journal of requests, settings, reset.

POST/GET/DELETE /_sandbox/faults, GET/DELETE /_sandbox/requests, POST/GET /_sandbox/config,
POST /_sandbox/reset, GET /_sandbox/state.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from hack.sandbox.jira import seed
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.routes_search import TOKENS
from hack.sandbox.jira.state import Settings, Store
from hack.sandbox.jira.web import ACCOUNT, BUCKETS, STORE

KINDS = ("status", "delay", "drop", "truncate", "html")
HTML = "<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>"
JOURNAL_LIMIT = 20_000
BODY_LIMIT = 65_536


@dataclass
class Fault:
    """One rule: what to do to the next `times` matching requests, before or after their effect."""

    method: str = ""
    path: str = ""
    times: int = 1
    when: str = "before"
    kind: str = "status"
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0

    def matches(self, request: web.Request) -> bool:
        """Whether it is still to be used, on this request."""
        return (self.times > 0 and self.method.upper() in ("", "*", request.method)
                and re.search(self.path, request.path_qs) is not None)


FAULTS: web.AppKey[list[Fault]] = web.AppKey("faults", list)
JOURNAL: web.AppKey[collections.deque[dict[str, Any]]] = web.AppKey("journal", collections.deque)
STATE_FILE: web.AppKey[Path | None] = web.AppKey("state_file", object)  # type: ignore[arg-type]


def parse_fault(raw: dict[str, Any]) -> Fault:
    """A Fault from {match: {method, path}, times, when, kind, …}; ValueError when it is wrong."""
    match = raw.get("match") or {}
    known = {f.name for f in dataclasses.fields(Fault)} - {"method", "path"}
    if set(raw) - known - {"match"} or set(match) - {"method", "path"}:
        raise ValueError("unknown key in the fault")
    fault = Fault(match.get("method", ""), match.get("path", ""),
                  **{k: v for k, v in raw.items() if k != "match"})
    if fault.kind not in KINDS or fault.when not in ("before", "after"):
        raise ValueError(f"kind is one of {KINDS}, when is before or after")
    re.compile(fault.path)
    return fault


@web.middleware
async def faults_and_journal(request: web.Request, handler: Any) -> web.StreamResponse:
    """Record each request but the sandbox's own; apply the first fault that matches."""
    if request.path.startswith("/_sandbox/"):
        own: web.StreamResponse = await handler(request)
        return own
    entry = await _entry(request)
    request.app[JOURNAL].append(entry)
    fault = next((f for f in request.app[FAULTS] if f.matches(request)), None)
    if fault is not None:
        fault.times -= 1
        entry["fault"] = fault.kind
    response: web.StreamResponse | None = None
    if fault is None or fault.when == "after" or fault.kind in ("delay", "truncate"):
        if fault is not None and fault.kind == "delay" and fault.when == "before":
            await asyncio.sleep(fault.seconds)
        response = await _serve(request, handler)
        entry["account"] = request.get(ACCOUNT, "")
        entry["served"] = response.status
    if fault is not None:
        response = await _spoil(fault, request, response)
    assert response is not None
    entry["status"] = response.status
    return response


async def _serve(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as refusal:
        body = {"message": f"null for uri: {request.path}", "status-code": refusal.status}
        response = web.json_response(body, status=refusal.status)
    store, path = request.app[STORE], request.app[STATE_FILE]
    if path is not None and store.dirty:
        store.save(path)
    return response


async def _spoil(fault: Fault, request: web.Request,
                 response: web.StreamResponse | None) -> web.StreamResponse:
    if fault.kind == "delay":
        if fault.when == "after":
            await asyncio.sleep(fault.seconds)
        assert response is not None
        return response
    if fault.kind == "drop":
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    if fault.kind == "truncate":
        return await _truncate(request, response)
    if fault.kind == "html":
        return web.Response(status=fault.status, text=HTML, content_type="text/html",
                            headers=fault.headers)
    body = fault.body if fault.body is not None else {"errorMessages": ["injected"], "errors": {}}
    return web.json_response(body, status=fault.status, headers=fault.headers)


async def _truncate(request: web.Request, response: web.StreamResponse | None) -> web.StreamResponse:
    """Promise the whole body, send half, cut the line."""
    raw = response.body if isinstance(response, web.Response) else b""
    whole = raw if isinstance(raw, bytes) else b""
    half = web.StreamResponse(status=response.status if response else 200)
    half.content_type = "application/json"
    half.content_length = len(whole) + 1
    await half.prepare(request)
    await half.write(whole[: len(whole) // 2])
    if request.transport is not None:
        request.transport.abort()
    return half


async def _entry(request: web.Request) -> dict[str, Any]:
    """A journal line; no header is kept, so that no credential is."""
    body = await request.text() if request.can_read_body else ""
    return {"at": request.app[STORE].now(), "method": request.method, "path": request.path,
            "query": request.query_string, "body": body[:BODY_LIMIT], "status": None, "account": "",
            "served": None, "fault": None}


async def add_faults(request: web.Request) -> web.Response:
    raw = await request.json()
    try:
        found = [parse_fault(r) for r in (raw if isinstance(raw, list) else [raw])]
    except (ValueError, TypeError, re.error) as error:
        return web.json_response({"error": str(error)}, status=400)
    request.app[FAULTS].extend(found)
    return web.json_response({"faults": len(request.app[FAULTS])}, status=201)


async def get_faults(request: web.Request) -> web.Response:
    return web.json_response([dataclasses.asdict(f) for f in request.app[FAULTS]])


async def clear_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].clear()
    return web.Response(status=204)


async def get_requests(request: web.Request) -> web.Response:
    pattern = re.compile(request.query.get("path", ""))
    return web.json_response([e for e in request.app[JOURNAL] if pattern.search(e["path"])])


async def clear_requests(request: web.Request) -> web.Response:
    request.app[JOURNAL].clear()
    return web.Response(status=204)


async def get_config(request: web.Request) -> web.Response:
    return web.json_response(dataclasses.asdict(request.app[STORE].settings))


async def set_config(request: web.Request) -> web.Response:
    try:
        configure(request.app[STORE], await request.json())
    except JiraError as error:
        return web.json_response(error.body, status=400)
    return await get_config(request)


def configure(store: Store, raw: dict[str, Any]) -> None:
    """Settings by name, and `workflow`: {project, add_status, remove_status, remove_transition, add_transition}."""
    for name, value in raw.items():
        if name in ("workflow", "workflows"):
            for change in value if isinstance(value, list) else [value]:
                _workflow(store, change)
        elif name in {f.name for f in dataclasses.fields(Settings)}:
            setattr(store.settings, name, type(getattr(store.settings, name))(value))
        else:
            raise JiraError(400, f"unknown setting {name}")
    store.dirty = True


def _workflow(store: Store, change: dict[str, Any]) -> None:
    project = store.projects.get(str(change.get("project")))
    if project is None:
        raise JiraError(400, f"unknown project {change.get('project')}")
    flow = project.workflow
    for verb, value in change.items():
        for one in value if isinstance(value, list) else [value]:
            if verb == "add_status":
                flow.add_status(one)
                store.status_id(one)
            elif verb == "remove_status":
                flow.remove_status(one)
            elif verb == "remove_transition":
                flow.remove_transition(one)
            elif verb == "add_transition":
                flow.add_transition(one["name"], one["to"], one.get("from"))
            elif verb != "project":
                raise JiraError(400, f"unknown workflow change {verb}")


async def reset(request: web.Request) -> web.Response:
    """Everything as at a fresh start, the journal and the faults too."""
    app = request.app
    fresh = Store(app[STORE].clock)
    seed.fill(fresh)
    app[STORE].settings = fresh.settings
    app[STORE].load(fresh.dump())
    for part in (app[FAULTS], app[JOURNAL], app[TOKENS], app[BUCKETS]):
        part.clear()
    path = app[STATE_FILE]
    if path is not None:
        app[STORE].save(path)
    return web.Response(status=204)


async def state(request: web.Request) -> web.Response:
    """All tickets, without accounts (they hold the tokens)."""
    dump = request.app[STORE].dump()
    return web.json_response({k: v for k, v in dump.items() if k != "accounts"})


def add_routes(app: web.Application) -> None:
    """The control routes."""
    app.router.add_post("/_sandbox/faults", add_faults)
    app.router.add_get("/_sandbox/faults", get_faults)
    app.router.add_delete("/_sandbox/faults", clear_faults)
    app.router.add_get("/_sandbox/requests", get_requests)
    app.router.add_delete("/_sandbox/requests", clear_requests)
    app.router.add_get("/_sandbox/config", get_config)
    app.router.add_post("/_sandbox/config", set_config)
    app.router.add_post("/_sandbox/reset", reset)
    app.router.add_get("/_sandbox/state", state)
