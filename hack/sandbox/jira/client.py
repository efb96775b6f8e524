"""People's moves for tests and demos, over the same REST API, with the person's own credentials.

`base` is the site URL, e.g. http://127.0.0.1:8180; `as_user` is alice, bob, mallory, victor or selfheal.
Every function raises requests.HTTPError with Jira's answer in the message.
"""

from __future__ import annotations

from typing import Any

import requests

from hack.sandbox.jira import adf, seed

TIMEOUT = 10


def credentials(as_user: str) -> tuple[str, str]:
    """The e-mail and API token of a sandbox account."""
    if as_user == "selfheal":
        return seed.BOT_EMAIL, seed.BOT_SITE_TOKEN
    return f"{as_user}@example.com", f"{as_user}-token"


def call(base: str, as_user: str, method: str, path: str, body: Any = None,
         params: dict[str, Any] | None = None) -> Any:
    """One v3 request; the JSON answer or None."""
    answer = requests.request(method, f"{base}/rest/api/3{path}", json=body, params=params,
                              auth=credentials(as_user), timeout=TIMEOUT)
    if not answer.ok:
        raise requests.HTTPError(f"{method} {path}: {answer.status_code} {answer.text[:500]}",
                                 response=answer)
    return answer.json() if answer.content else None


def move(base: str, as_user: str, key: str, status_name: str) -> None:
    """Move a ticket by the transition whose target has this status; LookupError if none is offered."""
    offered = call(base, as_user, "GET", f"/issue/{key}/transitions")["transitions"]
    for one in offered:
        if one["to"]["name"] == status_name:
            call(base, as_user, "POST", f"/issue/{key}/transitions", {"transition": {"id": one["id"]}})
            return
    names = ", ".join(t["to"]["name"] for t in offered)
    raise LookupError(f"{key} cannot go to {status_name}; offered: {names}")


def create_ticket(base: str, as_user: str, project: str, summary: str, description: str = "",
                  issue_type: str = "Task", priority: str = "High",
                  labels: list[str] | None = None) -> str:
    """Create a ticket and return its key."""
    fields = {"project": {"key": project}, "issuetype": {"name": issue_type}, "summary": summary,
              "priority": {"name": priority}, "labels": labels or [],
              "description": adf.from_text(description) if description else None}
    return str(call(base, as_user, "POST", "/issue", {"fields": fields})["key"])


def comment(base: str, as_user: str, key: str, text: str) -> str:
    """Comment and return the comment's id."""
    made = call(base, as_user, "POST", f"/issue/{key}/comment", {"body": adf.from_text(text)})
    return str(made["id"])


def label(base: str, as_user: str, key: str, add: str | None = None, remove: str | None = None) -> None:
    """Put a label on or take it off."""
    operations = [{verb: x} for verb, x in (("add", add), ("remove", remove)) if x]
    call(base, as_user, "PUT", f"/issue/{key}", {"update": {"labels": operations}})


def get_issue(base: str, key: str, as_user: str = "alice") -> dict[str, Any]:
    """The issue bean with all fields."""
    found: dict[str, Any] = call(base, as_user, "GET", f"/issue/{key}")
    return found


def status(base: str, key: str) -> str:
    """The name of the ticket's status."""
    return str(get_issue(base, key)["fields"]["status"]["name"])


def changelog(base: str, key: str, as_user: str = "alice") -> list[dict[str, Any]]:
    """All changelog entries, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        part = call(base, as_user, "GET", f"/issue/{key}/changelog", params={"startAt": len(found)})
        found += part["values"]
        if part["isLast"]:
            return found


def statuses(base: str, key: str) -> list[tuple[str, str]]:
    """(status, display name of who moved it) for each move, oldest first."""
    return [(i["toString"], h["author"]["displayName"]) for h in changelog(base, key)
            for i in h["items"] if i["field"] == "status"]


def comments(base: str, key: str, as_user: str = "alice") -> list[dict[str, Any]]:
    """All comment beans, oldest first, each with its plain `text`."""
    found: list[dict[str, Any]] = []
    while True:
        part = call(base, as_user, "GET", f"/issue/{key}/comment",
                    params={"startAt": len(found), "expand": "properties"})
        found += [{**c, "text": adf.to_text(c["body"])} for c in part["comments"]]
        if len(found) >= part["total"]:
            return found


def property(base: str, key: str, name: str, as_user: str = "alice") -> Any:  # noqa: A001
    """The value of an entity property, None without it."""
    try:
        return call(base, as_user, "GET", f"/issue/{key}/properties/{name}")["value"]
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            return None
        raise


def search(base: str, jql: str, as_user: str = "alice") -> list[str]:
    """The keys of all issues that a query finds."""
    keys: list[str] = []
    token: str | None = None
    while True:
        body = {"jql": jql, "fields": ["summary"], **({"nextPageToken": token} if token else {})}
        part = call(base, as_user, "POST", "/search/jql", body)
        keys += [i["key"] for i in part["issues"]]
        token = part.get("nextPageToken")
        if token is None:
            return keys


def fault(base: str, method: str, path: str, **what: Any) -> None:
    """Arm a fault: times, when ("before"|"after"), kind, status, headers, body, seconds."""
    raw = {"match": {"method": method, "path": path}, **what}
    requests.post(f"{base}/_sandbox/faults", json=raw, timeout=TIMEOUT).raise_for_status()


def configure(base: str, **settings: Any) -> None:
    """Change settings, e.g. search_lag=5, workflow={"project": "OPS", "remove_status": "Deploying"}."""
    requests.post(f"{base}/_sandbox/config", json=settings, timeout=TIMEOUT).raise_for_status()


def requests_seen(base: str, path: str = "") -> list[dict[str, Any]]:
    """The journal, narrowed by a regular expression on the path."""
    found: list[dict[str, Any]] = requests.get(
        f"{base}/_sandbox/requests", params={"path": path}, timeout=TIMEOUT).json()
    return found


def reset(base: str) -> None:
    """Everything as at a fresh start."""
    requests.post(f"{base}/_sandbox/reset", timeout=TIMEOUT).raise_for_status()
