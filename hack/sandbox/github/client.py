"""What people and pipelines do on the sandbox GitHub, for tests, demo and bench; synchronous, over its public API."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any


class GitHubRefusalError(Exception):
    """The sandbox refused; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def call(base: str, token: str, method: str, path: str, body: Any = None) -> Any:
    """One request; None on 404."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(base + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise GitHubRefusalError(error.code, error.read().decode(errors="replace")[:500]) from error
    return json.loads(text) if text else {}


def head(base: str, token: str, repo: str, branch: str = "main") -> str:
    return str(call(base, token, "GET", f"/repos/{repo}/git/ref/heads/{branch}")["object"]["sha"])


def put_files(
    base: str, token: str, repo: str, files: Mapping[str, bytes | None], message: str, *, branch: str = "main"
) -> str:
    """Commit files in one commit (None deletes); return the commit."""
    parent = head(base, token, repo, branch)
    entries = []
    for path, content in files.items():
        sha = None
        if content is not None:
            text = base64.b64encode(content).decode()
            sha = call(base, token, "POST", f"/repos/{repo}/git/blobs", {"content": text, "encoding": "base64"})["sha"]
        entries.append({"path": path, "mode": "100644", "type": "blob", "sha": sha})
    old = call(base, token, "GET", f"/repos/{repo}/git/commits/{parent}")["tree"]["sha"]
    tree = call(base, token, "POST", f"/repos/{repo}/git/trees", {"base_tree": old, "tree": entries})["sha"]
    made = call(base, token, "POST", f"/repos/{repo}/git/commits", {"message": message, "tree": tree, "parents": [parent]})
    call(base, token, "PATCH", f"/repos/{repo}/git/refs/heads/{branch}", {"sha": made["sha"], "force": False})
    return str(made["sha"])


def read_tree(base: str, token: str, repo: str, ref: str, path: str = "") -> dict[str, bytes]:
    """All files below a path at a commit or branch."""
    tree = call(base, token, "GET", f"/repos/{repo}/git/trees/{urllib.parse.quote(ref)}?recursive=1")
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    found = {}
    for entry in (tree or {}).get("tree", []):
        if entry["type"] == "blob" and entry["path"].startswith(prefix):
            blob = call(base, token, "GET", f"/repos/{repo}/git/blobs/{entry['sha']}")
            found[entry["path"]] = base64.b64decode(blob["content"])
    return found


def pull(base: str, token: str, repo: str, number: int) -> dict[str, Any]:
    return dict(call(base, token, "GET", f"/repos/{repo}/pulls/{number}"))


def pulls(base: str, token: str, repo: str) -> list[dict[str, Any]]:
    return list(call(base, token, "GET", f"/repos/{repo}/pulls?state=all&per_page=100"))


def labels(base: str, token: str, repo: str, number: int) -> list[str]:
    return [label["name"] for label in call(base, token, "GET", f"/repos/{repo}/issues/{number}/labels")]


def comments(base: str, token: str, repo: str, number: int) -> list[str]:
    found = call(base, token, "GET", f"/repos/{repo}/issues/{number}/comments?per_page=100")
    return [comment["body"] for comment in found]


def branches(base: str, token: str, repo: str) -> list[str]:
    return [branch["name"] for branch in call(base, token, "GET", f"/repos/{repo}/branches?per_page=100")]


def diff(base: str, token: str, repo: str, number: int) -> str:
    """The changed lines of a pull request as a unified diff."""
    found = call(base, token, "GET", f"/repos/{repo}/pulls/{number}/files")
    return "\n".join(f"--- a/{f['filename']}\n+++ b/{f['filename']}\n{f.get('patch', '')}" for f in found)


def approve(base: str, token: str, repo: str, number: int, body: str = "") -> None:
    call(base, token, "POST", f"/repos/{repo}/pulls/{number}/reviews", {"event": "APPROVE", "body": body})


def request_changes(base: str, token: str, repo: str, number: int, body: str) -> None:
    call(base, token, "POST", f"/repos/{repo}/pulls/{number}/reviews", {"event": "REQUEST_CHANGES", "body": body})


def merge(base: str, token: str, repo: str, number: int) -> str:
    return str(call(base, token, "PUT", f"/repos/{repo}/pulls/{number}/merge", {"merge_method": "squash"})["sha"])


def close(base: str, token: str, repo: str, number: int) -> None:
    call(base, token, "PATCH", f"/repos/{repo}/pulls/{number}", {"state": "closed"})


def set_status(base: str, token: str, repo: str, sha: str, context: str, word: str, description: str = "") -> None:
    body = {"state": word, "context": context, "description": description}
    call(base, token, "POST", f"/repos/{repo}/statuses/{sha}", body)


def fault(base: str, **rule: Any) -> None:
    """Arrange a fault; see `state.Fault`."""
    call(base, "", "POST", "/_sandbox/faults", rule)


def clear_faults(base: str) -> None:
    call(base, "", "DELETE", "/_sandbox/faults")


def requests_seen(base: str) -> list[dict[str, Any]]:
    return list(call(base, "", "GET", "/_sandbox/requests"))


def violations(base: str) -> list[str]:
    """Return what requests so far broke of GitHub's OpenAPI description; the sandbox must run with --validate."""
    found = call(base, "", "GET", "/_sandbox/violations")
    if not found["checked"]:
        raise GitHubRefusalError(400, "the sandbox runs without --validate")
    return list(found["violations"])


def set_rules(base: str, repo: str, **rules: bool) -> None:
    """Set what an owner sets: ``queue`` (merges by a merge queue only), ``archived``."""
    call(base, "", "POST", "/_sandbox/rules", {"repository": repo, **rules})


def create_repository(base: str, name: str) -> str:
    call(base, "", "POST", "/_sandbox/repositories", {"name": name})
    return f"acme/{name}"
