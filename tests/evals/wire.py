"""The model's wire, recorded and replayed: an answer belongs to the hash of its whole request."""

from __future__ import annotations

import hashlib
import json
import pathlib
import time
from typing import Any

import httpx2

FOLDER = pathlib.Path(__file__).resolve().parent / "recordings"


class MissingAnswerError(Exception):
    """A request that was never recorded: prompts, schema, tools or evidence have changed."""


def compute_key(request: httpx2.Request) -> str:
    """The hash of what is asked; where it is asked does not matter."""
    body = json.loads(request.content)
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Recorder(httpx2.AsyncBaseTransport):
    """Passes requests on and keeps each answer with its key and its seconds."""

    def __init__(self) -> None:
        """Open the way out; nothing is sent."""
        self._out = httpx2.AsyncHTTPTransport()
        self.answers: dict[str, Any] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask the real server."""
        begun = time.monotonic()
        response = await self._out.handle_async_request(request)
        content = await response.aread()
        await response.aclose()
        if response.status_code == 200:
            seconds = round(time.monotonic() - begun, 1)
            body = json.loads(content)
            body.pop("timings", None)  # of the server's own, and long
            self.answers[compute_key(request)] = {"seconds": seconds, "answer": body}
        kind = {"content-type": response.headers.get("content-type", "application/json")}
        return httpx2.Response(response.status_code, headers=kind, content=content, request=request)

    async def aclose(self) -> None:
        """Close the way out."""
        await self._out.aclose()


class Replayer(httpx2.AsyncBaseTransport):
    """Answers from recordings; a request without one is noted and fails the run."""

    def __init__(self, answers: dict[str, Any]) -> None:
        """Keep the recordings."""
        self._answers = answers
        self.missing: list[str] = []
        self.used: set[str] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer, or raise MissingAnswerError."""
        key = compute_key(request)
        if key not in self._answers:
            self.missing.append(key)
            raise MissingAnswerError(f"no answer is recorded for the request {key[:12]}: run `make record`")
        self.used.add(key)
        return httpx2.Response(200, json=self._answers[key]["answer"], request=request)


def load(name: str) -> dict[str, Any]:
    """The recordings of an incident: key to answer."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def save(name: str, answers: dict[str, Any]) -> None:
    """Write the recordings of an incident."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
