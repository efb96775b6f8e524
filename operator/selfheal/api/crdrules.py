"""What a structural schema cannot say: CEL rules, bounds and columns of the three kinds.

Source of the dialect: https://kubernetes.io/docs/reference/using-api/cel/ and
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
Paths are dotted from the object's root; ``[]`` steps into a list's items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.api import evidence, incident, policy

_PHASES = ", ".join(f"'{phase}'" for phase in incident.Phase)

# Two mappings overlap where they share a namespace and no label tells them apart, the same rule as
# domain.mapping. A mapping always overlaps with itself, hence exactly one.
_APART = (
    "(has(a.match.selector) && has(a.match.selector.matchLabels) && has(b.match.selector) && "
    "has(b.match.selector.matchLabels) && a.match.selector.matchLabels.exists(k, "
    "k in b.match.selector.matchLabels && a.match.selector.matchLabels[k] != "
    "b.match.selector.matchLabels[k]))"
)
_NO_OVERLAP = (
    "self.all(a, self.exists_one(b, "
    "a.match.namespaces.exists(n, n in b.match.namespaces) && !" + _APART + "))"
)

RULES: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = {
    incident.KIND: {
        "spec": [
            {
                "rule": "!has(oldSelf.targetRef) || (has(self.targetRef) && "
                "self.targetRef == oldSelf.targetRef)",
                "message": "spec.targetRef is immutable once set; create a new incident for "
                "another target",
                "fieldPath": ".targetRef",
            },
            {
                "rule": "!has(oldSelf.ticketKey) || (has(self.ticketKey) && "
                "self.ticketKey == oldSelf.ticketKey)",
                "message": "spec.ticketKey is immutable once set; create a new incident for "
                "another ticket",
                "fieldPath": ".ticketKey",
            },
        ],
    },
    policy.KIND: {
        "spec.tracker": [
            {
                "rule": "!has(self.type) || self.type != 'Jira' || "
                "(has(self.project) && self.project != '')",
                "message": "spec.tracker.project: name the Jira project of the tickets",
                "fieldPath": ".project",
            }
        ],
        "spec.tracker.statuses": [
            {
                "rule": f"self.all(phase, phase in [{_PHASES}])",
                "message": "spec.tracker.statuses: every key must be a phase, for example "
                "INCIDENT_DETECTED; see kubectl explain shi.status.phase",
            },
            {
                "rule": "self.size() == 0 || "
                "('INCIDENT_DETECTED' in self && 'INCIDENT_RESOLVED' in self)",
                "message": "spec.tracker.statuses: INCIDENT_DETECTED and INCIDENT_RESOLVED must "
                "be named",
            },
            {
                "rule": "self.all(phase, self[phase].size() > 0)",
                "message": "spec.tracker.statuses: name at least one ticket status for each phase",
            },
        ],
        "spec.code.repositories": [
            {
                "rule": _NO_OVERLAP,
                "message": "spec.code.repositories: two mappings overlap; name a namespace in one "
                "only, or make the selectors exclude each other",
            }
        ],
        "spec.code.repositories[].merge": [
            {
                "rule": "!has(self.requireApproval) || self.requireApproval || !has(self.by) || "
                "self.by == 'Operator'",
                "message": "spec.code.repositories[].merge.requireApproval: false needs "
                "merge.by: Operator",
                "fieldPath": ".requireApproval",
            }
        ],
        "spec.agents.mcpServers[]": [
            {
                "rule": "!(has(self.url) && has(self.command))",
                "message": "spec.agents.mcpServers[]: url and command exclude each other",
            }
        ],
    },
    evidence.KIND: {
        "spec": [
            {
                "rule": "self == oldSelf",
                "message": "spec is immutable: a document of evidence is never changed",
            }
        ],
    },
}

# The API server estimates the cost of a rule from these bounds and refuses the CRD where there
# are none; they are far above what a policy needs.
BOUNDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    incident.KIND: {
        "spec.targetRef.apiVersion": {"maxLength": 253},
        "spec.targetRef.container": {"maxLength": 63},
        "spec.ticketKey": {"maxLength": 64},
        "spec.policyRef": {"maxLength": 253},
        "spec.source.fingerprint": {"maxLength": 253},
    },
    policy.KIND: {
        "spec.tracker.project": {"maxLength": 64},
        "spec.tracker.statuses": {"maxProperties": len(incident.Phase)},
        "spec.tracker.statuses{}": {"maxItems": 32},
        "spec.code.repositories": {"maxItems": 32},
        "spec.code.repositories[].match.namespaces": {"maxItems": 16},
        "spec.code.repositories[].match.namespaces[]": {"maxLength": 63},
        "spec.code.repositories[].match.selector.matchLabels": {"maxProperties": 4},
        "spec.code.repositories[].match.selector.matchLabels{}": {"maxLength": 63},
        "spec.agents.mcpServers": {"maxItems": 32},
    },
    evidence.KIND: {
        "spec.incident": {"maxLength": 253},
        "spec.digest": {"maxLength": 128},
    },
}


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | {"priority": 1} if wide else column


_AGE = _column("Age", ".metadata.creationTimestamp", "date")

COLUMNS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    incident.KIND: [
        _column("Phase", ".status.phase"),
        _column("Priority", ".spec.priority"),
        _column("Target", ".status.target.name"),
        _column("Class", ".status.diagnosis.class"),
        _column("Ticket", ".status.ticket.key"),
        _column("PR", ".status.pullRequest.number", "integer"),
        _AGE,
        _column("Since", ".status.phaseSince", "date", wide=True),
        _column("Confidence", ".status.diagnosis.confidence", "number", wide=True),
        _column("Cost", ".status.usage.cost", "number", wide=True),
        _column("Message", ".status.message", wide=True),
    ],
    policy.KIND: [
        _column("Mode", ".spec.mode"),
        _column("Tracker", ".spec.tracker.type"),
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _AGE,
        _column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
    ],
    evidence.KIND: [
        _column("Type", ".spec.type"),
        _column("Incident", ".spec.incident"),
        _column("Run", ".spec.run", "integer"),
        _column("Attempt", ".spec.attempt", "integer"),
        _column("Size", ".spec.size", "integer"),
        _AGE,
    ],
}
