"""Builds the servers that a policy names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from selfheal.adapters.mcp import kubernetes, servers
from selfheal.api import policy
from selfheal.domain import errors


def build_servers(
    specs: Sequence[policy.McpServerSpec],
    *,
    commands: Mapping[str, servers.Command],
    tokens: Mapping[str, str] | None = None,
    refused: Mapping[str, errors.SelfHealError] | None = None,
) -> list[servers.Server]:
    """Resolve a policy's servers; PolicyInvalid names the entry that is wrong.

    ``commands`` maps the names that a policy may use to commands: a policy never brings argv of its
    own. ``tokens`` maps server names to bearer tokens, read from ``credentialsRef`` by the caller;
    ``refused`` maps those whose credential cannot be had to why.
    """
    names = [spec.name for spec in specs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise errors.PolicyInvalid(f"agents.mcpServers: {doubled[0]} is named twice", system="mcp")
    built = (_build_server(spec, commands, (tokens or {}).get(spec.name)) for spec in specs)
    return [dataclasses.replace(each, refused=(refused or {}).get(each.name)) for each in built]


def _build_server(
    spec: policy.McpServerSpec, commands: Mapping[str, servers.Command], token: str | None
) -> servers.Server:
    field = f"agents.mcpServers[{spec.name}]"
    if (spec.url is None) == (spec.command is None):
        raise errors.PolicyInvalid(f"{field}: set one of url and command", system="mcp")
    if spec.command is not None and spec.command not in commands:
        known = ", ".join(sorted(commands)) or "none"
        raise errors.PolicyInvalid(
            f"{field}: the operator has no command {spec.command!r} (known: {known})",
            system="mcp",
        )
    allowed = frozenset(spec.allowed_tools) or servers.PACKAGED_TOOLS.get(spec.name, frozenset())
    command = commands[spec.command] if spec.command is not None else None
    return servers.Server(
        name=spec.name,
        allowed_tools=allowed,
        command=kubernetes.confine(command, allowed) if command is not None else None,
        url=spec.url,
        token=token,
    )
