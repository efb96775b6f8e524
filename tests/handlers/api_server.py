"""A small API server for our own kinds: lists, watches, reads, merge patches, conflicts, deletion.

Shapes follow https://kubernetes.io/docs/reference/using-api/api-concepts/ (list, watch, discovery).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import ClientConnectionResetError, web

T = TypeVar("T")
GROUP, VERSION = "selfheal.dev", "v1alpha1"
KINDS = {
    "selfhealingincidents": ("SelfHealingIncident", True),
    "selfhealingpolicies": ("SelfHealingPolicy", False),
    "selfhealingevidences": ("SelfHealingEvidence", True),
}
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]


class ApiServer:
    """Objects by (plural, namespace, name), and the history that watches are served from."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []
        self.version = 100
        self.events: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.changed = asyncio.Condition()
        self.broken: set[str] = set()
        """Plurals that are answered with 503."""
        self.watches = 0
        self.closing = False
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        kind = f"/apis/{GROUP}/{VERSION}"
        space = kind + "/namespaces/{namespace}"
        app.router.add_get("/apis", self._groups)
        app.router.add_get("/api", self._legacy)
        app.router.add_get("/api/v1", self._core)
        app.router.add_get(kind, self._resources)
        app.router.add_get("/api/v1/namespaces/{name}", self._namespace)
        app.router.add_post("/api/v1/namespaces/{namespace}/events", self._post_event)
        for root in (kind, space):
            app.router.add_get(root + "/{plural}", self._list)
            app.router.add_get(root + "/{plural}/{name}", self._get)
            app.router.add_patch(root + "/{plural}/{name}", self._patch)
            app.router.add_patch(root + "/{plural}/{name}/status", self._patch)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.closing = True
        async with self.changed:
            self.changed.notify_all()
        await self._runner.cleanup()

    # --- what a person does -------------------------------------------------------------------

    async def create(self, key: str, spec: dict[str, Any]) -> None:
        namespace, _, name = key.partition("/")
        stored = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "SelfHealingIncident",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": "2026-11-23T06:00:00Z",
            },
            "spec": spec,
        }
        self.objects["selfhealingincidents", namespace, name] = stored
        await self._record("ADDED", "selfhealingincidents", stored)

    async def create_policy(self, name: str, spec: dict[str, Any]) -> None:
        stored = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "SelfHealingPolicy",
            "metadata": {"name": name, "uid": str(uuid.uuid4()), "generation": 1},
            "spec": spec,
        }
        self.objects["selfhealingpolicies", "", name] = stored
        await self._record("ADDED", "selfhealingpolicies", stored)

    async def merge(self, key: str, patch: dict[str, Any]) -> str:
        """Change metadata or spec as kubectl does; return the resourceVersion."""
        place = ("selfhealingincidents", *key.split("/"))
        stored = self.objects[place]
        before = json.dumps(stored["spec"], sort_keys=True)
        self.objects[place] = stored = merge_patch(stored, patch)
        if json.dumps(stored["spec"], sort_keys=True) != before:
            stored["metadata"]["generation"] += 1
        return await self._record("MODIFIED", place[0], stored)

    async def delete(self, key: str) -> None:
        stored = self.objects.pop(("selfhealingincidents", *key.split("/")))
        await self._record("DELETED", "selfhealingincidents", stored)

    async def _record(self, type_: str, plural: str, stored: dict[str, Any]) -> str:
        self.version += 1
        stored["metadata"]["resourceVersion"] = str(self.version)
        copy = json.loads(json.dumps(stored))
        async with self.changed:
            self.history.append((self.version, type_, plural, copy))
            self.changed.notify_all()
        return str(self.version)

    # --- the wire -----------------------------------------------------------------------------

    async def _groups(self, _: web.Request) -> web.Response:
        version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
        group = {"name": GROUP, "versions": [version], "preferredVersion": version}
        return web.json_response({"kind": "APIGroupList", "groups": [group]})

    async def _legacy(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "APIVersions", "versions": ["v1"]})

    async def _core(self, _: web.Request) -> web.Response:
        rows = [("namespaces", "Namespace", False), ("events", "Event", True)]
        return web.json_response({"kind": "APIResourceList", "resources": _resources(rows)})

    async def _resources(self, _: web.Request) -> web.Response:
        rows = [(plural, kind, spaced) for plural, (kind, spaced) in KINDS.items()]
        return web.json_response({"kind": "APIResourceList", "resources": _resources(rows)})

    async def _namespace(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({"metadata": {"name": name, "uid": f"uid-of-{name}"}})

    async def _post_event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        plural, namespace = request.match_info["plural"], request.match_info.get("namespace")
        if plural in self.broken:
            return _status(503, "ServiceUnavailable")
        if request.query.get("watch") == "true":
            return await self._watch(request, plural)
        self.requests.append(f"LIST {plural}")
        items = [
            stored
            for place, stored in sorted(self.objects.items())
            if place[0] == plural and namespace in (None, place[1])
        ]
        listed = {
            "kind": "List",
            "metadata": {"resourceVersion": str(self.version)},
            "items": items,
        }
        return web.json_response(listed)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        async with self.changed:
            self.watches += 1
            self.changed.notify_all()
        with contextlib.suppress(ClientConnectionResetError):  # the operator went away
            async for _, type_, changed, stored in self._since(
                int(request.query.get("resourceVersion") or 0)
            ):
                if changed == plural:
                    event = json.dumps({"type": type_, "object": stored})
                    await answer.write(event.encode() + b"\n")
        return answer

    async def _since(self, version: int) -> AsyncIterator[tuple[int, str, str, dict[str, Any]]]:
        while not self.closing:
            for entry in [entry for entry in self.history if entry[0] > version]:
                version = entry[0]
                yield entry
            async with self.changed:
                if not self.closing and self.version <= version:
                    await self.changed.wait()

    def _find(self, request: web.Request) -> dict[str, Any] | None:
        info = request.match_info
        return self.objects.get((info["plural"], info.get("namespace", ""), info["name"]))

    async def _get(self, request: web.Request) -> web.Response:
        stored = self._find(request)
        missing = request.match_info["name"]
        return web.json_response(stored) if stored else _status(404, "NotFound", missing)

    async def _patch(self, request: web.Request) -> web.Response:
        stored, patch = self._find(request), await request.json()
        if stored is None:
            return _status(404, "NotFound", request.match_info["name"])
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, stored["metadata"]["resourceVersion"]):
            return _status(409, "Conflict")
        info = request.match_info
        self.requests.append(f"PATCH {request.path.rpartition('/')[2]}")
        changed = merge_patch(stored, patch)
        self.objects[info["plural"], info.get("namespace", ""), info["name"]] = changed
        await self._record("MODIFIED", info["plural"], changed)
        return web.json_response(changed)


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _resources(rows: list[tuple[str, str, bool]]) -> list[dict[str, Any]]:
    return [
        {"name": plural, "kind": kind, "namespaced": spaced, "verbs": VERBS, "singularName": ""}
        for plural, kind, spaced in rows
    ]


def _status(code: int, reason: str, name: str = "") -> web.Response:
    """Return a Status; ``name`` tells an object that is not there from a kind that is not."""
    details = {"name": name} if name else {}
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": reason}
    return web.json_response(body | {"code": code, "details": details}, status=code)


class Threaded:
    """The server on a thread and loop of its own: kopf ends every task of the loop that it runs in."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def until(self, condition: Callable[[ApiServer], bool], patience: float) -> None:
        """Wait until a condition on the server holds; TimeoutError after ``patience`` seconds."""

        async def wait() -> None:
            async with asyncio.timeout(patience), self.server.changed:
                await self.server.changed.wait_for(lambda: condition(self.server))

        await self.call(wait())

    async def close(self) -> None:
        await self.call(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()
