"""Triage and root cause analysis: evidence, rules first, then the agent; the result is stored."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports, redaction
from selfheal.agents import crew as agents
from selfheal.api.classes import IncidentClass
from selfheal.api.evidence import DocumentType
from selfheal.api.incident import TargetRef
from selfheal.diagnosis import images, registry
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind
from selfheal.domain import commands, errors
from selfheal.domain.effects import Effect
from selfheal.domain.facts import DiagnosisFacts
from selfheal.domain.signals import find_named
from selfheal.engine import documents, memory
from selfheal.engine.context import Context
from selfheal.engine.outcome import Outcome
from selfheal.verification import contract

COMMITS_KEPT = 10


async def triage(context: Context, effect: Effect) -> Outcome:
    """Find the target by names that exist in the namespace, then by the agent.

    An agent that was cut off before is not asked again for a target that the rules know: the last
    attempt must not depend on it.
    """
    candidates = await context.deps.cluster.list_targets(context.namespace)
    spec = context.incident.spec
    known = context.status.target
    named = (
        known
        or find_named(candidates, f"{spec.summary}\n{spec.description or ''}")
        or find_named(candidates, _hint(context) or "")
    )
    if named is not None and context.status.attempts.triage > 1:
        return Outcome(facts={"target": named})
    result = await context.systems.crew.triage(
        summary=spec.summary,
        description=spec.description or "",
        candidates=candidates,
        spent=context.status.usage,
    )
    answer = result.answer
    target = named or (answer.target if answer is not None else None)
    facts: dict[str, Any] = {"target": target} if target is not None else {}
    return Outcome(facts=facts, usage=result.usage, degraded=result.degraded)


async def analyse(context: Context, effect: Effect) -> Outcome:
    """Collect evidence, apply the rules, ask the agent, store the result and return it."""
    target = context.status.target
    if target is None:
        raise errors.Conflict("analysis without a target")
    earlier = await memory.recall(context, target)
    bundle = (await collect(context, target)).extend(*earlier)
    findings = list(registry.diagnose(bundle))
    result = await context.systems.crew.analyse(
        bundle=bundle, findings=findings, earlier=[item.value for item in earlier],
        hint=_hint(context), spent=context.status.usage,
    )  # fmt: skip
    answer = result.answer
    settled = agents.settle(findings, answer)
    best = settled.finding
    attempt = context.status.attempts.analysis
    name = documents.analysis_name(context.incident, context.uid, context.status, attempt)
    found = await _diagnosis(context, bundle, settled, name)
    await store_document(
        context, name=name, type=DocumentType.EVIDENCE, attempt=attempt,
        content={
            "bundle": documents.bundle_to_json(bundle, keep=best.evidence if best else ()),
            "findings": [documents.finding_to_json(finding) for finding in findings],
            "chosen": documents.finding_to_json(best) if best else None,
            "diagnosis": documents.diagnosis_to_json(found),
        },
    )  # fmt: skip
    await store_transcript(context, "analysis", attempt, result.transcript)
    return Outcome(
        facts={"diagnosis": found}, usage=result.usage, degraded=result.degraded, ref=name
    )


async def collect(context: Context, target: TargetRef) -> Bundle:
    """Collect cluster evidence, the registries' word on failing images, and recent commits."""
    bundle = await context.deps.cluster.collect_evidence(context.namespace, target, context.now)
    extras = await asyncio.gather(read_tags(context.systems.registry, bundle), _commits(context))
    return bundle.extend(*(item for items in extras for item in items))


async def read_tags(host: ports.Registry | None, bundle: Bundle) -> list[Item]:
    """Ask the registry for the repositories of the images worth asking about."""
    if host is None:
        return []
    asked = (host.list_tags(image) for image in images.worth_asking(bundle))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, Item)]


async def _commits(context: Context) -> list[Item]:
    if context.repository is None or context.systems.code is None:
        return []
    mapped = context.repository
    try:
        sha = await context.systems.code.get_branch_sha(mapped.repository, mapped.branch)
        commits = await context.systems.code.list_commits(
            mapped.repository, sha, mapped.path, limit=COMMITS_KEPT
        )
    except errors.SelfHealError:
        return []  # evidence is collected as far as it can be had; the fix will say what is wrong
    return [
        Item(
            id=f"commit/{commit.sha[:8]}",
            kind=ItemKind.COMMIT,
            value={
                "sha": commit.sha,
                "at": commit.at.isoformat(),
                "author": commit.author,
                "message": commit.message[:500],
            },
            at=commit.at,
        )
        for commit in commits
    ]


def _hint(context: Context) -> str | None:
    """Return what people said last; of commands only the text of a hint that was taken."""
    ticket, known = context.facts.ticket, context.status.ticket
    spec = context.spec.tracker.commands
    for comment in reversed(ticket.comments if ticket else ()):
        if comment.by.is_operator:
            continue
        command = commands.parse(comment.body, spec.mention) if spec.groups else None
        if command is None:
            return comment.body
        if known is not None and known.hint == comment.id:
            return command[1]
    return None


async def _diagnosis(
    context: Context,
    bundle: Bundle,
    settled: agents.Settled,
    name: str,
) -> DiagnosisFacts:
    best = settled.finding
    class_ = best.class_ if best else IncidentClass.UNKNOWN
    workload = await context.deps.cluster.observe_workload(context.namespace, bundle.target)
    workload = dataclasses.replace(workload, faults=registry.list_faults(bundle))
    since = context.now - context.spec.verification.stable_for
    names = contract.checks_for(class_)
    checks = contract.evaluate(names, workload, since=since, now=context.now)
    failing = registry.is_failing(bundle)
    # A cause that nothing shows now: no check of it fails, nor do the rules see such a fault.
    shown = class_ in {known for known, _ in workload.faults}
    reproduced = failing or shown or not all(check.holds for check in checks)
    if not reproduced:  # it is watched as what is not known is
        names = contract.checks_for_unknown()
        checks = contract.evaluate(names, workload, since=since, now=context.now)
    failure = None
    if best is None and failing:
        failure = (
            "The target is unhealthy, and no rule"
            + (" or model" if context.facts.policy.has_model else "")
            + " found a cause that the evidence supports."
        )
    elif best is not None and best.confidence < context.spec.agents.minimum_confidence:
        failure = f"The best guess ({best.cause}) is below the confidence threshold."
    return DiagnosisFacts(
        class_=class_,
        cause=best.cause if best else "",
        confidence=best.confidence if best else 0.0,
        by=settled.by.value,
        evidence_ref=name,
        summary=settled.summary or (best.cause if best else ""),
        container=best.container if best else None,
        not_failing=not failing and (best is None or not reproduced),
        failure=failure,
        at=context.now,
        checks=tuple(checks),
    )


async def store_document(
    context: Context,
    *,
    name: str,
    type: DocumentType,
    attempt: int,
    content: Mapping[str, Any],
) -> None:
    """Store a document of this run; the same name of the same incident is adopted.

    Credentials are taken out; a proposal keeps its files as they are, for they will be committed.
    """
    if type is not DocumentType.PROPOSAL:
        content = redaction.redact(content)
    await context.deps.store.ensure_document(
        ports.Document(
            namespace=context.namespace,
            name=name,
            incident=context.incident.metadata.name,
            incident_uid=context.incident.metadata.uid,
            type=type,
            run=context.status.run,
            attempt=attempt,
            content=content,
        )
    )


async def store_transcript(
    context: Context, step: str, attempt: int, transcript: Sequence[Mapping[str, Any]]
) -> None:
    """Keep what was said to and by a model."""
    if not transcript:
        return
    name = documents.compute_name(
        context.incident, context.uid, run=context.status.run, step=f"{step}-talk", attempt=attempt
    )
    await store_document(
        context, name=name, type=DocumentType.TRANSCRIPT, attempt=attempt,
        content={"messages": list(transcript)},
    )  # fmt: skip
