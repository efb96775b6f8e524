"""Statuses and workflows: which transition is offered where."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hack.sandbox.jira.errors import JiraError

# The phase table of the project's API, one ticket status each.
PHASE_STATUSES = [
    "To Do", "In Progress", "Analysis Complete", "Generating Fix", "Fix Generated", "Creating PR",
    "PR Created", "Under Review", "PR Approved", "PR Merged", "Deploying", "Deployed",
    "Verifying Fix", "Done", "Needs Human Intervention",
]
PLAIN_STATUSES = ["To Do", "In Progress", "Done"]


@dataclass
class Transition:
    """One arrow; `sources` None means a global transition."""

    id: str
    name: str
    to: str
    sources: list[str] | None = None


@dataclass
class Workflow:
    """The statuses of a project and the arrows between them."""

    statuses: list[str]
    transitions: list[Transition] = field(default_factory=list)

    @property
    def initial(self) -> str:
        """The status of a new issue."""
        return self.statuses[0]

    def offered(self, status: str) -> list[Transition]:
        """The transitions from a status; as in Jira a global one is offered in its own target too."""
        return [t for t in self.transitions if t.sources is None or status in t.sources]

    def find(self, status: str, transition_id: str) -> Transition | None:
        """The offered transition with this id, if any."""
        return next((t for t in self.offered(status) if t.id == transition_id), None)

    def remove_transition(self, name: str) -> None:
        """Take every transition of this name (or id) away."""
        kept = [t for t in self.transitions if name not in (t.name, t.id)]
        if len(kept) == len(self.transitions):
            raise JiraError(400, f"no transition {name}")
        self.transitions = kept

    def remove_status(self, name: str) -> None:
        """Take a status and all arrows to it away; issues that stand in it keep it."""
        if name not in self.statuses:
            raise JiraError(400, f"no status {name}")
        self.statuses.remove(name)
        self.transitions = [t for t in self.transitions if t.to != name]

    def add_status(self, name: str) -> None:
        """Add a status with a global transition named after it; nothing if it is there."""
        if name not in self.statuses:
            self.statuses.append(name)
        if not any(t.to == name and t.sources is None for t in self.transitions):
            self.add_transition(name, name, None)

    def add_transition(self, name: str, to: str, sources: list[str] | None) -> Transition:
        """Add an arrow with a fresh id."""
        if to not in self.statuses:
            raise JiraError(400, f"no status {to}")
        highest = max([int(t.id) for t in self.transitions], default=1)
        made = Transition(str(highest + 10), name, to, sources)
        self.transitions.append(made)
        return made


def open_workflow(statuses: list[str]) -> Workflow:
    """Every status can go to every other: global transitions named after the target."""
    made = Workflow(list(statuses))
    for name in statuses:
        made.add_transition(name, name, None)
    return made


def linear_workflow(statuses: list[str]) -> Workflow:
    """Only one step forward or, by "Reopen", from the last status to the first."""
    made = Workflow(list(statuses))
    for before, after in itertools.pairwise(statuses):
        made.add_transition(f"To {after}", after, [before])
    made.add_transition("Reopen", statuses[0], [statuses[-1]])
    return made


def category(status: str) -> dict[str, object]:
    """Jira's status category of a status."""
    if status == "Done":
        return {"id": 3, "key": "done", "colorName": "green", "name": "Done"}
    if status in ("To Do", "Open", "Waiting for support", "Backlog"):
        return {"id": 2, "key": "new", "colorName": "blue-gray", "name": "To Do"}
    return {"id": 4, "key": "indeterminate", "colorName": "yellow", "name": "In Progress"}
