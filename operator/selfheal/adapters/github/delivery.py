"""What GitHub says about the delivery of a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from selfheal.adapters.github import repositories, session
from selfheal.api import policy
from selfheal.domain import errors, facts

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
    return _found(sha, state, shown[0]["html_url"] if shown else None, message)


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
