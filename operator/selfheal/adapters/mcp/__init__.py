"""Adapter of the ToolHost port for MCP servers."""

from __future__ import annotations

from selfheal.adapters.mcp.build import build_servers
from selfheal.adapters.mcp.host import McpToolHost
from selfheal.adapters.mcp.servers import Command, Server

__all__ = ["Command", "McpToolHost", "Server", "build_servers"]
