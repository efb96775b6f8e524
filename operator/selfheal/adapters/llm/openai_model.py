"""LanguageModel over ``openai``: one request a call, never retried, errors translated."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import openai

from selfheal import ports
from selfheal.adapters.llm import answers, failures

PUBLIC_HOST = "api.openai.com"
DEFAULT_BASE_URL = f"https://{PUBLIC_HOST}/v1"
DEFAULT_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 10.0
_CHARACTERS_A_TOKEN = 4


class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint.

    ``complete`` may be repeated, but each call is charged. ``timeout`` is in seconds and bounds the
    whole call (the library's own default is 600 s, and a slow trickle of bytes would renew it).
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Keep what is needed to ask; nothing is sent. Without a key a placeholder is sent."""
        self.name = name
        self._timeout = timeout
        self._base_url = base_url or DEFAULT_BASE_URL
        self._http = httpx2.AsyncClient(
            transport=transport,
            timeout=httpx2.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout)),
            follow_redirects=False,  # a redirect would carry prompts and key to another host
        )
        self._client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=api_key or "none",
            organization="",
            project="",
            timeout=timeout,
            max_retries=0,
            http_client=self._http,
        )

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "Answer",
        max_tokens: int = 1500,
    ) -> ports.ModelAnswer:
        """Ask once; the errors are those of the port, and none of them carries key or prompt."""
        request = self._build_request(messages, tools, schema, schema_name, max_tokens)
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.chat.completions.create(**request)
        except Exception as error:
            raise failures.translate(error, where=self._where) from error
        answer = answers.parse(response, where=self._where)
        return answers.fill_usage(answer, prompt_tokens=_estimate_tokens(request))

    async def close(self) -> None:
        """Close the connections; may be repeated."""
        await self._client.close()
        await self._http.aclose()

    @property
    def _where(self) -> str:
        return f"model {self.name} at {urllib.parse.urlsplit(self._base_url).hostname}"

    def _build_request(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        schema: Mapping[str, Any] | None,
        schema_name: str,
        max_tokens: int,
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.name,
            "messages": [dict(message) for message in messages],
            self._limit_name: max_tokens,
        }
        if tools:
            request["tools"] = [dict(tool) for tool in tools]
            request["parallel_tool_calls"] = False
        if schema is not None:
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": schema_name, "strict": True, "schema": dict(schema)},
            }
        return request

    @property
    def _limit_name(self) -> str:
        # OpenAI's reasoning models refuse ``max_tokens``; many other servers know nothing else.
        # https://platform.openai.com/docs/api-reference/chat/create
        host = urllib.parse.urlsplit(self._base_url).hostname
        return "max_completion_tokens" if host == PUBLIC_HOST else "max_tokens"


def _estimate_tokens(request: Mapping[str, Any]) -> int:
    """Estimate what a server that reports no usage has read, so that budgets still count."""
    return math.ceil(len(json.dumps(request, default=str)) / _CHARACTERS_A_TOKEN)
