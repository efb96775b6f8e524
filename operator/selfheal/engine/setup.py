"""The beginning of a step: incident, policy, systems, and the draft of the status."""

from __future__ import annotations

import dataclasses
import datetime as dt

from selfheal.agents.config import load_config
from selfheal.agents.crew import Crew
from selfheal.api.incident import (
    HistoryEntry,
    Incident,
    IncidentStatus,
    Phase,
    PolicySnapshot,
)
from selfheal.api.policy import AgentsSpec, Policy
from selfheal.domain import clock, derive, errors, lifecycle, mapping, phases, windows
from selfheal.domain.facts import Facts, PolicyFacts
from selfheal.engine import counters
from selfheal.engine.context import Context
from selfheal.engine.deps import Deps, Systems

HOUR = dt.timedelta(hours=1)


async def load(deps: Deps, incident: Incident) -> Context:
    """Return the context of a step; a policy that cannot be used is a fact, not an error."""
    policy, problem = await _policy(deps, incident)
    labels = await deps.store.get_namespace_labels(incident.metadata.namespace)
    if problem is None and not mapping.serves_namespace(policy.spec, labels):
        problem = (
            f"Policy {policy.metadata.name} does not serve namespace "
            f"{incident.metadata.namespace} (spec.namespaceSelector)."
        )
    systems, fault = await _connect(deps, policy, incident)
    problem = problem or fault
    now = deps.clock.now()
    repository = mapping.find_repository(policy.spec, incident.metadata.namespace, labels)
    if repository is not None and _edits_code(incident):
        repository = mapping.find_application(repository) or repository
    context = Context(
        deps=deps,
        incident=incident,
        policy=policy,
        systems=systems,
        repository=repository,
        status=incident.status,
        facts=Facts(policy=_policy_facts(deps, policy, incident, problem, now)),
        now=now,
        degraded=_degraded(incident),
    )
    context.status = begin(context)
    if context.status.phase is Phase.PR_CREATION_IN_PROGRESS:
        number = await counters.count_open_pull_requests(context)
        facts = dataclasses.replace(context.facts.policy, open_pull_requests=number)
        context.facts = dataclasses.replace(context.facts, policy=facts)
    return context


def _edits_code(incident: Incident) -> bool:
    """Say whether the fix that is under way edits the application's code."""
    fix, phase = incident.status.fix, incident.status.phase
    early = phase in phases.CHAIN and not phases.reached(phase, Phase.FIX_GENERATED)
    return fix is not None and fix.code and not early


async def _connect(deps: Deps, policy: Policy, incident: Incident) -> tuple[Systems, str | None]:
    """Return the adapters, or none and why: a fault of configuration becomes a condition."""
    try:
        return await deps.connect(policy, incident), None
    except errors.Stalled as error:
        crew = Crew(
            model=None, tools=None, spec=AgentsSpec(), config=load_config(None), consent=False,
            clock=deps.clock,
        )  # fmt: skip
        return Systems(tracker=None, code=None, registry=None, crew=crew), error.message


def _degraded(incident: Incident) -> str | None:
    """Return why the last model run fell back to the rules; it stands until a run succeeds."""
    found = [c.message for c in incident.status.conditions if c.type == "ModelDegraded"]
    return found[0] if found else None


async def _policy(deps: Deps, incident: Incident) -> tuple[Policy, str | None]:
    name = incident.spec.policy_ref
    try:
        policy = await deps.store.get_policy(name)
    except errors.NotFound:
        fallback = mapping.built_in_policy(name)
        if name == "default":
            return fallback, None
        return fallback, f"spec.policyRef: there is no SelfHealingPolicy {name}. Create it."
    except errors.PolicyInvalid as error:
        return mapping.built_in_policy(name), error.message
    problems = mapping.check_policy(policy.spec)
    text = f"SelfHealingPolicy {name}: spec.{problems[0]}" if problems else None
    return policy, text


def _policy_facts(
    deps: Deps, policy: Policy, incident: Incident, problem: str | None, now: dt.datetime
) -> PolicyFacts:
    spec, intent = policy.spec, incident.status.intent
    diagnosis = incident.status.diagnosis
    usable = problem is None
    return PolicyFacts(
        problem=problem,
        frozen_until=windows.active_until(spec.freeze, now) if usable else None,
        in_maintenance=usable and windows.active_until(spec.maintenance, now) is not None,
        open_pull_requests=0,
        merges_last_hour=len([m for m in policy.status.merges if now - m < HOUR]),
        failed_verifications=policy.status.failures.get(diagnosis.class_, 0) if diagnosis else 0,
        read_only=deps.read_only,
        dry_run=deps.dry_run,
        cut_off=intent is not None and intent.holder != deps.holder,
        has_model=spec.agents.model is not None,
        cluster_uid=deps.cluster_uid,
    )


def begin(context: Context) -> IncidentStatus:
    """Return the draft: first entry, end of a dry run, annotations, and the policy that is used."""
    incident, now = context.incident, context.now
    status = incident.status
    identity = status.identity or mapping.compute_identity(
        incident.metadata.uid, context.spec.tracker, context.repository
    )
    status = status.evolve(
        identity=identity,
        policy=PolicySnapshot(
            name=context.policy.metadata.name, generation=context.policy.metadata.generation
        ),
        observed_generation=incident.metadata.generation,
        observed_poke=incident.metadata.annotations.get(derive.POKE_ANNOTATION),
        target=status.target or incident.spec.target_ref,
    )
    if status.phase is None:
        return _first(status, now)
    context.status = status
    status = _leave_dry_run(context)
    if not context.view().tracked and not context.view().dry:
        return derive.derive_from_annotation(incident.evolve(status=status), now)
    return status


def _first(status: IncidentStatus, now: dt.datetime) -> IncidentStatus:
    entry = HistoryEntry(to=Phase.INCIDENT_DETECTED, by=lifecycle.OPERATOR, at=now, why="filed")
    return status.evolve(
        phase=Phase.INCIDENT_DETECTED, phase_since=now, history=[entry], clock=clock.start(now)
    )


def _leave_dry_run(context: Context) -> IncidentStatus:
    status = context.status
    was_dry = any(
        condition.type == "TicketSynced" and condition.reason == "DryRun"
        for condition in status.conditions
    )
    early = not phases.reached(status.phase, Phase.FIX_GENERATION_IN_PROGRESS)
    human = status.phase is Phase.INCIDENT_REQUIRES_HUMAN
    if not was_dry or context.view().dry or not early or human:
        return status
    moved = lifecycle.enter(
        status, Phase.INCIDENT_DETECTED, by="spec or policy", at=context.now,
        why="the dry run ended", now=context.now,
    )  # fmt: skip
    return lifecycle.begin_run(moved)


def renew_identity(context: Context, before: int) -> None:
    """Take the policy's present mapping when a new run has begun; the first uid stays."""
    if context.status.run == before or context.status.identity is None:
        return
    fresh = mapping.compute_identity(
        context.status.identity.uid, context.spec.tracker, context.repository
    )
    context.status = context.status.evolve(identity=fresh)
