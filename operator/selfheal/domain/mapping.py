"""What a policy means for one incident: is it usable, and which repository is mapped. Pure."""

from __future__ import annotations

import itertools
import re
import zoneinfo
from collections.abc import Iterable, Mapping

from selfheal.api.incident import Identity
from selfheal.api.policy import (
    MergeBy,
    Policy,
    PolicySpec,
    RepositorySpec,
    TrackerSpec,
    TrackerType,
    Window,
)
from selfheal.domain import phases, windows


def find_repository(
    spec: PolicySpec, namespace: str, labels: Mapping[str, str]
) -> RepositorySpec | None:
    """Return the mapping that serves a target; mappings of a valid policy do not overlap."""
    for entry in spec.code.repositories:
        wanted = entry.match.selector.match_labels
        if namespace in entry.match.namespaces and wanted.items() <= labels.items():
            return entry
    return None


def find_application(repository: RepositorySpec) -> RepositorySpec | None:
    """Return a mapping as it is for the code of its applications; None: code is never edited.

    Rules of pull requests, merges and delivery are those of the mapping.
    """
    code = repository.application
    if code is None:
        return None
    return repository.evolve(
        repository=code.repository or repository.repository,
        branch=code.branch or repository.branch,
        path=code.path,
    )


def check_policy(spec: PolicySpec) -> list[str]:
    """Return what is wrong with a policy, each with its exact field; empty: it can be used."""
    problems = list(phases.check_statuses(spec.tracker.statuses))
    if spec.tracker.type is TrackerType.JIRA and not spec.tracker.project:
        problems.append("tracker.project: name the Jira project of the tickets")
    problems += _check_windows("freeze", spec.freeze)
    problems += _check_windows("maintenance", spec.maintenance)
    problems += _check_repositories(spec.code.repositories)
    problems += [
        f"code.repositories[{number}].merge.requireApproval: false needs merge.by: Operator"
        for number, entry in enumerate(spec.code.repositories)
        if not entry.merge.require_approval and entry.merge.by is not MergeBy.OPERATOR
    ]
    problems += [
        f"code.repositories[{number}].nodeGroup: set maxNodes, or maxCPU or maxMemory of a NodePool"
        for number, entry in enumerate(spec.code.repositories)
        if entry.node_group is not None and not entry.node_group.is_capped
    ]
    return problems


def _check_windows(field: str, entries: Iterable[Window]) -> list[str]:
    problems = []
    for number, window in enumerate(entries):
        try:
            windows.parse_cron(window.cron)
            zoneinfo.ZoneInfo(window.time_zone)
        except (ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
            problems.append(f"{field}[{number}]: {error}")
    return problems


def _check_repositories(entries: list[RepositorySpec]) -> list[str]:
    problems = []
    for (one, first), (two, second) in itertools.combinations(enumerate(entries), 2):
        shared = set(first.match.namespaces) & set(second.match.namespaces)
        left, right = first.match.selector.match_labels, second.match.selector.match_labels
        apart = any(left[key] != right[key] for key in left.keys() & right.keys())
        if shared and not apart:
            problems.append(
                f"code.repositories[{two}].match: overlaps with [{one}] in namespace "
                f"{sorted(shared)[0]}; make the selectors exclude each other"
            )
    return problems


def serves_namespace(spec: PolicySpec, labels: Mapping[str, str]) -> bool:
    """Say whether a namespace may use the policy."""
    return spec.namespace_selector.match_labels.items() <= labels.items()


def compute_identity(uid: str, tracker: TrackerSpec, repository: RepositorySpec | None) -> Identity:
    """Return the snapshot on which a run's effect keys and ticket mapping rest."""
    resolved = phases.resolve_statuses(tracker.statuses)
    return Identity(
        uid=uid,
        tracker=tracker.type.value,
        project=tracker.project,
        statuses={phase.value: list(names) for phase, names in resolved.items()},
        repository=repository.repository if repository else None,
        branch=repository.branch if repository else None,
        path=repository.path if repository else None,
    )


def built_in_policy(name: str) -> Policy:
    """Return the policy that serves where no policy object exists: analysis, no outside write."""
    return Policy.model_validate({"metadata": {"name": name}})


def slug(text: str, *, limit: int = 40) -> str:
    """Return text as a DNS label."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].rstrip("-") or "incident"
