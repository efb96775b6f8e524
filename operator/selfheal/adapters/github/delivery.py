"""What GitHub says about the delivery of a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from selfheal.adapters.github import repositories, session
from selfheal.api import policy
from selfheal.domain import errors, facts
from selfheal.redaction.text import redact_text

_State = facts.DeliveryState

# https://docs.github.com/en/rest/actions/workflow-runs: status and conclusion of a run.
_WAITING_RUN = frozenset({"queued", "requested", "waiting", "pending"})
_GOOD_RUN = frozenset({"success", "neutral", "skipped"})

# https://docs.github.com/en/rest/deployments/statuses. Inactive: was a success, a later one came.
_DEPLOYMENT = {
    "success": _State.SUCCESS,
    "inactive": _State.SUCCESS,
    "failure": _State.FAILURE,
    "error": _State.FAILURE,
    "in_progress": _State.IN_PROGRESS,
}
_COMMIT = {
    "success": _State.SUCCESS,
    "failure": _State.FAILURE,
    "error": _State.FAILURE,
    "pending": _State.IN_PROGRESS,
}


FAILED_JOBS = 3
FIRST_ERRORS = 2
"""How much of a failed run is told: jobs, and errors of each."""


def read(api: session.Api, repository: str, sha: str, strategy: str) -> facts.DeliveryFacts:
    """Read what the strategy says; UNKNOWN where it says nothing here (Argo CD, Flux)."""
    readers: dict[str, Callable[[session.Api, str, str], facts.DeliveryFacts]] = {
        policy.DeliveryStrategy.ACTIONS: _runs,
        policy.DeliveryStrategy.DEPLOYMENTS: _deployments,
        policy.DeliveryStrategy.ROLLOUT: _statuses,
    }
    if strategy not in readers:
        return facts.DeliveryFacts(revision=sha, state=_State.UNKNOWN)
    try:
        return readers[strategy](api, repository, sha)
    except errors.NotFound as exc:
        right = "actions, deployments and commit statuses: read"
        raise repositories.explain_missing(api, repository, exc, right) from exc


def together(states: Iterable[facts.DeliveryState]) -> facts.DeliveryState:
    """Return the state of several deliveries: the worst, and PENDING where there is none."""
    present = set(states)
    for state in (_State.FAILURE, _State.IN_PROGRESS):
        if state in present:
            return state
    if present == {_State.SUCCESS}:
        return _State.SUCCESS
    # Some done, others not begun: under way.
    return _State.IN_PROGRESS if _State.SUCCESS in present else _State.PENDING


def run_state(run: Mapping[str, Any]) -> facts.DeliveryState:
    """Return the state of one workflow run."""
    if run["status"] == "completed":
        return _State.SUCCESS if run["conclusion"] in _GOOD_RUN else _State.FAILURE
    return _State.PENDING if run["status"] in _WAITING_RUN else _State.IN_PROGRESS


def _runs(api: session.Api, repository: str, sha: str) -> facts.DeliveryFacts:
    path = f"/repos/{repository}/actions/runs"
    newest: dict[int, Mapping[str, Any]] = {}
    for run in api.pages(path, key="workflow_runs", head_sha=sha):
        known = newest.get(run["workflow_id"])
        if known is None or run["run_number"] > known["run_number"]:
            newest[run["workflow_id"]] = run
    states = {run["id"]: run_state(run) for run in newest.values()}
    state = together(states.values())
    shown = [run for run in newest.values() if states[run["id"]] is state] or [*newest.values()]
    message = ", ".join(
        f"{run['name']}: {run['conclusion'] or run['status']}" for run in newest.values()
    )
    if state is _State.FAILURE and shown:
        message = "; ".join([message, *_explain(api, repository, shown[0]["id"])])
    return _found(sha, state, shown[0]["html_url"] if shown else None, message)


def _explain(api: session.Api, repository: str, run: int) -> list[str]:
    """Return job, step and first errors of what failed in a run; nothing where it cannot be read.

    Jobs: https://docs.github.com/en/rest/actions/workflow-jobs; a job's id is that of its check
    run, whose annotations are the errors of its log:
    https://docs.github.com/en/rest/checks/runs#list-check-run-annotations.
    """
    try:
        jobs = api.pages(f"/repos/{repository}/actions/runs/{run}/jobs", key="jobs", limit=100)
        failed = [job for job in jobs if job["conclusion"] not in (*_GOOD_RUN, None)]
        return [_explain_job(api, repository, job) for job in failed[:FAILED_JOBS]]
    except errors.SelfHealError:
        return []  # the failure stands, whatever can be read about it


def _explain_job(api: session.Api, repository: str, job: Mapping[str, Any]) -> str:
    steps = [
        step for step in job.get("steps") or () if step["conclusion"] not in (*_GOOD_RUN, None)
    ]
    where = f"job {job['name']}" + (f", step {steps[0]['name']}" if steps else "")
    path = f"/repos/{repository}/check-runs/{job['id']}/annotations"
    said = [
        " ".join(str(note["message"]).split())
        for note in api.pages(path, limit=100)
        if note["annotation_level"] == "failure" and note["message"]
    ]
    # the runner itself adds this to every failure, after what the step reported
    telling = [line for line in said if not line.startswith("Process completed with exit code")]
    words = (telling or said)[:FIRST_ERRORS]
    return redact_text(f"{where}: {' | '.join(words)}" if words else where)


def _deployments(api: session.Api, repository: str, sha: str) -> facts.DeliveryFacts:
    newest: dict[str, Mapping[str, Any]] = {}
    for deployment in api.pages(f"/repos/{repository}/deployments", sha=sha):
        known = newest.get(deployment["environment"])
        if known is None or deployment["id"] > known["id"]:
            newest[deployment["environment"]] = deployment
    states: list[facts.DeliveryState] = []
    words: list[str] = []
    url: str | None = None
    for environment, deployment in newest.items():
        path = f"/repos/{repository}/deployments/{deployment['id']}/statuses"
        latest = max(api.pages(path, limit=100), key=lambda item: item["id"], default=None)
        word = latest["state"] if latest else "pending"
        states.append(_DEPLOYMENT.get(word, _State.PENDING))
        words.append(f"{environment}: {word}")
        url = url or ((latest.get("log_url") or latest.get("target_url")) if latest else None)
    return _found(sha, together(states), url, ", ".join(words))


def _statuses(api: session.Api, repository: str, sha: str) -> facts.DeliveryFacts:
    combined = api.get(f"/repos/{repository}/commits/{sha}/status")
    if not combined["total_count"]:
        return facts.DeliveryFacts(revision=sha, state=_State.UNKNOWN)
    statuses = combined["statuses"]
    message = ", ".join(f"{item['context']}: {item['state']}" for item in statuses)
    url = next((item["target_url"] for item in statuses if item.get("target_url")), None)
    return _found(sha, _COMMIT.get(combined["state"], _State.UNKNOWN), url, message)


def _found(
    sha: str, state: facts.DeliveryState, url: str | None, message: str
) -> facts.DeliveryFacts:
    return facts.DeliveryFacts(revision=sha, state=state, url=url or None, message=message[:500])
