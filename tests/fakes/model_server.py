"""An OpenAI-compatible endpoint over ``plausible``: POST /v1/chat/completions, GET /v1/models.

``python -m tests.fakes.model_server --host 0.0.0.0 --port 8091 [--key KEY] [--delay S]`` prints its base URL.
It counts requests at GET /requests: answered (``count``, ``types``), ``arrived`` and ``in_flight``.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import math
import re
from typing import Any

from aiohttp import web

from tests.fakes import plausible

MODEL = "plausible-1"


class ModelServer:
    """The endpoint; ``start`` returns its base URL."""

    def __init__(self, *, key: str | None = None, delay: float = 0.0) -> None:
        self._key = key
        self._delay = delay  # s before each answer
        self.in_flight = 0
        self.answered_tokens = 0
        self._runner: web.AppRunner | None = None
        self.types: collections.Counter[str] = collections.Counter()
        self.tool_calls = 0
        self.bodies: list[dict[str, Any]] = []  # what was asked, as it came over the wire
        self.changes: dict[str, Any] = {}  # put over the fields of its answers
        self.restless = False  # it calls a tool whenever it is offered one, each time another

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        app = web.Application(client_max_size=8 << 20)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._complete),
                web.get("/v1/models", self._models),
                web.get("/requests", self._requests),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return f"http://{host}:{self._runner.addresses[0][1]}/v1"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
            return _refuse(401, "invalid_api_key", "Incorrect API key provided.")
        body = await request.json()
        if body.get("model") != MODEL:
            return _refuse(404, "model_not_found", f"The model {body.get('model')!r} does not exist.")
        if body.get("tools") and body.get("response_format"):
            return _refuse(400, "unsupported", "Tools and a response format exclude each other here.")
        self.bodies.append(body)
        self.in_flight += 1
        try:
            await asyncio.sleep(self._delay)  # cancelled where the caller is gone
        finally:
            self.in_flight -= 1
        message = self._answer(body)
        kind = re.search(r"of the type (\w+)", str(body["messages"][0].get("content")))
        self.types[kind.group(1) if kind else "?"] += 1
        self.tool_calls += len(message.get("tool_calls", ()))
        completion = _completion(body, message)
        self.answered_tokens += completion["usage"]["total_tokens"]
        return web.json_response(completion)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        tools = body.get("tools") or ()
        if self.restless and tools:
            arguments = json.dumps({"name": f"pod-{len(self.bodies)}"})
            function = {"name": tools[0]["function"]["name"], "arguments": arguments}
            call = {"id": f"call-{len(self.bodies)}", "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        message = plausible.answer(body["messages"], tools)
        if self.changes and message["content"]:
            message["content"] = json.dumps(json.loads(message["content"]) | self.changes)
        return message

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _requests(self, _: web.Request) -> web.Response:
        count = sum(self.types.values())
        seen = {
            "count": count, "types": self.types, "tool_calls": self.tool_calls, "arrived": len(self.bodies),
            "in_flight": self.in_flight, "answered_tokens": self.answered_tokens,
        }  # fmt: skip
        return web.json_response(seen)


def _refuse(status: int, code: str, message: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return web.json_response(body, status=status)


def _completion(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    prompt = math.ceil(len(json.dumps(body["messages"])) / 4)
    said = math.ceil(len(json.dumps(message)) / 4)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said},
    }


async def _serve(host: str, port: int, key: str | None, delay: float) -> None:
    print(await ModelServer(key=key, delay=delay).start(host, port), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key")
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.host, arguments.port, arguments.key, arguments.delay))


if __name__ == "__main__":
    main()
