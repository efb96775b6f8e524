"""Server-side dry runs: what the API server, its admission and its webhooks say of a change."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from selfheal import ports
from selfheal.adapters.kube import connection, failures, kinds
from selfheal.domain import errors

REPLACE = "ReplaceNeeded"  # delivery must replace the object
UNAVAILABLE = "DryRunUnavailable"  # a webhook knows no dry run; a risk, not a refusal

_QUERY: Mapping[str, str | int | bool] = {
    "dryRun": "All",
    "fieldValidation": "Strict",
    "fieldManager": connection.FIELD_MANAGER,
}
# RFC 7234: code, agent, quoted text
_WARNING = re.compile(r'^\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_IMMUTABLE = re.compile(
    r"field is immutable|may not change fields other than|"
    r"updates to statefulset spec for fields other than|is immutable after creation",
    re.IGNORECASE,
)
_NO_DRY_RUN = re.compile(r"does not support dry run", re.IGNORECASE)
# kinds without unconditional update, such as PodDisruptionBudget
_NEEDS_VERSION = re.compile(r"resourceVersion: Invalid value.*must be specified for an update")
# RBAC's own words; admission refuses in others
_NO_RIGHT = re.compile(r'User "[^"]*" cannot \w+ resource', re.IGNORECASE)
_SERVER_OWNED = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation",
                 "selfLink", "ownerReferences", "deletionTimestamp")  # fmt: skip
_JOB_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid", "job-name",
               "batch.kubernetes.io/job-name")  # fmt: skip
_NEW = ("PersistentVolumeClaim",)  # kinds of which a fix may add an object
_LONGEST = 600  # characters of a refusal: the API server quotes whole templates
_ASKS = (400, 403, 422)  # statuses by which a request is refused for what it holds


async def update(
    api: connection.Connection, finder: kinds.Kinds, manifest: Mapping[str, Any]
) -> ports.DryRun:
    """Dry run of an update of the running object; of a create where a field is immutable.

    Conflict when the object changed since; Forbidden where the right to update is missing.
    """
    metadata = manifest.get("metadata") or {}
    api_version, kind = str(manifest.get("apiVersion", "")), str(manifest.get("kind", ""))
    namespace, name = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
    path = await finder.find_path(api_version, kind, namespace, name)
    if path is None:
        return ports.DryRun(accepted=False, message=f"no matches for kind {kind} in {api_version}")
    answer = await api.exchange("PUT", path, query=_QUERY, body=dict(manifest))
    if answer.status == 422 and _NEEDS_VERSION.search(answer.text):
        answer = await api.exchange(
            "PUT", path, query=_QUERY, body=await _with_version(api, path, manifest)
        )
    if answer.status == 404 and kind in _NEW and not metadata.get("uid"):
        return await _create(api, finder, manifest)
    result = _read(answer, "PUT", path)
    if result.accepted or not _IMMUTABLE.search(result.message):
        return result
    bound = (manifest.get("spec") or {}).get("volumeName")
    if kind == "PersistentVolumeClaim" and bound:
        return result  # it holds data: never replaced
    path = await finder.find_path(api_version, kind, namespace) or ""
    created = _read(
        await api.exchange("POST", path, query=_QUERY, body=as_new(manifest)), "POST", path
    )
    if not created.accepted:
        return created
    note = f"{REPLACE}: {result.message}"
    return ports.DryRun(accepted=True, message=note, warnings=(note, *created.warnings))


async def _with_version(
    api: connection.Connection, path: str, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the object with the present version; the uid stays as the precondition."""
    metadata = (await api.get(path)).get("metadata") or {}
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "resourceVersion": metadata.get("resourceVersion")},
    }


async def _create(
    api: connection.Connection, finder: kinds.Kinds, manifest: Mapping[str, Any]
) -> ports.DryRun:
    """Dry run of a create: an object without a uid does not exist yet."""
    metadata = manifest["metadata"]
    path = await finder.find_path(
        str(manifest["apiVersion"]), str(manifest["kind"]), str(metadata.get("namespace", ""))
    )
    answer = await api.exchange("POST", path or "", query=_QUERY, body=dict(manifest))
    return _read(answer, "POST", path or "")


def _read(answer: connection.Answer, method: str, path: str) -> ports.DryRun:
    if answer.status < 400:
        return ports.DryRun(accepted=True, warnings=parse_warnings(answer.warnings))
    text = _message_of(answer.text)
    if answer.status == 400 and _NO_DRY_RUN.search(text):
        return ports.DryRun(accepted=True, message=text, warnings=(f"{UNAVAILABLE}: {text}",))
    error = failures.translate_status(
        answer.status,
        answer.text,
        method="GET",  # a dry run stores nothing: its outcome is never unknown
        what=f"{method} {path}",
        retry_after=answer.retry_after,
    )
    if isinstance(error, errors.NotFound):
        return ports.DryRun(accepted=False, message=text)
    if answer.status in _ASKS and not _NO_RIGHT.search(text):
        return ports.DryRun(accepted=False, message=text)
    raise error


def as_new(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object as it would be created under a generated name; pure."""
    new = copy.deepcopy(dict(manifest))
    new.pop("status", None)
    metadata = new["metadata"]
    for field in _SERVER_OWNED:
        metadata.pop(field, None)
    metadata["generateName"] = f"{metadata.pop('name', 'x')[:50]}-"
    if new.get("kind") == "Job":
        _forget_selector(new)
    if new.get("kind") == "Pod":
        new["spec"].pop("nodeName", None)
    return new


def _forget_selector(job: dict[str, Any]) -> None:
    # the API server generates both, from the uid of the Job that it creates
    job["spec"].pop("selector", None)
    places = (job["metadata"], (job["spec"].get("template") or {}).get("metadata") or {})
    for place in places:
        for label in _JOB_LABELS:
            (place.get("labels") or {}).pop(label, None)


def parse_warnings(headers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of Warning headers (RFC 7234, 5.5); pure."""
    found = [_WARNING.match(header) for header in headers]
    return tuple(re.sub(r"\\(.)", r"\1", one[1]) for one in found if one)


def _message_of(text: str) -> str:
    """Return what the API server says; of what it quotes at length only the ends."""
    try:
        said = str(json.loads(text).get("message") or text)
    except (ValueError, AttributeError):
        said = text
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST // 2]} … {said[-_LONGEST // 2 :]}"
