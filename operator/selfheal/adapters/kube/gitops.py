"""What Argo CD and Flux say of a commit, in their own objects.

Argo CD: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/ and the schema in
manifests/crds/application-crd.yaml of argoproj/argo-cd: status.sync, health, operationState. Flux:
https://fluxcd.io/flux/components/kustomize/kustomizations/#kustomization-status and
https://fluxcd.io/flux/components/helm/helmreleases/#helmrelease-status: lastAppliedRevision,
lastAttemptedRevision, conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal.adapters.kube import connection
from selfheal.api.policy import DeliveryStrategy
from selfheal.domain.facts import DeliveryFacts, DeliveryState

Stored = Mapping[str, Any]

ARGO_VERSION = "argoproj.io/v1alpha1"
ARGO_NAMESPACE = "argocd"
TRACKING_ID = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"
FLUX = {
    "kustomize.toolkit.fluxcd.io": ("kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "helm.toolkit.fluxcd.io": ("helm.toolkit.fluxcd.io/v2", "helmreleases"),
}
"""Label prefixes of Flux, each with the kind that set them."""

CANNOT_HEAL = frozenset({"BuildFailed", "ValidationFailed"})
"""Reasons of a Kustomization that the same commit never gets out of."""


async def read(
    api: connection.Connection, live: Stored | None, sha: str, strategy: str
) -> DeliveryFacts:
    """Return the delivery of a commit as the tool that made the live object tells it.

    UNKNOWN with a message where the object does not name its maker, or its maker is not there.
    """
    if live is None:
        return _unknown(sha, "the object does not exist")
    if strategy == DeliveryStrategy.ARGO_CD:
        return await _read_argo(api, live, sha)
    return await _read_flux(api, live, sha)


async def _read_argo(api: connection.Connection, live: Stored, sha: str) -> DeliveryFacts:
    place = application_of(live)
    if place is None:
        return _unknown(sha, f"the object has neither {TRACKING_ID} nor the label {INSTANCE}")
    namespace, name = place
    path = connection.path_of(ARGO_VERSION, "applications", namespace=namespace, name=name)
    found = await api.find(path)
    if found is None:
        return _unknown(sha, f"Application {namespace}/{name} does not exist")
    return of_application(found, sha)


def application_of(live: Stored) -> tuple[str, str] | None:
    """Return namespace and name of the Application that tracks an object; None: none does."""
    metadata = live.get("metadata") or {}
    tracked = (metadata.get("annotations") or {}).get(TRACKING_ID)
    name = (
        str(tracked).partition(":")[0] if tracked else (metadata.get("labels") or {}).get(INSTANCE)
    )
    if not name:
        return None
    namespace, separator, bare = str(name).partition("_")  # apps in any namespace: <ns>_<name>
    return (namespace, bare) if separator else (ARGO_NAMESPACE, str(name))


def of_application(application: Stored, sha: str) -> DeliveryFacts:
    """Return what an Application says of a commit; pure."""
    status = application.get("status") or {}
    sync, health = status.get("sync") or {}, (status.get("health") or {}).get("status", "")
    operation = status.get("operationState") or {}
    result = operation.get("syncResult") or {}
    tried = sha in (result.get("revision"), *(result.get("revisions") or ()))
    at = sha in (sync.get("revision"), *(sync.get("revisions") or ()))
    message = f"sync {sync.get('status', 'Unknown')}, health {health or 'Unknown'}"
    if operation.get("phase") in ("Failed", "Error") and tried:
        return _found(sha, DeliveryState.FAILURE, str(operation.get("message") or message))
    if at and sync.get("status") == "Synced" and health == "Healthy":
        return _found(sha, DeliveryState.SUCCESS, message)
    if at or tried:
        return _found(sha, DeliveryState.IN_PROGRESS, message)
    return _found(sha, DeliveryState.PENDING, message)


async def _read_flux(api: connection.Connection, live: Stored, sha: str) -> DeliveryFacts:
    labels = (live.get("metadata") or {}).get("labels") or {}
    for prefix, (version, plural) in FLUX.items():
        name, namespace = labels.get(f"{prefix}/name"), labels.get(f"{prefix}/namespace")
        if name and namespace:
            path = connection.path_of(version, plural, namespace=namespace, name=name)
            found = await api.find(path)
            if found is None:
                return _unknown(sha, f"{plural} {namespace}/{name} does not exist")
            return of_flux(found, sha)
    return _unknown(sha, "the object has no labels of Flux")


def of_flux(stored: Stored, sha: str) -> DeliveryFacts:
    """Return what a Kustomization or HelmRelease says of a commit; pure."""
    status = stored.get("status") or {}
    conditions = {entry.get("type"): entry for entry in status.get("conditions") or ()}
    ready, stalled = conditions.get("Ready") or {}, conditions.get("Stalled") or {}
    message = str(ready.get("message") or "")
    applied = is_revision(str(status.get("lastAppliedRevision") or ""), sha)
    tried = is_revision(str(status.get("lastAttemptedRevision") or ""), sha)
    never = stalled.get("status") == "True" or ready.get("reason") in CANNOT_HEAL
    if tried and ready.get("status") == "False" and never:
        return _found(sha, DeliveryState.FAILURE, message)
    if (applied or tried) and ready.get("status") == "True":
        return _found(sha, DeliveryState.SUCCESS, message)
    if applied or tried:
        return _found(sha, DeliveryState.IN_PROGRESS, message)
    return _found(sha, DeliveryState.PENDING, message)


def is_revision(revision: str, sha: str) -> bool:
    """Tell whether a revision is a commit: ``main@sha1:<sha>``, or a chart's ``1.0.0+<sha12>``."""
    if not revision or not sha:
        return False
    tail = revision.rpartition("+")[2].partition(".")[0]
    return (
        revision.endswith(f":{sha}")
        or revision == sha
        or (len(tail) == 12 and sha.startswith(tail))
    )


def _found(sha: str, state: DeliveryState, message: str) -> DeliveryFacts:
    return DeliveryFacts(revision=sha, state=state, message=message[:500])


def _unknown(sha: str, message: str) -> DeliveryFacts:
    return _found(sha, DeliveryState.UNKNOWN, message)
