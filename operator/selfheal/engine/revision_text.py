"""What is said of a further commit: its message, the title, and the answer to the reviews. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal import redaction
from selfheal.api.incident import Incident, IncidentStatus
from selfheal.domain.effects import EffectKind
from selfheal.engine import escaping, messages, pull_request_text

EXCERPT = 300
"""Characters of a review that its answer quotes."""
DIFF_LIMIT = 6000


def render_message(summary: str, incident: Incident, status: IncidentStatus) -> str:
    """Return the commit message, without its trailer."""
    return messages.render_commit_message(summary, incident, status)


def render_title(summary: str, status: IncidentStatus) -> str:
    """Return the pull request's title."""
    return pull_request_text.render_title(summary, status)


def render_answer(content: Mapping[str, Any], *, kind: EffectKind, attempt: int, sha: str) -> str:
    """Return the comment that answers the reviews, or says that the fix stands on a new base."""
    proposal = content["proposal"]
    lines = [_heading(kind, attempt, sha, content), ""]
    for review in content["reviews"]:
        who = escaping.link(f"the review of {review['by']}", review["url"])
        lines += [f"It answers {who}:", "", *_quote(review["text"]), ""]
    if kind is EffectKind.REVISE and not content["reviews"]:
        lines += ["It answers the required checks, which failed on the commit before.", ""]
    lines += [
        f"- Now: {escaping.escape(proposal['summary'])}",
        f"- The numbers: {escaping.escape(proposal['arithmetic']) or 'none'}",
        f"- Risk: {escaping.escape(proposal['risk'])}: {escaping.escape(proposal['risk_reason'])}",
    ]
    if content.get("explanation"):
        lines += ["", escaping.prose(content["explanation"])]
    lines += ["", escaping.block(proposal["diff"].splitlines(), limit=DIFF_LIMIT)]
    lines += ["", "It passed the same proofs and guards as the first commit. Please look again."]
    return redaction.redact_text("\n".join(lines))


def _heading(kind: EffectKind, attempt: int, sha: str, content: Mapping[str, Any]) -> str:
    if kind is EffectKind.REVISE:
        return f"**Revision {attempt}**: commit `{sha[:12]}`."
    base = str(content["parent_sha"])[:12]
    return (
        f"**The base has moved.** The fix is made anew on `{base}` and proved again: "
        f"commit `{sha[:12]}`. An earlier approval spoke of an earlier commit."
    )


def _quote(text: str) -> list[str]:
    shown = text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
    return [f"> {escaping.escape(line)}" for line in shown.splitlines() if line.strip()]
