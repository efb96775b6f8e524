"""A real MCP server with a few harmless tools; run as a program it speaks stdio."""

from __future__ import annotations

import asyncio
import os

import mcp_types
from mcp.server.mcpserver import MCPServer

READ_ONLY = mcp_types.ToolAnnotations(read_only_hint=True)


def build() -> MCPServer:
    """Build the server."""
    server = MCPServer("pods", log_level="ERROR")

    @server.tool(annotations=READ_ONLY, structured_output=False)
    def pods_log(name: str, namespace: str = "default") -> str:
        """Log of a pod."""
        return f"log of {namespace}/{name}"

    @server.tool(annotations=READ_ONLY, structured_output=False)
    def pods_big() -> str:
        """A long text."""
        return "begin " + "é" * 40_000 + " end"

    @server.tool(annotations=READ_ONLY)
    def pods_top() -> dict[str, int]:
        """Numbers."""
        return {"memory": 5}

    @server.tool(annotations=READ_ONLY)
    def pods_broken() -> str:
        """Always fails."""
        raise ValueError("no such pod")

    @server.tool(annotations=READ_ONLY, structured_output=False)
    def pods_pid() -> str:
        """The server's process id."""
        return str(os.getpid())

    @server.tool(annotations=READ_ONLY, structured_output=False)
    def pods_environment() -> str:
        """Names of the server's environment variables."""
        return " ".join(sorted(os.environ))

    @server.tool(structured_output=False)
    def pods_delete(name: str) -> str:
        """Writes."""
        return f"deleted {name} by {os.getpid()}"

    @server.tool(annotations=READ_ONLY)
    async def pods_hang() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return ""

    return server


if __name__ == "__main__":
    build().run()
