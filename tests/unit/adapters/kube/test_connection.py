"""The connection over a real socket: JSON, pages, deadlines, errors, and where it connects to."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from selfheal.adapters.kube import connection
from selfheal.domain import errors

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An API server that answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.handler: Handler | None = None
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, await request.text()))
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[connection.Connection]:
    made = connection.Connection(Configuration(host=server.url))
    yield made
    await made.close()


def answering(body: object, status: int = 200, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return handler


async def test_a_write_names_its_field_manager(server: Server, api: connection.Connection) -> None:
    server.handler = answering({"ok": True})
    sent = {"status": {"phase": None, "n": 1}}
    answer = await api.write("PATCH", "/x", sent, content_type=connection.MERGE_PATCH)
    assert answer == {"ok": True}
    ((method, path, body),) = server.requests
    assert (method, path) == ("PATCH", "/x?fieldManager=selfheal")
    assert json.loads(body) == sent


async def test_lists_are_read_in_pages(server: Server, api: connection.Connection) -> None:
    async def handler(request: web.Request) -> web.Response:
        token = request.query.get("continue", "")
        following = {"": "1", "1": "2"}.get(token, "")
        item = {"metadata": {"name": token or "0"}}
        return web.json_response({"items": [item], "metadata": {"continue": following}})

    server.handler = handler
    names = [one["metadata"]["name"] async for one in api.pages("/x", {"labelSelector": "a=b"})]
    assert names == ["0", "1", "2"]
    assert all("limit=500" in path and "labelSelector" in path for _, path, _ in server.requests)


async def test_find_answers_none_where_there_is_nothing(
    server: Server, api: connection.Connection
) -> None:
    body = {"kind": "Status", "message": "not found", "details": {"name": "x"}}
    server.handler = answering(body, status=404)
    assert await api.find("/x") is None
    with pytest.raises(errors.NotFound):
        await api.get("/x")


async def test_nothing_is_retried(server: Server, api: connection.Connection) -> None:
    server.handler = answering({}, status=503)
    with pytest.raises(errors.Transient):
        await api.get("/x")
    assert len(server.requests) == 1


async def test_a_deadline_ends_a_request(server: Server, api: connection.Connection) -> None:
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({})

    server.handler = handler
    with pytest.raises(errors.Transient):
        await api.get("/x", deadline=0.1)
    release.set()


async def test_an_answer_that_is_not_json_is_passing(
    server: Server, api: connection.Connection
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    server.handler = handler
    with pytest.raises(errors.Transient, match="not JSON"):
        await api.get("/x")


async def test_warnings_come_with_the_answer(server: Server, api: connection.Connection) -> None:
    server.handler = answering({}, Warning='299 - "deprecated"')
    answer = await api.exchange("PUT", "/x", body={"a": 1})
    assert answer.warnings == ('299 - "deprecated"',)


async def test_nobody_there_is_unreachable() -> None:
    api = connection.Connection(Configuration(host="http://127.0.0.1:1"))
    with pytest.raises(errors.Unreachable, match="cannot be reached"):
        await api.write("PATCH", "/x", {})
    await api.close()


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1", "pods"), "/api/v1/pods"),
        (("v1", "pods", "ns", "a", "log"), "/api/v1/namespaces/ns/pods/a/log"),
        (("apps/v1", "deployments", "ns"), "/apis/apps/v1/namespaces/ns/deployments"),
        (("v1", "nodes", "", "n1"), "/api/v1/nodes/n1"),
    ],
)
def test_paths(arguments: tuple[str, ...], path: str) -> None:
    assert connection.path_of(*arguments) == path


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t0ken"}}],
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
}


async def test_a_kubeconfig_names_server_and_token(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(KUBECONFIG))
    api = await connection.connect(str(path), namespace="ops")
    assert api.configuration.host == "https://127.0.0.1:1"
    assert await api.authorization() == "Bearer t0ken"
    assert api.namespace == "ops"
    await api.close()


async def test_the_environment_comes_before_the_pod(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, token = tmp_path / "config", tmp_path / "token"
    path.write_text(json.dumps(KUBECONFIG))
    token.write_text("x")
    monkeypatch.setattr(connection, "KUBECONFIG", str(path))
    monkeypatch.setattr(connection, "TOKEN_FILE", token)
    api = await connection.connect()
    assert api.configuration.host == "https://127.0.0.1:1"
    await api.close()


async def test_without_any_access_it_says_what_to_set(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "none"
    monkeypatch.setattr(connection, "KUBECONFIG", str(missing))
    monkeypatch.setattr(connection, "HOME_FILE", missing)
    monkeypatch.setattr(connection, "TOKEN_FILE", missing)
    with pytest.raises(errors.Unreachable, match="set KUBECONFIG") as caught:
        await connection.connect()
    assert caught.value.reason == "NoKubeconfig"


async def test_in_a_pod_without_a_service_it_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    monkeypatch.setattr(connection, "KUBECONFIG", str(connection.HOME_FILE))
    monkeypatch.setattr(connection, "TOKEN_FILE", token)
    with pytest.raises(errors.Unreachable, match="the pod"):
        await connection.connect()
