"""GraphQL over the sandbox's state, and what tests may do to the wire."""

from __future__ import annotations

import time

import pytest
import requests
from hack.sandbox.github import client

from .conftest import ALICE, Place

pytestmark = pytest.mark.sandbox
MANIFEST = "apps/deploy.yaml"


def in_repository(place: Place, selection: str) -> str:
    owner, name = place.name.split("/")
    return f'{{ r0: repository(owner: "{owner}", name: "{name}") {{ {selection} }} rateLimit {{ remaining }} }}'


def test_many_pull_requests_in_one_read(place: Place) -> None:
    first = place.open("one", {MANIFEST: b"memory: 128Mi\n"})
    second = place.open("two", {"two.yaml": b"a: 1\n"})
    head = place.ask("GET", f"/pulls/{first}").json()["head"]["sha"]
    place.ask("POST", f"/pulls/{first}/reviews", {"event": "REQUEST_CHANGES", "body": "no"}, token=ALICE)
    place.ask("POST", f"/statuses/{head}", {"state": "failure", "context": "ci"}, token=ALICE)
    place.ask("PUT", f"/pulls/{second}/merge", {})
    fields = """number state merged mergeable reviewDecision headRefOid mergedBy { login }
        reviews(last: 5) { nodes { state author { login __typename } } }
        commits(last: 1) { nodes { commit { statusCheckRollup { state contexts(first: 9) { nodes { __typename
            ... on StatusContext { context state isRequired(pullRequestNumber: 1) } } } } } } }"""
    query = in_repository(place, f"p0: pullRequest(number: {first}) {{ {fields} }} p1: pullRequest(number: {second}) {{ {fields} }}")
    answer = place.graph(query)
    assert "errors" not in answer
    one, two = answer["data"]["r0"]["p0"], answer["data"]["r0"]["p1"]
    assert (one["state"], one["mergeable"], one["reviewDecision"]) == ("OPEN", "MERGEABLE", "CHANGES_REQUESTED")
    assert one["headRefOid"] == head
    assert one["reviews"]["nodes"] == [{"state": "CHANGES_REQUESTED", "author": {"login": "alice", "__typename": "User"}}]
    rollup = one["commits"]["nodes"][0]["commit"]["statusCheckRollup"]
    assert rollup["state"] == "FAILURE"
    assert rollup["contexts"]["nodes"] == [
        {"__typename": "StatusContext", "context": "ci", "state": "FAILURE", "isRequired": False}
    ]
    assert (two["state"], two["merged"], two["mergedBy"]["login"]) == ("MERGED", True, "selfheal-bot")


def test_unknown_field_is_refused(place: Place) -> None:
    answer = place.graph(in_repository(place, "secretOfTheHouse"))
    assert "data" not in answer
    assert "Cannot query field 'secretOfTheHouse'" in answer["errors"][0]["message"]


def test_what_is_missing_is_named_and_the_rest_answered(place: Place) -> None:
    owner, name = place.name.split("/")
    number = place.open("fix", {MANIFEST: b"memory: 128Mi\n"})
    answer = place.graph(
        f'{{ a: repository(owner: "{owner}", name: "none") {{ nameWithOwner }}'
        f' b: repository(owner: "{owner}", name: "{name}")'
        f" {{ p: pullRequest(number: {number}) {{ number }} q: pullRequest(number: 999) {{ number }} }} }}"
    )
    assert answer["data"]["a"] is None
    assert answer["data"]["b"] == {"p": {"number": number}, "q": None}
    assert [(error["type"], error["path"]) for error in answer["errors"]] == [
        ("NOT_FOUND", ["a"]), ("NOT_FOUND", ["b", "q"]),
    ]  # fmt: skip


def test_fault_before_the_effect_leaves_none(place: Place) -> None:
    client.fault(place.base, match={"method": "POST", "path": "/issues$"}, status=502)
    assert place.ask("POST", "/issues", {"title": "x"}).status_code == 502
    assert place.ask("GET", "/issues").json() == []
    assert place.ask("POST", "/issues", {"title": "x"}).status_code == 201


def test_fault_after_the_effect_hides_it(place: Place) -> None:
    client.fault(place.base, match={"method": "POST", "path": "/issues$"}, when="after", kind="drop")
    with pytest.raises(requests.ConnectionError):
        place.ask("POST", "/issues", {"title": "x"})
    assert [issue["title"] for issue in place.ask("GET", "/issues").json()] == ["x"]


def test_secondary_limit_and_page_of_html(place: Place) -> None:
    client.fault(place.base, match={"path": place.name}, status=403, headers={"Retry-After": "7"})
    limited = place.ask("GET", "")
    assert (limited.status_code, limited.headers["Retry-After"]) == (403, "7")
    client.fault(place.base, match={"path": place.name}, kind="html", status=503)
    page = place.ask("GET", "")
    assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (503, "text/html")
    answer = place.ask("GET", "")
    assert answer.status_code == 200
    assert int(answer.headers["X-RateLimit-Remaining"]) > 0


def test_delay(place: Place) -> None:
    client.fault(place.base, match={"path": place.name}, kind="delay", seconds=0.3)
    started = time.monotonic()
    assert place.ask("GET", "").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_answer_cut_off(place: Place) -> None:
    client.fault(place.base, match={"path": place.name}, when="after", kind="truncate")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        place.ask("GET", "")


def test_journal_names_the_actor_and_the_status(place: Place) -> None:
    place.ask("GET", "/issues?state=open", token=ALICE)
    place.ask("GET", "/issues", token="stolen")
    seen = [entry for entry in client.requests_seen(place.base) if entry["path"].startswith(f"/repos/{place.name}/issues")]
    assert [(entry["method"], entry["path"], entry["actor"], entry["status"]) for entry in seen] == [
        ("GET", f"/repos/{place.name}/issues?state=open", "alice", 200),
        ("GET", f"/repos/{place.name}/issues", None, 401),
    ]


def test_request_outside_the_description_is_a_violation(place: Place) -> None:
    place.ask("GET", "/issues?colour=red")
    place.ask("POST", "/issues", {"title": "x", "labels": "bug"})
    mine = client.violations(place.base)
    assert any("unknown query parameter colour" in fault for fault in mine)
    assert any("POST /repos/{owner}/{repo}/issues" in fault and "labels" in fault for fault in mine)
