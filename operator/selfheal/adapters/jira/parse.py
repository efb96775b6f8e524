"""From Jira's JSON to facts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfheal.adapters.jira import adf, wiki
from selfheal.adapters.jira.session import actor_ids
from selfheal.api.incident import Phase
from selfheal.domain import facts

PROPERTY = "selfheal"
"""Key of the entity property that mirrors phase, run and owner."""

_NOT_OWNERS = ("selfheal-phase-", "selfheal-released", "selfheal-keep")

Json = Mapping[str, Any]


def parse_ticket(
    issue: Json,
    histories: Iterable[Json],
    comments: Iterable[Json],
    *,
    me: frozenset[str],
    base_url: str,
) -> facts.TicketFacts:
    """Return the facts of an issue; KeyError where it lacks what Jira always gives."""
    fields = issue["fields"]
    ordered = sorted(histories, key=_order)
    labels = frozenset(map(str, fields.get("labels") or ()))
    return facts.TicketFacts(
        id=str(issue["id"]),
        key=str(issue["key"]),
        url=f"{base_url}/browse/{issue['key']}",
        status=str(fields["status"]["name"]),
        project=str((fields.get("project") or {}).get("key") or issue["key"].rpartition("-")[0]),
        summary=str(fields.get("summary") or ""),
        description=parse_text(fields.get("description")),
        priority=str((fields.get("priority") or {}).get("name") or ""),
        assignee=parse_actor(fields["assignee"], me).id if fields.get("assignee") else None,
        labels=labels,
        label_history=parse_label_history(ordered, labels),
        moves=parse_moves(ordered, me),
        mirror=parse_mirror((issue.get("properties") or {}).get(PROPERTY)),
        comments=tuple(parse_comment(comment, me) for comment in sorted(comments, key=_order)),
        updated=parse_time(fields["updated"]) if fields.get("updated") else None,
    )


def _order(entry: Json) -> tuple[dt.datetime, int, str]:
    identity = str(entry.get("id", ""))
    return parse_time(entry["created"]), len(identity), identity


def parse_time(text: str) -> dt.datetime:
    """Return an aware time; one without a zone is taken as UTC. ValueError where it is none."""
    read = dt.datetime.fromisoformat(text)
    return read.replace(tzinfo=dt.UTC) if read.tzinfo is None else read.astimezone(dt.UTC)


def parse_text(body: Any) -> str:
    """Return a field or comment body, ADF or wiki markup, as plain text."""
    return wiki.to_plain(body) if isinstance(body, str) else adf.to_plain(body)


def parse_actor(user: Json | None, me: frozenset[str]) -> facts.Actor:
    """Return who did something; a user that Jira no longer knows has an empty id."""
    raw = user or {}
    identity = str(raw.get("accountId") or raw.get("name") or raw.get("key") or "")
    name = str(raw.get("displayName") or identity or "unknown")
    return facts.Actor(id=identity, name=name, is_operator=bool(actor_ids(raw) & me))


def parse_comment(comment: Json, me: frozenset[str]) -> facts.TicketComment:
    """Return a comment."""
    return facts.TicketComment(
        id=str(comment["id"]),
        by=parse_actor(comment.get("author"), me),
        body=parse_text(comment.get("body")),
        at=parse_time(comment["created"]),
    )


def parse_moves(histories: Sequence[Json], me: frozenset[str]) -> tuple[facts.Move, ...]:
    """Return the status entries of a changelog that is ordered oldest first."""
    return tuple(
        facts.Move(
            id=str(entry["id"]),
            by=parse_actor(entry.get("author"), me),
            from_status=str(item.get("fromString") or ""),
            to_status=str(item.get("toString") or ""),
            at=parse_time(entry["created"]),
        )
        for entry in histories
        for item in entry.get("items") or ()
        if item.get("field") == "status" and item.get("fieldId", "status") == "status"
    )


def parse_label_history(histories: Sequence[Json], labels: frozenset[str]) -> tuple[str, ...]:
    """Return the owner labels that still stand, in the order in which they were last set.

    One that no entry tells of was there from the creation on, and comes first.
    """
    order: list[str] = []
    told: set[str] = set()
    for entry in histories:
        for item in entry.get("items") or ():
            if item.get("field") != "labels":
                continue
            before = str(item.get("fromString") or "").split()
            after = str(item.get("toString") or "").split()
            told.update(before, after)
            # What stands in the first entry's "from" stood before the changelog began.
            order += [label for label in before if label not in order]
            order = [label for label in order if label in after]
            order += [label for label in after if label not in order]
    first = sorted(label for label in labels if label not in told)
    return tuple(label for label in (*first, *order) if label in labels and is_owner_label(label))


def is_owner_label(label: str) -> bool:
    """Say whether a label names the incident that owns a ticket."""
    return label.startswith("selfheal-") and not label.startswith(_NOT_OWNERS)


def parse_mirror(value: Any) -> facts.TicketMirror | None:
    """Return our entity property, or None where it is absent or not ours."""
    try:
        return facts.TicketMirror(
            uid=str(value["uid"]),
            phase=Phase(value["phase"]),
            run=int(value["run"]),
            cluster=str(value["cluster"]),
            cluster_uid=str(value.get("clusterUid", "")),
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def render_mirror(mirror: facts.TicketMirror) -> dict[str, Any]:
    """Return the value of our entity property."""
    return {
        "uid": mirror.uid,
        "phase": mirror.phase.value,
        "run": mirror.run,
        "cluster": mirror.cluster,
        "clusterUid": mirror.cluster_uid,
    }
