"""Faults, journal, limits, restart, and the real `jira` library in both modes."""

from __future__ import annotations

import json

import jira
import pytest
import requests
from hack.sandbox.jira import adf, client, seed
from hack.sandbox.jira.state import Store


def test_fault_before_and_after_the_effect(site):
    key = site.ticket()
    for when, expected in (("before", 0), ("after", 1)):
        client.fault(site.base, "POST", "/comment$", when=when, status=503, headers={"Retry-After": "1"})
        answer = site.call("POST", f"/issue/{key}/comment", {"body": adf.from_text("x")})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert len(client.comments(site.base, key)) == expected
    client.fault(site.base, "POST", "/transitions$", status=409)
    with pytest.raises(requests.HTTPError, match="409"):
        client.move(site.base, "bob", key, "Done")
    client.move(site.base, "bob", key, "Done")


@pytest.mark.parametrize("kind", ["drop", "truncate"])
def test_cut_lines_after_the_effect(site, kind):
    key = site.ticket()
    client.fault(site.base, "POST", "/comment$", kind=kind, when="after")
    with pytest.raises(requests.RequestException):
        site.call("POST", f"/issue/{key}/comment", {"body": adf.from_text("x")}).json()
    assert len(client.comments(site.base, key)) == 1


def test_html_instead_of_json(site):
    client.fault(site.base, "GET", "/myself", kind="html", status=502)
    answer = site.call("GET", "/myself")
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (502, "text/html")


def test_wrong_faults_are_refused(site):
    for raw in ({"kind": "explode"}, {"match": {"path": "("}}, {"when": "never"}, {"typo": 1}):
        assert requests.post(f"{site.base}/_sandbox/faults", json=raw, timeout=5).status_code == 400


# https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
def test_rate_limit(site):
    client.configure(site.base, rate_limit=2, rate_window=10)
    assert site.call("GET", "/myself").headers["X-RateLimit-Remaining"] == "1"
    assert site.call("GET", "/myself").status_code == 200
    refused = site.call("GET", "/myself")
    assert refused.status_code == 429
    assert {"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Reset"} <= set(refused.headers)
    site.clock.now += int(refused.headers["Retry-After"])
    assert site.call("GET", "/myself").status_code == 200


def test_journal_has_the_account_but_no_credential(site):
    key = site.ticket()
    client.move(site.base, "bob", key, "Done")
    seen = client.requests_seen(site.base, "transitions")
    assert [(e["method"], e["account"], e["status"]) for e in seen] == [("GET", "bob", 200), ("POST", "bob", 204)]
    assert "token" not in json.dumps(seen)


def test_state_survives_a_dump(site):
    key = site.ticket()
    client.move(site.base, "bob", key, "Done")
    dump = requests.get(f"{site.base}/_sandbox/state", timeout=5).json()
    store = Store()
    store.load({**dump, "accounts": []})
    assert [(i.key, i.status) for i in store.indexed()] == [(key, "Done")]
    assert {**store.dump(), "accounts": []} == {**dump, "accounts": []}


def connect(server: str, version: str, **auth: object) -> jira.JIRA:
    options = {"server": server, "rest_api_version": version}
    return jira.JIRA(options=options, timeout=5, max_retries=0, **auth)


@pytest.mark.parametrize("way", ["gateway", "site"])
def test_the_real_library_on_cloud(site, way):
    if way == "gateway":
        tracker = connect(site.gateway, "3", token_auth=seed.BOT_GATEWAY_TOKEN)
    else:
        tracker = connect(site.base, "3", basic_auth=(seed.BOT_EMAIL, seed.BOT_SITE_TOKEN))
    made = tracker.create_issue(fields={
        "project": {"key": "OPS"}, "issuetype": {"name": "[System] Incident"}, "summary": "s",
        "description": adf.from_text("d"), "labels": ["selfheal-1"]})
    assert [i.key for i in tracker.search_issues("labels = selfheal-1", maxResults=0)] == [made.key]
    target = next(t["id"] for t in tracker.transitions(made) if t["to"]["name"] == "In Progress")
    tracker.transition_issue(made, target)
    tracker.add_comment(made, adf.from_text("c"), is_internal=True)
    tracker.add_issue_property(made, "selfheal", {"run": 1})
    made.update(update={"labels": [{"add": "more"}]})
    seen = tracker.issue(made.key, expand="changelog")
    assert seen.fields.status.name == "In Progress"
    assert seen.fields.labels == ["more", "selfheal-1"]
    assert [h.author.accountId for h in seen.changelog.histories] == [seed.BOT_ACCOUNT_ID] * 2
    assert tracker.comments(made)[0].jsdPublic is False
    assert tracker.issue_property(made, "selfheal").value.run == 1


def test_the_real_library_on_data_center(site):
    tracker = connect(site.base, "2", token_auth=seed.BOT_PAT)
    made = tracker.create_issue(project="DC", issuetype={"name": "Task"}, summary="s", description="*d*")
    tracker.transition_issue(made, "Done")
    seen = tracker.issue(made.key, expand="changelog")
    assert (seen.fields.resolution.name, seen.fields.description) == ("Done", "*d*")
    assert seen.changelog.histories[0].author.name == "selfheal"
    assert [i.key for i in tracker.search_issues("project = DC", maxResults=0)] == [made.key]
    assert tracker.add_comment(made, "wiki").body == "wiki"
