"""The real mcp-atlassian in an environment of its own, for tests."""
