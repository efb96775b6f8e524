"""Observation: reads only, in parallel, what a phase needs; more when the decision asks for it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from selfheal import ports
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import Phase
from selfheal.api.policy import DeliveryStrategy
from selfheal.diagnosis import registry
from selfheal.domain import effects, errors, phases
from selfheal.domain.facts import DuplicateFacts, PullRequestState, TicketFacts
from selfheal.engine import carried, commanders, documents, recurrence, revisions
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code, require_tracker
from selfheal.verification import contract

Reader = Callable[[Context], Awaitable[dict[str, Any]]]

PLAN: Mapping[Phase, frozenset[str]] = {
    Phase.INCIDENT_DETECTED: frozenset({"ticket", "workload"}),
    Phase.ANALYSIS_IN_PROGRESS: frozenset({"ticket", "workload", "diagnosis"}),
    Phase.ANALYSIS_COMPLETE: frozenset({"ticket", "checks", "duplicate"}),
    Phase.FIX_GENERATION_IN_PROGRESS: frozenset({"ticket", "proposal", "workload"}),
    Phase.FIX_GENERATED: frozenset({"ticket", "checks"}),
    Phase.PR_CREATION_IN_PROGRESS: frozenset({"ticket", "pull_request", "branch"}),
    Phase.PR_CREATED: frozenset({"ticket", "pull_request", "checks"}),
    Phase.PR_UNDER_REVIEW: frozenset({"ticket", "pull_request", "checks"}),
    Phase.PR_APPROVED: frozenset({"ticket", "pull_request", "workload"}),
    Phase.PR_MERGED: frozenset({"ticket", "pull_request", "delivery", "carries_change"}),
    Phase.DEPLOYMENT_IN_PROGRESS: frozenset(
        {"ticket", "pull_request", "delivery", "carries_change"}
    ),
    Phase.DEPLOYMENT_COMPLETE: frozenset({"ticket", "pull_request", "checks"}),
    Phase.VERIFICATION_IN_PROGRESS: frozenset({"ticket", "pull_request", "checks"}),
    Phase.VERIFICATION_COMPLETE: frozenset({"ticket", "pull_request"}),
    Phase.INCIDENT_RESOLVED: frozenset({"ticket"}),
    Phase.INCIDENT_REQUIRES_HUMAN: frozenset({"ticket", "pull_request"}),
}
"""What each phase looks at first."""


async def observe_phase(context: Context) -> None:
    """Read what the phase plans for; a read that fails is left out until the decision asks."""
    names = PLAN[context.status.phase or Phase.INCIDENT_DETECTED] - context.facts.observed
    found = await asyncio.gather(
        *(READERS[name](context) for name in sorted(names)), return_exceptions=True
    )
    for result in found:
        if isinstance(result, dict):
            context.learn(**result)
        elif not isinstance(result, errors.SelfHealError):
            raise result


async def observe(context: Context, names: Iterable[str]) -> None:
    """Read the named facts; errors are raised."""
    found = await asyncio.gather(*(READERS[name](context) for name in sorted(names)))
    for result in found:
        context.learn(**result)


async def read_ticket(context: Context) -> dict[str, Any]:
    """Read the ticket by GET; one that is gone is a fact."""
    known = context.status.ticket
    wanted = known.id if known else context.incident.spec.ticket_key
    if wanted is None or not context.view().tracked:
        return {"ticket": None}
    try:
        ticket = await require_tracker(context.systems).get_ticket(wanted)
    except errors.NotFound:
        return {"ticket": None, "ticket_missing": True}
    return {"ticket": ticket, "ticket_missing": _moved_away(context, ticket)}


def _moved_away(context: Context, ticket: TicketFacts) -> bool:
    identity = context.status.identity
    project = identity.project if identity else None
    return context.status.ticket is not None and project is not None and ticket.project != project


async def read_workload(context: Context) -> dict[str, Any]:
    """Read rollout, pods and warnings of the target."""
    target = context.status.target
    if target is None:
        return {"workload": None}
    workload = await context.deps.cluster.observe_workload(context.namespace, target)
    return {"workload": workload}


async def read_diagnosis(context: Context) -> dict[str, Any]:
    """Read the stored result of the present analysis attempt."""
    attempt = context.status.attempts.analysis
    if attempt == 0:
        return {"diagnosis": None}
    name = documents.analysis_name(context.incident, context.uid, context.status, attempt)
    found = await context.deps.store.find_document(context.namespace, name)
    if found is None or found.incident_uid != context.incident.metadata.uid:
        return {"diagnosis": None}
    return {"diagnosis": documents.diagnosis_from_json(found.content["diagnosis"])}


async def read_proposal(context: Context) -> dict[str, Any]:
    """Read the stored result of the present fix attempt."""
    attempt = context.status.attempts.fix
    if attempt == 0:
        return {"proposal": None}
    name = documents.proposal_name(context.incident, context.uid, context.status, attempt)
    found = await context.deps.store.find_document(context.namespace, name)
    if found is None or found.incident_uid != context.incident.metadata.uid:
        return {"proposal": None}
    return {"proposal": documents.proposal_facts_from_json(found.content["facts"])}


def compute_branch(context: Context) -> str:
    """Return the branch of the present attempt."""
    meta = context.incident.metadata
    attempt = max(context.status.attempts.fix, 1)
    return effects.compute_branch(
        meta.namespace, meta.name, context.uid, run=context.status.run, attempt=attempt
    )


async def read_branch(context: Context) -> dict[str, Any]:
    """Read the branch of our pull request, before it is opened that of the present attempt."""
    if context.repository is None:
        return {"branch": None}
    code = require_code(context.systems)
    known = context.status.pull_request
    if known is not None and context.status.phase is not Phase.PR_CREATION_IN_PROGRESS:
        return {"branch": await code.find_branch(known.repository, known.branch)}
    return {
        "branch": await code.find_branch(context.repository.repository, compute_branch(context))
    }


async def read_revisions(context: Context) -> dict[str, Any]:
    """Read the stored revisions of this run."""
    return {"revisions": await revisions.read_stored(context)}


async def read_pull_request(context: Context) -> dict[str, Any]:
    """Read our pull request: by number once known, by branch and key before."""
    known = context.status.pull_request
    if known is not None:
        code = require_code(context.systems)
        try:
            return {"pull_request": await code.get_pull_request(known.repository, known.number)}
        except errors.NotFound:
            return {"pull_request": None}  # deleted, or the repository is out of sight: a fact
    if context.status.phase is not Phase.PR_CREATION_IN_PROGRESS or context.repository is None:
        return {"pull_request": None}
    code = require_code(context.systems)
    branch = compute_branch(context)
    key = pull_request_key(context)
    found = await code.find_pull_request(context.repository.repository, branch, key)
    return {"pull_request": found}


def pull_request_key(context: Context) -> str:
    """Return the effect key that our pull request carries."""
    return effects.compute_key(
        context.uid, context.status, Phase.PR_CREATION_IN_PROGRESS,
        effects.EffectKind.OPEN_PULL_REQUEST, attempt=max(context.status.attempts.fix, 1),
    )  # fmt: skip


async def read_repository(context: Context) -> dict[str, Any]:
    """Read what the repository allows and demands."""
    if context.repository is None:
        return {"repository": None}
    code = require_code(context.systems)
    return {"repository": await code.get_repository(context.repository.repository)}


async def read_delivery(context: Context) -> dict[str, Any]:
    """Read the word of code host, Argo CD or Flux on the delivery of the merge commit."""
    known = context.status.pull_request
    if known is None or known.merge_sha is None or context.repository is None:
        return {"delivery": None}
    strategy = context.repository.deployment.strategy
    target = context.status.target
    if strategy in (DeliveryStrategy.ARGO_CD, DeliveryStrategy.FLUX) and target is not None:
        cluster = context.deps.cluster
        found = await cluster.read_delivery(context.namespace, target, known.merge_sha, strategy)
        return {"delivery": found}
    code = require_code(context.systems)
    return {"delivery": await code.get_delivery(known.repository, known.merge_sha, strategy.value)}


async def read_carries_change(context: Context) -> dict[str, Any]:
    """Compare the live object with the proposal's edits."""
    found = await read_workload(context) if context.facts.workload is None else {}
    workload = found.get("workload", context.facts.workload)
    fix = context.status.fix
    if workload is None or workload.manifest is None or fix is None or fix.proposal_ref is None:
        return {**found, "carries_change": False}
    stored = await context.deps.store.find_document(context.namespace, fix.proposal_ref)
    if stored is None or "proposal" not in stored.content:
        return {**found, "carries_change": False}
    carries = await carried.shows_change(context, workload, stored.content)
    return {**found, "carries_change": carries}


async def read_checks(context: Context) -> dict[str, Any]:
    """Evaluate the verification contract against the workload of this step."""
    found = await read_workload(context)
    diagnosis = context.status.diagnosis
    workload = found["workload"]
    if workload is None or not workload.exists:
        return {**found, "checks": None}
    names = check_names(context, diagnosis.class_ if diagnosis else None)
    if contract.looks_for_faults(names) and context.status.target is not None:
        bundle = await context.deps.cluster.collect_evidence(
            context.namespace, context.status.target, context.now
        )
        workload = dataclasses.replace(workload, faults=registry.list_faults(bundle))
    results = contract.evaluate(names, workload, since=_since(context), now=context.now)
    return {**found, "checks": (*results, *await recurrence.check(context))}


def check_names(context: Context, class_: IncidentClass | None) -> tuple[str, ...]:
    """Return the contract: the one stored before the fix, else that of the class."""
    known = context.status.verification
    if known is not None and known.checks and class_ is not None:
        names = tuple(check.name for check in known.checks)
        return tuple(name for name in names if name != contract.NO_SECOND)
    return contract.checks_for(class_ or IncidentClass.UNKNOWN)


def _since(context: Context) -> dt.datetime:
    """Return the moment from which restarts and warnings count against the checks."""
    live = context.status.verification.started_at if context.status.verification else None
    if phases.reached(context.status.phase, Phase.DEPLOYMENT_COMPLETE) and live is not None:
        return live
    if phases.reached(context.status.phase, Phase.DEPLOYMENT_COMPLETE):
        return context.now
    return context.now - context.spec.verification.stable_for


async def read_duplicate(context: Context) -> dict[str, Any]:
    """Ask who holds the cause; whoever was first is the primary."""
    diagnosis, target = context.status.diagnosis, context.status.target
    if diagnosis is None or target is None or context.view().dry:
        return {"duplicate": None}
    cause = f"{target.kind}/{target.name}/{diagnosis.class_}"
    holder = await context.deps.store.claim_cause(context.incident, cause)
    if holder is None or holder.key == context.incident.key:
        return {"duplicate": DuplicateFacts()}
    pull = holder.status.pull_request
    found = DuplicateFacts(
        primary=holder.key,
        primary_phase=holder.status.phase,
        primary_pull=pull.url if pull is not None else None,
    )
    return {"duplicate": found}


async def read_leftovers(context: Context) -> dict[str, Any]:
    """Find what earlier runs left: open pull requests, and branches without one."""
    if context.repository is None:
        return {"leftovers": (), "leftover_branches": ()}
    code = require_code(context.systems)
    repository = context.repository.repository
    meta = context.incident.metadata
    prefix = effects.compute_branch_prefix(meta.namespace, meta.name, context.uid)
    pulls, unused = [], []
    for name in await code.list_branches(repository, prefix):
        pull = await code.find_pull_request(repository, name, "")
        if pull is not None and pull.state is PullRequestState.OPEN:
            pulls.append(pull)
        if pull is None and await _is_untouched(context, code, name):
            unused.append(name)
    return {"leftovers": tuple(pulls), "leftover_branches": tuple(unused)}


async def _is_untouched(context: Context, code: ports.CodeHost, name: str) -> bool:
    """Say whether the head of a branch is still our own commit; a person's push makes it theirs."""
    if context.repository is None:
        return False
    branch = await code.find_branch(context.repository.repository, name)
    return branch is not None and (branch.effect_key or "").startswith(f"{context.uid}/")


async def read_adoption(context: Context) -> dict[str, Any]:
    """Ask whether the policy lets this incident adopt the ticket that it names."""
    key, jql = context.incident.spec.ticket_key, context.spec.tracker.adoption.jql
    project = context.spec.tracker.project
    if key is None or context.facts.ticket is None:
        return {"adoption_refused": None}
    if project and context.facts.ticket.project != project:
        why = f"spec.ticketKey: {key} is not in project {project} of the policy."
        return {"adoption_refused": why}
    if jql:
        tracker = require_tracker(context.systems)
        if key not in await tracker.search_tickets(f"({jql}) AND key = {key}", limit=1):
            why = f"spec.ticketKey: {key} does not match tracker.adoption.jql of the policy: {jql}"
            return {"adoption_refused": why}
    return {"adoption_refused": None}


READERS: Mapping[str, Reader] = {
    "ticket": read_ticket,
    "author_groups": commanders.read_author_groups,
    "workload": read_workload,
    "diagnosis": read_diagnosis,
    "proposal": read_proposal,
    "branch": read_branch,
    "pull_request": read_pull_request,
    "revisions": read_revisions,
    "repository": read_repository,
    "delivery": read_delivery,
    "carries_change": read_carries_change,
    "checks": read_checks,
    "duplicate": read_duplicate,
    "leftovers": read_leftovers,
    "adoption_refused": read_adoption,
}
