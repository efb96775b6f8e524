"""What a well-formed answer must pass besides its schema, and what code takes from it; pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from selfheal import redaction
from selfheal.agents import answers
from selfheal.api.classes import IncidentClass
from selfheal.api.incident import DiagnosedBy, TargetRef
from selfheal.api.policy import Risk
from selfheal.diagnosis.evidence import Bundle, Finding, ItemKind
from selfheal.remediation.edits import Proposal

SURE = 0.9  # a rule that is this sure keeps its class (incidents.md)
# What a cause that only a model sees may claim: the scale of diagnosis.evidence.Finding.
_ONE_OBSERVATION, _TWO_OBSERVATIONS = 0.6, 0.8
_RISKS = tuple(Risk)


def find_sure(findings: Sequence[Finding]) -> Finding | None:
    """Return the first finding whose rule is sure, None if none is."""
    return next((finding for finding in findings if finding.confidence >= SURE), None)


def check_triage(candidates: Sequence[TargetRef]) -> Callable[[answers.TriageAnswer], str | None]:
    """Refuse a target that is not among the candidates: no text can add one."""

    def check(answer: answers.TriageAnswer) -> str | None:
        if answer.target is None or answer.find_target(candidates) is not None:
            return None
        return "target: it must be one of the candidates exactly as written, or null"

    return check


def check_analysis(
    bundle: Bundle, findings: Sequence[Finding]
) -> Callable[[answers.Analysis], str | None]:
    """Refuse a diagnosis that quotes no evidence, or what is not there."""
    known = frozenset(item.id for item in bundle.items)
    containers = list_containers(bundle)

    def check(answer: answers.Analysis) -> str | None:
        unknown = [name for name in answer.evidence if name not in known]
        if unknown or not answer.evidence:
            return "evidence: quote at least one id of the evidence given, exactly as written"
        if answer.finding is not None and not 0 <= answer.finding < len(findings):
            return "finding: there is no finding of that number; null for a new cause"
        if answer.container is not None and containers and answer.container not in containers:
            return f"container: it must be one of {', '.join(sorted(containers))}, or null"
        return None

    return check


def list_containers(bundle: Bundle) -> frozenset[str]:
    """Return the names of all containers in the bundle's objects and pods; may be empty."""
    names: set[str] = set()
    for item in (*bundle.of(ItemKind.POD), *bundle.of(ItemKind.OBJECT)):
        spec = item.value.get("spec", {}) if isinstance(item.value, dict) else {}
        pod = spec.get("template", {}).get("spec", spec)
        for key in ("containers", "initContainers"):
            names |= {str(entry.get("name")) for entry in pod.get(key) or ()}
    return frozenset(names)


def finish_analysis(answer: answers.Analysis, findings: Sequence[Finding]) -> answers.Analysis:
    """Bound what a model may change: a sure rule keeps its class, a new cause stays modest."""
    order = [n for n in dict.fromkeys(answer.ranking) if 0 <= n < len(findings)]
    order += [number for number in range(len(findings)) if number not in order]
    changes: dict[str, object] = {"ranking": order}
    sure = find_sure(findings)
    confirmed = _find_confirmed(answer, findings)
    if sure is not None and sure.class_ is not answer.class_:
        changes |= {
            "finding": list(findings).index(sure),
            "class_": sure.class_,
            "cause": sure.cause,
            "container": sure.container,
            "confidence": sure.confidence,
            "evidence": list(sure.evidence),
        }
    elif confirmed is not None:
        changes["finding"] = confirmed
    else:
        quoted = len(set(answer.evidence))
        cap = _TWO_OBSERVATIONS if quoted > 1 else _ONE_OBSERVATION
        changes |= {"finding": None, "confidence": min(answer.confidence, cap)}
    return answer.model_copy(update=changes)


def _find_confirmed(answer: answers.Analysis, findings: Sequence[Finding]) -> int | None:
    """Return the finding an answer agrees with: the one it names, else the first of its class."""
    same = [number for number, each in enumerate(findings) if each.class_ is answer.class_]
    return answer.finding if answer.finding in same else next(iter(same), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settled:
    """The diagnosis of rules and model together; ``finding`` None: nobody found a cause."""

    finding: Finding | None
    by: DiagnosedBy
    summary: str


def settle(findings: Sequence[Finding], answer: answers.Analysis | None) -> Settled:
    """Merge the rules' findings (best first) with the model's analysis; pure.

    A confirmed finding keeps its parameters, which the fix needs, and agreement is worth what two
    independent observations are; a cause of the model alone has none. Where a rule rests on one
    indirect observation, what the model reads in it is said beside.
    """
    best = findings[0] if findings else None
    if answer is None or answer.class_ is IncidentClass.UNKNOWN:
        return Settled(finding=best, by=DiagnosedBy.RULES, summary=best.cause if best else "")
    if answer.finding is not None:
        confirmed = findings[answer.finding]
        agreed = max(confirmed.confidence, min(answer.confidence, _TWO_OBSERVATIONS))
        evidence = tuple(dict.fromkeys((*confirmed.evidence, *answer.evidence)))
        finding = dataclasses.replace(
            confirmed,
            cause=_word(confirmed, answer),
            confidence=agreed,
            evidence=evidence,
            container=confirmed.container or answer.container,
        )
        return Settled(finding=finding, by=DiagnosedBy.BOTH, summary=answer.explanation)
    if best is not None and best.confidence >= answer.confidence:
        return Settled(finding=best, by=DiagnosedBy.RULES, summary=best.cause)
    finding = Finding(
        class_=answer.class_,
        cause=answer.cause,
        confidence=answer.confidence,
        evidence=tuple(answer.evidence),
        container=answer.container,
    )
    return Settled(finding=finding, by=DiagnosedBy.MODEL, summary=answer.explanation)


def _word(confirmed: Finding, answer: answers.Analysis) -> str:
    repeats = _words(answer.cause) <= _words(confirmed.cause)
    if confirmed.confidence >= _TWO_OBSERVATIONS or repeats:
        return confirmed.cause
    return f"{confirmed.cause.rstrip('. ')}. As the model reads it: {answer.cause}"


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) - {"the", "a"}


def refine(findings: Sequence[Finding], answer: answers.Analysis) -> Finding | None:
    """Return the finding that stands after the model's analysis; see settle."""
    return settle(findings, answer).finding


def check_fix(proposals: Sequence[Proposal]) -> Callable[[answers.FixAnswer], str | None]:
    """Refuse a choice that is not among the proposals."""

    def check(answer: answers.FixAnswer) -> str | None:
        if answer.choice is None or 0 <= answer.choice < len(proposals):
            return None
        return "choice: there is no proposal of that number; null if none is right"

    return check


def finish_fix(
    answer: answers.FixAnswer, proposals: Sequence[Proposal]
) -> answers.FixChoice | None:
    """Let a model raise a risk, never lower it below what code computed; None: none is right."""
    if answer.choice is None:
        return None
    chosen = proposals[answer.choice]
    risk = max(Risk(chosen.risk), answer.risk, key=_RISKS.index)
    reason = answer.risk_reason if risk is answer.risk else chosen.risk_reason
    found = answer.model_dump() | {"risk": risk, "risk_reason": reason}
    return answers.FixChoice.model_validate(found)


def finish_triage(answer: answers.TriageAnswer, candidates: Sequence[TargetRef]) -> answers.Triage:
    """Replace the name by the candidate that bears it."""
    found = dict(answer) | {"target": answer.find_target(candidates)}
    return answers.Triage.model_validate(found)


def check_title(answer: answers.PullRequestText) -> str | None:
    """Refuse a title of more than one line."""
    return "title: it must be one line" if "\n" in answer.title else None


def finish_text(answer: answers.PullRequestText) -> answers.PullRequestText:
    """Take out of prose what a code host or our own reader would act upon."""
    return answer.model_copy(
        update={"title": neutralise(answer.title), "body": neutralise(answer.body)}
    )


# https://docs.github.com/en/issues/tracking-your-work-with-issues/linking-a-pull-request-to-an-issue
_CLOSING = re.compile(r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(:?\s+)(?=\S*#\d|https?://)", re.I)
_NO_BREAK = "\u200b"


def neutralise(text: str) -> str:
    """Disarm mentions, closing words, comments, images, links, trailers and selfheal's marks."""
    text = redaction.redact_text(text)
    text = re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.S)
    text = re.sub(r"<[^>\n]{0,2000}>", "", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"https?://", "", text)
    text = _CLOSING.sub(rf"\1{_NO_BREAK}\2", text)
    text = re.sub(r"#(?=\d)", f"#{_NO_BREAK}", text)
    text = re.sub(r"@(?=\w)", f"@{_NO_BREAK}", text)
    text = re.sub(r"(?im)^\s*(?:co-authored-by|signed-off-by)\s*:.*$", "", text)
    text = re.sub(r"(selfheal)-(?=[a-z-]+\s*:)", rf"\1{_NO_BREAK}-", text, flags=re.I)
    return text.strip()


def check_comments(count: int) -> Callable[[answers.CommentClasses], str | None]:
    """Refuse anything but one entry a comment."""

    def check(answer: answers.CommentClasses) -> str | None:
        if sorted(entry.number for entry in answer.comments) == list(range(count)):
            return None
        return f"comments: there must be one entry for each number from 0 to {count - 1}"

    return check


def check_nothing(_: answers.Answer) -> str | None:
    """Accept: the schema says all there is to say."""
    return None


def check_order(names: Sequence[str]) -> Callable[[answers.TaskOrder], str | None]:
    """Refuse an order that leaves a task out or invents one."""

    def check(answer: answers.TaskOrder) -> str | None:
        if sorted(answer.order) == sorted(names):
            return None
        return f"order: it must name each of these once: {', '.join(names)}"

    return check
