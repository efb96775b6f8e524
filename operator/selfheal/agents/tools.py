"""Tools of agents: allow-listed, bound to the incident's own namespace and repository, redacted."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from selfheal import ports, redaction
from selfheal.agents import prompts
from selfheal.diagnosis.evidence import Bundle, ItemKind
from selfheal.domain import errors

MAX_RESULT = 6_000  # characters of one result in the prompt
_MAX_MATCHES = 40
# What they return holds logs (a pod has the end of one in its status): only with consent.
_LOG_TOOLS = frozenset({"pods_log", "pods_get"})
_LOG_KINDS = frozenset({"pod", "pods"})
_REFUSED_KINDS = frozenset({"secret", "secrets"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scope:
    """What an incident may be looked at with; tools of a server without a scope are not offered."""

    namespace: str | None = None
    repository: str | None = None  # owner/name
    ticket: str | None = None
    site: str | None = None  # of the ticket in Jira Cloud: cloudId or host

    def find_pins(self, server: str) -> Mapping[str, Any] | None:
        """Return arguments that code fixes for a server's tools, whatever the model asks for."""
        if server == "kubernetes" and self.namespace:
            return {"namespace": self.namespace, "all_namespaces": False}
        if server == "github" and self.repository:
            owner, _, name = self.repository.partition("/")
            return {"owner": owner, "repo": name}
        if server == "jira" and self.ticket:
            # update_history: a read that enters the account's list of viewed tickets writes
            pins = {"issue_key": self.ticket, "issueIdOrKey": self.ticket, "update_history": False}
            return {**pins, "cloudId": self.site} if self.site else pins
        return None


# A tool is offered only if its schema has all of one of these: else it cannot be bound to the
# incident. Jira's are those of mcp-atlassian and of Atlassian's own server.
_BINDING: Mapping[str, tuple[frozenset[str], ...]] = {
    "kubernetes": (frozenset({"namespace"}),),
    "github": (frozenset({"owner", "repo"}),),
    "jira": (frozenset({"issue_key"}), frozenset({"issueIdOrKey", "cloudId"})),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentTool:
    """A tool as an agent sees it; ``run`` takes checked arguments and returns untrusted text."""

    name: str
    description: str
    schema: Mapping[str, Any]
    run: Callable[[Mapping[str, Any]], Awaitable[str]]

    def render(self) -> dict[str, Any]:
        """Render as the function tool of a chat completion."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.schema),
            },
        }


async def build_remote(
    host: ports.ToolHost | None,
    servers: Sequence[str],
    *,
    configured: frozenset[str],
    scope: Scope,
    consent: bool,
) -> tuple[list[AgentTool], list[str]]:
    """Return the tools of an agent's servers, and one sentence for each server that is down."""
    found: list[AgentTool] = []
    problems: list[str] = []
    for server in servers:
        pins = scope.find_pins(server)
        if host is None or server not in configured or pins is None:
            continue
        try:
            offered = await host.list_tools(server)
        except errors.SelfHealError as error:
            problems.append(f"tools of {server} are missing: {error}")
            continue
        found += [
            _bind(host, tool, pins, consent=consent)
            for tool in offered
            if _is_bindable(tool, pins) and (consent or tool.name not in _LOG_TOOLS)
        ]
    return found, problems


def _is_bindable(tool: ports.Tool, pins: Mapping[str, Any]) -> bool:
    properties = tool.schema.get("properties")
    if not isinstance(properties, Mapping):
        return False
    return any(names <= set(properties) and names <= set(pins) for names in _BINDING[tool.server])


def _bind(
    host: ports.ToolHost, tool: ports.Tool, pins: Mapping[str, Any], *, consent: bool
) -> AgentTool:
    own = dict(tool.schema.get("properties", {}))
    pinned = {name: value for name, value in pins.items() if name in own}
    visible = {name: value for name, value in own.items() if name not in pinned}
    required = [name for name in tool.schema.get("required", ()) if name in visible]

    async def run(arguments: Mapping[str, Any]) -> str:
        foreign = [n for n, v in pinned.items() if n in arguments and arguments[n] != v]
        if foreign:
            return f"error: {foreign[0]} is fixed to {pinned[foreign[0]]!r} for this incident"
        unknown = sorted(set(arguments) - set(own))
        if unknown:
            return f"error: unknown argument {unknown[0]!r} (known: {', '.join(sorted(visible))})"
        kind = str(arguments.get("kind", "")).strip().lower()
        if kind in _REFUSED_KINDS:
            return "error: Secrets are never read"
        if kind in _LOG_KINDS and not consent:
            return f"error: {redaction.NOT_SHARED}"
        return await host.call_tool(tool.server, tool.name, {**arguments, **pinned})

    return AgentTool(
        name=_UNSAFE.sub("_", f"{tool.server}__{tool.name}")[:64],
        description=tool.description,
        schema={"type": "object", "properties": visible, "required": required},
        run=run,
    )


def build_repository(files: Mapping[str, bytes], bundle: Bundle) -> list[AgentTool]:
    """Return tools over the mapped files and the evidence's commits; they read nothing else."""

    async def search_files(arguments: Mapping[str, Any]) -> str:
        wanted = str(arguments.get("text", ""))
        if not wanted:
            return "error: text is required"
        matches = [
            f"{path}:{number}: {line}"
            for path in sorted(files)
            for number, line in enumerate(_lines(files[path]), start=1)
            if wanted.lower() in line.lower()
        ]
        more = f"\n{len(matches) - _MAX_MATCHES} more" if len(matches) > _MAX_MATCHES else ""
        return "\n".join(matches[:_MAX_MATCHES]) + more or "no match"

    async def read_file(arguments: Mapping[str, Any]) -> str:
        path = str(arguments.get("path", ""))
        if path not in files:
            known = ", ".join(sorted(files)[:_MAX_MATCHES])
            return f"error: no file {path!r} in the mapped path (there are: {known})"
        return "\n".join(_lines(files[path]))

    async def list_commits(_: Mapping[str, Any]) -> str:
        items = list(bundle.of(ItemKind.COMMIT))
        return "\n".join(prompts.render_json(item.value) for item in items) or "none known"

    text = {"type": "string"}
    return [
        _local("search_files", "Find a text in all files.", {"text": text}, search_files),
        _local("read_file", "Read one mapped file.", {"path": text}, read_file),
        _local("list_commits", "List recent commits of the mapped path.", {}, list_commits),
    ]  # fmt: skip


def _local(
    name: str,
    description: str,
    properties: Mapping[str, Any],
    run: Callable[[Mapping[str, Any]], Awaitable[str]],
) -> AgentTool:
    schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    return AgentTool(name=name, description=description, schema=schema, run=run)


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", errors="replace").splitlines()
