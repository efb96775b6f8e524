"""One MCP server's connection: its own task enters and leaves the client, anew on demand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import httpx2
import mcp
import mcp_types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from selfheal.adapters.mcp import environment, servers
from selfheal.domain import errors

T = TypeVar("T")

CONNECT_TIMEOUT = 20.0
READ_TIMEOUT = 30.0
# The server answered; only this request was wrong. https://www.jsonrpc.org/specification#error_object
REQUEST_FAULTS = frozenset({mcp_types.INVALID_PARAMS, mcp_types.METHOD_NOT_FOUND})
_MAX_EVENT_BYTES = 8 << 20  # long logs; the client's own default is 1 MiB
_BACKOFF = (0.0, 1.0, 2.0, 5.0, 15.0, 60.0)  # seconds before a new try, by failures in a row


class Connection:
    """Keeps at most one client of one server.

    ``use`` may be repeated. The ``mcp`` client has no reconnect after a dead child, and its cancel
    scopes must be left by the task that entered them: hence the task.
    """

    def __init__(
        self, server: servers.Server, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep the description; nothing is started before the first use."""
        self._server = server
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._client: asyncio.Future[mcp.Client] | None = None
        self._broken = asyncio.Event()
        self._failures = 0
        self._not_before = 0.0
        self._status: int | None = None  # of the last HTTP response: the client hides it
        self._started = 0

    @property
    def started(self) -> int:
        """How often a client was started, for tests and metrics."""
        return self._started

    @property
    def last_status(self) -> int | None:
        """HTTP status of the newest response; None over stdio."""
        return self._status

    async def use(self, call: Callable[[mcp.Client], Awaitable[T]], *, seconds: float) -> T:
        """Run ``call`` with a live client within ``seconds``; Unreachable where there is none.

        A failure that is not the request's own fault drops the client; it is raised as it came.
        """
        client = await self._get_client()
        try:
            async with asyncio.timeout(seconds):
                return await call(client)
        except MCPError as error:
            if error.code not in REQUEST_FAULTS:
                await self._drop_if_current(client)
            raise
        except Exception:
            await self._drop_if_current(client)
            raise

    async def close(self) -> None:
        """Leave the client and, over stdio, end the child; the next use starts anew."""
        async with self._lock:
            await self._drop()

    async def _drop_if_current(self, client: mcp.Client) -> None:
        async with self._lock:
            ready = self._client
            usable = ready is not None and ready.done() and not ready.exception()
            if ready is not None and usable and ready.result() is client:
                await self._drop()

    async def _drop(self) -> None:
        self._broken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CONNECT_TIMEOUT)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task])
        self._task = self._client = None

    async def _get_client(self) -> mcp.Client:
        async with self._lock:
            if self._client is None or self._task is None or self._task.done():
                await self._start()
            client = self._client
        if client is None:
            raise self._unreachable("is down")
        return await asyncio.shield(client)  # a caller that gives up must not end it for the others

    async def _start(self) -> None:
        wait = self._not_before - self._monotonic()
        if wait > 0:
            raise self._unreachable(f"is down; next try in {wait:.0f} s")
        await self._drop()
        self._broken = asyncio.Event()
        self._status = None
        self._started += 1
        self._client = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(
            self._serve(self._client, self._broken), name=f"mcp-{self._server.name}"
        )

    def _refuse(self, ready: asyncio.Future[mcp.Client], error: errors.Stalled) -> None:
        if not ready.done():
            self._failures += 1
            pause = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
            self._not_before = self._monotonic() + pause
            ready.set_exception(error)
            ready.exception()  # a waiter may have given up: then nobody else looks at it

    async def _serve(self, ready: asyncio.Future[mcp.Client], broken: asyncio.Event) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    client = await stack.enter_async_context(self._open())
                self._failures = 0
                ready.set_result(client)
                await broken.wait()
        except asyncio.CancelledError:
            self._refuse(ready, self._unreachable("was ended"))
            raise
        except Exception as error:  # an ExceptionGroup as a rule; later failures reach the calls
            self._refuse(ready, self._refusal(error))

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[mcp.Client]:
        server = self._server
        async with contextlib.AsyncExitStack() as stack:
            if server.command is not None:
                argv = server.command.argv
                target: object = mcp.StdioServerParameters(
                    command=argv[0],
                    args=list(argv[1:]),
                    env=environment.list_inherited() | dict(server.command.env),
                )
            elif server.url is not None:
                http = await stack.enter_async_context(self._build_http())
                target = streamable_http_client(
                    server.url, http_client=http, max_sse_event_size=_MAX_EVENT_BYTES
                )
            else:
                target = server.in_process
            client = mcp.Client(target, read_timeout_seconds=READ_TIMEOUT)  # type: ignore[arg-type]
            yield await stack.enter_async_context(client)

    def _build_http(self) -> httpx2.AsyncClient:
        async def remember(response: httpx2.Response) -> None:
            self._status = response.status_code

        headers = {"Authorization": f"Bearer {self._server.token}"} if self._server.token else {}
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(READ_TIMEOUT, connect=10.0),
            event_hooks={"response": [remember]},
        )

    def _refusal(self, error: Exception) -> errors.Stalled:
        if self._status in (401, 403):
            return errors.Unauthorized(
                f"MCP server {self._server.name} refuses the token ({self._status})", system="mcp"
            )
        return self._unreachable(f"cannot be started or reached ({describe(error)})")

    def _unreachable(self, what: str) -> errors.Unreachable:
        return errors.Unreachable(f"MCP server {self._server.name} {what}", system="mcp")


def describe(error: BaseException) -> str:
    """Name the innermost exceptions of a group; only types: texts may carry tokens."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(sorted({describe(inner) for inner in error.exceptions}))
    return type(error).__name__
