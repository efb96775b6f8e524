"""Looks whether a policy's tracker can be used: account, project, issue type, rights, statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.adapters.jira.creation import Creator, is_request
from selfheal.adapters.jira.session import Session, quote
from selfheal.api.policy import TrackerSpec
from selfheal.domain import errors

# https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-permissions/
_RIGHTS = (
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "TRANSITION_ISSUES",
    "ADD_COMMENTS",
    "EDIT_OWN_COMMENTS",
)
_FILLED = frozenset({"project", "issuetype", "summary", "description", "labels", "priority"})
_FILLED_BY_JIRA = frozenset({"reporter", "assignee"})


async def check(
    session: Session, spec: TrackerSpec, creator: Creator, statuses: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what is wrong, one sentence each; faults that pass by themselves are raised."""
    try:
        problems = _check_deployment(spec, (await session.site()).deployment)
        await session.me(fresh=True)
        if not spec.project:
            return [*problems, "tracker.project: name the project of the tickets"]
        return problems + await _check_project(session, spec, creator, statuses)
    except errors.Unreachable:
        raise
    except errors.Stalled as exc:
        return [exc.message]


def _check_deployment(spec: TrackerSpec, said: str) -> list[str]:
    if not said or (said == "Cloud") is (spec.deployment.value == "Cloud"):
        return []
    right = "Cloud" if said == "Cloud" else "DataCenter"
    return [f"tracker.deployment: the site is {said}, so set {right}"]


async def _check_project(
    session: Session, spec: TrackerSpec, creator: Creator, statuses: Mapping[str, Sequence[str]]
) -> list[str]:
    path = f"project/{quote(spec.project or '')}"
    try:
        await session.read(path)
        types = await session.read(f"{path}/statuses")
    except errors.NotFound:
        return [
            f"tracker.project: {spec.project} does not exist, or the account may not see it; "
            "correct the key, or give the account Browse Projects"
        ]
    problems = await _check_rights(session, spec)
    if is_request(spec):
        await creator.request_type(fresh=True)
        return problems + _check_statuses(spec, types, statuses)
    wanted = spec.issue_type.casefold()
    own = [kind for kind in types if wanted in (kind["name"].casefold(), str(kind["id"]))]
    if not own:
        names = ", ".join(str(kind["name"]) for kind in types)
        return [
            *problems,
            f"tracker.issueType: project {spec.project} has no {spec.issue_type}; set one of "
            f"{names}",
        ]
    problems += _check_statuses(spec, own, statuses)
    return problems + await _check_screen(spec, creator)


def _check_statuses(
    spec: TrackerSpec, types: Sequence[Mapping[str, Any]], statuses: Mapping[str, Sequence[str]]
) -> list[str]:
    """Say which phases have no status in the workflow; one of several names is enough."""
    there = {str(status["name"]) for kind in types for status in kind.get("statuses") or ()}
    folded = {name.casefold() for name in there}
    problems = []
    for phase, names in statuses.items():
        if names and not folded & {name.casefold() for name in names}:
            problems.append(
                f"tracker.statuses.{phase}: the workflow of project {spec.project} has no status "
                f"{' or '.join(names)}; add it, or map the phase to one of "
                f"{', '.join(sorted(there)) or 'none'}"
            )
    return problems


async def _check_screen(spec: TrackerSpec, creator: Creator) -> list[str]:
    fields = (await creator.screen(fresh=True)).fields
    if fields is None:
        return []
    problems = []
    if "labels" not in fields:
        problems.append(
            f"tracker.issueType: the create screen of {spec.issue_type} lacks Labels, by which "
            "tickets are found again; add the field to it"
        )
    for name, field in fields.items():
        unknown = name not in _FILLED | _FILLED_BY_JIRA
        if unknown and field.get("required") and not field.get("hasDefaultValue"):
            problems.append(
                f"tracker.issueType: {spec.issue_type} demands {field.get('name') or name}; give "
                "the field a default, or make it optional"
            )
    return problems


async def _check_rights(session: Session, spec: TrackerSpec) -> list[str]:
    try:
        answer = await session.read(
            "mypermissions", {"projectKey": spec.project, "permissions": ",".join(_RIGHTS)}
        )
    except (errors.NotFound, errors.PolicyInvalid):
        return []  # not served: the first refused call says the same
    rights: Mapping[str, Mapping[str, Any]] = answer.get("permissions") or {}
    lacking = [
        str(rights[right].get("name") or right)
        for right in _RIGHTS
        if right in rights and not rights[right].get("havePermission")
    ]
    if not lacking:
        return []
    return [f"the account lacks {', '.join(lacking)} in project {spec.project}; grant it there"]
