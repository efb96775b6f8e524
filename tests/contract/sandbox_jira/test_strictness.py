"""The sandbox refuses what Atlassian's published REST documentation refuses.

V3 = https://developer.atlassian.com/cloud/jira/platform/rest/v3
"""

from __future__ import annotations

import pytest
import requests
from hack.sandbox.jira import adf, client, seed

TOKEN = {"Authorization": f"Bearer {seed.BOT_GATEWAY_TOKEN}"}


def fields(**more: object) -> dict[str, object]:
    return {"fields": {"project": {"key": "OPS"}, "issuetype": {"name": "Incident"}, "summary": "s", **more}}


# https://support.atlassian.com/user-management/docs/manage-api-tokens-for-service-accounts/ : gateway only
def test_scoped_tokens_work_only_through_the_gateway(site):
    assert requests.get(f"{site.gateway}/rest/api/3/myself", headers=TOKEN, timeout=5).status_code == 200
    assert requests.get(f"{site.base}/rest/api/3/myself", headers=TOKEN, timeout=5).status_code == 401
    other = f"{site.base}/ex/jira/other/rest/api/3/myself"
    assert requests.get(other, headers=TOKEN, timeout=5).status_code == 404


# V3/intro/#authentication
def test_wrong_and_missing_credentials_are_401(site):
    assert site.call("GET", "/myself").json()["accountType"] == "app"
    url = f"{site.base}/rest/api/3/myself"
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, auth=("selfheal@example.com", "wrong"), timeout=5).status_code == 401
    pat = {"Authorization": f"Bearer {seed.BOT_PAT}"}
    assert requests.get(url, headers=pat, timeout=5).status_code == 401
    assert requests.get(f"{site.base}/rest/api/2/myself", headers=TOKEN, timeout=5).status_code == 401


# https://developer.atlassian.com/cloud/jira/platform/scopes-for-oauth-2-3LO-and-forge-apps/
def test_a_token_without_the_write_scope_only_reads(site):
    key = site.ticket()
    read = {"Authorization": f"Bearer {seed.BOT_READ_ONLY_TOKEN}"}
    url = f"{site.gateway}/rest/api/3/issue/{key}"
    assert requests.get(url, headers=read, timeout=5).status_code == 200
    refused = requests.put(url, headers=read, json={"fields": {"summary": "x"}}, timeout=5)
    assert refused.status_code == 401
    assert "scope does not match" in refused.json()["message"]


# V3/api-group-issues/#api-rest-api-3-issue-issueidorkey-get : 404 also without permission
def test_no_permission_is_404_and_read_only_is_403(site):
    key = site.ticket()
    assert site.call("GET", f"/issue/{key}", user="mallory").status_code == 404
    assert site.call("GET", f"/issue/{key}", user="victor").status_code == 200
    put = site.call("PUT", f"/issue/{key}", {"fields": {"summary": "x"}}, user="victor")
    assert put.status_code == 403


# V3/intro : only documented operations exist
@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/issue/OPS-1/comments"), ("PATCH", "/issue/OPS-1"), ("GET", "/issues"),
])
def test_undocumented_paths_are_refused(site, method, path):
    assert site.call(method, path).status_code in (404, 405)


# V3/api-group-issues/#api-rest-api-3-issue-post
@pytest.mark.parametrize(("more", "field"), [
    ({"summary": ""}, "summary"), ({"summary": "a\nb"}, "summary"), ({"summary": "x" * 256}, "summary"),
    ({"labels": ["a b"]}, "labels"), ({"priority": {"name": "Urgent"}}, "priority"),
    ({"description": "text"}, "description"), ({"nonsense": 1}, "nonsense"),
    ({"issuetype": {"name": "Epic"}}, "issuetype"), ({"project": {"key": "NONE"}}, "project"),
    ({"status": {"name": "Done"}}, "status"),
])
def test_create_names_the_wrong_field(site, more, field):
    answer = site.call("POST", "/issue", fields(**more))
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert client.search(site.base, "project = OPS") == []


def test_media_type_and_json(site):
    url = f"{site.base}/rest/api/3/issue"
    plain = {"Content-Type": "text/plain"}
    who = client.credentials("alice")
    assert requests.post(url, data="{}", headers=plain, auth=who, timeout=5).status_code == 415
    broken = {"Content-Type": "application/json"}
    assert requests.post(url, data="{", headers=broken, auth=who, timeout=5).status_code == 400


def doc(*content: object, **more: object) -> dict[str, object]:
    return {"type": "doc", "version": 1, "content": list(content), **more}


def para(*content: object) -> dict[str, object]:
    return {"type": "paragraph", "content": list(content)}


TEXT = {"type": "text", "text": "x"}


# https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ and its node pages
@pytest.mark.parametrize("body", [
    {"type": "doc", "content": []}, doc(TEXT), doc(para({"type": "text", "text": ""})),
    doc({"type": "heading", "content": [TEXT]}), doc({"type": "heading", "attrs": {"level": 7}}),
    doc({"type": "bulletList", "content": []}), doc({"type": "bulletList", "content": [para(TEXT)]}),
    doc(para({"type": "text", "text": "x", "marks": [{"type": "bold"}]})),
    doc(para({"type": "text", "text": "x", "marks": [{"type": "code"}, {"type": "strong"}]})),
    doc(para({"type": "text", "text": "x", "marks": [{"type": "link"}]})),
    doc({"type": "codeBlock", "content": [{"type": "text", "text": "x", "marks": [{"type": "em"}]}]}),
    doc({"type": "panel", "attrs": {"panelType": "red"}, "content": [para(TEXT)]}),
    doc(para(TEXT), extra=1), doc({"type": "madeUp"}),
])
def test_malformed_documents_are_refused(site, body):
    answer = site.call("POST", f"/issue/{site.ticket()}/comment", {"body": body})
    assert answer.status_code == 400
    assert answer.json()["errorMessages"] == ["INVALID_INPUT"]


def test_a_rich_document_is_accepted_and_a_string_is_not(site):
    key = site.ticket()
    body = doc(
        {"type": "heading", "attrs": {"level": 2}, "content": [TEXT]},
        {"type": "bulletList", "content": [{"type": "listItem", "content": [para(TEXT)]}]},
        {"type": "codeBlock", "attrs": {"language": "diff"}, "content": [TEXT]},
        {"type": "expand", "attrs": {"title": "t"}, "content": [para(TEXT)]},
        {"type": "panel", "attrs": {"panelType": "info"}, "content": [para(TEXT)]},
        para({"type": "text", "text": "l", "marks": [{"type": "link", "attrs": {"href": "https://x"}}]}),
    )
    made = site.call("POST", f"/issue/{key}/comment", {"body": body})
    assert made.status_code == 201
    assert made.json()["body"] == body
    assert site.call("POST", f"/issue/{key}/comment", {"body": "text"}).status_code == 400
    long = adf.from_text("x" * 32_768)
    assert site.call("POST", f"/issue/{key}/comment", {"body": long}).status_code == 400


# V3/api-group-issues/#api-rest-api-3-issue-issueidorkey-transitions-post
def test_transitions_only_where_the_workflow_has_them(site):
    key = site.ticket("STRICT")
    offered = site.call("GET", f"/issue/{key}/transitions").json()["transitions"]
    assert [t["to"]["name"] for t in offered] == ["In Progress"]
    assert site.call("POST", f"/issue/{key}/transitions", {"transition": {"id": "9999"}}).status_code == 400
    assert site.call("POST", f"/issue/{key}/transitions", {}).status_code == 400
    last = {"transition": {"id": str(int(offered[0]["id"]) + 10)}}  # the next one: not from here
    assert site.call("POST", f"/issue/{key}/transitions", last).status_code == 400
    client.move(site.base, "alice", key, "In Progress")
    assert client.status(site.base, key) == "In Progress"
    with pytest.raises(LookupError):
        client.move(site.base, "alice", key, "Done")


def test_removing_a_status_takes_its_transitions_away(site):
    key = site.ticket()
    client.configure(site.base, workflow={"project": "OPS", "remove_status": "Deploying"})
    offered = site.call("GET", f"/issue/{key}/transitions").json()["transitions"]
    assert len(offered) == 14
    assert "Deploying" not in [t["name"] for t in offered]


# V3/api-group-issues/#api-rest-api-3-issue-issueidorkey-changelog-get
def test_changelog_tells_people_from_bots_in_order(site):
    key = site.ticket()
    for who, status in (("selfheal", "In Progress"), ("alice", "Needs Human Intervention"),
                        ("bob", "In Progress"), ("selfheal", "Done")):
        client.move(site.base, who, key, status)
    log = client.changelog(site.base, key)
    assert [h["author"]["accountType"] for h in log] == ["app", "atlassian", "atlassian", "app"]
    ids = [int(h["id"]) for h in log]
    assert ids == sorted(set(ids))
    assert all(h["created"].endswith("+0000") and h["created"][-9] == "." for h in log)
    assert [i["field"] for i in log[-1]["items"]] == ["status", "resolution"]
    recent = site.call("GET", f"/issue/{key}", params={"expand": "changelog"}).json()["changelog"]
    assert [int(h["id"]) for h in recent["histories"]] == ids[::-1]  # "starting from the most recent"
    part = site.call("GET", f"/issue/{key}/changelog", params={"startAt": 1, "maxResults": 2}).json()
    assert [int(h["id"]) for h in part["values"]] == ids[1:3]
    assert not part["isLast"]
    client.move(site.base, "alice", key, "To Do")
    assert client.get_issue(site.base, key)["fields"]["resolution"] is None


# V3/api-group-issue-properties/
def test_properties(site):
    key = site.ticket()
    path = f"/issue/{key}/properties/selfheal"
    before = client.get_issue(site.base, key)["fields"]["updated"]
    assert site.call("GET", path).status_code == 404
    assert site.call("PUT", path, {"run": 1}).status_code == 201
    assert site.call("PUT", path, {"run": 2}).status_code == 200
    assert client.property(site.base, key, "selfheal") == {"run": 2}
    assert site.call("PUT", path, "x" * 32_767).status_code == 400  # 32769 characters as JSON
    assert site.call("PUT", path, "x" * 32_766).status_code == 200
    assert site.call("DELETE", path).status_code == 204
    assert site.call("DELETE", path).status_code == 404
    assert client.changelog(site.base, key) == []
    assert client.get_issue(site.base, key)["fields"]["updated"] == before


# V3/api-group-issues/#api-rest-api-3-issue-issueidorkey-put : fields, update, properties in one request
def test_labels_and_property_in_one_edit(site):
    key = site.ticket(labels=["old"])
    body = {"update": {"labels": [{"remove": "old"}, {"add": "new"}]},
            "properties": [{"key": "selfheal", "value": {"phase": "X"}}]}
    assert site.call("PUT", f"/issue/{key}", body).status_code == 204
    assert client.get_issue(site.base, key)["fields"]["labels"] == ["new"]
    assert client.property(site.base, key, "selfheal") == {"phase": "X"}
    assert [i["toString"] for h in client.changelog(site.base, key) for i in h["items"]] == ["new"]
    both = {"fields": {"labels": ["a"]}, "update": {"labels": [{"add": "b"}]}}
    assert site.call("PUT", f"/issue/{key}", both).status_code == 400
    half = {"update": {"labels": [{"add": "half"}]}, "properties": [{"key": "k"}]}
    assert site.call("PUT", f"/issue/{key}", half).status_code == 400
    assert client.get_issue(site.base, key)["fields"]["labels"] == ["new"]


# V3/api-group-issues/#api-rest-api-3-issue-bulkfetch-post : at most 100; what is not found is left out
def test_bulk_fetch(site):
    keys = [site.ticket(), site.ticket()]
    body = {"issueIdsOrKeys": [*reversed(keys), "OPS-99"], "fields": ["status"], "expand": ["changelog"]}
    found = site.call("POST", "/issue/bulkfetch", body).json()
    assert [i["key"] for i in found["issues"]] == keys
    assert list(found["issues"][0]["fields"]) == ["status"]
    assert found["issues"][0]["changelog"]["total"] == 0
    assert found["issueErrors"] == []
    assert site.call("POST", "/issue/bulkfetch", {"issueIdsOrKeys": ["1"] * 101}).status_code == 400


# V3/api-group-issue-comments/ and JSM's sd.public.comment
def test_comments_public_internal_and_limits(site):
    key = site.ticket()
    hidden = [{"key": "sd.public.comment", "value": {"internal": True}}]
    made = site.call("POST", f"/issue/{key}/comment", {"body": adf.from_text("a"), "properties": hidden}).json()
    assert made["jsdPublic"] is False
    path = f"/issue/{key}/comment/{made['id']}"
    assert site.call("PUT", path, {"body": adf.from_text("b")}).json()["jsdPublic"] is False
    assert client.comments(site.base, key)[0]["text"] == "b"
    client.configure(site.base, max_comments=1)
    assert site.call("POST", f"/issue/{key}/comment", {"body": adf.from_text("c")}).status_code == 413
    assert site.call("DELETE", path).status_code == 204
    assert site.call("GET", path).status_code == 404


# https://developer.atlassian.com/cloud/jira/service-desk/rest/api-group-request/
def test_service_requests(site):
    def desk(method, path, body=None):
        return requests.request(method, f"{site.base}/rest/servicedeskapi{path}", json=body,
                                auth=client.credentials("alice"), timeout=5)

    one = desk("GET", "/servicedesk").json()["values"][0]
    kind = desk("GET", f"/servicedesk/{one['id']}/requesttype").json()["values"][0]
    body = {"serviceDeskId": one["id"], "requestTypeId": kind["id"], "requestFieldValues": {"summary": "s"}}
    made = desk("POST", "/request", body)
    assert made.status_code == 201
    key = made.json()["issueKey"]
    assert desk("POST", f"/request/{key}/comment", {"body": "x", "public": False}).json()["public"] is False
    assert desk("GET", f"/request/{key}/comment?internal=false").json()["size"] == 0
    assert desk("GET", f"/request/{key}/comment").json()["size"] == 1
    wrong = desk("POST", "/request", {**body, "requestTypeId": "99"})
    assert (wrong.status_code, next(iter(wrong.json()))) == (400, "errorMessage")


# https://docs.atlassian.com/software/jira/docs/api/REST/ (Data Center)
def test_data_center_speaks_v2(site):
    made = site.v2("POST", "/issue", {"fields": {"project": {"key": "DC"}, "issuetype": {"name": "Task"},
                                                 "summary": "s", "description": "*wiki*"}})
    key = made.json()["key"]
    bean = site.v2("GET", f"/issue/{key}").json()["fields"]
    assert (bean["description"], bean["reporter"]["name"]) == ("*wiki*", "selfheal")
    assert "accountId" not in bean["reporter"]
    assert site.v2("POST", f"/issue/{key}/comment", {"body": adf.from_text("x")}).status_code == 400
    assert site.v2("POST", f"/issue/{key}/comment", {"body": "x"}).status_code == 201
    assert site.v2("GET", "/serverInfo").json()["deploymentType"] == "Server"
    found = site.v2("GET", "/search", params={"jql": "project = DC", "startAt": 0}).json()
    assert (found["total"], found["issues"][0]["key"]) == (1, key)
    assert site.v2("POST", "/search/jql", {"jql": "project = DC"}).status_code in (404, 405)


# https://docs.atlassian.com/software/jira/docs/api/REST/9.17.0/ project and issue resources
def test_data_center_lists_projects_watchers_and_worklogs(site):
    key = site.v2("POST", "/issue", {"fields": {"project": {"key": "DC"}, "issuetype": {"name": "Task"}, "summary": "s"}}).json()["key"]
    found = {p["key"]: p for p in site.v2("GET", "/project").json()}
    assert {"OPS", "DC"} <= set(found)
    assert site.v2("GET", "/project/DC/versions").json() == site.v2("GET", "/project/DC/components").json() == []
    assert site.v2("GET", "/project/NONE/versions").status_code == 404
    watchers = site.v2("GET", f"/issue/{key}/watchers").json()
    assert (watchers["isWatching"], watchers["watchCount"]) == (True, 1)
    assert [w["name"] for w in watchers["watchers"]] == ["selfheal"]
    logs = site.v2("GET", f"/issue/{key}/worklog").json()
    assert (logs["total"], logs["worklogs"]) == (0, [])
    assert site.v2("GET", "/issue/DC-999/watchers").status_code == 404
    assert site.call("GET", f"/issue/{key}/watchers").status_code in (404, 405)  # only what Cloud's v3 subset serves


def test_page_is_escaped(site):
    key = client.create_ticket(site.base, "alice", "OPS", "<script>alert(1)</script>", "<b>")
    text = requests.get(f"{site.base}/browse/{key}", timeout=5).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
