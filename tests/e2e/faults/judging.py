"""What a result is worth: class, cause, container, silence about the healthy, no wrong fix; and why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tests.e2e.faults.running import MINIMUM, Look, Result

from selfheal.diagnosis.evidence import Bundle, Finding, ItemKind


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Right or wrong in each respect; ``problems`` says what is wrong."""

    class_right: bool
    cause_right: bool
    target_right: bool
    quiet: bool  # twins and decoys raise nothing
    wrong_fix: bool
    repeatable: bool
    problems: tuple[str, ...]


def judge(result: Result) -> Verdict:
    """Compare a result with what its fault expects; pure."""
    fault = result.fault
    if result.trouble:
        return Verdict(False, False, False, False, False, False, (result.trouble,))
    problems: list[str] = []
    best = _sure(result.looks[0])
    class_right = _class_right(result, best)
    if not class_right:
        problems.append(f"class: expected {_expected(result)}, got {describe(best, result.looks[0].failing)}")
    missing = _missing_words(result, best)
    cause_right = class_right and not missing
    if missing and class_right:
        problems.append(f"cause: says nothing of {missing}: {best.cause if best else ''}")
    target_right = not fault.container or best is None or best.container == fault.container
    if not target_right and best is not None:
        problems.append(f"container: expected {fault.container}, got {best.container}")
    for text in _doubled(result.looks[0].findings):
        problems.append(f"more than one finding for a cause: {text}")
    problems += [f"quotes no evidence: {one.cause}" for one in result.looks[0].findings if not one.evidence]
    loud = [look for look in [*result.twins, *result.decoys] if _raises(look)]
    for look in loud:
        problems.append(f"raised for the healthy {look.target}: {describe(_sure(look), look.failing)}")
    wrong_fix = fault.action != "fix" and bool(result.proposals)
    if wrong_fix:
        problems.append(f"a fix where none is right: {result.proposals[0].diff}")
    repeatable = len({_key(_sure(look)) for look in result.looks}) == 1
    if not repeatable:
        problems.append(
            "not the same finding each time: " + "; ".join(describe(_sure(x), x.failing) for x in result.looks)
        )
    return Verdict(class_right, cause_right, target_right, not loud, wrong_fix, repeatable, tuple(problems))


def _expected(result: Result) -> str:
    fault = result.fault
    return "nothing" if fault.healthy else "/".join(sorted(fault.accepted))


def _class_right(result: Result, best: Finding | None) -> bool:
    fault, look = result.fault, result.looks[0]
    if fault.healthy:
        return best is None and not look.failing
    if best is None:
        # a cause that no rule can know ends in a hand-over, never in "nothing is wrong"
        return fault.by_model and look.failing
    return best.class_.value in fault.accepted


def _missing_words(result: Result, best: Finding | None) -> list[str]:
    fault = result.fault
    if fault.healthy or fault.by_model:
        return []
    said = best.cause.lower() if best else ""
    return ["|".join(some) for some in fault.cause if not any(result.names(one).lower() in said for one in some)]


def _sure(look: Look) -> Finding | None:
    best = look.findings[0] if look.findings else None
    return best if best is not None and best.confidence >= MINIMUM else None


def _raises(look: Look) -> bool:
    return look.failing or _sure(look) is not None


def _doubled(findings: Sequence[Finding]) -> list[str]:
    seen: set[tuple[str, str | None]] = set()
    doubled = []
    for one in findings:
        key = (one.class_.value, one.container)
        if one.confidence >= MINIMUM and key in seen:
            doubled.append(f"{one.class_.value}: {one.cause}")
        seen.add(key)
    return doubled


def _key(finding: Finding | None) -> tuple[str, str | None] | None:
    return (finding.class_.value, finding.container) if finding else None


def describe(finding: Finding | None, failing: bool) -> str:
    """A finding in one line."""
    if finding is None:
        return "no finding, unhealthy" if failing else "no finding, healthy"
    where = f" [{finding.container}]" if finding.container else ""
    return f"{finding.class_.value}{where} {finding.confidence:.2f}: {finding.cause}"


def summarise(bundle: Bundle) -> str:
    """What the evidence of a bundle comes to, shortly, for a person who has to understand a failure."""
    lines = []
    for pod in bundle.of(ItemKind.POD):
        status = pod.value.get("status") or {}
        for group in ("initContainerStatuses", "containerStatuses"):
            for one in status.get(group) or ():
                lines.append(f"{pod.id} {one['name']} restarts={one.get('restartCount')} state={one.get('state')} "
                             f"last={one.get('lastState')}"[:400])  # fmt: skip
        conditions = [one for one in status.get("conditions") or () if one.get("status") != "True"]
        lines.append(f"{pod.id} phase={status.get('phase')} {[(c['type'], c.get('reason')) for c in conditions]}")
    for event in list(bundle.of(ItemKind.EVENT))[:8]:
        if event.value["type"] != "Normal":
            lines.append(f"{event.id} {event.value['object']} {event.value['reason']} x{event.value['count']}: "
                         f"{event.value['message']}"[:300])  # fmt: skip
    for log in list(bundle.of(ItemKind.LOG))[:4]:
        lines.append(f"{log.id}: ...{log.value['text'][-300:]}")
    lines += [f"gap: {gap}" for gap in bundle.gaps]
    return "\n".join(f"    {line}" for line in lines)
