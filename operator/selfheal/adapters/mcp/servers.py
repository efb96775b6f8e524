"""Which MCP servers there are and which of their tools may be called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api import policy
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
    "github": frozenset({"get_file_contents", "list_commits", "get_commit", "get_pull_request"}),
    "jira": frozenset({"jira_get_issue"}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the operator's configuration; ``env`` is added to the few inherited names."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """One MCP server: exactly one of ``command``, ``url`` and ``in_process`` (tests)."""

    name: str
    allowed_tools: frozenset[str]
    command: Command | None = None
    url: str | None = None
    token: str | None = dataclasses.field(default=None, repr=False)
    in_process: Any = None


def build_servers(
    specs: Sequence[policy.McpServerSpec],
    *,
    commands: Mapping[str, Command],
    tokens: Mapping[str, str] | None = None,
) -> list[Server]:
    """Resolve a policy's servers; PolicyInvalid names the entry that is wrong.

    ``commands`` maps the names that a policy may use to commands: a policy never brings argv of its
    own. ``tokens`` maps server names to bearer tokens, read from ``credentialsRef`` by the caller.
    """
    names = [spec.name for spec in specs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise errors.PolicyInvalid(f"agents.mcpServers: {doubled[0]} is named twice", system="mcp")
    return [_build_server(spec, commands, (tokens or {}).get(spec.name)) for spec in specs]


def _build_server(
    spec: policy.McpServerSpec, commands: Mapping[str, Command], token: str | None
) -> Server:
    field = f"agents.mcpServers[{spec.name}]"
    if (spec.url is None) == (spec.command is None):
        raise errors.PolicyInvalid(f"{field}: set one of url and command", system="mcp")
    if spec.command is not None and spec.command not in commands:
        known = ", ".join(sorted(commands)) or "none"
        raise errors.PolicyInvalid(
            f"{field}: the operator has no command {spec.command!r} (known: {known})",
            system="mcp",
        )
    allowed = frozenset(spec.allowed_tools) or PACKAGED_TOOLS.get(spec.name, frozenset())
    return Server(
        name=spec.name,
        allowed_tools=allowed,
        command=commands[spec.command] if spec.command is not None else None,
        url=spec.url,
        token=token,
    )
