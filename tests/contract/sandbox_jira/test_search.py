"""Search: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/."""

from __future__ import annotations

import datetime

import pytest
from hack.sandbox.jira import client


# https://developer.atlassian.com/changelog/#CHANGE-2046
def test_the_old_search_is_gone(site):
    assert site.call("GET", "/search", params={"jql": "project = OPS"}).status_code == 410
    assert site.call("POST", "/search", {"jql": "project = OPS"}).status_code == 410


# https://support.atlassian.com/jira-software-cloud/docs/jql-fields/ , jql-operators, jql-keywords
@pytest.mark.parametrize("jql", [
    "nonsense = 1", "project = NONE", "status = 'Made Up'", "status ~ Done", "labels > a",
    "project = OPS AND", "project OPS", "(project = OPS", "project = OPS labels = a", "labels = a.b",
    "updated > '2026-01-01 10:00:30'", "updated > yesterday", "key = OPS-404", "summary = x",
    "priority = Urgent", "labels = and", "project = OPS ORDER BY nonsense", "", "ORDER BY created",
    'summary ~ "*x"', "labels in ()", "labels is x", "labels = unknown()",
])
def test_bad_or_unbounded_jql_is_400(site, jql):
    answer = site.call("POST", "/search/jql", {"jql": jql, "fields": ["status"]})
    assert answer.status_code == 400
    assert answer.json()["errorMessages"]


@pytest.mark.parametrize(("jql", "found"), [
    ("project = OPS ORDER BY key", ["OPS-1", "OPS-2", "OPS-3"]),
    ("project in (OPS, PLAIN) ORDER BY key DESC", ["PLAIN-1", "OPS-3", "OPS-2", "OPS-1"]),
    ("labels = a", ["OPS-1"]), ("labels != a AND project = OPS", ["OPS-2"]),
    ("project = OPS AND labels IS EMPTY", ["OPS-3"]),
    ("project = OPS AND NOT labels = a", ["OPS-2"]),  # NOT is !=, and != does not find EMPTY
    ("NOT (project = OPS OR project = PLAIN)", []), ("status = 'In Progress'", ["OPS-2"]),
    ("priority >= High AND project = OPS ORDER BY key", ["OPS-1", "OPS-2"]), ("key in (OPS-2, ops-1) ORDER BY key", ["OPS-1", "OPS-2"]),
    ("summary ~ 'CHECKOUT restarting' AND project = PLAIN", ["PLAIN-1"]), ("summary ~ check", []),
    ("summary ~ 'check*' AND labels = b", ["OPS-2"]), ("text ~ needle", ["OPS-3"]),
    ("updated >= '-5m' AND labels = a", ["OPS-1"]), ("created < '-5m'", []),
    ("reporter = currentUser()", []), ("statusCategory = Done", []), ("resolution = Unresolved AND labels = a", ["OPS-1"]),
])
def test_jql_subset(site, jql, found):
    site.ticket(labels=["a"])
    client.move(site.base, "alice", site.ticket(labels=["b"]), "In Progress")
    client.comment(site.base, "bob", site.ticket(priority="Low"), "a needle here")
    site.ticket("PLAIN")
    assert client.search(site.base, jql, "selfheal") == found


def test_absolute_times_have_minutes(site):
    key = site.ticket()
    minute = datetime.datetime.fromtimestamp(site.clock.now, datetime.UTC).strftime("%Y-%m-%d %H:%M")
    assert client.search(site.base, f"updated >= '{minute}'") == [key]
    site.clock.now += 61
    later = datetime.datetime.fromtimestamp(site.clock.now, datetime.UTC).strftime("%Y/%m/%d %H:%M")
    assert client.search(site.base, f"updated >= '{later}'") == []


def test_invisible_projects_are_unknown_to_jql(site):
    site.ticket()
    answer = site.call("POST", "/search/jql", {"jql": "project = OPS"}, user="mallory")
    assert answer.status_code == 400
    assert client.search(site.base, "created > -1d", "mallory") == []


def test_pages_by_opaque_expiring_token(site):
    keys = [site.ticket() for _ in range(5)]
    ask = {"jql": "project = OPS ORDER BY key", "fields": ["summary"], "maxResults": 2}
    first = site.call("POST", "/search/jql", ask).json()
    assert [i["key"] for i in first["issues"]] == keys[:2]
    assert "total" not in first
    token = first["nextPageToken"]
    second = site.call("POST", "/search/jql", {**ask, "nextPageToken": token}).json()
    assert [i["key"] for i in second["issues"]] == keys[2:4]
    other = {**ask, "jql": "project = PLAIN", "nextPageToken": token}
    assert site.call("POST", "/search/jql", other).status_code == 400
    assert site.call("POST", "/search/jql", {**ask, "startAt": 2}).status_code == 400
    assert site.call("POST", "/search/jql", {**ask, "nextPageToken": "x"}).status_code == 400
    site.clock.now += 604_801
    assert site.call("POST", "/search/jql", {**ask, "nextPageToken": token}).status_code == 400
    bare = site.call("GET", "/search/jql", params={"jql": "project = OPS", "maxResults": 1}).json()
    assert list(bare["issues"][0]) == ["id"]  # "fields: the default is id"


def test_search_lags_but_get_does_not(site):
    client.configure(site.base, search_lag=30)
    key = site.ticket(labels=["late"])
    bean = client.get_issue(site.base, key)
    assert client.search(site.base, "labels = late") == []
    fresh = {"jql": "labels = late", "fields": ["status"], "reconcileIssues": [int(bean["id"])]}
    assert [i["key"] for i in site.call("POST", "/search/jql", fresh).json()["issues"]] == [key]
    site.clock.now += 31
    assert client.search(site.base, "labels = late") == [key]
    client.move(site.base, "bob", key, "Done")
    assert client.search(site.base, "status = Done") == []
    assert client.status(site.base, key) == "Done"
    site.clock.now += 31
    assert client.search(site.base, "status = Done") == [key]
    assert site.call("DELETE", f"/issue/{key}").status_code == 204
    assert client.search(site.base, "labels = late") == [key]
    site.clock.now += 31
    assert client.search(site.base, "labels = late") == []
