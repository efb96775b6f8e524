"""Which MCP servers there are and which of their tools may be called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from selfheal.domain import errors

# Read-only, and each bound to one namespace, repository or ticket by an argument that agents pin.
PACKAGED_TOOLS: Mapping[str, frozenset[str]] = {
    # https://www.npmjs.com/package/kubernetes-mcp-server 0.0.67, toolset core
    "kubernetes": frozenset(
        {
            "events_list",
            "pods_get",
            "pods_list_in_namespace",
            "pods_log",
            "pods_top",
            "resources_get",
            "resources_list",
        }
    ),
    # https://github.com/github/github-mcp-server, also behind api.githubcopilot.com/mcp
    "github": frozenset({"get_file_contents", "list_commits", "get_commit", "pull_request_read"}),
    "jira": frozenset(
        {
            "jira_get_issue",  # PyPI mcp-atlassian 0.23.1
            "getJiraIssue",  # https://support.atlassian.com/atlassian-rovo-mcp-server/docs/supported-tools/
        }
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the operator's configuration; ``env`` is added to the few inherited names."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """One MCP server: exactly one of ``command``, ``url`` and ``in_process`` (tests).

    ``refused`` says why it may not be asked at all, e.g. for want of its credential: every call
    raises it, and the others go on.
    """

    name: str
    allowed_tools: frozenset[str]
    command: Command | None = None
    url: str | None = None
    token: str | None = dataclasses.field(default=None, repr=False)
    in_process: Any = None
    refused: errors.SelfHealError | None = None
