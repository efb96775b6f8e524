"""Argo CD and Flux: which commit they applied, from shapes of their published schemas."""

from __future__ import annotations

from typing import Any

import pytest

from selfheal.adapters.kube import gitops
from selfheal.domain.facts import DeliveryState

SHA = "4a1f0c9d2b7e6a5f4e3d2c1b0a9f8e7d6c5b4a39"
OTHER = "0" * 40


def application(**status: Any) -> dict[str, Any]:
    return {"status": status}


SYNCED = {"revision": SHA, "status": "Synced"}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"sync": SYNCED, "health": {"status": "Healthy"}}, DeliveryState.SUCCESS),
        ({"sync": SYNCED, "health": {"status": "Progressing"}}, DeliveryState.IN_PROGRESS),
        ({"sync": SYNCED, "health": {"status": "Degraded"}}, DeliveryState.IN_PROGRESS),
        ({"sync": {"revision": SHA, "status": "OutOfSync"}}, DeliveryState.IN_PROGRESS),
        ({"sync": {"revisions": [OTHER, SHA], "status": "Synced"}, "health": {"status": "Healthy"}}, DeliveryState.SUCCESS),
        ({"sync": {"revision": OTHER, "status": "Synced"}}, DeliveryState.PENDING),
        ({"operationState": {"phase": "Running", "syncResult": {"revision": SHA}}}, DeliveryState.IN_PROGRESS),
        ({"operationState": {"phase": "Failed", "message": "one or more objects failed to apply", "syncResult": {"revision": SHA}}}, DeliveryState.FAILURE),
        ({"operationState": {"phase": "Failed", "syncResult": {"revision": OTHER}}}, DeliveryState.PENDING),
        ({}, DeliveryState.PENDING),
    ],
)  # fmt: skip
def test_what_an_application_says(status: dict[str, Any], wanted: DeliveryState) -> None:
    found = gitops.of_application(application(**status), SHA)
    assert (found.state, found.revision) == (wanted, SHA)
    if wanted is DeliveryState.FAILURE:
        assert found.message == "one or more objects failed to apply"


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        ({"annotations": {gitops.TRACKING_ID: "shop:apps/Deployment:production/checkout"}}, ("argocd", "shop")),
        ({"annotations": {gitops.TRACKING_ID: "team_shop:apps/Deployment:production/checkout"}}, ("team", "shop")),
        ({"labels": {gitops.INSTANCE: "shop"}}, ("argocd", "shop")),
        ({"labels": {}}, None),
    ],
)
def test_which_application_tracks_an_object(metadata: dict[str, Any], place: tuple[str, str] | None) -> None:
    assert gitops.application_of({"metadata": metadata}) == place


def flux(ready: str | None, reason: str = "", *, stalled: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "reason": reason, "message": "m"}]
    conditions += [{"type": "Stalled", "status": "True"}] if stalled else []
    return {"status": {"conditions": conditions, **status}}


AT = f"main@sha1:{SHA}"


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (flux("True", lastAppliedRevision=AT, lastAttemptedRevision=AT), DeliveryState.SUCCESS),
        (flux("Unknown", "Progressing", lastAttemptedRevision=AT), DeliveryState.IN_PROGRESS),
        (flux("False", "BuildFailed", lastAttemptedRevision=AT), DeliveryState.FAILURE),
        (flux("False", "HealthCheckFailed", lastAttemptedRevision=AT), DeliveryState.IN_PROGRESS),
        (flux("False", "InstallFailed", stalled=True, lastAttemptedRevision=AT), DeliveryState.FAILURE),
        (flux("False", "BuildFailed", lastAttemptedRevision=f"main@sha1:{OTHER}"), DeliveryState.PENDING),
        (flux("True", lastAppliedRevision=f"main@sha1:{OTHER}"), DeliveryState.PENDING),
        (flux("True", lastAttemptedRevision=f"1.2.0+{SHA[:12]}.1"), DeliveryState.SUCCESS),
        (flux(None), DeliveryState.PENDING),
    ],
)
def test_what_flux_says(stored: dict[str, Any], wanted: DeliveryState) -> None:
    assert gitops.of_flux(stored, SHA).state is wanted


@pytest.mark.parametrize(
    ("revision", "same"),
    [(SHA, True), (AT, True), (f"1.0.0+{SHA[:12]}", True), ("1.0.0", False), ("", False), (f"1.0.0+{SHA[:3]}", False)],
)
def test_revisions(revision: str, same: bool) -> None:
    assert gitops.is_revision(revision, SHA) is same
    assert not gitops.is_revision(revision, "")


class Api:
    """Answers GET by path."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self.objects = objects

    async def find(self, path: str) -> Any:
        return self.objects.get(path)


ARGO_PATH = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop"
FLUX_PATH = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/apps"
ARGO_LIVE = {"metadata": {"labels": {gitops.INSTANCE: "shop"}}}
FLUX_LIVE = {"metadata": {"labels": {
    "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}}}  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "live", "strategy", "state", "word"),
    [
        ({ARGO_PATH: application(sync=SYNCED, health={"status": "Healthy"})}, ARGO_LIVE, "ArgoCD", DeliveryState.SUCCESS, "Synced"),
        ({}, ARGO_LIVE, "ArgoCD", DeliveryState.UNKNOWN, "argocd/shop does not exist"),
        ({}, {"metadata": {}}, "ArgoCD", DeliveryState.UNKNOWN, "neither"),
        ({FLUX_PATH: flux("True", lastAppliedRevision=AT)}, FLUX_LIVE, "Flux", DeliveryState.SUCCESS, "m"),
        ({}, FLUX_LIVE, "Flux", DeliveryState.UNKNOWN, "flux-system/apps does not exist"),
        ({}, {"metadata": {}}, "Flux", DeliveryState.UNKNOWN, "no labels"),
        ({}, None, "Flux", DeliveryState.UNKNOWN, "does not exist"),
    ],
)  # fmt: skip
async def test_where_it_looks(
    objects: dict[str, Any], live: Any, strategy: str, state: DeliveryState, word: str
) -> None:
    found = await gitops.read(Api(objects), live, SHA, strategy)  # type: ignore[arg-type]
    assert found.state is state
    assert word in found.message
