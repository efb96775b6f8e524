"""Jira as the issue tracker: Cloud by REST v3, Data Center by REST v2."""

from selfheal.adapters.jira.tracker import JiraTracker, connect

__all__ = ["JiraTracker", "connect"]
