"""What was seen of an incident from outside: kubectl's watch, the ticket, the pull request."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.parse
import urllib.request
from typing import Any

from hack import world

from selfheal.api.incident import Phase

PHASES = frozenset(phase.value for phase in Phase)
LABEL = "selfheal/"


class Watch:
    """`kubectl get shi -w` of a namespace, as a person leaves it open: one entry for each new phase."""

    def __init__(self, namespace: str) -> None:
        env = {**os.environ, "KUBECONFIG": str(world.CLUSTER / "kubeconfig")}
        words = [str(world.CLUSTER / "kubectl"), "-n", namespace, "get", "shi", "-w", "--no-headers"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
        self.phases: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            shown = [word for word in line.split() if word in PHASES][:1]
            if shown and self.phases[-1:] != shown:
                self.phases += shown

    def close(self) -> list[str]:
        """End the watch; return the phases that it showed."""
        self._process.terminate()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)
        return self.phases


def journal(url: str) -> list[dict[str, Any]]:
    """All requests that a sandbox server saw, oldest first."""
    with urllib.request.urlopen(f"{url}/_sandbox/requests", timeout=20) as answer:
        return list(json.load(answer))


def ticket_phases(jira: str, ticket: dict[str, Any], uid: str) -> list[tuple[str, int]]:
    """The phases that the ticket's entity property took on, with when (ms), from Jira's own journal."""
    found: list[tuple[str, int]] = []
    for seen in journal(jira):
        place = urllib.parse.urlparse(seen["path"]).path
        own = place.endswith((f"/issue/{ticket['key']}", f"/issue/{ticket['id']}"))
        made = place.endswith(("/rest/api/3/issue", "/servicedeskapi/request"))
        if seen["method"] not in ("PUT", "POST") or not (own or made) or seen["status"] >= 300:
            continue
        body = json.loads(seen["body"] or "{}")
        for entry in body.get("properties", []):
            value = entry.get("value", {})
            if entry.get("key") == "selfheal" and value.get("uid") == uid:
                found.append((value["phase"], seen["at"]))
    return found


def pull_request_phases(github: str, repository: str, number: int) -> list[str]:
    """The phases that the pull request's label took on, from GitHub's own journal."""
    found: list[str] = []
    for seen in journal(github):
        if seen["method"] == "PUT" and seen["path"] == f"/repos/{repository}/issues/{number}/labels":
            names = json.loads(seen["body"])["labels"]
            found += [name.removeprefix(LABEL) for name in names if name.startswith(LABEL)]
    return found
