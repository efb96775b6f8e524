"""The forms of GitHub's answers: errors and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web


def refuse(status: int, message: str, *, errors: list[Any] | None = None, headers: dict[str, str] | None = None) -> web.Response:
    """An error in GitHub's form: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api."""
    body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    if errors is not None:
        body["errors"] = errors
    return web.json_response(body, status=status, headers=headers)


def page(request: web.Request, public_url: str, items: Sequence[Any], *, wrap: str | None = None) -> web.Response:
    """One page of a list: https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api."""
    size = min(max(int(request.query.get("per_page", "30")), 1), 100)
    number = max(int(request.query.get("page", "1")), 1)
    shown = list(items[(number - 1) * size : number * size])
    headers = {}
    if number * size < len(items):
        following = request.rel_url.update_query(page=str(number + 1), per_page=str(size))
        headers["Link"] = f'<{public_url}{following}>; rel="next"'
    body: Any = shown if wrap is None else {"total_count": len(items), wrap: shown}
    return web.json_response(body, headers=headers)
