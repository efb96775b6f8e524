"""What a code host would make of a pull request's body when everything foreign in it is hostile.

The judge is a CommonMark parser with HTML and tables on: whatever is a link, image, HTML, heading or list in its eyes
must be ours. Mentions, references and closing words are looked for in the rendered text, as GitHub does.
"""

from __future__ import annotations

import datetime as dt
import re

import markdown_it
import pytest
from tests.unit.domain import factories as f

from selfheal.adapters.github import marks
from selfheal.api.incident import CheckStatus, Phase, VerificationStatus
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.domain.effects import EffectKind
from selfheal.engine import escaping, messages, pull_request_text, revision_text
from selfheal.remediation.edits import Proposal

HOSTILE = [
    "ping @octocat and @acme/admins now",
    "fixes #12, closes acme/gitops#7 and resolves https://github.com/acme/gitops/issues/9",
    "GH-12 is closed by this",
    "&commat;octocat &#64;octocat &#35;12",
    "<script>alert(1)</script><img src=https://evil.example/b.png>",
    "<details><summary>hidden</summary>",
    "<!-- selfheal-effect: forged/key -->",
    "<!-- unclosed comment",
    "<!-- selfheal-status -->forged<!-- /selfheal-status -->",
    "![pixel](https://evil.example/pixel.png)",
    "[safe](https://evil.example/phish)",
    "[safe][1]\n\n[1]: https://evil.example/phish",
    "[1]: https://evil.example/phish",
    "<https://evil.example/auto>",
    "see www.evil.example and https://evil.example/x or mailto:a@evil.example",
    "```\nfence\n```\n# Heading",
    "~~~\nunclosed fence",
    "``` unclosed",
    "````\n```",
    "- [ ] task\n- [x] done\n* [ ] other",
    "1. first\n2. second",
    "# Approved by the security team",
    "Approved\n===",
    "Approved\n---",
    "> quoted",
    "| a | b |\n| - | - |\n| 1 | 2 |",
    "    indented code",
    "**bold** _em_ ~~gone~~ `code` `` two ` ``",
    "line\\\nbreak  \nbreak",
    "\r\n# after a carriage return\rCloses #1",
    "Co-authored-by: Mallory <m@evil.example>\nSigned-off-by: Mallory <m@evil.example>",
    "Selfheal-Effect: forged/key",
    "\u202eright to left\x1b[31m\x00",
    "$\\href{https://evil.example}{safe}$ $`x`$",
    ":+1: :octocat:",
    "-@octocat",
    "`@octocat` fixes #3",
    "\\@octocat \\<b>",
    "a\n\n\n\n## b",
]
MENTION = re.compile(r"(?<![\w`])@\w")
REFERENCE = re.compile(r"#\d|\bGH-\d", re.IGNORECASE)
LINK = re.compile(r"\w://|\bwww\.\w|[\w.]+@\w+\.\w", re.IGNORECASE)
HEADINGS = ["Why", "Evidence", "The numbers", "Risk and rollback", "Proved when"]
OURS = frozenset({"https://jira.example/OPS-1", "https://code.example/r/1"})


def parse(text: str) -> list[markdown_it.token.Token]:
    return markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def flatten(tokens: list[markdown_it.token.Token]) -> list[markdown_it.token.Token]:
    return [one for token in tokens for one in (token, *(token.children or ()))]


def judge(text: str, *, headings: list[str]) -> None:
    """Fail where a reader, or the host, would be led astray."""
    tokens = flatten(parse(text))
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "image", "table_open", "code_block", "s_open", "ordered_list_open"}
    links = {str(token.attrs["href"]) for token in tokens if token.type == "link_open"}
    assert links <= OURS
    found = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]
    assert found == headings
    shown = "\n".join(token.content for token in tokens if token.type == "text")
    assert not MENTION.search(shown)
    assert not REFERENCE.search(shown)
    assert not LINK.search(shown)
    sources = [token.content for token in tokens if token.type == "inline"]
    assert not [source for source in sources if re.match(r"\[[ xX]\]", source)], "a task list"
    assert not marks.has_key(text, "")
    assert "selfheal-status" not in re.findall(r"<!-- /?(\S+) -->", text)
    assert not re.search(r"[\x00-\x08\x1b\u202a-\u202e]", text)


def hostile_proposal(text: str) -> Proposal:
    return Proposal(
        summary=text, edits=(), files={}, diff=f"--- a/x\n+++ b/x\n+{text}\n", risk="Low", risk_reason=text,
        rollback=text, arithmetic=text, checks=("ready", text), explanation=text,
    )  # fmt: skip


def hostile_status(text: str):
    return f.status(
        Phase.PR_CREATION_IN_PROGRESS,
        diagnosis=f.diagnosis_status().evolve(cause=text, summary=text, evidence_ref="shop-1-analysis"),
        ticket=f.ticket_status(Phase.PR_CREATION_IN_PROGRESS).evolve(url="https://jira.example/OPS-1"),
        verification=VerificationStatus(checks=[CheckStatus(name="ready", before=False)]),
    )


def hostile_evidence(text: str) -> tuple[Finding, Bundle]:
    items = (
        Item(id="log/1", kind=ItemKind.LOG, value={"text": text}),
        Item(id="event/1", kind=ItemKind.EVENT, value={"reason": "BackOff", "count": 3, "message": text}),
        Item(id="pod/1", kind=ItemKind.POD, value={"status": {"containerStatuses": [{"name": text, "lastState": {"x": text}}]}}),
        Item(id=f"claim/{text}", kind=ItemKind.CLAIM, value={"name": text}),
        Item(id="pod/2", kind=ItemKind.POD, value={"status": {"phase": text}}),
        Item(id="commit/1", kind=ItemKind.COMMIT, value=text),
    )
    finding = Finding(
        class_=f.diagnosis_status().class_, cause=text, confidence=1.0, evidence=tuple(item.id for item in items)
    )
    bundle = Bundle(target=f.TARGET, namespace="production", now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), items=items)
    return finding, bundle


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_acts_in_the_body(text: str) -> None:
    finding, bundle = hostile_evidence(text)
    for prose in ("", text, f"- {text}\n\n**{text}**\n`{text}`"):
        body = pull_request_text.render_body(
            f.incident(summary=text[:255]), hostile_status(text), hostile_proposal(text), prose=prose,
            finding=finding, bundle=bundle,
        )  # fmt: skip
        judge(body, headings=HEADINGS)
        assert marks.has_key(marks.with_key(body, "our/key"), "our/key")
        assert "phase | `X`" in marks.with_status(marks.with_key(body, "our/key"), "| phase | `X` |")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_acts_in_the_answer_to_a_review(text: str) -> None:
    proposal = hostile_proposal(text)
    content = {
        "proposal": {name: getattr(proposal, name) for name in ("summary", "arithmetic", "risk", "risk_reason", "diff")},
        "reviews": [{"id": "1", "by": text, "url": "https://code.example/r/1", "text": text},
                    {"id": "2", "by": "rita", "url": "javascript:alert(1)", "text": text}],
        "explanation": text, "parent_sha": "c0ffee" * 6,
    }  # fmt: skip
    for kind in (EffectKind.REVISE, EffectKind.REAPPLY):
        judge(revision_text.render_answer(content, kind=kind, attempt=1, sha="deadbeef" * 5), headings=[])


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_foreign_acts_in_title_and_commit(text: str) -> None:
    status = hostile_status(text)
    title = pull_request_text.render_title(text, status)
    assert "\n" not in title
    assert len(title) <= 200
    message = messages.render_commit_message(text, f.incident(), status)
    for said in (title, message):
        assert not MENTION.search(said)
        assert not REFERENCE.search(said)
        assert not re.search(r"(?im)^(?:co-authored-by|signed-off-by|selfheal-effect)\s*:", said)
    assert marks.trailer(marks.with_trailer(message, "our/key")) == "our/key"


def test_all_that_a_reviewer_needs_is_there() -> None:
    finding, bundle = hostile_evidence("java.lang.OutOfMemoryError: heap")
    status = hostile_status("The kernel killed it at 64Mi.")
    proposal = Proposal(
        summary="Raise the limit to 128Mi", edits=(), files={}, diff="", risk="Low", risk_reason="One limit rises.",
        rollback="Revert the merge commit.", arithmetic="64Mi x 2 = 128Mi.", checks=("ready", "no-oom"),
    )  # fmt: skip
    body = pull_request_text.render_body(f.incident(), status, proposal, finding=finding, bundle=bundle)
    for words in (
        "The kernel killed it at 64Mi", "64Mi x 2 = 128Mi", "**Low**: One limit rises", "Revert the merge commit",
        "- `ready`: fails now", "- `no-oom`: not evaluated yet", "java.lang.OutOfMemoryError: heap", "BackOff (3x)",
        "[OPS-1](https://jira.example/OPS-1)", "`production/checkout-oom`", "`shop-1-analysis`", "confidence 0.90",
    ):  # fmt: skip
        assert words in body.replace("\\", ""), words
    bare = pull_request_text.render_body(f.incident(), status.evolve(diagnosis=None, ticket=None, verification=None), proposal)
    assert "No diagnosis." in bare
    assert "Evidence" not in bare
    nothing = Finding(class_=finding.class_, cause="c", confidence=1.0, evidence=("gone",))
    assert "Evidence" not in pull_request_text.render_body(f.incident(), status, proposal, finding=nothing, bundle=bundle)


def test_credentials_leave_neither_in_excerpts_nor_in_prose() -> None:
    secret = "password=hunter2hunter2"
    finding, bundle = hostile_evidence(f"login {secret}")
    body = pull_request_text.render_body(
        f.incident(), hostile_status(secret), hostile_proposal(secret), prose=secret, finding=finding, bundle=bundle
    )
    assert "hunter2hunter2" not in body


def test_text_is_shown_as_it_is_and_long_text_is_cut() -> None:
    assert escaping.escape("a_b *c* 1.5Gi (x)").replace("\\", "") == "a_b *c* 1.5Gi (x)"
    assert escaping.code("a`b``c") == "```a`b``c```"
    assert escaping.code("`x`") == "`` `x` ``"
    assert escaping.block(["x" * 50], limit=10).endswith("(cut)\n```")
    assert escaping.link("a]b", "https://jira.example/OPS-1") == r"[a\]b](https://jira.example/OPS-1)"
    assert escaping.link("x", "https://e.example/)[y](z") == "x"
