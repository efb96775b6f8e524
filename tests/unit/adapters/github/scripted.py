"""A GitHub of one test: a real HTTP server that answers as the test says."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
from collections.abc import Callable
from typing import Any

from selfheal.adapters import github

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
QUICK = github.Pace(request_timeout=5)


@dataclasses.dataclass
class Answer:
    """What the server says; ``hold``: only once this is set."""

    status: int
    body: Any = dataclasses.field(default_factory=dict)
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    hold: threading.Event | None = None


class Server(http.server.ThreadingHTTPServer):
    """Answers by ``script``; keeps verb, path and credentials of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.credentials: list[str | None] = []
        self.arrived = threading.Event()
        self.script: Callable[[str, str], Answer] = lambda verb, path: Answer(
            404, {"message": "Not Found"}
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.seen]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path))
        self.server.bodies.append(json.loads(content) if content else None)
        self.server.credentials.append(self.headers["Authorization"])
        answer = self.server.script(self.command, self.path)
        self.server.arrived.set()
        if answer.hold is not None:
            answer.hold.wait(30)
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


Connect = Callable[..., github.GitHubCodeHost]
