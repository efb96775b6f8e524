"""Configuration of ``kubernetes-mcp-server``: read-only, few tools, no Secrets."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

from selfheal.adapters.mcp import servers

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


def build_command(
    *,
    binary: str,
    directory: pathlib.Path,
    kubeconfig: str | None = None,
    tools: Iterable[str] = servers.PACKAGED_TOOLS["kubernetes"],
) -> servers.Command:
    """Write the configuration into ``directory`` and return the stdio command; may be repeated.

    Without a kubeconfig the server finds the cluster by its own ServiceAccount.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "kubernetes-mcp-server.toml"
    path.write_text(render_config(tools), encoding="utf-8")
    argv = [binary, "--config", str(path), "--disable-multi-cluster"]
    # A stdio child inherits only HOME, PATH and the like, so the kubeconfig is named to it.
    env = {"KUBECONFIG": kubeconfig} if kubeconfig else {}
    return servers.Command(argv=tuple(argv), env=env)
