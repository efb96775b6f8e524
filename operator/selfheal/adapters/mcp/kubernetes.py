"""Configuration of ``kubernetes-mcp-server``: read-only, few tools, no Secrets."""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Iterable

from selfheal.adapters.mcp import servers

_PROGRAM = "kubernetes-mcp-server"
# ``read_only`` alone still returns Secret data (seen with 0.0.67): they are denied by kind, and the
# RBAC of the server's own ServiceAccount should not grant them either.
_DENIED = (("", "v1", "Secret"), ("rbac.authorization.k8s.io", "v1", ""))


def render_config(tools: Iterable[str] = servers.PACKAGED_TOOLS["kubernetes"]) -> str:
    """Render the server's TOML configuration; pure. JSON strings are valid TOML basic strings."""
    lines = [
        "log_level = 0",
        "read_only = true",
        "disable_destructive = true",
        'toolsets = ["core"]',
        f"enabled_tools = {json.dumps(sorted(tools))}",
        'list_output = "table"',
    ]
    for group, version, kind in _DENIED:
        lines += ["", "[[denied_resources]]"]
        lines += [f"group = {json.dumps(group)}", f"version = {json.dumps(version)}"]
        lines += [f"kind = {json.dumps(kind)}"] if kind else []
    return "\n".join(lines) + "\n"


def confine(command: servers.Command, tools: Iterable[str]) -> servers.Command:
    """Give a kubernetes-mcp-server without a configuration ours; other commands stay as they are.

    So an operator who only names the program cannot forget what keeps Secrets out. Writes one file
    into a new folder of the temporary directory; may be repeated.
    """
    names = [pathlib.PurePath(word).name for word in command.argv]
    own = any(name.startswith(_PROGRAM) for name in names)
    if not own or any(word.partition("=")[0] == "--config" for word in command.argv):
        return command
    directory = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-mcp-"))
    path = write_config(directory, tools)
    argv = (*command.argv, "--config", str(path), "--disable-multi-cluster")
    return servers.Command(argv=argv, env=command.env)


def write_config(
    directory: pathlib.Path, tools: Iterable[str] = servers.PACKAGED_TOOLS["kubernetes"]
) -> pathlib.Path:
    """Write the configuration into ``directory`` and return its path; may be repeated."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "kubernetes-mcp-server.toml"
    path.write_text(render_config(tools), encoding="utf-8")
    return path
