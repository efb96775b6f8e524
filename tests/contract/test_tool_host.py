"""The contract of ToolHost: the fake, and the real adapter in process, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import mcp_types
import pytest
import uvicorn
import yaml
from mcp.shared.exceptions import MCPError
from tests.fakes import mcp_server
from tests.fakes.model import FakeToolHost

from selfheal import ports
from selfheal.adapters.mcp import build_servers, connection, host, kubernetes, results, servers
from selfheal.api import policy
from selfheal.domain import errors

ALLOWED = frozenset(
    {"pods_log", "pods_big", "pods_top", "pods_broken", "pods_pid", "pods_hang", "pods_ghost"}
)
STDIO = servers.Command(argv=(sys.executable, mcp_server.__file__))
ROOT = pathlib.Path(__file__).parents[2]


def build_fake() -> FakeToolHost:
    fake = FakeToolHost().add_server("pods", allowed=ALLOWED)
    text = {"type": "string"}
    fake.add_tool("pods", "pods_log", lambda a: f"log of {a.get('namespace', 'default')}/{a['name']}",
                  properties={"name": text, "namespace": text}, required=["name"])  # fmt: skip
    fake.add_tool("pods", "pods_big", "begin " + "é" * 40_000 + " end")
    fake.add_tool("pods", "pods_top", '{"memory": 5}')
    fake.add_tool("pods", "pods_broken", "error: no such pod")
    fake.add_tool("pods", "pods_delete", "deleted")
    return fake


@pytest.fixture(scope="module")
def http_url() -> Iterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # callers wait in its queue until the server is up
    config = uvicorn.Config(mcp_server.build().streamable_http_app(), log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture(params=["fake", "in-process", "stdio", "http"])
async def tools(request: pytest.FixtureRequest) -> AsyncIterator[ports.ToolHost]:
    kinds: dict[str, dict[str, Any]] = {
        "in-process": {"in_process": mcp_server.build()},
        "stdio": {"command": STDIO},
        "http": {},
    }
    if request.param == "fake":
        yield build_fake()
        return
    more = kinds[request.param]
    if request.param == "http":
        more = {"url": request.getfixturevalue("http_url")}
    real = host.McpToolHost([servers.Server(name="pods", allowed_tools=ALLOWED, **more)])
    yield real
    await real.close()


async def test_lists_only_allowed_tools_with_their_schemas(tools: ports.ToolHost) -> None:
    found = {tool.name: tool for tool in await tools.list_tools("pods")}
    assert {"pods_log", "pods_top"} <= set(found)
    assert "pods_delete" not in found
    log = found["pods_log"]
    assert log.server == "pods"
    assert log.schema["required"] == ["name"]
    assert "namespace" in log.schema["properties"]


async def test_calls_a_tool(tools: ports.ToolHost) -> None:
    assert await tools.call_tool("pods", "pods_log", {"name": "a", "namespace": "b"}) == "log of b/a"


async def test_refuses_a_tool_outside_the_allow_list(tools: ports.ToolHost) -> None:
    with pytest.raises(errors.Forbidden, match="pods_delete"):
        await tools.call_tool("pods", "pods_delete", {"name": "a"})


async def test_an_unknown_server_is_the_policys_fault(tools: ports.ToolHost) -> None:
    with pytest.raises(errors.PolicyInvalid, match="elsewhere"):
        await tools.list_tools("elsewhere")
    with pytest.raises(errors.PolicyInvalid, match="elsewhere"):
        await tools.call_tool("elsewhere", "pods_log", {})


async def test_bounds_the_text(tools: ports.ToolHost) -> None:
    text = await tools.call_tool("pods", "pods_big", {})
    assert len(text.encode()) <= 16 * 1024
    assert text.startswith("begin")
    assert "left out" in text


async def test_a_failing_tool_answers_with_its_error(tools: ports.ToolHost) -> None:
    text = await tools.call_tool("pods", "pods_broken", {})
    assert text.startswith("error: ")
    assert (await tools.call_tool("pods", "pods_log", {"name": "a"})).startswith("log of")


async def test_a_tool_that_is_not_there_answers_with_an_error(tools: ports.ToolHost) -> None:
    assert (await tools.call_tool("pods", "pods_ghost", {})).startswith("error: ")


async def test_structured_content_becomes_json(tools: ports.ToolHost) -> None:
    assert '"memory": 5' in await tools.call_tool("pods", "pods_top", {})


async def test_serves_many_callers_at_once(tools: ports.ToolHost) -> None:
    texts = await asyncio.gather(
        *(tools.call_tool("pods", "pods_log", {"name": str(number)}) for number in range(20))
    )
    assert list(texts) == [f"log of default/{number}" for number in range(20)]


# --- the real adapter alone --------------------------------------------------------------------------


def build_host(**more: Any) -> host.McpToolHost:
    allowed = more.pop("allowed_tools", ALLOWED)
    return host.McpToolHost([servers.Server(name="pods", allowed_tools=allowed, **more)])


async def test_the_end_of_a_log_is_kept() -> None:
    real = build_host(in_process=mcp_server.build())
    assert (await real.call_tool("pods", "pods_big", {})).endswith(" end")
    await real.close()


async def wait_for_end(pid: int) -> None:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{pid} lives on")


async def test_a_dead_child_is_replaced_and_a_read_is_repeated() -> None:
    real = build_host(command=STDIO)
    await real.list_tools("pods")
    first = int(await real.call_tool("pods", "pods_pid", {}))
    os.kill(first, signal.SIGKILL)
    second = int(await real.call_tool("pods", "pods_pid", {}))
    assert second != first
    await real.close()
    await wait_for_end(second)


async def test_a_tool_that_does_not_say_it_only_reads_is_refused_even_if_allowed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = build_host(in_process=mcp_server.build(), allowed_tools=ALLOWED | {"pods_delete"})
    with pytest.raises(errors.Forbidden, match=r"pods_delete.*readOnlyHint"):
        await real.call_tool("pods", "pods_delete", {"name": "a"})
    assert "pods_delete" not in {tool.name for tool in await real.list_tools("pods")}
    assert "pods_delete" in caplog.text
    await real.close()


async def test_a_server_that_comes_back_is_asked_anew_what_it_offers() -> None:
    real = build_host(command=STDIO)
    await real.call_tool("pods", "pods_log", {"name": "a"})
    first = real._offers["pods"]
    os.kill(int(await real.call_tool("pods", "pods_pid", {})), signal.SIGKILL)
    await real.call_tool("pods", "pods_log", {"name": "a"})
    await real.call_tool("pods", "pods_log", {"name": "a"})
    assert real._offers["pods"].started == first.started + 1
    await real.close()


async def test_a_hanging_tool_ends_at_the_deadline_and_the_child_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = build_host(command=STDIO)
    first = await real.call_tool("pods", "pods_pid", {})
    monkeypatch.setattr(host, "CALL_TIMEOUT", 0.2)
    with pytest.raises(errors.Transient, match="did not answer"):
        await real.call_tool("pods", "pods_hang", {})
    monkeypatch.undo()
    assert await real.call_tool("pods", "pods_pid", {}) != first
    await real.close()


@pytest.mark.parametrize(
    "argv", [("/no/such/program",), (sys.executable, "-c", "raise SystemExit(3)"), (sys.executable, "-c", "print('hello')")]
)
async def test_a_command_that_does_not_serve_is_unreachable_and_waits_before_the_next_try(
    argv: tuple[str, ...],
) -> None:
    real = build_host(command=servers.Command(argv=argv))
    with pytest.raises(errors.Unreachable, match="pods cannot be started or reached"):
        await real.list_tools("pods")
    with pytest.raises(errors.Unreachable, match="next try in"):
        await real.list_tools("pods")
    await real.close()


async def test_goes_on_when_the_pause_is_over() -> None:
    now = [0.0]
    line = connection.Connection(
        servers.Server(name="pods", allowed_tools=ALLOWED, command=servers.Command(argv=("/no/such/program",))),
        monotonic=lambda: now[0],
    )
    for expected in (1, 1, 2):
        with pytest.raises(errors.Unreachable):
            await line.use(host._list_all, seconds=5)
        assert line.started == expected
        now[0] += 0.6
    await line.close()


async def test_no_server_at_the_url_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    real = build_host(url=f"http://127.0.0.1:{port}/mcp")
    with pytest.raises(errors.Unreachable):
        await real.list_tools("pods")
    await real.close()


async def serve_status(status: int, seen: list[bytes]) -> tuple[asyncio.Server, str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def test_a_refused_token_says_so_without_showing_it() -> None:
    seen: list[bytes] = []
    server, url = await serve_status(401, seen)
    real = build_host(url=url, token="mcp-secret-token")
    with pytest.raises(errors.Unauthorized) as caught:
        await real.list_tools("pods")
    assert b"Bearer mcp-secret-token" in seen[0]
    assert "mcp-secret-token" not in str(caught.value)
    assert "mcp-secret-token" not in repr(real._servers)
    await real.close()
    server.close()


async def test_cancelling_one_caller_leaves_the_others_alone() -> None:
    real = build_host(command=STDIO)
    impatient = asyncio.create_task(real.list_tools("pods"))
    patient = asyncio.create_task(real.list_tools("pods"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient
    await real.close()
    await asyncio.gather(impatient, return_exceptions=True)


@pytest.mark.parametrize(
    ("error", "status", "expected", "words"),
    [
        (MCPError(mcp_types.CONNECTION_CLOSED, "x"), None, errors.Transient, "went away"),
        (MCPError(mcp_types.INVALID_REQUEST, "secret"), 404, errors.Transient, "forgotten us"),
        (MCPError(mcp_types.INVALID_REQUEST, "secret"), 400, errors.Transient, "failed (code -32600)"),
        (MCPError(mcp_types.REQUEST_TIMEOUT, "x"), None, errors.Transient, "did not answer within 20 s"),
        (MCPError(mcp_types.INTERNAL_ERROR, "secret"), 401, errors.Unauthorized, "refuses the token (401)"),
        (MCPError(mcp_types.INTERNAL_ERROR, "secret"), 502, errors.Transient, "failed (code -32603)"),
        (TimeoutError(), None, errors.Transient, "did not answer within 20 s"),
        (anyio.ClosedResourceError(), None, errors.Transient, "went away"),
        (KeyError("secret"), None, errors.Transient, "sent nonsense (KeyError)"),
    ],
)
async def test_foreign_errors_become_ours_without_their_text(
    error: Exception, status: int | None, expected: type[errors.SelfHealError], words: str
) -> None:
    real = build_host(in_process=mcp_server.build())
    await real.call_tool("pods", "pods_log", {"name": "a"})
    line = real._connections["pods"]
    line._status = status

    async def fail(_: object) -> str:
        raise error

    with pytest.raises(expected) as caught:
        await real._once("pods", fail)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert await real.call_tool("pods", "pods_log", {"name": "a"}) == "log of default/a"
    assert line.started == 2  # whatever it was, the client was replaced
    await real.close()


async def test_a_refused_request_is_told_and_the_client_kept() -> None:
    real = build_host(in_process=mcp_server.build())
    await real.list_tools("pods")

    class Refusing:
        async def call_tool(self, *_: object, **__: object) -> None:
            raise MCPError(mcp_types.INVALID_PARAMS, "no such field")

        async def list_tools(self, **_: object) -> None:
            raise MCPError(mcp_types.METHOD_NOT_FOUND, "no tools here")

    async def use(call: Any, *, seconds: float) -> Any:
        try:
            return await call(Refusing())
        finally:
            assert seconds == host.CALL_TIMEOUT

    real._connections["pods"].use = use  # type: ignore[method-assign]
    assert await real.call_tool("pods", "pods_log", {}) == "error: no such field"
    with pytest.raises(errors.Stalled, match="refuses to list its tools"):
        await real.list_tools("pods")
    await real.close()


async def test_lists_page_by_page_and_ends_with_a_paginator_that_does_not() -> None:
    asked: list[str | None] = []

    class Endless:
        async def list_tools(self, *, cursor: str | None) -> mcp_types.ListToolsResult:
            asked.append(cursor)
            tool = mcp_types.Tool(name=f"t{len(asked)}", input_schema={"type": "object"})
            return mcp_types.ListToolsResult(tools=[tool], next_cursor=f"c{len(asked)}")

    found = await host._list_all(Endless())  # type: ignore[arg-type]
    assert [tool.name for tool in found[:2]] == ["t1", "t2"]
    assert asked[:2] == [None, "c1"]
    assert len(found) == 20


def test_what_is_no_text_is_said() -> None:
    image = mcp_types.ImageContent(type="image", data="aGk=", mime_type="image/png")
    result = mcp_types.CallToolResult(content=[mcp_types.TextContent(type="text", text="a"), image])
    assert results.render(result) == "a\n[1 parts that are no text were left out]"
    structured = mcp_types.CallToolResult(content=[], structured_content={"a": 1})
    assert results.render(structured) == '{"a": 1}'


# --- which servers a policy may name -----------------------------------------------------------------


def test_a_policy_names_commands_and_never_brings_its_own() -> None:
    spec = policy.McpServerSpec(name="kubernetes", command="kubernetes")
    (built,) = build_servers([spec], commands={"kubernetes": STDIO})
    assert built.command == STDIO
    assert built.allowed_tools == servers.PACKAGED_TOOLS["kubernetes"]
    with pytest.raises(errors.PolicyInvalid, match="no command 'sh'"):
        build_servers([policy.McpServerSpec(name="kubernetes", command="sh")], commands={"kubernetes": STDIO})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([policy.McpServerSpec(name="a")], "set one of url and command"),
        ([policy.McpServerSpec(name="a", url="http://x", command="c")], "set one of url and command"),
        ([policy.McpServerSpec(name="a", url="http://x"), policy.McpServerSpec(name="a", url="http://y")], "twice"),
    ],
)
def test_wrong_servers_are_named(spec: list[policy.McpServerSpec], message: str) -> None:
    with pytest.raises(errors.PolicyInvalid, match=message):
        build_servers(spec, commands={"c": STDIO})


def test_a_policy_narrows_the_tools_and_tokens_go_by_name() -> None:
    spec = policy.McpServerSpec(name="docs", url="http://docs.test/mcp", allowed_tools=["read"])
    (built,) = build_servers([spec], commands={}, credentials={"docs": {"token": "t"}})
    assert (built.allowed_tools, built.token) == (frozenset({"read"}), "t")
    (unknown,) = build_servers([policy.McpServerSpec(name="x", url="http://x")], commands={})
    assert unknown.allowed_tools == frozenset()


def test_an_embedded_file_is_part_of_the_text() -> None:
    file = mcp_types.TextResourceContents(uri="repo://acme/gitops/a.yaml", text="replicas: 2")
    blob = mcp_types.BlobResourceContents(uri="repo://acme/gitops/a.png", blob="aGk=")
    parts = [mcp_types.TextContent(type="text", text="found")] + [
        mcp_types.EmbeddedResource(type="resource", resource=each) for each in (file, blob)
    ]
    assert results.render(mcp_types.CallToolResult(content=parts)) == (
        "found\nreplicas: 2\n[1 parts that are no text were left out]"
    )


def test_a_command_gets_the_variables_of_its_secret_and_nothing_else_of_it() -> None:
    spec = policy.McpServerSpec(name="jira", command="jira")
    bare = servers.Command(argv=("mcp-atlassian", "--jira-url", "https://jira.test"), env={"A": "b"})
    held = {"JIRA_PERSONAL_TOKEN": "pat-1", "token": "t", "hosts": "jira.test"}
    (built,) = build_servers([spec], commands={"jira": bare}, credentials={"jira": held})
    assert built.command is not None
    assert built.command.argv == bare.argv
    assert built.command.env == {
        "A": "b",
        "JIRA_PERSONAL_TOKEN": "pat-1",
        "READ_ONLY_MODE": "true",
        "ENABLED_TOOLS": "getJiraIssue,jira_get_issue",
        "DISABLE_JIRA_MARKUP_TRANSLATION": "true",
    }
    assert "pat-1" not in repr(built)


def test_a_kubernetes_server_is_confined_unless_it_brings_a_configuration() -> None:
    bare = servers.Command(argv=("/opt/bin/kubernetes-mcp-server-linux-amd64", "--log-level", "0"), env={"A": "b"})
    confined = kubernetes.confine(bare, ["pods_get"])
    assert confined.argv[:3] == bare.argv
    assert confined.env == {"A": "b"}
    written = tomllib.loads(pathlib.Path(confined.argv[confined.argv.index("--config") + 1]).read_text())
    assert written["read_only"] is True
    assert written["enabled_tools"] == ["pods_get"]
    assert {"group": "", "version": "v1", "kind": "Secret"} in written["denied_resources"]
    for own in (("kubernetes-mcp-server", "--config", "x"), ("kubernetes-mcp-server", "--config=x"), ("cat",)):
        command = servers.Command(argv=own)
        assert kubernetes.confine(command, []) is command


async def test_a_child_inherits_what_it_needs_to_find_the_cluster_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("GITHUB_TOKEN", "not-for-children")
    real = build_host(command=STDIO, allowed_tools=ALLOWED | {"pods_environment"})
    names = await real.call_tool("pods", "pods_environment", {})
    assert "KUBERNETES_SERVICE_HOST" in names.split()
    assert "GITHUB_TOKEN" not in names.split()
    await real.close()


# --- the real kubernetes-mcp-server ------------------------------------------------------------------


def find_kubernetes_binary() -> str | None:
    """Where the npm package put the binary: SELFHEAL_KUBERNETES_MCP, PATH, or the user's cache."""
    named = os.environ.get("SELFHEAL_KUBERNETES_MCP") or shutil.which("kubernetes-mcp-server")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "selfheal"
    pattern = "node/*/node_modules/kubernetes-mcp-server-linux-*/bin/kubernetes-mcp-server-linux-*"
    return named or next((str(path) for path in sorted(cache.glob(pattern))), None)


@pytest.fixture
def binary() -> str:
    found = find_kubernetes_binary()
    if found is None:
        pytest.skip("kubernetes-mcp-server is not installed: run `python -m hack.sandbox.github.install`")
    return found


def build_kubernetes(binary: str, kubeconfig: pathlib.Path) -> host.McpToolHost:
    command = servers.Command(argv=(binary,), env={"KUBECONFIG": str(kubeconfig)})
    spec = policy.McpServerSpec(name="kubernetes", command="kubernetes")
    return host.McpToolHost(build_servers([spec], commands={"kubernetes": command}))


@pytest.fixture
def dead_kubeconfig(tmp_path: pathlib.Path) -> pathlib.Path:
    """A kubeconfig whose API server is not there: the server starts, its calls fail."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


async def check_packaged_tools(real: host.McpToolHost) -> None:
    found = {tool.name: tool for tool in await real.list_tools("kubernetes")}
    assert set(found) == servers.PACKAGED_TOOLS["kubernetes"]
    assert all("namespace" in tool.schema["properties"] for tool in found.values())
    text = await real.call_tool("kubernetes", "pods_list_in_namespace", {"namespace": "default"})
    assert text.startswith("error: ")  # no API server there


@pytest.mark.sandbox
async def test_the_real_server_offers_just_the_packaged_tools(
    binary: str, dead_kubeconfig: pathlib.Path
) -> None:
    real = build_kubernetes(binary, dead_kubeconfig)
    await check_packaged_tools(real)
    await real.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("more", [[], ["--stateless"]])
async def test_the_real_server_serves_over_http_too_and_is_found_again_after_a_restart(
    binary: str, dead_kubeconfig: pathlib.Path, tmp_path: pathlib.Path, more: list[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = kubernetes.write_config(tmp_path)
    argv = [binary, "--config", str(config), "--port", str(port), "--bind-address", "127.0.0.1", *more]

    async def start() -> asyncio.subprocess.Process:
        quiet = asyncio.subprocess.DEVNULL
        child = await asyncio.create_subprocess_exec(
            *argv, "--kubeconfig", str(dead_kubeconfig), stdout=quiet, stderr=quiet
        )
        await wait_for_port(port)
        return child

    spec = policy.McpServerSpec(name="kubernetes", url=f"http://127.0.0.1:{port}/mcp")
    real = host.McpToolHost(build_servers([spec], commands={}))
    child = await start()
    try:
        await check_packaged_tools(real)
        child.kill()
        await child.wait()
        child = await start()
        text = await real.call_tool("kubernetes", "pods_list_in_namespace", {"namespace": "default"})
        assert text.startswith("error: failed to list pods")  # asked again, not lost
    finally:
        await real.close()
        child.terminate()
        await child.wait()


async def wait_for_port(port: int) -> None:
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
    raise AssertionError(f"nothing listens on {port}")


@pytest.mark.e2e
async def test_the_real_server_reads_the_cluster_but_no_secret(binary: str) -> None:
    kubeconfig = ROOT / ".cluster" / "kubeconfig"
    if not kubeconfig.exists():
        pytest.skip("no local cluster: run `make cluster-up`")
    real = build_kubernetes(binary, kubeconfig)
    pods = await real.call_tool("kubernetes", "pods_list_in_namespace", {"namespace": "kube-system"})
    assert not pods.startswith("error: "), pods
    arguments = {"apiVersion": "v1", "kind": "Secret", "namespace": "kube-system"}
    refused = await real.call_tool("kubernetes", "resources_list", arguments)
    assert refused.startswith("error: ")
    assert "not allowed" in refused or "denied" in refused
    await real.close()
