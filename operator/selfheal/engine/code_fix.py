"""Fixes of application code: from a stack trace to hunks that passed every guard; else a person."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.agents.answers import CodeAnswer, CodeHunk
from selfheal.agents.coding import CodeTask
from selfheal.api.classes import IncidentClass
from selfheal.api.evidence import DocumentType
from selfheal.api.policy import RepositorySpec
from selfheal.diagnosis import traces
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.diagnosis.reading import Reading
from selfheal.domain import mapping
from selfheal.engine import documents, proving
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.engine.outcome import NO_USAGE, Outcome, add_usage
from selfheal.engine.perform_analysis import store_document, store_transcript
from selfheal.remediation import code_place, code_syntax, diff, hunks, serialise, workloads
from selfheal.remediation.edits import Proposal, Refusal
from selfheal.verification import contract

CLASSES = frozenset(
    {
        IncidentClass.HIGH_RESTART_COUNT,
        IncidentClass.CRASH_LOOP_BACK_OFF,
        IncidentClass.JOB_FAILED,
        IncidentClass.INIT_CONTAINER_FAILED,
        IncidentClass.STUCK_ROLLOUT,
    }
)
"""Classes whose cause may be the application's own code (incidents.md, class 4)."""

SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
"""Labels of an image: https://github.com/opencontainers/image-spec/blob/main/annotations.md."""

SHORTEST = 7
"""Characters of a commit's name from which it counts as that commit."""


async def generate(
    context: Context, finding: Finding, bundle: Bundle, name: str, refusal: Refusal
) -> Outcome:
    """Have hunks written for the code that died, and store them as the fix.

    ``refusal`` is why no manifest is edited; it is raised again where the code is not at fault, and
    said with file and line where no edit of it stands.
    """
    found = find_trace(finding, bundle)
    if refusal.reason != "NeedsPerson" or finding.class_ not in CLASSES or found is None:
        raise refusal
    trace, image = found
    frame = next((one for one in trace.frames if not one.is_library), trace.frames[0])
    try:
        return await _generate(context, finding, bundle, name, trace, image)
    except Refusal as refused:
        where = f"The program dies at {frame.path}, line {frame.line}"
        raise Refusal(
            "NeedsPerson", f"{refusal.message} {where}; its code is not edited: {refused.message}"
        ) from refused


def find_trace(finding: Finding, bundle: Bundle) -> tuple[traces.Trace, str] | None:
    """Return the stack trace in the logs of the finding's container, and its image; pure."""
    reading = Reading(bundle=bundle)
    for container in reading.containers:
        if finding.container not in (None, container.name):
            continue
        for log in reading.logs(container):
            trace = traces.find(str(log.value.get("text") or ""))
            if trace is not None:
                return trace, str(container.image)
    return None


async def _generate(
    context: Context, finding: Finding, bundle: Bundle, name: str, trace: traces.Trace, image: str
) -> Outcome:
    mapped = mapping.find_application(proving.require_mapping(context))
    if mapped is None:
        raise Refusal(
            "NoApplication",
            "the policy does not say where the code stands (code.repositories[].application).",
        )
    labels = await _read_labels(context, image)
    _check_source(labels, mapped)
    code = require_code(context.systems)
    base = await code.get_branch_sha(mapped.repository, mapped.branch)
    tree = await code.get_tree(mapped.repository, base, mapped.path)
    places = code_place.find_places(trace, tree.files, mapped.path)
    files = code_place.choose_files(places, tree.files, most=context.spec.guards.max_files)
    apply = functools.partial(_apply, files=files, spec=context.spec.guards, path=mapped.path)
    judge = functools.partial(_judge, apply)
    task = CodeTask(
        finding=finding, bundle=bundle, trace=_render(trace), judge=judge,
        excerpts={
            place.file: code_place.render_excerpt(files[place.file], place.line)
            for place in reversed(places) if place.file in files
        },
    )  # fmt: skip
    result = await context.systems.crew.write_code(task, spent=context.status.usage)
    attempt = context.status.attempts.fix
    await store_transcript(context, "code", attempt, result.transcript)
    if result.answer is None or not result.answer.hunks:
        why = result.degraded or "no model may be asked, or it finds no small edit right"
        raise Refusal("NoCodeFix", f"{why}.")
    changed = apply(result.answer.hunks)
    proposal = _propose(finding, trace, places[0], files, changed, result.answer)
    facts = proving.render_facts(name, proposal, base, code=True)
    await store_document(
        context, name=name, type=DocumentType.PROPOSAL, attempt=attempt,
        content={
            "facts": documents.proposal_facts_to_json(facts),
            "proposal": serialise.proposal_to_json(proposal),
            "after": {}, "related": [],
            "explanation": result.answer.rationale,
            "original": {path: files[path].decode() for path in changed},
            "code": {"container": finding.container, "image": image, "built": labels.get(REVISION)},
        },
    )  # fmt: skip
    context.repository = mapped
    return Outcome(
        facts={"proposal": facts}, usage=add_usage(NO_USAGE, result.usage),
        degraded=result.degraded, ref=name,
    )  # fmt: skip


async def _read_labels(context: Context, image: str) -> Mapping[str, str]:
    registry = context.systems.registry
    return (await registry.get_labels(image) if registry is not None else None) or {}


def _check_source(labels: Mapping[str, str], mapped: RepositorySpec) -> None:
    """Refuse an image that says of itself to be built elsewhere: labels only narrow."""
    source = labels.get(SOURCE, "").removesuffix(".git").rstrip("/")
    if source and not source.endswith(f"/{mapped.repository}"):
        raise Refusal(
            "SourceElsewhere",
            f"its image says that it is built from {source}, not from {mapped.repository}, which "
            "the policy names.",
        )


def _apply(answered: Sequence[CodeHunk], **given: Any) -> dict[str, bytes]:
    return hunks.apply([hunks.Hunk(**one.model_dump()) for one in answered], **given)


def _judge(apply: functools.partial[dict[str, bytes]], answered: Sequence[CodeHunk]) -> str | None:
    try:
        apply(answered)
    except Refusal as refused:
        return f"hunks: {refused.reason}: {refused.message}"
    return None


def _render(trace: traces.Trace) -> str:
    lines = [f"{one.path}, line {one.line}, {one.function}".rstrip(", ") for one in trace.frames]
    return "\n".join([f"{trace.language}: {trace.error}", *lines[:20]])


def _propose(
    finding: Finding,
    trace: traces.Trace,
    place: code_place.Place,
    files: Mapping[str, bytes],
    changed: Mapping[str, bytes],
    answer: CodeAnswer,
) -> Proposal:
    checked = all(code_syntax.is_checked(name) for name in changed)
    kind = trace.error.partition(":")[0][:60]
    unchecked = "" if checked else " Only its brackets were checked, not its syntax."
    return Proposal(
        summary=f"Handle {kind} at {place.file}:{place.line}",
        edits=(),
        files=changed,
        diff=diff.render_diff(files, changed),
        risk="Medium" if checked else "High",
        risk_reason="A model wrote this change of the application's code: read it as such, and let "
        f"the repository's own tests run.{unchecked} It says of the risk: {answer.risk_reason}",
        rollback="Revert the merge commit (git revert) and let it be built and delivered.",
        arithmetic="",
        checks=contract.checks_for(finding.class_),
        explanation=finding.cause,
    )


async def is_live(context: Context, live: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Tell whether the target runs an image that was built from the merged change (repeatable).

    Where the image's labels name a commit, it has to be the merge commit.
    """
    image = _image_of(live, content.get("container"))
    if image is None or image == content["image"]:
        return False
    built = (await _read_labels(context, image)).get(REVISION, "")
    known = context.status.pull_request
    merged = known.merge_sha if known is not None else None
    if not built or not merged:
        return True
    return len(built) >= SHORTEST and merged.startswith(built)


def _image_of(live: Mapping[str, Any], container: str | None) -> str | None:
    spec = workloads.look(live, workloads.pod_spec_path(str(live.get("kind")))) or {}
    for group in workloads.CONTAINER_LISTS:
        for entry in spec.get(group) or ():
            if container in (None, entry.get("name")):
                return str(entry.get("image"))
    return None
