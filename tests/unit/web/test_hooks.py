"""The webhooks over HTTP: who may post, what is refused, what it leads to."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from selfheal.web.hooks import MAX_BODY, Hooks, build_app


class Desk:
    """Records what the hooks lead to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.looked: list[str] = []
        self.full = False

    async def admit(self, body: bytes) -> tuple[int, list[str]]:
        if body == b"bad":
            raise ValueError("alerts: missing")
        self.bodies.append(body)
        return (-1 if self.full else 3), ["Down: no object"]

    async def look(self, name: str) -> int:
        self.looked.append(name)
        return 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk, request: pytest.FixtureRequest) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    secrets = getattr(request, "param", ("t0ken", "s3cret"))
    hooks = Hooks(
        alert_token=secrets[0], signing_secret=secrets[1], admit=desk.admit,
        look_at_ticket=desk.look, look_at_pull=desk.look,
    )  # fmt: skip
    async with TestClient(TestServer(build_app(hooks))) as served:
        yield served


BEARER = {"Authorization": "Bearer t0ken"}


async def test_alerts_are_taken_from_who_has_the_token(client: TestClient, desk: Desk) -> None:  # type: ignore[type-arg]
    answer = await client.post("/hooks/alertmanager", data=b"{}", headers=BEARER)
    assert answer.status == 202
    assert await answer.json() == {"taken": 3, "left": ["Down: no object"]}
    assert desk.bodies == [b"{}"]


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic t0ken"}])
async def test_alerts_from_others_are_refused(
    given: dict[str, str],
    client: TestClient,  # type: ignore[type-arg]
    desk: Desk,
) -> None:
    answer = await client.post("/hooks/alertmanager", data=b"{}", headers=given)
    assert answer.status == 401
    assert not desk.bodies


async def test_bad_large_and_too_many(client: TestClient, desk: Desk) -> None:  # type: ignore[type-arg]
    bad = await client.post("/hooks/alertmanager", data=b"bad", headers=BEARER)
    assert (bad.status, await bad.text()) == (400, "alerts: missing")
    large = await client.post("/hooks/alertmanager", data=b"x" * (MAX_BODY + 1), headers=BEARER)
    assert large.status == 413
    desk.full = True
    later = await client.post("/hooks/alertmanager", data=b"{}", headers=BEARER)
    assert (later.status, later.headers["Retry-After"]) == (503, "30")


@pytest.mark.parametrize("client", [(None, None)], indirect=True)
@pytest.mark.parametrize("path", ["alertmanager", "jira", "github"])
async def test_a_hook_without_a_secret_is_not_there(path: str, client: TestClient) -> None:  # type: ignore[type-arg]
    assert (await client.post(f"/hooks/{path}", data=b"{}", headers=BEARER)).status == 404


NOTICES = [
    ("jira", "X-Hub-Signature", {"issue": {"key": "OPS-1"}}, ["OPS-1"]),
    ("github", "X-Hub-Signature-256", {"pull_request": {"html_url": "https://x/1"}}, ["https://x/1"]),
    ("github", "X-Hub-Signature-256", {"issue": {"html_url": "https://x/2"}}, ["https://x/2"]),
    ("github", "X-Hub-Signature-256", {"zen": "x"}, []),
    ("jira", "X-Hub-Signature", {"issue": ["OPS-1"]}, []),
    ("jira", "X-Hub-Signature", [1], []),
]


@pytest.mark.parametrize(("path", "header", "notice", "looked"), NOTICES)
async def test_a_signed_notice_leads_to_a_look(
    path: str,
    header: str,
    notice: object,
    looked: list[str],
    client: TestClient,  # type: ignore[type-arg]
    desk: Desk,
) -> None:
    body = json.dumps(notice).encode()
    signed = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    answer = await client.post(f"/hooks/{path}", data=body, headers={header: signed})
    assert (answer.status, await answer.json()) == (202, {"looked": len(looked)})
    assert desk.looked == looked
    for wrong in ("", signed[:-1] + ("0" if signed[-1] != "0" else "1")):
        refused = await client.post(f"/hooks/{path}", data=body, headers={header: wrong})
        assert refused.status == 401
    assert desk.looked == looked


async def test_a_signed_notice_that_is_no_json(client: TestClient) -> None:  # type: ignore[type-arg]
    signed = "sha256=" + hmac.new(b"s3cret", b"{", hashlib.sha256).hexdigest()
    answer = await client.post("/hooks/jira", data=b"{", headers={"X-Hub-Signature": signed})
    assert answer.status == 400
