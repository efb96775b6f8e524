"""Tools: only those that can be bound to the incident, for servers that the policy names."""

from __future__ import annotations

import pytest
from tests.fakes.model import FakeToolHost

from selfheal.agents import consent, tools
from selfheal.api import policy

TEXT = {"type": "string"}
GITHUB = {"owner": TEXT, "repo": TEXT, "path": TEXT}


async def build(host: FakeToolHost, servers: list[str], scope: tools.Scope, **more):
    given = {"configured": frozenset(servers), "consent": True} | more
    return await tools.build_remote(host, servers, scope=scope, **given)


async def test_github_tools_are_bound_to_the_mapped_repository() -> None:
    host = FakeToolHost().add_tool("github", "get_file_contents", "text", properties=GITHUB, required=["owner", "path"])
    host.add_tool("github", "search_code", "text", properties={"query": TEXT})
    (tool,), problems = await build(host, ["github"], tools.Scope(repository="acme/gitops"))
    assert problems == []
    assert tool.schema == {"type": "object", "properties": {"path": TEXT}, "required": ["path"]}
    assert await tool.run({"path": "a"}) == "text"
    assert host.calls == [("github", "get_file_contents", {"path": "a", "owner": "acme", "repo": "gitops"})]
    assert "fixed to 'acme'" in await tool.run({"path": "a", "owner": "evil"})


async def test_jira_tools_are_bound_to_the_ticket() -> None:
    host = FakeToolHost().add_tool("jira", "jira_get_issue", "ticket", properties={"issue_key": TEXT})
    (tool,), _ = await build(host, ["jira"], tools.Scope(ticket="OPS-1"))
    await tool.run({})
    assert host.calls == [("jira", "jira_get_issue", {"issue_key": "OPS-1"})]


async def test_a_read_of_a_ticket_does_not_enter_the_view_history() -> None:
    properties = {"issue_key": TEXT, "update_history": {"type": "boolean"}}
    host = FakeToolHost().add_tool("jira", "jira_get_issue", "ticket", properties=properties)
    (tool,), _ = await build(host, ["jira"], tools.Scope(ticket="OPS-1"))
    assert tool.schema["properties"] == {}
    await tool.run({})
    assert host.calls == [("jira", "jira_get_issue", {"issue_key": "OPS-1", "update_history": False})]


async def test_atlassians_own_server_is_bound_to_site_and_ticket() -> None:
    properties = {"cloudId": TEXT, "issueIdOrKey": TEXT, "fields": TEXT}
    host = FakeToolHost().add_tool("jira", "getJiraIssue", "ticket", properties=properties, required=["cloudId", "issueIdOrKey"])
    host.add_tool("jira", "searchJiraIssuesUsingJql", properties={"cloudId": TEXT, "jql": TEXT})
    (tool,), _ = await build(host, ["jira"], tools.Scope(ticket="OPS-1", site="cloud-1"))
    assert tool.schema == {"type": "object", "properties": {"fields": TEXT}, "required": []}
    await tool.run({"fields": "summary"})
    assert host.calls == [
        ("jira", "getJiraIssue", {"fields": "summary", "cloudId": "cloud-1", "issueIdOrKey": "OPS-1"})
    ]
    assert await build(host, ["jira"], tools.Scope(ticket="OPS-1")) == ([], [])  # which site is not known


@pytest.mark.parametrize("server", ["kubernetes", "github", "jira", "other"])
async def test_without_a_scope_a_server_offers_nothing(server: str) -> None:
    host = FakeToolHost().add_tool(server, "anything", properties={"namespace": TEXT, **GITHUB, "issue_key": TEXT})
    assert await build(host, [server], tools.Scope()) == ([], [])


async def test_a_server_that_is_not_configured_is_not_asked() -> None:
    host = FakeToolHost().add_tool("kubernetes", "pods_get", properties={"namespace": TEXT})
    assert await build(host, ["kubernetes"], tools.Scope(namespace="shop"), configured=frozenset()) == ([], [])


async def test_without_consent_logs_have_no_tool() -> None:
    host = FakeToolHost().add_tool("kubernetes", "pods_log", properties={"namespace": TEXT})
    host.add_tool("kubernetes", "pods_get", properties={"namespace": TEXT})
    host.add_tool("kubernetes", "resources_get", "kind: x", properties={"namespace": TEXT, "kind": TEXT})
    (tool,), _ = await build(host, ["kubernetes"], tools.Scope(namespace="shop"), consent=False)
    assert tool.name == "kubernetes__resources_get"
    assert "not shared" in await tool.run({"kind": "Pod"})
    assert await tool.run({"kind": "Deployment"}) == "kind: x"
    assert len(host.calls) == 1


@pytest.mark.parametrize(
    ("selector", "labels", "shared"),
    [
        (None, {}, False),
        (policy.LabelSelector(), {}, True),
        (policy.LabelSelector(match_labels={"logs": "yes"}), {"logs": "yes", "a": "b"}, True),
        (policy.LabelSelector(match_labels={"logs": "yes"}), {"logs": "no"}, False),
    ],
)
def test_consent_is_the_policys_selector(selector, labels, shared: bool) -> None:
    assert consent.may_share_logs(policy.ModelSpec(name="m", namespace_selector=selector), labels) is shared
    assert consent.may_share_logs(None, labels) is False


async def test_names_fit_what_endpoints_accept() -> None:
    host = FakeToolHost().add_tool("kubernetes", "pods.get/" + "x" * 80, properties={"namespace": TEXT})
    (tool,), _ = await build(host, ["kubernetes"], tools.Scope(namespace="shop"))
    assert tool.name == ("kubernetes__pods_get_" + "x" * 80)[:64]
