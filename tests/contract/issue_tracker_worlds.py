"""The worlds in which the IssueTracker contract is tried: in memory, the sandbox Jira, jira820."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.fakes import tracker as fakes

from selfheal import ports
from selfheal.adapters import jira
from selfheal.adapters.jira import adf, markdown
from selfheal.api.policy import TrackerSpec

ROOT = pathlib.Path(__file__).parents[2]
TOKEN = "sandbox-jira-token"
SITE_TOKEN = "sandbox-site-token"
PAT = "sandbox-jira-pat"
CLOUD_ID = "sandbox-cloud"
EMAIL = "selfheal@example.com"

ALL = frozenset({"people", "properties", "labels", "ids", "lag", "workflow", "delete", "bad-jql"})
"""What a world may be able to show; a test names what it needs."""


class World(Protocol):
    """A tracker under test, and what people (alice, bob) do on the other side of it."""

    tracker: ports.IssueTracker
    can: frozenset[str]
    person: str  # an account that tickets can be assigned to

    def narrow(self) -> ports.IssueTracker: ...  # a tracker whose workflow is a line
    def add_ticket(self, summary: str) -> str: ...
    def move(self, key: str, status: str, name: str) -> None: ...
    def comment(self, key: str, text: str, name: str) -> None: ...
    def label(self, key: str, *add: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def lag(self, seconds: float) -> None: ...
    def count_links(self, key: str) -> tuple[int, int]: ...


class Clock:
    """A clock of the fake, moved by hand."""

    def __init__(self) -> None:
        self.at = dt.datetime(2026, 11, 23, 5, 0, tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        self.at += dt.timedelta(milliseconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing sleeps here")


class FakeWorld:
    """The fake, whose people are methods of it."""

    can = ALL
    person = "person-alice"

    def __init__(self) -> None:
        self.clock = Clock()
        self.fake = fakes.FakeTracker(self.clock)
        self.fake.groups["person-alice"] = frozenset({"sre"})
        self.tracker: ports.IssueTracker = self.fake
        self.move = self.fake.move_by_person
        self.delete = self.fake.delete_ticket

    def narrow(self) -> ports.IssueTracker:
        pairs = zip(fakes.STATUSES, fakes.STATUSES[1:], strict=False)
        self.fake.workflow = {before: [after] for before, after in pairs}
        return self.fake

    def add_ticket(self, summary: str) -> str:
        return self.fake.add_ticket(summary)

    def comment(self, key: str, text: str, name: str) -> None:
        self.fake.comment_by_person(key, text, name)

    def label(self, key: str, *add: str) -> None:
        self.fake.label_by_person(key, add=add)

    def lag(self, seconds: float) -> None:
        self.fake.search_lag = dt.timedelta(seconds=seconds)

    def count_links(self, key: str) -> tuple[int, int]:
        ticket = self.fake.tickets[self.fake.ticket(key).id]
        return len(ticket.links), len(ticket.duplicates)


@dataclasses.dataclass
class Http:
    """Speaks to a server as somebody; raises on any status but success."""

    base: str
    auth: str = ""

    def __call__(self, verb: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self.base + path, method=verb)
        request.add_header("Content-Type", "application/json")
        if self.auth:
            request.add_header("Authorization", self.auth)
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def basic(user: str, token: str) -> str:
    """Return the header value of HTTP basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A counterpart in a process of its own."""

    def __init__(
        self, command: Sequence[str], port: int, env: Mapping[str, str], log: pathlib.Path
    ):
        self.url, self._log = f"http://127.0.0.1:{port}", log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env={**os.environ, **env},
            )
        self._await(port)

    def _await(self, port: int) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as sock:
                sock.settimeout(0.2)
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        self.close()
        raise AssertionError(f"{self._log.stem} does not listen:\n{self._log.read_text()}")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(10)


def start_jira820(folder: pathlib.Path) -> Server:
    """Start jira820 with the statuses of the default table."""
    port, config = free_port(), folder / "jira820.json"
    statuses = [[name, "done" if name == "Done" else "todo", str(10 + number)]
                for number, name in enumerate(fakes.STATUSES)]  # fmt: skip
    config.write_text(
        json.dumps(
            {
                "statuses": statuses,
                "transition_screens": {"Done": ["resolution"]},
                "standalone_per_module": 0,
                "epics_per_module": 0,
                "history_per_module": 0,
            }
        )  # JSON is YAML
    )
    env = {
        "JIRA820_PORT": str(port),
        "JIRA820_PROJECT_KEY": "OPS",
        "JIRA820_CONFIG": str(config),
    }
    return Server(["-m", "jira820"], port, env, folder / "jira820.log")


class Jira820World:
    """The adapter in its Data Center flavour against jira820, which knows one user, admin."""

    can = frozenset({"delete"})
    person = "admin"

    def __init__(self, server: Server) -> None:
        self._http = Http(server.url + "/rest/api/2")
        spec = TrackerSpec.model_validate(
            {
                "type": "Jira",
                "deployment": "DataCenter",
                "baseURL": server.url,
                "project": "OPS",
                "issueType": "Bug",
            }
        )
        self.tracker: ports.IssueTracker = jira.connect(spec, {"token": "any"})

    def narrow(self) -> ports.IssueTracker:
        raise NotImplementedError

    def add_ticket(self, summary: str) -> str:
        fields = {"project": {"key": "OPS"}, "issuetype": {"name": "Bug"}, "summary": summary}
        return str(self._http("POST", "/issue", {"fields": fields})["key"])

    def delete(self, key: str) -> None:
        self._http("DELETE", f"/issue/{key}")

    def count_links(self, key: str) -> tuple[int, int]:
        fields = self._http("GET", f"/issue/{key}")["fields"]
        return len(self._http("GET", f"/issue/{key}/remotelink")), len(fields["issuelinks"])

    def move(self, key: str, status: str, name: str) -> None:
        raise NotImplementedError

    def comment(self, key: str, text: str, name: str) -> None:
        raise NotImplementedError

    def label(self, key: str, *add: str) -> None:
        raise NotImplementedError

    def lag(self, seconds: float) -> None:
        raise NotImplementedError


def start_sandbox(folder: pathlib.Path) -> Server:
    """Start the sandbox Jira with its default projects and accounts."""
    port = free_port()
    command = ["-m", "hack.sandbox.jira", "--port", str(port)]
    return Server(command, port, {}, folder / "sandbox.log")


def make_sandbox_world(server: Server, flavour: str) -> SandboxWorld:
    """Return the sandbox as one flavour of Jira: gateway, site or data-center."""
    spec: dict[str, Any] = {"baseURL": server.url, "project": "OPS"}
    if flavour == "gateway":
        return SandboxWorld(
            server, {**spec, "deployment": "Cloud", "cloudId": CLOUD_ID}, {"token": TOKEN}
        )
    if flavour == "site":
        credential = {"ATLASSIAN_TOKEN": SITE_TOKEN, "ATLASSIAN_EMAIL": EMAIL}
        return SandboxWorld(server, {**spec, "deployment": "Cloud"}, credential)
    spec |= {"deployment": "DataCenter", "project": "DC", "issueType": "Task"}
    return SandboxWorld(server, spec, {"token": PAT})


class SandboxWorld:
    """The adapter against the strict sandbox; people use its Cloud REST API as themselves."""

    person: str

    def __init__(self, server: Server, spec: Mapping[str, Any], credential: Mapping[str, str]):
        self._server, self._spec, self._credential = server, spec, credential
        self.tracker: ports.IssueTracker = self.connect()
        self.can = ALL
        alice = self._as("alice")("GET", "/myself")["accountId"]
        self.person = "alice" if spec["deployment"] == "DataCenter" else alice

    def connect(self, **changes: Any) -> ports.IssueTracker:
        """Return a tracker of this world with other fields in its policy."""
        spec = {"type": "Jira", **self._spec, **changes}
        return jira.connect(TrackerSpec.model_validate(spec), self._credential)

    def _as(self, name: str) -> Http:
        auth = basic(f"{name}@example.com", f"{name}-token")
        return Http(self._server.url + "/rest/api/3", auth)

    def narrow(self) -> ports.IssueTracker:
        return self.connect(project="STRICT", issueType="Task")

    def add_ticket(self, summary: str) -> str:
        project = self._spec["project"]
        fields = {"project": {"key": project}, "issuetype": {"name": "Task"}, "summary": summary}
        return str(self._as("alice")("POST", "/issue", {"fields": fields})["key"])

    def move(self, key: str, status: str, name: str) -> None:
        path = f"/issue/{key}/transitions"
        offered = self._as(name)("GET", path)["transitions"]
        chosen = next(entry["id"] for entry in offered if entry["to"]["name"] == status)
        self._as(name)("POST", path, {"transition": {"id": chosen}})

    def comment(self, key: str, text: str, name: str) -> None:
        body = adf.render([markdown.Paragraph(lines=((markdown.Span(text=line),),))
                           for line in text.split("\n")])  # fmt: skip
        self._as(name)("POST", f"/issue/{key}/comment", {"body": body})

    def label(self, key: str, *add: str) -> None:
        update = {"labels": [{"add": label} for label in add]}
        self._as("bob")("PUT", f"/issue/{key}", {"update": update})

    def delete(self, key: str) -> None:
        self._as("alice")("DELETE", f"/issue/{key}")

    def lag(self, seconds: float) -> None:
        self.control("POST", "/config", {"search_lag": seconds})

    def control(self, verb: str, path: str, body: Any = None) -> Any:
        """Speak to the sandbox beside Jira."""
        return Http(self._server.url + "/_sandbox")(verb, path, body)

    def get_comments(self, key: str) -> list[dict[str, Any]]:
        """Return the comments with their properties, as a person reads them."""
        path = f"/issue/{key}/comment?expand=properties"
        return list(self._as("alice")("GET", path)["comments"])

    def count_links(self, key: str) -> tuple[int, int]:
        person = self._as("alice")
        fields = person("GET", f"/issue/{key}?fields=issuelinks")["fields"]
        return len(person("GET", f"/issue/{key}/remotelink")), len(fields["issuelinks"])
