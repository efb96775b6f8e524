"""The crew: what the engine asks of the five agents; values in and out, never an error of ours.

Every method may be repeated, but each run is charged: save the attempt before, store the result
after. Trouble (no budget, model down, refusal, nonsense) is in the result; the rules' stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.agents import answers, checks, coding, prompts, stage_run, tools
from selfheal.agents.answers import (
    Analysis,
    CodeAnswer,
    CommentClasses,
    DeploymentReport,
    FixChoice,
    PullRequestText,
    Triage,
)
from selfheal.agents.checks import Settled, refine, settle
from selfheal.agents.config import AgentsConfig, Stage
from selfheal.agents.ledger import Account
from selfheal.agents.stage_run import AgentResult, Material
from selfheal.api import policy
from selfheal.api.incident import TargetRef, Usage
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain.facts import CheckResult
from selfheal.remediation.edits import Proposal

__all__ = [
    "AgentResult",
    "Analysis",
    "CodeAnswer",
    "CommentClasses",
    "Crew",
    "DeploymentReport",
    "FixChoice",
    "PullRequestText",
    "Settled",
    "Triage",
    "refine",
    "settle",
]

_ANALYSIS, _FIX = "analyze_root_cause", "generate_fix"  # whose outputs our own inputs stand for


class Crew:
    """Five agents over one model.

    ``consent`` says whether logs of the incident's namespace may go to the model; ``account`` keeps
    the day's budget. ``scope`` binds tools where a method has no bundle;
    ``inputs`` fill placeholders of task descriptions and must be the operator's own words.
    """

    def __init__(
        self,
        *,
        model: ports.LanguageModel | None,
        tools: ports.ToolHost | None,
        spec: policy.AgentsSpec,
        config: AgentsConfig,
        consent: bool,
        clock: ports.Clock,
        account: Account | None = None,
        scope: tools.Scope | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what runs need; nothing is asked."""
        self._model = model
        self._model_tokens = spec.model.context_tokens if spec.model is not None else None
        self._spec = spec
        self._consent = consent
        self._scope = scope
        self._inputs = dict(inputs or {})
        self._office = stage_run.Office(
            model=model,
            host=tools,
            spec=spec,
            config=config,
            consent=consent,
            clock=clock,
            account=account,
        )

    async def triage(
        self,
        *,
        summary: str,
        description: str,
        candidates: Sequence[TargetRef],
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[Triage]:
        """JIRA Monitor: choose the target among the candidates from the report's own words."""
        if self._model is None or not candidates:
            return AgentResult.none()
        names = "\n".join(answers.name_target(ref) for ref in candidates)
        parts = (
            prompts.block("summary of the report", summary),
            prompts.block("description of the report", description),
            f"Candidates:\n{prompts.block('names of workloads', names)}",
        )
        result = await self._office.run(
            Stage.TRIAGE,
            answers.TriageAnswer,
            self._material(parts, context=context),
            check=checks.check_triage(candidates),
            spent=spent,
        )
        return result.map(lambda answer: checks.finish_triage(answer, candidates))

    async def analyse(
        self,
        *,
        bundle: Bundle,
        findings: Sequence[Finding],
        earlier: Sequence[Mapping[str, Any]],
        hint: str | None,
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[Analysis]:
        """Root Cause Analyzer: confirm, rank or refine the findings (best first), or add a cause.

        Under ``when: UnsureOnly`` a finding whose rule is sure saves the call.
        """
        if self._model is None or (self._saves() and checks.find_sure(findings) is not None):
            return AgentResult.none()
        quoted = [name for finding in findings for name in finding.evidence]
        memories = [prompts.render_json(incident) for incident in earlier]
        parts = (
            prompts.render_findings(findings),
            prompts.render_evidence(
                bundle,
                first=quoted,
                share_logs=self._consent,
                room=prompts.compute_room(self._model_tokens),
            ),
            prompts.block("newest comment of a person on the ticket", hint) if hint else "",
        )
        memory = prompts.block("earlier incidents of this workload", "\n".join(memories))
        material = self._material(
            parts, bundle=bundle, context=context, memory=memory if memories else ""
        )
        result = await self._office.run(
            Stage.ANALYSIS,
            Analysis,
            material,
            check=checks.check_analysis(bundle, findings),
            spent=spent,
        )
        return result.map(lambda answer: checks.finish_analysis(answer, findings))

    async def propose(
        self,
        *,
        finding: Finding,
        bundle: Bundle,
        files: Mapping[str, bytes],
        proposals: Sequence[Proposal],
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[FixChoice]:
        """Code Fix Generator: choose among the rules' proposals; rationale, rollback, risk.

        Under ``when: UnsureOnly`` a single proposal for a sure finding saves the call.
        """
        sure = len(proposals) == 1 and finding.confidence >= checks.SURE
        if self._model is None or not proposals or (self._saves() and sure):
            return AgentResult.none()
        parts = (
            prompts.render_findings([finding]),
            *(_render_proposal(number, one) for number, one in enumerate(proposals)),
            "Mapped files:\n" + prompts.block("names of files", "\n".join(sorted(files))),
        )
        material = self._material(
            parts,
            bundle=bundle,
            context={_ANALYSIS: finding.cause, **(context or {})},
            local=tools.build_repository(files, bundle),
        )
        result = await self._office.run(
            Stage.FIX, answers.FixAnswer, material, check=checks.check_fix(proposals), spent=spent
        )
        return result.map(
            lambda answer: checks.finish_fix(answer, proposals),
            none="Code Fix Generator finds no proposal right; the rules' first one stands",
        )

    async def write_code(self, task: coding.CodeTask, *, spent: Usage) -> AgentResult[CodeAnswer]:
        """Code Fix Generator: hunks for the application's code; see coding.write.

        Nobody is asked where the namespace's logs may not go to the model: the trace is of them.
        """
        if self._model is None or not self._consent:
            return AgentResult.none()
        context = {_ANALYSIS: task.finding.cause}
        material = self._material(coding.render(task), bundle=task.bundle, context=context)
        return await coding.write(self._office, task, material, spent=spent)

    async def describe_pull_request(
        self,
        *,
        proposal_summary: str,
        diff: str,
        cause: str,
        explanation: str,
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[PullRequestText]:
        """PR Manager: title and prose, disarmed. ``when: UnsureOnly`` keeps the rules' own text."""
        if self._model is None or self._saves():
            return AgentResult.none()
        given = {_ANALYSIS: f"{cause}\n{explanation}", _FIX: proposal_summary, **(context or {})}
        parts = (
            prompts.block("what the change does", proposal_summary),
            prompts.block("root cause", cause),
            prompts.block("diff", diff),
        )
        result = await self._office.run(
            Stage.PULL_REQUEST,
            PullRequestText,
            self._material(parts, context=given),
            check=checks.check_title,
            spent=spent,
        )
        return result.map(checks.finish_text)

    async def classify_comments(
        self,
        *,
        comments: Sequence[str],
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[CommentClasses]:
        """PR Manager: say what each review comment is; it never replaces the review's own state."""
        if self._model is None or not comments:
            return AgentResult.none()
        parts = tuple(
            f"Comment {number}:\n{prompts.block(f'review comment {number}', text)}"
            for number, text in enumerate(comments)
        )
        return await self._office.run(
            Stage.REVIEW,
            CommentClasses,
            self._material(parts, context=context),
            check=checks.check_comments(len(comments)),
            spent=spent,
        )

    async def explain_deployment(
        self,
        *,
        cause: str,
        checks: Sequence[CheckResult],
        events: Sequence[str],
        spent: Usage,
        context: Mapping[str, str] | None = None,
    ) -> AgentResult[DeploymentReport]:
        """Deployment Monitor: explain the verdict, name concerns and further checks.

        Under ``when: UnsureOnly`` checks that all hold save the call.
        """
        if self._model is None or (self._saves() and all(check.holds for check in checks)):
            return AgentResult.none()
        lines = [
            f"{'holds' if check.holds else 'FAILS'}: {check.name}: {check.message}"
            for check in checks
        ]
        parts = (
            prompts.block("root cause", cause),
            prompts.block("checks", "\n".join(lines) or "none"),
            prompts.block("events since the delivery", "\n".join(events) or "none"),
        )
        return await self._office.run(
            Stage.DEPLOYMENT,
            DeploymentReport,
            self._material(parts, context={_ANALYSIS: cause, **(context or {})}),
            check=_accept,
            spent=spent,
        )

    def _saves(self) -> bool:
        return self._spec.when is policy.AgentsWhen.UNSURE_ONLY

    def _material(
        self,
        parts: Sequence[str],
        *,
        bundle: Bundle | None = None,
        context: Mapping[str, str] | None = None,
        memory: str = "",
        local: Sequence[tools.AgentTool] = (),
    ) -> Material:
        scope = self._scope or tools.Scope()
        values = dict(self._inputs)
        if bundle is not None:
            scope = dataclasses.replace(scope, namespace=bundle.namespace)
            values["target"] = answers.name_target(bundle.target)
        values.setdefault("target", "the target")
        values["namespace"] = scope.namespace or "of the incident"
        return Material(
            parts=tuple(parts),
            values=values,
            context=dict(context or {}),
            scope=scope,
            memory=memory,
            local_tools=tuple(local),
        )


def _accept(_: DeploymentReport) -> str | None:
    return None


def _render_proposal(number: int, proposal: Proposal) -> str:
    text = (
        f"{proposal.summary}\nRisk: {proposal.risk} ({proposal.risk_reason})\n"
        f"Rollback: {proposal.rollback}\nArithmetic: {proposal.arithmetic}\n{proposal.diff}"
    )
    return f"Proposal {number}:\n{prompts.block(f'proposal {number}', text)}"
