"""A Jira that says what a test wrote down, path by path."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.adapters import jira
from selfheal.api.policy import TrackerSpec

SECRET = "s3cr3t"


def make_spec(**values: Any) -> TrackerSpec:
    return TrackerSpec.model_validate({"type": "Jira", "project": "OPS", **values})


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers by path, or by verb and path; what it lacks hangs until the test ends."""

    answers: Mapping[str, tuple[int, Mapping[str, str], str]]
    seen: list[tuple[str, str | None]]
    bodies: list[tuple[str, str]]
    url: str
    end: threading.Event

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.seen.append((f"{self.command} {path}", self.headers.get("Authorization")))
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.bodies.append((f"{self.command} {path}", sent.decode()))
        answer = self.answers.get(f"{self.command} {path}") or self.answers.get(path)
        if answer is None:
            self.end.wait(30)
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


JSON = {"Content-Type": "application/json"}
INFO = (
    200,
    JSON,
    '{"versionNumbers": [1001], "deploymentType": "Cloud", "baseUrl": "https://a.b"}',
)
ME = (200, JSON, '{"accountId": "bot"}')


@contextlib.contextmanager
def serve(answers: Mapping[str, tuple[int, Mapping[str, str], str]]) -> Iterator[type[Scripted]]:
    class Handler(Scripted):
        pass

    Handler.answers, Handler.end = answers, threading.Event()
    Handler.seen, Handler.bodies = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Handler
    finally:
        Handler.end.set()
        server.shutdown()
        thread.join()
        server.server_close()


def connect(handler: Any, **spec: Any) -> jira.JiraTracker:
    return jira.connect(make_spec(baseURL=handler.url, **spec), {"token": SECRET})


API = "/rest/api/3"
