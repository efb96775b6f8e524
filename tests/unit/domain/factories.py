"""Small builders of the values that the state machine looks at; every argument has a plain default."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from selfheal.api.incident import (
    Attempts,
    CheckStatus,
    DiagnosisStatus,
    FixStatus,
    HistoryEntry,
    Identity,
    Incident,
    IncidentClass,
    IncidentStatus,
    Intent,
    Phase,
    PhaseClock,
    PullRequestStatus,
    TargetRef,
    TicketStatus,
    VerificationStatus,
)
from selfheal.api.policy import PolicySpec, RepositorySpec
from selfheal.domain import mapping
from selfheal.domain.facts import (
    Actor,
    CheckResult,
    DiagnosisFacts,
    DuplicateFacts,
    Facts,
    Move,
    PolicyFacts,
    ProposalFacts,
    PullRequestFacts,
    PullRequestState,
    RepositoryFacts,
    Review,
    ReviewState,
    TicketFacts,
    WorkloadFacts,
)
from selfheal.domain.machine import mirrors
from selfheal.domain.view import View

NOW = dt.datetime(2026, 1, 5, 12, 0, tzinfo=dt.UTC)
UID = "0f9c1d2e-aaaa-bbbb-cccc-000000000001"
OPERATOR = Actor(id="bot", name="selfheal", is_operator=True)
ANNA = Actor(id="anna", name="Anna")
BEN = Actor(id="ben", name="Ben")
TARGET = TargetRef(kind="Deployment", name="checkout", container="app")
HEAD = "c0ffee00c0ffee00"
MERGE = "deadbeefdeadbeef"

NAMES = {
    Phase.INCIDENT_DETECTED: "To Do",
    Phase.ANALYSIS_IN_PROGRESS: "In Progress",
    Phase.ANALYSIS_COMPLETE: "Analysis Complete",
    Phase.FIX_GENERATION_IN_PROGRESS: "Generating Fix",
    Phase.FIX_GENERATED: "Fix Generated",
    Phase.PR_CREATION_IN_PROGRESS: "Creating PR",
    Phase.PR_CREATED: "PR Created",
    Phase.PR_UNDER_REVIEW: "Under Review",
    Phase.PR_APPROVED: "PR Approved",
    Phase.PR_MERGED: "PR Merged",
    Phase.DEPLOYMENT_IN_PROGRESS: "Deploying",
    Phase.DEPLOYMENT_COMPLETE: "Deployed",
    Phase.VERIFICATION_IN_PROGRESS: "Verifying Fix",
    Phase.VERIFICATION_COMPLETE: "Verifying Fix",
    Phase.INCIDENT_RESOLVED: "Done",
    Phase.INCIDENT_REQUIRES_HUMAN: "Needs Human Intervention",
}
"""The table of api.md, written out."""

PLAIN = {
    Phase.INCIDENT_DETECTED: ["To Do"],
    Phase.ANALYSIS_IN_PROGRESS: ["In Progress"],
    Phase.INCIDENT_RESOLVED: ["Done"],
}
"""The plain workflow of api.md."""


def policy(*, tracker: bool = True, **changes: Any) -> PolicySpec:
    """A policy with one repository; wire names, for example mode="Suggest"."""
    wire: dict[str, Any] = {"code": {"repositories": [repository_wire()]}}
    if tracker:
        wire["tracker"] = {"type": "Jira", "project": "OPS"}
    return PolicySpec.model_validate({**wire, **changes})


def repository_wire(**changes: Any) -> dict[str, Any]:
    return {"match": {"namespaces": ["production"]}, "repository": "acme/gitops", **changes}


def repository(**changes: Any) -> RepositorySpec:
    return RepositorySpec.model_validate(repository_wire(**changes))


def incident(*, annotations: dict[str, str] | None = None, **spec: Any) -> Incident:
    return Incident.model_validate(
        {
            "metadata": {
                "name": "checkout-oom", "namespace": "production", "uid": UID,
                "annotations": annotations or {},
            },
            "spec": {"summary": "checkout is restarting", **spec},
        }
    )  # fmt: skip


def identity(statuses: dict[Phase, list[str]] | None = None) -> Identity:
    spec = policy().tracker.evolve(statuses=statuses or {})
    return mapping.compute_identity(UID, spec, repository())


def ticket_status(phase: Phase, *, seen: str | None = "10", status: str | None = None) -> TicketStatus:
    return TicketStatus(id="1", key="OPS-1", status=status or NAMES[phase], seen_change=seen)


def pull_status(**changes: Any) -> PullRequestStatus:
    return PullRequestStatus(
        **{
            "run": 1, "repository": "acme/gitops", "number": 7, "url": "https://code/7",
            "branch": "selfheal/production-checkout-oom-0f9c1d2e-r1a1", "head_sha": HEAD, **changes,
        }
    )  # fmt: skip


def diagnosis_status() -> DiagnosisStatus:
    return DiagnosisStatus(
        class_=IncidentClass.OOM_KILLED, cause="limit too low", confidence=0.9, by="Rules"
    )


def fix_status(**changes: Any) -> FixStatus:
    return FixStatus(**{"summary": "raise the limit", "proposal_ref": "ev-1", **changes})


def held(*ages: float | None) -> VerificationStatus:
    """Checks that hold since so many minutes; None: broken."""
    return VerificationStatus(
        checks=[
            CheckStatus(
                name=f"check-{n}", holds_since=None if age is None else NOW - dt.timedelta(minutes=age)
            )
            for n, age in enumerate(ages)
        ]
    )


def status(phase: Phase = Phase.INCIDENT_DETECTED, **changes: Any) -> IncidentStatus:
    """A status at rest in a phase, with all that its past implies."""
    past = list(Phase)
    at = past.index(phase)

    def after(other: Phase) -> bool:
        return at >= past.index(other)

    base = IncidentStatus(
        phase=phase,
        phase_since=NOW,
        target=TARGET,
        target_seen=True,
        identity=identity(),
        clock=PhaseClock(running_since=NOW),
        ticket=ticket_status(phase),
        diagnosis=diagnosis_status() if after(Phase.ANALYSIS_COMPLETE) else None,
        fix=fix_status() if after(Phase.FIX_GENERATED) else None,
        attempts=Attempts(
            analysis=int(after(Phase.ANALYSIS_COMPLETE)), fix=int(after(Phase.FIX_GENERATED))
        ),
        pull_request=(
            pull_status(
                merge_sha=MERGE if after(Phase.PR_MERGED) else None,
                state="Merged" if after(Phase.PR_MERGED) else "Open",
            )
            if after(Phase.PR_CREATED)
            else None
        ),
        history=[HistoryEntry(to=phase, by="operator", at=NOW)],
    )
    return base.evolve(**changes)


def move(
    number: int, to: str, *, by: Actor = ANNA, from_: str = "somewhere", minutes: float = 0
) -> Move:
    return Move(
        id=str(number), by=by, from_status=from_, to_status=to, at=NOW + dt.timedelta(minutes=minutes)
    )


SEEN = move(10, "x", by=OPERATOR)


def ticket(*moves: Move, status: str | None = None, **changes: Any) -> TicketFacts:
    """A ticket whose entry 10 was seen; it stands where the newest move put it."""
    stands = status if status is not None else (moves[-1].to_status if moves else "To Do")
    return TicketFacts(
        id="1", key="OPS-1", url="", project="OPS", status=stands, moves=(SEEN, *moves), **changes
    )


def intent(to: Phase, *, kind: str = "move-ticket", why: str = "so decided") -> Intent:
    return Intent(key=f"{UID}/1/{to}/0/{kind}", kind=kind, at=NOW, to=to, why=why)


def review(
    state: ReviewState = ReviewState.APPROVED, *, by: Actor = ANNA, sha: str = HEAD,
    is_person: bool = True,
) -> Review:  # fmt: skip
    return Review(by=by, is_person=is_person, state=state, sha=sha, at=NOW)


def pull(**changes: Any) -> PullRequestFacts:
    return PullRequestFacts(
        **{
            "repository": "acme/gitops", "number": 7, "url": "https://code/7",
            "state": PullRequestState.OPEN,
            "branch": "selfheal/production-checkout-oom-0f9c1d2e-r1a1", "base": "main",
            "head_sha": HEAD, "author": "bot", "mergeable": True, **changes,
        }
    )  # fmt: skip


def merged(**changes: Any) -> PullRequestFacts:
    return pull(state=PullRequestState.MERGED, merge_sha=MERGE, **changes)


def diagnosis(**changes: Any) -> DiagnosisFacts:
    return DiagnosisFacts(
        **{
            "class_": IncidentClass.OOM_KILLED, "cause": "limit too low", "confidence": 0.9,
            "by": "Rules", "evidence_ref": "ev-0", "summary": "memory", "container": "app", **changes,
        }
    )  # fmt: skip


def proposal(**changes: Any) -> ProposalFacts:
    return ProposalFacts(
        **{
            "ref": "ev-1", "summary": "raise the limit", "risk": "Low", "diff": "+1", "rollback": "revert",
            "files": (("a.yaml", 1, 1),), "base_sha": "b", **changes,
        }
    )  # fmt: skip


def check(*, holds: bool, final: bool = False, name: str = "check-0") -> CheckResult:
    return CheckResult(name=name, holds=holds, message="seen", final=final)


ALL = ["target", "ticket", "workload", "diagnosis", "proposal", "branch", "revert", "pull_request", "repository", "delivery", "carries_change", "checks", "duplicate", "leftovers", "adoption_refused", "revisions"]


def facts(*, hide: tuple[str, ...] = (), **changes: Any) -> Facts:
    """Everything was looked at, apart from ``hide``."""
    wanted: dict[str, Any] = {
        "policy": PolicyFacts(), "workload": WorkloadFacts(exists=True), "duplicate": DuplicateFacts(),
        "leftovers": (), "checks": (), "observed": frozenset(ALL) - set(hide), **changes,
    }  # fmt: skip
    if isinstance(wanted["policy"], dict):
        wanted["policy"] = PolicyFacts(**wanted["policy"])
    return Facts(**wanted)


def repository_facts(*, required_checks: bool = True) -> RepositoryFacts:
    return RepositoryFacts(
        default_branch="main", merge_methods=frozenset({"squash"}), has_required_checks=required_checks,
        required_reviews=0, can_push=True, can_merge=True,
    )  # fmt: skip


def view(
    known: IncidentStatus | None = None, *, spec: dict[str, Any] | None = None,
    rules: PolicySpec | None = None, repo: RepositorySpec | None = None, mapped: bool = True,
    synced: bool = True, **seen: Any,
) -> View:  # fmt: skip
    """A view; ``synced``: the mirrors of ticket and pull request already stand."""
    known = known or status()
    made = View(
        incident=incident(**(spec or {})), status=known, facts=facts(**seen),
        policy=rules or policy(tracker=False), repository=(repo or repository()) if mapped else None,
        now=NOW,
    )  # fmt: skip
    return stand(made) if synced else made


def stand(made: View) -> View:
    """Return the view with ticket and pull request carrying the phase's mirrors."""
    changes: dict[str, Any] = {}
    if made.facts.ticket is not None:
        changes["ticket"] = dataclasses.replace(
            made.facts.ticket, labels=mirrors.compute_ticket_labels(made),
            mirror=mirrors.compute_ticket_mirror(made),
        )  # fmt: skip
    if made.facts.pull_request is not None:
        shown = made.facts.pull_request
        changes["pull_request"] = dataclasses.replace(
            shown, labels=shown.labels | {f"selfheal/{made.phase}"},
            body=mirrors.render_status_block(made),
        )  # fmt: skip
    return dataclasses.replace(made, facts=dataclasses.replace(made.facts, **changes))
