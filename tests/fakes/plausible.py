"""A model that answers plausibly from its prompt alone, without a language model: for CI and demos.

It reads what the prompt offers (tools, evidence ids, findings, candidates, proposals) and answers in
the asked type; it looks once through a Kubernetes tool first, as a real model would. It knows no test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]


def answer(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the assistant's message of a chat completion."""
    prompt = "\n".join(str(m.get("content") or "") for m in messages if m["role"] == "user")
    looked = any(message["role"] == "tool" for message in messages)
    call = None if looked else _find_call(prompt, tools)
    if call is not None:
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    kind = re.search(r"JSON object of the type (\w+)", str(messages[0].get("content")))
    maker = _MAKERS.get(kind.group(1) if kind else "", _note)
    return {"role": "assistant", "content": json.dumps(maker(prompt))}


def _find_call(prompt: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    names = [tool["function"]["name"] for tool in tools]
    name = next((n for n in names if n.endswith("__pods_list_in_namespace")), None)
    if name is None:
        return None
    return {"id": "call-1", "type": "function", "function": {"name": name, "arguments": "{}"}}


def _block(prompt: str, source: str) -> str:
    found = re.search(rf'<data (\w+) source="{re.escape(source)}">\n(.*?)\n</data \1>', prompt, re.S)
    return found.group(2) if found else ""


def _triage(prompt: str) -> dict[str, Any]:
    report = (_block(prompt, "summary of the report") + _block(prompt, "description of the report")).lower()
    candidates = _block(prompt, "names of workloads").splitlines()
    fitting = [each for each in candidates if each.partition("/")[2].lower() in report]
    target = fitting[0] if len(fitting) == 1 else None
    return {
        "target": target,
        "incident_class": "Unknown",
        "priority": None,
        "confidence": 0.8 if target else 0.1,
        "reason": "the report names it" if target else "the report names none of them",
    }


def _analysis(prompt: str) -> dict[str, Any]:
    found = re.search(
        r"(?m)^0\. (\w+) \(confidence ([\d.]+)(?:, container ([^)]+))?\): (.*) \[evidence: (.*)\]$",
        _block(prompt, "findings of the rules"),
    )
    known = re.findall(r"(?m)^Evidence id '([^']+)'", prompt)
    quoted = [name for name in found.group(5).split(", ") if name in known] if found else []
    return {
        "finding": 0 if found else None,
        "class": found.group(1) if found else "Unknown",
        "cause": found.group(4) if found else "the evidence does not tell",
        "confidence": float(found.group(2)) if found else 0.1,
        "evidence": quoted or known[:1],
        "container": found.group(3) if found else None,
        "ranking": [0] if found else [],
        "explanation": "The quoted evidence shows what the rules found, and nothing speaks against it.",
    }


def _fix(prompt: str) -> dict[str, Any]:
    proposals = re.findall(r"(?m)^Proposal (\d+):$", prompt)
    risk = re.search(r"(?m)^Risk: (Low|Medium|High) \((.*)\)$", _block(prompt, "proposal 0"))
    return {
        "choice": int(proposals[0]) if proposals else None,
        "rationale": "It changes no more than the cause demands.",
        "rollback": "Revert the commit; delivery applies the old state again.",
        "risk": risk.group(1) if risk else "Medium",
        "risk_reason": risk.group(2) if risk else "unknown",
    }


def _text(prompt: str) -> dict[str, Any]:
    change = _block(prompt, "what the change does").splitlines() or ["Mend the workload"]
    cause = _block(prompt, "root cause")
    title = change[0][:72].rstrip(".")
    return {"title": title[:1].upper() + title[1:], "body": f"**Cause:** {cause}\n\n**Change:** {change[0]}"}


def _comments(prompt: str) -> dict[str, Any]:
    numbers = [int(number) for number in re.findall(r"(?m)^Comment (\d+):$", prompt)]
    return {"comments": [{"number": n, "kind": "Other", "reason": "plain words"} for n in numbers]}


def _report(prompt: str) -> dict[str, Any]:
    failing = re.findall(r"(?m)^FAILS: (.*)$", _block(prompt, "checks"))
    return {
        "explanation": f"Failing: {failing[0]}" if failing else "All checks hold; the cause is gone.",
        "healthy": not failing,
        "concerns": [line[:500] for line in failing],
        "further_checks": [],
    }


def _order(prompt: str) -> dict[str, Any]:
    return {"order": re.findall(r"(?m)^(\w+): ", prompt)}


def _note(_: str) -> dict[str, Any]:
    return {"text": "Nothing beyond what the material says."}


def _code(prompt: str) -> dict[str, Any]:
    """Write the one edit that this model can: a division by what may be 0 gives 0 then. Else no hunk."""
    hunks = []
    shown = re.findall(r'<data (\w+) source="code of ([^"]+)">\n(.*?)\n</data \1>', prompt, re.S)
    for _, path, text in shown if "ZeroDivisionError" in _block(prompt, "stack trace") else ():
        for line in re.findall(r"(?m)^ *\d+> (.*)$", text):
            divided = re.fullmatch(r"( *return )(.+ / (.+))", line)
            if divided:
                guarded = f"{divided[1]}{divided[2]} if {divided[3]} else 0"
                hunks.append({"path": path, "search": line, "replace": guarded, "reason": "nothing to divide by"})
    return {
        "hunks": hunks,
        "rationale": "The divisor may be 0; then there is nothing to divide.",
        "risk_reason": "Whoever reads the result sees 0 where the program ended before.",
    }


_MAKERS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "TriageAnswer": _triage,
    "Analysis": _analysis,
    "FixAnswer": _fix,
    "CodeAnswer": _code,
    "PullRequestText": _text,
    "CommentClasses": _comments,
    "DeploymentReport": _report,
    "TaskOrder": _order,
    "Note": _note,
}
