"""Configuration of ``mcp-atlassian`` over stdio: read-only, few tools."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from selfheal.adapters.mcp import servers

_PROGRAM = "mcp-atlassian"


def confine(command: servers.Command, tools: Iterable[str]) -> servers.Command:
    """Set read-only mode and the tools where the command is mcp-atlassian; others stay; pure.

    Its options ``--read-only`` and ``--enabled-tools`` would win over the environment, which only
    who writes the operator's configuration can set. PyPI mcp-atlassian 0.23.1.
    """
    if all(pathlib.PurePath(word).name != _PROGRAM for word in command.argv):
        return command
    env = {
        "READ_ONLY_MODE": "true",
        "ENABLED_TOOLS": ",".join(sorted(tools)),
        # It turns my_api_key into my*api*key, which no pattern of a credential fits.
        "DISABLE_JIRA_MARKUP_TRANSLATION": "true",
    }
    return servers.Command(argv=command.argv, env={**command.env, **env})
