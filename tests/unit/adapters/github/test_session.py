"""The way to the server: deadlines, repeats, credentials, and what never leaves us."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import threading
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.adapters.github.scripted import QUICK, TOKEN, Answer, Connect, Server

from selfheal import ports
from selfheal.adapters import github
from selfheal.adapters.github import session
from selfheal.api import policy
from selfheal.domain import errors

REF = {"object": {"sha": "abc"}}


async def test_a_token_with_a_line_end_is_sent_without_it(server: Server, connect: Connect) -> None:
    server.script = lambda verb, path: Answer(200, REF)
    assert (
        await connect(server.url, {"token": f"{TOKEN}\n"}).get_branch_sha("a/b", "x/y z") == "abc"
    )
    assert server.seen == [("GET", "/repos/a/b/git/ref/heads/x/y%20z")]
    assert server.credentials == [f"token {TOKEN}"]


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"password": "x"},
        {"GITHUB_TOKEN": "two words"},
        {"token": "Ünicode"},
        {"appId": "1", "installationId": "2"},
        {"appId": "one", "installationId": "2", "privateKey": "-----BEGIN PRIVATE KEY-----"},
        {"appId": "1", "installationId": "2", "privateKey": "not a key"},
    ],
)
def test_an_unusable_secret_is_said_at_once_without_its_content(credential: dict[str, str]) -> None:
    with pytest.raises(errors.Unauthorized) as caught:
        github.connect(policy.CodeSpec(), credential)
    assert not any(value in str(caught.value) for value in credential.values() if len(value) > 5)


async def test_reads_are_repeated_on_passing_faults_and_writes_never(
    server: Server, connect: Connect
) -> None:
    answers = {
        "GET": [Answer(502), Answer(502), Answer(200, {"state": "open"})],
        "PATCH": [Answer(502)],
    }
    server.script = lambda verb, path: answers[verb].pop(0)
    with pytest.raises(errors.UnknownOutcome):
        await connect(server.url).close_pull_request("a/b", 1)
    assert server.verbs == ["GET", "GET", "GET", "PATCH"]


@pytest.mark.parametrize("wait", ["3600", "1"])
async def test_a_rate_limit_comes_out_at_once(server: Server, connect: Connect, wait: str) -> None:
    server.script = lambda verb, path: Answer(
        403, {"message": "secondary rate limit"}, {"Retry-After": wait}
    )
    with pytest.raises(errors.RateLimited) as caught:
        await connect(server.url).get_branch_sha("a/b", "main")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == int(wait)
    assert server.verbs == ["GET"]


async def test_a_write_without_answer_has_an_unknown_outcome(
    server: Server, connect: Connect
) -> None:
    hold = threading.Event()
    server.script = lambda verb, path: (
        Answer(200, {"state": "open"}) if verb == "GET" else Answer(200, {}, hold=hold)
    )
    host = connect(server.url, pace=dataclasses.replace(QUICK, write_deadline=0.5))
    with pytest.raises(errors.UnknownOutcome):
        await host.close_pull_request("a/b", 1)
    hold.set()


async def test_what_was_cut_off_before_its_write_never_writes(
    server: Server, connect: Connect
) -> None:
    hold = threading.Event()
    server.script = lambda verb, path: Answer(200, {"state": "open"}, hold=hold)
    host = connect(server.url, pace=dataclasses.replace(QUICK, write_deadline=0.3))
    with pytest.raises(errors.Transient) as caught:
        await host.close_pull_request("a/b", 1)
    assert type(caught.value) is errors.Transient
    hold.set()
    server.script = lambda verb, path: Answer(404, {"message": "Not Found"})
    with pytest.raises(errors.Stalled):  # the one writer thread is through with the first call
        await host.close_pull_request("a/b", 2)
    assert set(server.verbs) == {"GET"}


async def test_a_cancelled_call_begins_no_write(server: Server, connect: Connect) -> None:
    hold = threading.Event()
    server.script = lambda verb, path: Answer(200, {"state": "open"}, hold=hold)
    host = connect(server.url)
    task = asyncio.create_task(host.close_pull_request("a/b", 1))
    await asyncio.to_thread(server.arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    server.script = lambda verb, path: Answer(404, {"message": "Not Found"})
    with pytest.raises(errors.Stalled):
        await host.close_pull_request("a/b", 2)
    assert set(server.verbs) == {"GET"}


async def test_nobody_listening_is_unreachable(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.Unreachable):
            await connect(f"http://127.0.0.1:{taken.getsockname()[1]}").get_branch_sha(
                "a/b", "main"
            )


@pytest.mark.parametrize("url", ["ftp://github.example", "github.example", "https://"])
def test_a_base_url_that_is_none_is_the_policys_fault(connect: Connect, url: str) -> None:
    with pytest.raises(errors.PolicyInvalid):
        connect(url)


@pytest.mark.parametrize(
    "body", [b"<html>a proxy</html>", b"{broken", b"[]", b'{"object": null}', b""]
)
async def test_an_answer_that_is_not_githubs_is_a_passing_fault(
    server: Server, connect: Connect, body: bytes
) -> None:
    server.script = lambda verb, path: Answer(200, body)
    with pytest.raises(errors.Transient):
        await connect(server.url).get_branch_sha("a/b", "main")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 500])
async def test_no_error_and_no_log_line_shows_the_token(
    server: Server, connect: Connect, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script = lambda verb, path: Answer(status, {"message": "refused"})
    with pytest.raises(errors.SelfHealError) as caught:
        await connect(server.url).get_tree("a/b", "main", "")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert TOKEN not in shown


async def test_graphql_of_enterprise_stands_beside_rest(server: Server, connect: Connect) -> None:
    server.script = lambda verb, path: Answer(200, {"login": "op", "data": {"r0": None}})
    assert await connect(f"{server.url}/api/v3/").get_pull_requests([("a/b", 1)]) == {}
    assert server.seen == [("GET", "/api/v3/user"), ("POST", "/api/graphql")]


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}], errors.RateLimited),
        (
            [{"type": "NOT_FOUND", "message": "no"}, {"message": "Something went wrong"}],
            errors.Transient,
        ),
    ],
)
async def test_faults_of_a_graphql_read_are_told(
    server: Server, connect: Connect, faults: list[dict[str, str]], expected: type
) -> None:
    server.script = lambda verb, path: Answer(
        200, {"login": "op", "data": {"r0": None}, "errors": faults}
    )
    with pytest.raises(expected):
        await connect(server.url).get_pull_requests([("a/b", 1)])


async def test_writes_keep_their_pause(server: Server, connect: Connect) -> None:
    server.script = lambda verb, path: Answer(204, b"")
    host = connect(server.url, pace=dataclasses.replace(QUICK, between_writes=0.3))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.gather(*(host.delete_branch("a/b", f"x{n}") for n in range(3)))
    assert loop.time() - begun >= 0.6
    assert server.verbs == ["DELETE"] * 3


@pytest.mark.parametrize(
    ("hostname", "pause"),
    [
        ("api.github.com", 1.0),
        ("api.acme.ghe.com", 1.0),
        ("git.acme.example", 0.0),
        ("notgithub.com", 0.0),
    ],
)
def test_servers_of_github_itself_are_treated_politely(hostname: str, pause: float) -> None:
    assert session.pace_of(hostname).between_writes == pause


async def test_an_app_asks_for_its_installations_token_and_its_rights(
    server: Server, connect: Connect
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    granted = {"contents": "write", "pull_requests": "write"}
    answers = {
        "/app/installations/22/access_tokens": Answer(
            201, {"token": "ghs_app", "expires_at": "2099-01-01T00:00:00Z", "permissions": granted}
        ),
        "/repos/a/b": Answer(200, {"default_branch": "main", "permissions": {"push": False}}),
        "/repos/a/b/branches/main": Answer(200, {"protected": False}),
    }
    server.script = lambda verb, path: answers.get(path, Answer(404, {"message": "Not Found"}))
    host = connect(server.url, {"appId": "11", "installationId": "22", "privateKey": pem})
    found = await host.get_repository("a/b")
    assert found.can_push
    assert found.can_merge
    assert server.credentials[0] is not None
    assert server.credentials[0].startswith("Bearer ey")
    assert server.credentials[1:] == ["token ghs_app"] * 3


async def test_an_apps_refused_key_is_its_credentials_fault(
    server: Server, connect: Connect
) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----"
    host = connect(server.url, {"appId": "11", "installationId": "22", "privateKey": pem})
    with pytest.raises(errors.Unauthorized):
        await host.get_repository("a/b")
    assert server.seen == []


async def test_the_port_is_met(connect: Connect) -> None:
    host: ports.CodeHost = connect("http://127.0.0.1:9")
    assert host is not None
