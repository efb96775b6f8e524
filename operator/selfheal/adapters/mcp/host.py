"""ToolHost over ``mcp``: several servers, allow-listed read-only tools, clean and bounded text."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import anyio
import mcp
import mcp_types
from mcp.shared.exceptions import MCPError

from selfheal import ports
from selfheal.adapters.mcp import connection, results, servers
from selfheal.domain import errors

_LOG = logging.getLogger(__name__)

CALL_TIMEOUT = 20.0
_MAX_DESCRIPTION = 1000
_MAX_PAGES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Offer:
    """What a server offered when its client was started for the ``started``-th time."""

    started: int
    reading: Mapping[str, mcp_types.Tool]  # allowed, and read-only by their own annotation
    writing: frozenset[str]  # allowed, and not


class McpToolHost:
    """MCP servers by name; only reads are called, and repeated once on a dead connection.

    A tool must be on the server's allow-list *and* say of itself that it only reads
    (``readOnlyHint``): whatever a policy allows, writes go through the engine's effects.
    """

    def __init__(self, configured: Sequence[servers.Server]) -> None:
        """Keep the servers; none is started before its first use."""
        self._servers = {server.name: server for server in configured}
        self._connections = {server.name: connection.Connection(server) for server in configured}
        self._locks = {server.name: asyncio.Lock() for server in configured}
        self._offers: dict[str, _Offer] = {}

    async def list_tools(self, server: str) -> Sequence[ports.Tool]:
        """Return the allowed, read-only tools of a server, whatever else it offers."""
        self._get_server(server)
        offer = await self._list(server)
        return [_to_tool(server, tool) for tool in offer.reading.values()]

    async def call_tool(self, server: str, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool and return its text without credentials; ``error: …`` where it failed.

        Forbidden for a tool that is not allowed or not read-only, Transient or Stalled when the
        server is down.
        """
        if name not in self._get_server(server).allowed_tools:
            raise errors.Forbidden(
                f"tool {name!r} is not among allowedTools of MCP server {server}", system="mcp"
            )
        offer = await self._get_offer(server)
        if name in offer.writing:
            raise errors.Forbidden(
                f"tool {name!r} of MCP server {server} does not say that it only reads "
                "(readOnlyHint); take it off allowedTools",
                system="mcp",
            )
        if name not in offer.reading:
            return f"error: MCP server {server} has no tool {name!r}"

        async def call(client: mcp.Client) -> mcp_types.CallToolResult:
            return await client.call_tool(name, dict(arguments), read_timeout_seconds=CALL_TIMEOUT)

        try:
            result = await self._with_restart(server, call)
        except _RequestFaultError as fault:
            return results.clean(f"error: {fault}")
        text = results.render(result)
        return results.clean(f"error: {text}" if result.is_error else text)

    async def close(self) -> None:
        """End all connections and children; may be repeated."""
        await asyncio.gather(*(each.close() for each in self._connections.values()))

    def _get_server(self, name: str) -> servers.Server:
        if name not in self._servers:
            raise errors.PolicyInvalid(f"no MCP server {name!r} is configured", system="mcp")
        server = self._servers[name]
        if server.refused is not None:
            raise server.refused
        return server

    async def _get_offer(self, name: str) -> _Offer:
        """Return what a server offered, asked anew once per client that was started."""
        async with self._locks[name]:
            known = self._offers.get(name)
            if known is None or known.started != self._connections[name].started:
                known = await self._list(name)
            return known

    async def _list(self, name: str) -> _Offer:
        try:
            offered = await self._with_restart(name, _list_all)
        except _RequestFaultError as fault:
            raise errors.Stalled(
                f"MCP server {name} refuses to list its tools", reason="NoTools", system="mcp"
            ) from fault
        allowed = [tool for tool in offered if tool.name in self._servers[name].allowed_tools]
        offer = _Offer(
            started=self._connections[name].started,
            reading={tool.name: tool for tool in allowed if _is_read_only(tool)},
            writing=frozenset(tool.name for tool in allowed if not _is_read_only(tool)),
        )
        if offer.writing:
            _LOG.warning(
                "allowed tools of MCP server %s are left out, for they do not say that they only "
                "read: %s", name, ", ".join(sorted(offer.writing)),
            )  # fmt: skip
        self._offers[name] = offer
        return offer

    async def _with_restart(self, name: str, call: Any) -> Any:
        try:
            return await self._once(name, call)
        except _ConnectionLostError:
            return await self._once(name, call)

    async def _once(self, name: str, call: Any) -> Any:
        line = self._connections[name]
        try:
            return await line.use(call, seconds=CALL_TIMEOUT)
        except errors.SelfHealError:
            raise
        except MCPError as error:
            raise _translate(name, error, status=line.last_status) from error
        except TimeoutError as error:
            raise _no_answer(name) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError) as error:
            raise _ConnectionLostError(f"MCP server {name} went away", system="mcp") from error
        except Exception as error:  # the client raises whatever a server's nonsense leads to
            raise errors.Transient(
                f"MCP server {name} sent nonsense ({connection.describe(error)})", system="mcp"
            ) from error


def _no_answer(name: str) -> errors.Transient:
    text = f"MCP server {name} did not answer within {CALL_TIMEOUT:.0f} s"
    return errors.Transient(text, system="mcp")


def _translate(name: str, error: MCPError, *, status: int | None) -> Exception:
    if error.code in connection.REQUEST_FAULTS:
        return _RequestFaultError(error.message)
    if error.code == mcp_types.CONNECTION_CLOSED:
        return _ConnectionLostError(f"MCP server {name} went away", system="mcp")
    if error.code == mcp_types.INVALID_REQUEST and status == HTTPStatus.NOT_FOUND:
        # https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#session-management
        return _ConnectionLostError(f"MCP server {name} has forgotten us", system="mcp")
    if error.code == mcp_types.REQUEST_TIMEOUT:
        return _no_answer(name)
    if status in (401, 403):
        return errors.Unauthorized(f"MCP server {name} refuses the token ({status})", system="mcp")
    return errors.Transient(f"MCP server {name} failed (code {error.code})", system="mcp")


class _ConnectionLostError(errors.Transient):
    """The connection broke; whether the call ran is not known."""


class _RequestFaultError(Exception):
    """The server refuses this very request; its word is for the model."""


async def _list_all(client: mcp.Client) -> list[mcp_types.Tool]:
    found: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _is_read_only(tool: mcp_types.Tool) -> bool:
    return bool(tool.annotations and tool.annotations.read_only_hint)


def _to_tool(server: str, tool: mcp_types.Tool) -> ports.Tool:
    return ports.Tool(
        server=server,
        name=tool.name,
        description=(tool.description or "")[:_MAX_DESCRIPTION],
        schema=tool.input_schema,
    )
