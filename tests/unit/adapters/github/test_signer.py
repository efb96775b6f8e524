"""By whom commits are signed off: a user's private address, or an App's bot, whose commits GitHub itself signs."""

from __future__ import annotations

from typing import Any

import pytest

from selfheal.adapters.github import branches, repositories


class Api:
    """What one call sees, of a token or of an App's installation."""

    def __init__(self, *, app: bool) -> None:
        self.app = app
        self.sent: list[Any] = []

    def permissions(self) -> dict[str, str] | None:
        return {"contents": "write"} if self.app else None

    def domain(self) -> str:
        return "github.com"

    def get(self, path: str, **params: str) -> Any:
        if path == "/user":
            return {"login": "op", "id": 5, "name": None, "email": None}
        return {"tree": {"sha": "t"} if "commits" in path else []}

    def graphql(self, query: str) -> Any:
        return {"viewer": {"login": "selfheal[bot]", "databaseId": 9}}, []

    def send(self, verb: str, path: str, body: Any) -> Any:
        self.sent.append(body)
        return {"sha": "s"}


@pytest.mark.parametrize(
    ("app", "signer", "author"),
    [
        (False, "op <5+op@users.noreply.github.com>", {"name": "op", "email": "5+op@users.noreply.github.com"}),
        (True, "selfheal[bot] <9+selfheal[bot]@users.noreply.github.com>", None),
    ],
)
def test_who_signs_off_and_who_is_the_author(app: bool, signer: str, author: dict[str, str] | None) -> None:
    api: Any = Api(app=app)
    assert repositories.read_signer(api) == signer
    message = f"Fix\n\nSigned-off-by: {signer}\nSelfheal-Effect: k\n"
    assert branches._commit(api, "a/b", "base", {"x": b"y"}, message) == "s"
    assert api.sent[-1].get("author") == author


def test_without_a_sign_off_the_host_names_the_author() -> None:
    api: Any = Api(app=False)
    branches._commit(api, "a/b", "base", {"x": None}, "Fix\n\nSelfheal-Effect: k\n")
    assert "author" not in api.sent[-1]
