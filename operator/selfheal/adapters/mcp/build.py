"""Builds the servers that a policy names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from selfheal.adapters.mcp import atlassian, kubernetes, servers
from selfheal.api import policy
from selfheal.domain import errors

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def build_servers(
    specs: Sequence[policy.McpServerSpec],
    *,
    commands: Mapping[str, servers.Command],
    credentials: Mapping[str, Mapping[str, str]] | None = None,
    refused: Mapping[str, errors.SelfHealError] | None = None,
) -> list[servers.Server]:
    """Resolve a policy's servers; PolicyInvalid names the entry that is wrong.

    ``commands`` maps the names that a policy may use to commands: a policy never brings argv of its
    own. ``credentials`` maps server names to what the Secrets of ``credentialsRef`` hold, read by
    the caller: over HTTP the key ``token`` is the bearer token, a command gets the keys that are
    named like environment variables as such. ``refused`` maps servers whose credential cannot be
    had to why.
    """
    names = [spec.name for spec in specs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise errors.PolicyInvalid(f"agents.mcpServers: {doubled[0]} is named twice", system="mcp")
    held = credentials or {}
    built = (_build_server(spec, commands, held.get(spec.name, {})) for spec in specs)
    return [dataclasses.replace(each, refused=(refused or {}).get(each.name)) for each in built]


def _build_server(
    spec: policy.McpServerSpec,
    commands: Mapping[str, servers.Command],
    credential: Mapping[str, str],
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
        command=_confine(command, allowed, credential) if command is not None else None,
        url=spec.url,
        token=credential.get("token") or None,
    )


def _confine(
    command: servers.Command, allowed: frozenset[str], credential: Mapping[str, str]
) -> servers.Command:
    own = {name: value for name, value in credential.items() if _VARIABLE.fullmatch(name)}
    command = servers.Command(argv=command.argv, env={**command.env, **own})
    return atlassian.confine(kubernetes.confine(command, allowed), allowed)
