"""Calls of the operator, from the journals of those that it called: API server, Jira and GitHub."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

from hack import world
from hack.cluster import config

AGENT = "selfheal-operator"
ACCOUNT = f"system:serviceaccount:{world.SYSTEM}:selfheal-operator"


@dataclasses.dataclass(frozen=True)
class Call:
    """One request of the operator."""

    system: str
    at: float
    what: str


@dataclasses.dataclass(frozen=True)
class Subject:
    """The incident whose calls are counted, and when it lived."""

    namespace: str
    uid: str
    ticket: dict[str, Any]
    pull: int | None
    begun: float
    ended: float


def collect(subject: Subject, box: dict[str, str]) -> list[Call]:
    """Return the calls in a subject's time that are its own or of no single incident."""
    found = [*_of_kubernetes(subject), *_of_jira(subject, box["jira"])]
    found += _of_github(subject, box["github"])
    return [call for call in found if subject.begun <= call.at <= subject.ended]


def count_by_phase(
    calls: list[Call], entered: dict[str, float]
) -> collections.Counter[tuple[str, str]]:
    """Return how many calls of each system fell into each phase."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for call in calls:
        reached = [phase for phase, at in entered.items() if at <= call.at]
        found[reached[-1] if reached else next(iter(entered)), call.system] += 1
    return found


def _of_kubernetes(subject: Subject) -> Iterator[Call]:
    """The API server's audit log; renewals of our Leases and watches go on without incidents."""
    if not config.AUDIT_LOG.exists():
        return
    with config.AUDIT_LOG.open() as lines:
        for line in lines:
            if ACCOUNT not in line:
                continue
            entry = json.loads(line)
            about = entry.get("objectRef", {})
            background = entry["verb"] == "watch" or about.get("resource") == "leases"
            if background or about.get("namespace", "") not in (
                "",
                subject.namespace,
                world.SYSTEM,
            ):
                continue
            at = dt.datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
            what = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
            yield Call("kubernetes", at, f"{entry['verb']} {what or entry['requestURI']}")


def _journal(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/_sandbox/requests", timeout=20) as answer:
        return list(json.load(answer))


def _of_jira(subject: Subject, url: str) -> Iterator[Call]:
    """The sandbox's journal; other tickets are other incidents'."""
    own = {subject.ticket.get("id"), subject.ticket.get("key"), None}
    for entry in _journal(url):
        place = re.search(r"/issue/([^/?]+)", entry["path"])
        named = place[1] if place and place[1] != "bulkfetch" else None
        if entry["account"] == "selfheal" and named in own:
            path = re.sub(r".*/rest/api/\d", "", entry["path"]).replace(named or "\0", "ID")
            yield Call("jira", entry["at"] / 1000, f"{entry['method']} {path}")


def _of_github(subject: Subject, url: str) -> Iterator[Call]:
    """The sandbox's journal: the operator is told from delivery and people by its user agent."""
    for entry in _journal(url):
        if not entry.get("agent", "").startswith(AGENT):
            continue
        text = f"{entry['path']} {entry.get('body', '')}"
        pulls = set(re.findall(r"(?:/pulls/|/issues/|pullRequest\(number:)(\d+)", text))
        branches = re.findall(r"heads/selfheal/[^/\s]*?-([0-9a-f]{8})-r\d", text)
        foreign = pulls and str(subject.pull) not in pulls
        if foreign or any(one != subject.uid[:8] for one in branches):
            continue
        path = re.sub(r"[0-9a-f]{40}|selfheal/\S+|(?<=/)\d+", "ID", entry["path"].partition("?")[0])
        yield Call("github", entry["at"] / 1000, f"{entry['method']} {path}")
