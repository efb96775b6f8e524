"""What a repository allows, and whether it can be seen at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal.adapters.github import errors as translation
from selfheal.adapters.github import session
from selfheal.domain import errors, facts

_METHODS = {
    "merge": "allow_merge_commit",
    "squash": "allow_squash_merge",
    "rebase": "allow_rebase_merge",
}
_WRITE = "contents: write and pull requests: write"


def not_visible(repository: str, right: str) -> errors.Stalled:
    """Return the error for a repository that answers 404, which GitHub also says to strangers."""
    return errors.Stalled(
        f"repository {repository} does not exist or the credentials lack the right to it "
        f"({right}); grant it to the token or App, or correct the policy",
        reason="RepositoryNotFound",
        system=translation.SYSTEM,
    )


def explain_missing(
    api: session.Api, repository: str, missing: errors.NotFound, right: str
) -> errors.SelfHealError:
    """Return Stalled when the repository itself cannot be seen, else the NotFound as it came."""
    try:
        api.get(f"/repos/{repository}")
    except errors.NotFound:
        return not_visible(repository, right)
    return missing


def read(api: session.Api, repository: str) -> tuple[facts.RepositoryFacts, frozenset[str]]:
    """Read repository and protection of its default branch; also the names of required checks.

    Merge settings that GitHub hides from those without push count as allowed.
    """
    try:
        repo = api.get(f"/repos/{repository}")
    except errors.NotFound as exc:
        raise not_visible(repository, f"contents: read, later {_WRITE}") from exc
    branch = repo["default_branch"]
    required, reviews = _protection(api, repository, branch)
    can_push = _can_push(api, repo)
    found = facts.RepositoryFacts(
        default_branch=branch,
        merge_methods=frozenset(
            method for method, field in _METHODS.items() if repo.get(field) is not False
        ),
        has_required_checks=bool(required),
        required_reviews=reviews,
        can_push=can_push,
        can_merge=can_push,
    )
    return found, required


def read_signer(api: session.Api) -> str:
    """Return ``Name <address>`` of the account that acts, with its private address.

    https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address
    An App acts as its bot, which only GraphQL tells to an installation.
    """
    if api.permissions() is not None:
        viewer = api.graphql("query { viewer { login databaseId } }")[0]["viewer"]
        login, identity, name = viewer["login"], viewer["databaseId"], viewer["login"]
    else:
        user = api.get("/user")
        login, identity, name = user["login"], user["id"], user.get("name") or user["login"]
    return f"{name} <{identity}+{login}@users.noreply.{api.domain()}>"


def _can_push(api: session.Api, repo: Mapping[str, Any]) -> bool:
    if repo.get("archived") or repo.get("disabled"):
        return False
    granted = api.permissions()
    if granted is not None:  # `permissions` of the repository speaks of users, not of Apps
        return granted.get("contents") == "write" and granted.get("pull_requests") == "write"
    return bool((repo.get("permissions") or {}).get("push"))


def _protection(api: session.Api, repository: str, branch: str) -> tuple[frozenset[str], int]:
    """Return names of required checks and the number of required reviews, as far as we may see."""
    where = f"/repos/{repository}/branches/{session.quote(branch)}"
    names: set[str] = set()
    reviews = 0
    head = _optional(api, where) or {}
    if head.get("protected"):
        summary = (head.get("protection") or {}).get("required_status_checks") or {}
        names.update(summary.get("contexts") or [])
        rules = _optional(api, f"{where}/protection") or {}
        names.update((rules.get("required_status_checks") or {}).get("contexts") or [])
        demanded = rules.get("required_pull_request_reviews") or {}
        reviews = demanded.get("required_approving_review_count") or 0
    for rule in _optional(api, f"/repos/{repository}/rules/branches/{session.quote(branch)}") or []:
        parameters = rule.get("parameters") or {}
        if rule["type"] == "required_status_checks":
            names.update(item["context"] for item in parameters["required_status_checks"])
        elif rule["type"] == "pull_request":
            reviews = max(reviews, parameters["required_approving_review_count"])
    return frozenset(names), reviews


def _optional(api: session.Api, path: str) -> Any:
    """Read what only some tokens and servers offer: the full protection needs administration."""
    try:
        return api.get(path)
    except (errors.NotFound, errors.Forbidden):
        return None
