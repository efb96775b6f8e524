"""Where Jira is, who we are there, and what a wire can do that the sandbox does not."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.unit.adapters.jira.scripted import API, INFO, JSON, ME, SECRET, connect, make_spec, serve

from selfheal.adapters import jira
from selfheal.adapters.jira import session
from selfheal.domain import errors


@pytest.mark.parametrize(
    ("spec", "credential", "server"),
    [
        ({"cloudId": "c"}, {}, "https://api.atlassian.com/ex/jira/c"),
        ({}, {"ATLASSIAN_CLOUD_ID": "c"}, "https://api.atlassian.com/ex/jira/c"),
        ({}, {"cloudId": "c"}, "https://api.atlassian.com/ex/jira/c"),
        ({"cloudId": "c", "baseURL": "http://gw:1/"}, {}, "http://gw:1/ex/jira/c"),
        (
            {"cloudId": "c", "baseURL": "https://acme.atlassian.net"},
            {},
            "https://api.atlassian.com/ex/jira/c",
        ),
        ({"baseURL": "https://acme.atlassian.net/"}, {}, "https://acme.atlassian.net"),
        (
            {"deployment": "DataCenter", "baseURL": "https://j.x/jira", "cloudId": "c"},
            {},
            "https://j.x/jira",
        ),
    ],
)
def test_server_is_computed(spec: dict[str, Any], credential: dict[str, str], server: str) -> None:
    login = session.compute_login(make_spec(**spec), {"token": SECRET, **credential})
    assert login.server == server
    assert SECRET not in repr(login)
    assert SECRET not in login.describe()


def test_missing_address_and_token_are_named() -> None:
    with pytest.raises(errors.PolicyInvalid, match=r"tracker.cloudId or tracker.baseURL"):
        session.compute_login(make_spec(), {"token": SECRET})
    with pytest.raises(errors.PolicyInvalid, match=r"^tracker.baseURL"):
        session.compute_login(make_spec(deployment="DataCenter"), {"token": SECRET})
    with pytest.raises(errors.Unauthorized, match="no key token"):
        session.compute_login(make_spec(cloudId="c"), {"token": ""})


@pytest.mark.parametrize("hosts", ["jira.acme.com", "jira.acme.com:8443", "other, JIRA.acme.com"])
def test_secret_goes_to_its_hosts(hosts: str) -> None:
    spec = make_spec(deployment="DataCenter", baseURL="https://jira.acme.com:8443/jira")
    session.compute_login(spec, {"token": SECRET, "hosts": hosts})


@pytest.mark.parametrize("hosts", ["acme.com", "jira.acme.com.evil.org", "jira.acme.com:1"])
def test_secret_goes_nowhere_else(hosts: str) -> None:
    spec = make_spec(deployment="DataCenter", baseURL="https://jira.acme.com:8443/jira")
    with pytest.raises(errors.PolicyInvalid, match=r"bound to .*not to jira.acme.com:8443"):
        session.compute_login(spec, {"token": SECRET, "hosts": hosts})


async def test_nothing_is_sent_and_nothing_raised_before_the_first_call() -> None:
    tracker = jira.connect(make_spec(), {})
    with pytest.raises(errors.PolicyInvalid):
        await tracker.get_ticket("OPS-1")


async def test_closed_port_is_unreachable_and_gone_once_it_opens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    tracker = jira.connect(make_spec(baseURL=f"http://127.0.0.1:{port}"), {"token": SECRET})
    for _ in range(2):
        with pytest.raises(errors.Unreachable) as caught:
            await tracker.get_ticket("OPS-1")
        assert SECRET not in caught.value.message
    with pytest.raises(errors.Unreachable):
        await tracker.check({})


async def test_unknown_name_is_unreachable() -> None:
    tracker = jira.connect(make_spec(baseURL="http://jira.invalid"), {"token": SECRET})
    with pytest.raises(errors.Unreachable):
        await tracker.get_ticket("OPS-1")


async def test_address_that_is_none_is_a_fault_of_the_policy() -> None:
    tracker = jira.connect(make_spec(baseURL="jira.acme.com"), {"token": SECRET})
    with pytest.raises(errors.PolicyInvalid, match="not a URL"):
        await tracker.get_ticket("OPS-1")


async def test_silent_server_is_cut_off_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({f"{API}/serverInfo": INFO, f"{API}/myself": ME}) as handler:
        tracker = connect(handler)
        monkeypatch.setattr(session, "_DEADLINE", 0.3)
        with pytest.raises(errors.Transient) as read:
            await tracker.get_ticket("OPS-1")
        assert not isinstance(read.value, errors.UnknownOutcome)
        with pytest.raises(errors.UnknownOutcome):
            await tracker.ensure_remote_link("OPS-1", global_id="g", url="https://x", title="t")
        assert [entry for entry, _ in handler.seen].count(f"POST {API}/issue/OPS-1/remotelink") == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Type": "text/html"}, "<html>log in</html>"),
        (200, JSON, "{}"),
        (200, JSON, '"text"'),
        (404, JSON, '{"errorMessages": ["no"]}'),
        (404, {}, "not here"),
        (302, {"Location": "https://login.acme.com/?next=jira"}, ""),
    ],
)
async def test_what_is_not_jira_is_said_to_be_none(answer: tuple[int, dict[str, str], str]) -> None:
    with serve({f"{API}/serverInfo": answer}) as handler:
        with pytest.raises(errors.PolicyInvalid) as caught:
            await connect(handler).get_ticket("OPS-1")
        assert caught.value.reason == "NotJira"
        assert "tracker.baseURL" in caught.value.message


async def test_redirect_is_never_followed_with_a_write() -> None:
    moved = (307, {"Location": f"{API}/elsewhere"}, "")
    path = f"{API}/issue/OPS-1/remotelink"
    with serve({f"{API}/serverInfo": INFO, f"{API}/myself": ME, path: moved}) as handler:
        with pytest.raises(errors.PolicyInvalid, match="redirects"):
            await connect(handler).ensure_remote_link("OPS-1", global_id="g", url="u", title="t")
        assert [entry for entry, _ in handler.seen][-1] == f"POST {path}"
        assert {auth for _, auth in handler.seen} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    "body", ["{}", '{"fields": {}}', "[]", '{"id": 1, "key": "OPS-1", "fields": 3}']
)
async def test_answer_that_lacks_what_jira_documents_passes(body: str) -> None:
    answers = {
        f"{API}/serverInfo": INFO,
        f"{API}/myself": ME,
        f"{API}/issue/OPS-1": (200, JSON, body),
        f"{API}/issueLinkType": (200, JSON, body),
    }
    with serve(answers) as handler:
        tracker = connect(handler)
        with pytest.raises(errors.Transient):
            await tracker.get_ticket("OPS-1")
        with pytest.raises(errors.UnknownOutcome):
            await tracker.ensure_ticket_link("OPS-1", "OPS-2")


async def test_deployment_that_differs_is_named() -> None:
    info = (200, JSON, '{"versionNumbers": [9, 4], "deploymentType": "Server"}')
    project = {f"{API}/project/OPS": (404, JSON, '{"errorMessages": ["none"]}')}
    with serve({f"{API}/serverInfo": info, f"{API}/myself": ME, **project}) as handler:
        problems = await connect(handler).check({})
    assert [problem.partition(":")[0] for problem in problems] == [
        "tracker.deployment",
        "tracker.project",
    ]
    assert "set DataCenter" in problems[0]
