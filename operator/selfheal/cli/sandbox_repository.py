"""The sandbox's repository as a person uses it: commit files, approve, read a diff."""

from __future__ import annotations

import base64
import dataclasses
import json
import urllib.error
import urllib.request
from typing import Any

TIMEOUT = 20.0
"""Seconds a request may take."""
NOT_FAST_FORWARD = 422
PUSHES = 10
"""Looks at the branch at the most; each lost race means that somebody else's push got through."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository behind GitHub's REST API, with two people's tokens."""

    base_url: str
    name: str
    branch: str
    token: str = dataclasses.field(repr=False)
    reviewer_token: str = dataclasses.field(repr=False)

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """Send one request below ``/repos/<name>``; None on 404."""
        request = urllib.request.Request(  # noqa: S310 - the sandbox's own http URL
            f"{self.base_url}/repos/{self.name}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {token or self.token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return json.loads(text) if text else {}

    def replace_folder(self, folder: str, files: dict[str, bytes], message: str) -> str:
        """Make a folder of the branch hold exactly these files, by one commit; return it.

        When somebody else was faster (422: no fast-forward), the branch is looked at again.
        """
        for _ in range(PUSHES - 1):
            try:
                return self._replace_once(folder, files, message)
            except urllib.error.HTTPError as error:
                if error.code != NOT_FAST_FORWARD:
                    raise
        return self._replace_once(folder, files, message)

    def _replace_once(self, folder: str, files: dict[str, bytes], message: str) -> str:
        parent = self.call("GET", f"/git/ref/heads/{self.branch}")["object"]["sha"]
        old = self.call("GET", f"/git/commits/{parent}")["tree"]["sha"]
        tree = self.call("GET", f"/git/trees/{old}?recursive=1")["tree"]
        present = [
            e["path"] for e in tree if e["type"] == "blob" and e["path"].startswith(f"{folder}/")
        ]
        wanted = {f"{folder}/{path}": content for path, content in files.items()}
        entries: list[dict[str, Any]] = [
            {"path": path, "mode": "100644", "type": "blob", "sha": None}
            for path in present
            if path not in wanted
        ]
        for path, content in wanted.items():
            blob = {"content": base64.b64encode(content).decode(), "encoding": "base64"}
            sha = self.call("POST", "/git/blobs", blob)["sha"]
            entries.append({"path": path, "mode": "100644", "type": "blob", "sha": sha})
        made = self.call("POST", "/git/trees", {"base_tree": old, "tree": entries})["sha"]
        commit = self.call(
            "POST", "/git/commits", {"message": message, "tree": made, "parents": [parent]}
        )["sha"]
        self.call("PATCH", f"/git/refs/heads/{self.branch}", {"sha": commit, "force": False})
        return str(commit)

    def approve(self, number: int) -> None:
        """Approve a pull request as the reviewer."""
        self.call(
            "POST", f"/pulls/{number}/reviews", {"event": "APPROVE"}, token=self.reviewer_token
        )

    def diff(self, number: int) -> str:
        """Return the changed lines of a pull request."""
        found = self.call("GET", f"/pulls/{number}/files") or []
        return "\n".join(
            f"--- a/{entry['filename']}\n+++ b/{entry['filename']}\n{entry.get('patch', '')}"
            for entry in found
        )
