"""Adapter of the ToolHost port for MCP servers."""
