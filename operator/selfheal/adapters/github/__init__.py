"""Adapter of the CodeHost port for GitHub, by PyGithub."""

from selfheal.adapters.github.host import GitHubCodeHost, connect
from selfheal.adapters.github.session import Pace

__all__ = ["GitHubCodeHost", "Pace", "connect"]
