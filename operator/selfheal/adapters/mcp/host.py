"""ToolHost over ``mcp``: several servers, allow-listed tools, bounded text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import mcp
import mcp_types
from mcp.shared.exceptions import MCPError

from selfheal import ports
from selfheal.adapters.mcp import connection, servers
from selfheal.domain import errors

CALL_TIMEOUT = 20.0
MAX_TEXT_BYTES = 16 * 1024
_MAX_DESCRIPTION = 1000
_MAX_PAGES = 20


class McpToolHost:
    """MCP servers by name; a call known to be read-only is repeated once on a dead connection."""

    def __init__(self, configured: Sequence[servers.Server]) -> None:
        """Keep the servers; none is started before its first use."""
        self._servers = {server.name: server for server in configured}
        self._connections = {server.name: connection.Connection(server) for server in configured}
        self._read_only: dict[str, frozenset[str]] = {}

    async def list_tools(self, server: str) -> Sequence[ports.Tool]:
        """Return the allowed tools of a server, whatever else it offers."""
        allowed = self._get_server(server).allowed_tools
        try:
            offered = await self._with_restart(server, _list_all, repeatable=True)
        except _RequestFaultError as fault:
            raise errors.Stalled(
                f"MCP server {server} refuses to list its tools", reason="NoTools", system="mcp"
            ) from fault
        tools = [tool for tool in offered if tool.name in allowed]
        self._read_only[server] = frozenset(tool.name for tool in tools if _is_read_only(tool))
        return [_to_tool(server, tool) for tool in tools]

    async def call_tool(self, server: str, name: str, arguments: Mapping[str, Any]) -> str:
        """Call an allowed tool and return its text; ``error: …`` where the tool itself failed.

        Forbidden for a tool outside the allow-list, Transient or Stalled when the server is down.
        """
        if name not in self._get_server(server).allowed_tools:
            raise errors.Forbidden(
                f"tool {name!r} is not among allowedTools of MCP server {server}", system="mcp"
            )

        async def call(client: mcp.Client) -> mcp_types.CallToolResult:
            return await client.call_tool(name, dict(arguments), read_timeout_seconds=CALL_TIMEOUT)

        repeatable = name in self._read_only.get(server, frozenset())
        try:
            result = await self._with_restart(server, call, repeatable=repeatable)
        except _RequestFaultError as fault:
            return bound(f"error: {fault}")
        text = _to_text(result)
        return bound(f"error: {text}" if result.is_error else text)

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

    async def _with_restart(self, name: str, call: Any, *, repeatable: bool) -> Any:
        try:
            return await self._once(name, call)
        except _ConnectionLostError:
            if not repeatable:
                raise
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


def _to_text(result: mcp_types.CallToolResult) -> str:
    parts = [part.text for part in result.content if isinstance(part, mcp_types.TextContent)]
    omitted = len(result.content) - len(parts)
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False, sort_keys=True)]
    if omitted:
        parts.append(f"[{omitted} parts that are no text were left out]")
    return "\n".join(parts)


def bound(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Keep the first and the last half of ``limit`` bytes: a log's cause stands at its end."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    note = f"\n[… {len(raw) - limit} bytes left out …]\n"
    half = (limit - len(note.encode())) // 2
    return raw[:half].decode(errors="ignore") + note + raw[-half:].decode(errors="ignore")
