"""The projects and accounts that stand in a fresh sandbox."""

from __future__ import annotations

from hack.sandbox.jira import workflow
from hack.sandbox.jira.state import Account, Project, Store

CLOUD_ID = "sandbox-cloud"
BOT_EMAIL = "selfheal@example.com"
BOT_GATEWAY_TOKEN = "sandbox-jira-token"
BOT_READ_ONLY_TOKEN = "sandbox-jira-token-read-only"
BOT_SITE_TOKEN = "sandbox-site-token"
BOT_PAT = "sandbox-jira-pat"
BOT_ACCOUNT_ID = "712020:5e1f4ea1-0000-4000-8000-000000000001"
GROUPS = {"alice": ("jira-users", "sre"), "bob": ("jira-users", "sre")}
SCOPES_READ = ["read:jira-work", "read:jira-user", "read:servicedesk-request"]
SCOPES_ALL = [*SCOPES_READ, "write:jira-work", "write:servicedesk-request"]


def fill(store: Store) -> None:
    """Put the default projects and accounts into an empty store."""
    for name in workflow.PHASE_STATUSES:
        store.status_id(name)
    _accounts(store)
    incident = [("[System] Incident", "10010"), ("Task", "10011"), ("Incident", "10012")]
    _project(store, "OPS", "Operations", "service_desk", incident,
             workflow.open_workflow(workflow.PHASE_STATUSES))
    task = [("Task", "10011"), ("Incident", "10012"), ("Bug", "10013")]
    _project(store, "PLAIN", "Plain board", "software", task,
             workflow.open_workflow(workflow.PLAIN_STATUSES))
    _project(store, "STRICT", "Linear workflow", "software", task,
             workflow.linear_workflow(workflow.PHASE_STATUSES))
    _project(store, "DC", "Data Center style", "software", task,
             workflow.open_workflow(workflow.PHASE_STATUSES))


def _accounts(store: Store) -> None:
    bot = Account(BOT_ACCOUNT_ID, "selfheal", "selfheal", BOT_EMAIL, "app", BOT_SITE_TOKEN,
                  {BOT_GATEWAY_TOKEN: SCOPES_ALL, BOT_READ_ONLY_TOKEN: SCOPES_READ}, BOT_PAT)
    store.accounts[bot.account_id] = bot
    people = [("alice", "Alice Adams", {"*": "edit"}), ("bob", "Bob Brown", {"*": "edit"}),
              ("mallory", "Mallory Moss", {"*": "edit", "OPS": "none"}),
              ("victor", "Victor Viewer", {"*": "browse"})]
    for number, (name, display, access) in enumerate(people, 2):
        account_id = f"712020:5e1f4ea1-0000-4000-8000-00000000000{number}"
        store.accounts[account_id] = Account(
            account_id, name, display, f"{name}@example.com", "atlassian", f"{name}-token",
            {}, f"{name}-pat", access, groups=GROUPS.get(name, ("jira-users",)))


def _project(store: Store, key: str, name: str, kind: str, types: list[tuple[str, str]],
             flow: workflow.Workflow) -> None:
    made = Project(store.next_id("project"), key, name, kind,
                   [{"id": i, "name": n} for n, i in types], flow)
    if kind == "service_desk":
        made.service_desk = store.next_id("servicedesk", 1)
        made.request_types = [
            {"id": "1", "name": "Report an incident", "issueTypeId": types[0][1]},
            {"id": "2", "name": "Ask for a task", "issueTypeId": types[1][1]},
        ]
    store.projects[key] = made
