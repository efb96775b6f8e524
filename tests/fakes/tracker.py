"""An issue tracker in memory: the IssueTracker port, and what people do to tickets beside us."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence

from selfheal import ports
from selfheal.adapters.jira import comments, parse
from selfheal.api.incident import Priority
from selfheal.domain import errors, facts, phases

STATUSES: tuple[str, ...] = tuple(
    dict.fromkeys(name for names in phases.DEFAULT_STATUSES.values() for name in names)
)
"""The statuses of the default table, "To Do" first."""

OPERATOR = facts.Actor(id="operator", name="selfheal", is_operator=True)
_PRIORITIES = {Priority.CRITICAL: "Highest"}


@dataclasses.dataclass
class Ticket:
    """A ticket as it stands; ``public`` are ids of comments that customers see."""

    facts: facts.TicketFacts
    public: set[str] = dataclasses.field(default_factory=set)
    links: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    duplicates: list[str] = dataclasses.field(default_factory=list)
    resolved: bool = False


class FakeTracker:
    """The port in memory.

    ``created`` counts outside creations by kind (ticket, comment, remote_link, ticket_link),
    ``writes`` every outside write by method. ``workflow`` maps a status to the statuses offered from
    it; a status that it lacks offers all. ``search_lag`` hides what is younger from search.
    ``outage``, when set, is raised by every call of the port.
    """

    def __init__(
        self,
        clock: ports.Clock,
        *,
        project: str = "OPS",
        statuses: Sequence[str] = STATUSES,
        workflow: Mapping[str, Sequence[str]] | None = None,
        search_lag: dt.timedelta = dt.timedelta(0),
    ) -> None:
        """Begin without tickets; new ones stand in the first status."""
        self.clock, self.project, self.statuses = clock, project, list(statuses)
        self.workflow = dict(workflow or {})
        self.search_lag = search_lag
        self.tickets: dict[str, Ticket] = {}  # by id
        self.created: collections.Counter[str] = collections.Counter()
        self.writes: collections.Counter[str] = collections.Counter()
        self.outage: errors.SelfHealError | None = None
        self.problems: list[str] = []
        self.groups: dict[str, frozenset[str]] = {}  # by id of the person
        self._changed: dict[str, dt.datetime] = {}  # by id, for search
        self._last_id = 10_000
        self._last_number = 0

    # Set-up and what people do.

    def add_ticket(
        self,
        summary: str,
        description: str = "",
        *,
        priority: str = "High",
        labels: Sequence[str] = (),
        status: str | None = None,
        project: str | None = None,
    ) -> str:
        """Let a person open a ticket; return its key."""
        return self._add(summary, description, priority, labels, None, status, project).key

    def move_by_person(self, key: str, status: str, name: str = "ann") -> None:
        """Let a person move a ticket, whatever the workflow says."""
        self._move(self._get(key), status, _person(name))

    def comment_by_person(self, key: str, text: str, name: str = "ann") -> str:
        """Let a person comment; return the comment's id."""
        return self._comment(self._get(key), text, _person(name))

    def label_by_person(
        self, key: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Let a person change labels."""
        self._set_labels(self._get(key), add=add, remove=remove)

    def drop_property(self, key: str) -> None:
        """Let the entity property be lost."""
        self._change(self._get(key), mirror=None)

    def delete_ticket(self, key: str) -> None:
        """Let a person delete a ticket, or take it out of our sight."""
        ticket = self._get(key)
        del self.tickets[ticket.facts.id]

    def move_to_project(self, key: str, project: str) -> str:
        """Let a person move a ticket to another project; return its new key."""
        self._last_number += 1
        new = f"{project}-{self._last_number}"
        self._change(
            self._get(key), key=new, project=project, url=f"https://jira.test/browse/{new}"
        )
        return new

    def ticket(self, key: str) -> facts.TicketFacts:
        """Look at a ticket without asking the port."""
        return self._get(key).facts

    def statuses_of(self, key: str) -> list[str]:
        """Return the statuses in which a ticket stood, oldest first."""
        moves = self._get(key).facts.moves
        if not moves:
            return [self._get(key).facts.status]
        return [moves[0].from_status, *(move.to_status for move in moves)]

    # The port.

    async def check(self, statuses: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """See the port; ``problems`` of a test come first."""
        self._look()
        there = {name.casefold() for name in self.statuses}
        lacking = [
            f"tracker.statuses.{phase}: the workflow of project {self.project} has no status "
            f"{' or '.join(names)}; add it, or map the phase to one of {', '.join(self.statuses)}"
            for phase, names in statuses.items()
            if names and not there & {name.casefold() for name in names}
        ]
        return [*self.problems, *lacking]

    async def get_ticket(self, key_or_id: str) -> facts.TicketFacts:
        """See the port."""
        self._look()
        found = self._find(key_or_id)
        if found is None:
            raise errors.NotFound(f"{key_or_id} does not exist")
        return dataclasses.replace(found.facts, comments=found.facts.comments[-100:])

    async def get_tickets(self, ids: Sequence[str]) -> Mapping[str, facts.TicketFacts]:
        """See the port; comments are empty, as a bulk fetch leaves them."""
        self._look()
        found = {key: self._find(key) for key in ids}
        return {k: dataclasses.replace(v.facts, comments=()) for k, v in found.items() if v}

    async def search_tickets(self, jql: str, *, limit: int = 100) -> Sequence[str]:
        """See the port; of JQL it understands ANDs of ORs of comparisons; ORDER BY is ignored."""
        self._look()
        clauses = re.split(r"\s+AND\s+", re.split(r"\s*\bORDER BY\b", jql)[0].strip())
        terms = [
            [_parse_clause(part) for part in re.split(r"\s+OR\s+", clause)]
            for clause in clauses
            if clause
        ]
        until = self.clock.now() - self.search_lag
        shown = [t for t in self.tickets.values() if self._changed[t.facts.id] <= until]
        return [t.facts.key for t in shown if _meets(t.facts, terms)][:limit]

    async def find_updates(self, within: dt.timedelta) -> Mapping[str, dt.datetime]:
        """See the port; what changed within ``search_lag`` is shown as not changed."""
        self._look()
        until = self.clock.now() - self.search_lag
        updated = {one.facts.id: one.facts.updated for one in self.tickets.values()}
        return {i: at for i, at in updated.items() if at and until - within <= at <= until}

    async def find_tickets_by_label(self, label: str) -> Sequence[facts.TicketFacts]:
        """See the port."""
        keys = await self.search_tickets(f'labels = "{label}"')
        return [self._get(key).facts for key in keys]

    async def create_ticket(self, draft: ports.TicketDraft) -> facts.TicketFacts:
        """See the port."""
        self._write("create_ticket")
        self.created["ticket"] += 1
        priority = _PRIORITIES.get(draft.priority, draft.priority.value)
        text = _plain(draft.description)
        summary = " ".join(draft.summary.split())[:255]
        return self._add(summary, text, priority, draft.labels, draft.mirror, None, None)

    async def transition_ticket(
        self, ticket: facts.TicketFacts, to_statuses: Sequence[str]
    ) -> None:
        """See the port."""
        self._look()
        wanted = [name.casefold() for name in to_statuses]
        if ticket.status.casefold() in wanted:
            return
        now = self._get_or_conflict(ticket.key)
        offered = {
            name.casefold(): name
            for name in self.workflow.get(now.facts.status, self.statuses)
            if name in self.statuses
        }
        target = next((offered[name] for name in wanted if name in offered), None)
        if target is None:
            if now.facts.status.casefold() != ticket.status.casefold():
                raise errors.Conflict(f"{ticket.key} moved meanwhile")
            raise errors.TransitionNotOffered(
                f"{ticket.key} stands at {now.facts.status}, from where its workflow offers "
                f"{', '.join(offered.values()) or 'nothing'}, but not {' or '.join(to_statuses)}"
            )
        self._write("transition_ticket")
        self._move(now, target, OPERATOR)

    async def save_mirror(
        self, ticket: facts.TicketFacts, mirror: facts.TicketMirror, labels: frozenset[str]
    ) -> None:
        """See the port."""
        self._write("save_mirror")
        ours = {name for name in ticket.labels if name.startswith(("selfheal-", "selfheal/"))}
        now = self._get_or_conflict(ticket.key)
        self._set_labels(now, add=sorted(labels - ticket.labels), remove=sorted(ours - labels))
        self._change(now, mirror=mirror)

    async def ensure_comment(
        self, ticket_key: str, *, marker: str, body: str, public: bool = False
    ) -> str:
        """See the port."""
        self._look()
        ticket = self._get_or_conflict(ticket_key)
        line = comments.marker_line(marker)
        text = _plain(body, line)
        for comment in reversed(ticket.facts.comments):
            if comment.by.is_operator and comment.body.rpartition("\n")[2] == line:
                if comment.body != text:
                    self._write("edit_comment")
                    edited = dataclasses.replace(comment, body=text)
                    self._change(
                        ticket,
                        comments=tuple(
                            edited if c is comment else c for c in ticket.facts.comments
                        ),
                    )
                return comment.id
        self._write("add_comment")
        self.created["comment"] += 1
        made = self._comment(ticket, text, OPERATOR)
        if public:
            ticket.public.add(made)
        return made

    async def ensure_remote_link(
        self, ticket_key: str, *, global_id: str, url: str, title: str
    ) -> None:
        """See the port."""
        self._write("ensure_remote_link")
        ticket = self._get_or_conflict(ticket_key)
        if global_id not in ticket.links:
            self.created["remote_link"] += 1
        ticket.links[global_id] = (url, title)

    async def ensure_ticket_link(self, ticket_key: str, other_key: str) -> None:
        """See the port."""
        self._look()
        ticket, _ = self._get_or_conflict(ticket_key), self._get_or_conflict(other_key)
        if other_key not in ticket.duplicates:
            self._write("ensure_ticket_link")
            self.created["ticket_link"] += 1
            ticket.duplicates.append(other_key)

    async def get_groups(self, user_id: str) -> frozenset[str]:
        """See the port."""
        self._look()
        return self.groups.get(user_id, frozenset())

    async def assign_ticket(self, ticket_key: str, assignee: str) -> None:
        """See the port."""
        self._write("assign_ticket")
        self._change(self._get_or_conflict(ticket_key), assignee=assignee)

    # Inside.

    def _look(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _write(self, method: str) -> None:
        self._look()
        self.writes[method] += 1

    def _find(self, key: str) -> Ticket | None:
        found = self.tickets.get(key)
        return found or next((t for t in self.tickets.values() if t.facts.key == key), None)

    def _get(self, key: str) -> Ticket:
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return found

    def _get_or_conflict(self, key: str) -> Ticket:
        found = self._find(key)
        if found is None:
            raise errors.Conflict(f"{key} is gone")
        return found

    def _next_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)

    def _add(
        self,
        summary: str,
        description: str,
        priority: str,
        labels: Sequence[str],
        mirror: facts.TicketMirror | None,
        status: str | None,
        project: str | None,
    ) -> facts.TicketFacts:
        self._last_number += 1
        key = f"{project or self.project}-{self._last_number}"
        made = facts.TicketFacts(
            id=self._next_id(),
            key=key,
            url=f"https://jira.test/browse/{key}",
            status=status or self.statuses[0],
            project=project or self.project,
            summary=summary,
            description=description,
            priority=priority,
            labels=frozenset(labels),
            label_history=tuple(name for name in sorted(labels) if parse.is_owner_label(name)),
            mirror=mirror,
            updated=self.clock.now(),
        )
        self.tickets[made.id] = Ticket(facts=made)
        self._changed[made.id] = self.clock.now()
        return made

    def _change(self, ticket: Ticket, **values: object) -> None:
        now = self.clock.now()
        ticket.facts = dataclasses.replace(ticket.facts, **{"updated": now, **values})  # type: ignore[arg-type]

    def _set_labels(self, ticket: Ticket, *, add: Sequence[str], remove: Sequence[str]) -> None:
        before = ticket.facts
        labels = (before.labels - set(remove)) | set(add)
        history = [name for name in before.label_history if name in labels]
        history += [n for n in sorted(labels) if n not in history and parse.is_owner_label(n)]
        if labels != before.labels:
            self._changed[before.id] = self.clock.now()
        self._change(ticket, labels=labels, label_history=tuple(history))

    def _move(self, ticket: Ticket, status: str, by: facts.Actor) -> None:
        before = ticket.facts
        if status == before.status:
            return
        move = facts.Move(
            id=self._next_id(),
            by=by,
            from_status=before.status,
            to_status=status,
            at=self.clock.now(),
        )
        ticket.resolved = status == "Done"
        self._change(ticket, status=status, moves=(*before.moves, move))

    def _comment(self, ticket: Ticket, text: str, by: facts.Actor) -> str:
        made = facts.TicketComment(id=self._next_id(), by=by, body=text, at=self.clock.now())
        self._change(ticket, comments=(*ticket.facts.comments, made))
        return made.id


def _person(name: str) -> facts.Actor:
    return facts.Actor(id=f"person-{name}", name=name)


def _plain(text: str, last_line: str = "") -> str:
    """Return Markdown as a reader of the ticket gets it."""
    return parse.parse_text(comments.render(text, last_line=last_line, cloud=True))


_CLAUSE = re.compile(
    r"""(?P<field>\w+)\s*(?P<op>=|!=|>=|>|not\s+in|in|is)\s*(?P<value>\(.*\)|".*"|[^()"]+)""", re.I
)


def _parse_clause(clause: str) -> tuple[str, str, frozenset[str]]:
    text = clause.strip().lstrip("(").strip()
    while text.count(")") > text.count("("):
        text = text.rpartition(")")[0].strip()
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise errors.PolicyInvalid(f"the fake tracker does not understand {clause!r}")
    values = match["value"].strip().strip("()").split(",")
    folded = frozenset(value.strip().strip("\"'").casefold() for value in values)
    return match["field"].casefold(), " ".join(match["op"].casefold().split()), folded


def _meets(
    ticket: facts.TicketFacts, terms: Sequence[Sequence[tuple[str, str, frozenset[str]]]]
) -> bool:
    return all(any(_holds(ticket, *one) for one in alternatives) for alternatives in terms)


def _holds(ticket: facts.TicketFacts, field: str, operator: str, values: frozenset[str]) -> bool:
    if field in ("updated", "created"):
        return True  # search only hints; a poll with an overlap may see more than it asks for
    have = {
        "labels": {label.casefold() for label in ticket.labels},
        "statuscategory": {"done" if ticket.status == "Done" else "not done"},
        "key": {ticket.key.casefold()},
        "issuekey": {ticket.key.casefold()},
        "project": {ticket.project.casefold()},
        "status": {ticket.status.casefold()},
        "priority": {ticket.priority.casefold()},
    }.get(field)
    if have is None:
        raise errors.PolicyInvalid(f"the fake tracker does not know the field {field!r}")
    if operator == "is":
        return not have
    return bool(have & values) is (operator in ("=", "in"))
