"""Clients of Jira that nobody here wrote work against the sandbox Jira, unmodified: it is a counterpart to trust.

npm's jira.js checks every answer against its own schemas and fails on a difference; `atlassian-python-api` speaks to it as
Cloud (REST v3) and as Data Center (REST v2). `mcp-atlassian` has its own file (test_mcp_atlassian.py).
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from atlassian import Jira
from hack.sandbox.github import install
from tests.contract import issue_tracker_worlds as worlds

SCRIPT = pathlib.Path(__file__).with_name("foreign") / "jira_js.mjs"
HELLO = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": "hello"}]}]}
CLOUD = {"username": "alice@example.com", "password": "alice-token", "cloud": True, "api_version": "3"}
CENTER = {"token": worlds.PAT}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    found = worlds.start_sandbox(tmp_path_factory.mktemp("jira"))
    yield found
    found.close()


def test_jira_js_finds_every_answer_as_its_schemas_say(server: worlds.Server) -> None:
    modules = install.modules() / "node_modules"
    done = subprocess.run(
        ["node", str(SCRIPT), str(modules), server.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "me": "alice@example.com", "before": "To Do", "after": "In Progress", "changes": ["In Progress"], "found": True,
        "bulk": True, "project": "OPS", "types": True, "comments": 1, "missing": "NotFoundError",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("login", "project", "body"), [(CLOUD, "OPS", HELLO), (CENTER, "DC", "hello")], ids=["cloud", "data-center"]
)
def test_atlassian_python_api(server: worlds.Server, login: dict[str, Any], project: str, body: Any) -> None:
    jira = Jira(url=server.url, **login)
    assert jira.myself()["displayName"]
    fields = {"project": {"key": project}, "issuetype": {"name": "Task"}, "summary": "from another client"}
    key = jira.create_issue(fields)["key"]
    assert jira.issue(key)["fields"]["summary"] == "from another client"
    assert jira.issue_add_comment(key, body)["id"]
    assert "In Progress" in [one["to"] for one in jira.get_issue_transitions(key)]
    jira.set_issue_status(key, "In Progress")
    assert jira.get_issue_status(key) == "In Progress"
    changes = jira.get_issue_changelog(key)
    histories = changes.get("values", changes.get("histories"))
    assert [item["toString"] for one in histories for item in one["items"]] == ["In Progress"]
    jira.update_issue_field(key, {"labels": ["x"]})
    assert jira.issue(key)["fields"]["labels"] == ["x"]
    assert key in [one["key"] for one in jira.jql(f"project = {project}")["issues"]]
    assert jira.get_issue_remote_links(key) == []
    with pytest.raises(requests.HTTPError):
        jira.issue(f"{project}-999")
