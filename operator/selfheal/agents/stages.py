"""The stages of an incident's life at which agents are asked."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Stage(enum.StrEnum):
    """Where in an incident's life a task runs; the order of stages is not configurable."""

    TRIAGE = "triage"
    ANALYSIS = "analysis"
    FIX = "fix"
    CODE = "code"
    PULL_REQUEST = "pull_request"
    REVIEW = "review"
    DEPLOYMENT = "deployment"


# The task whose answer the engine takes, and the agent that the original design gives each stage.
PRINCIPALS: Mapping[Stage, str] = {
    Stage.TRIAGE: "triage_incident",
    Stage.ANALYSIS: "analyze_root_cause",
    Stage.FIX: "generate_fix",
    Stage.CODE: "write_code_fix",
    Stage.PULL_REQUEST: "create_pull_request",
    Stage.REVIEW: "classify_review",
    Stage.DEPLOYMENT: "monitor_deployment",
}
STAGE_AGENTS: Mapping[Stage, str] = {
    Stage.TRIAGE: "jira_monitor",
    Stage.ANALYSIS: "root_cause_analyzer",
    Stage.FIX: "code_fix_generator",
    Stage.CODE: "code_fix_generator",
    Stage.PULL_REQUEST: "pr_manager",
    Stage.REVIEW: "pr_manager",
    Stage.DEPLOYMENT: "deployment_monitor",
}
