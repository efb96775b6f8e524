"""Annotations, labels and delivery objects narrow, and never widen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.remediation.test_layouts import live, tree

from selfheal.remediation import hints, layouts
from selfheal.remediation.charts import Chart
from selfheal.remediation.layouts import Root, RootKind

DELIVERY = tree(
    """
    == apps/argo.yaml
    apiVersion: argoproj.io/v1alpha1
    kind: Application
    metadata: {name: one}
    spec:
      source: {path: ./apps/web/, helm: {valueFiles: [values-prod.yaml, /envs/a.yaml, $repo/envs/b.yaml], releaseName: web}}
    ---
    apiVersion: argoproj.io/v1alpha1
    kind: Application
    metadata: {name: two}
    spec:
      sources:
      - {chart: redis, repoURL: https://charts.example}
      - {path: apps/web, helm: odd}
      - odd
      - {path: ., helm: {valuesObject: {a: b}}}
    ---
    apiVersion: argoproj.io/v1alpha1
    kind: Application
    metadata: {name: three}
    ---
    apiVersion: example.org/v1
    kind: Application
    metadata: {name: four}
    == apps/flux.yaml
    apiVersion: kustomize.toolkit.fluxcd.io/v1
    kind: Kustomization
    metadata: {name: shop}
    spec: {path: ./apps/overlays/prod}
    ---
    apiVersion: helm.toolkit.fluxcd.io/v2
    kind: HelmRelease
    metadata: {name: front}
    spec:
      releaseName: web
      chart: {spec: {chart: ./apps/web, valuesFiles: [./apps/web/values-prod.yaml]}}
      values: {a: b}
    ---
    apiVersion: kustomize.config.k8s.io/v1beta1
    kind: Kustomization
    """
)


def test_delivery_objects_are_read() -> None:
    found = {(entry.name, entry.path): entry for entry in hints.find_declarations(DELIVERY, "apps")}
    assert sorted(found) == [("front", "apps/web"), ("one", "apps/web"), ("shop", "apps/overlays/prod"), ("two", ""), ("two", "apps/web")]
    one = found["one", "apps/web"]
    assert (one.values, one.release, one.inline) == (("apps/web/values-prod.yaml", "envs/a.yaml", "envs/b.yaml"), "web", False)
    assert found["two", ""].inline
    front = found["front", "apps/web"]
    assert (front.values, front.release, front.inline) == (("apps/web/values-prod.yaml",), "web", True)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({}, None),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "one:apps/Deployment:shop/web"}}, "one"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "shop"),
        ({"labels": {"argocd.argoproj.io/instance": "two"}}, None),
        ({"labels": {"argocd.argoproj.io/instance": "nobody"}}, None),
    ],
)
def test_the_one_delivery_object_that_the_object_names(metadata: dict[str, Any], name: str | None) -> None:
    found = hints.find_declaration(DELIVERY, "apps", live(**metadata))
    assert (found.name if found else None) == name


def overlay(path: str, **more: Any) -> Root:
    return Root(kind=RootKind.KUSTOMIZE, path=path, folders=(path, "apps/base"), **more)


def chart(path: str, *values: str) -> Root:
    return Root(kind=RootKind.HELM, path=path, folders=(path,), values=values)


def test_a_declaration_means_its_folder() -> None:
    (shop,) = [entry for entry in hints.find_declarations(DELIVERY, "apps") if entry.name == "shop"]
    assert hints.is_meant(overlay("apps/overlays/prod"), shop)
    assert not hints.is_meant(overlay("apps/overlays/dev"), shop)


def test_folders_and_values_files_are_named_like_a_namespace() -> None:
    assert hints.is_named(overlay("apps/shop/live"), "shop")
    assert not hints.is_named(overlay("apps/shopping"), "shop")
    assert hints.is_named(chart("apps/web", "apps/web/values-shop.yaml"), "shop")
    assert hints.is_named(chart("apps/web", "envs/shop/web.yaml"), "shop")
    assert not hints.is_named(chart("apps/web", "apps/web/values-dev.yaml"), "shop")


def test_origin_and_chart_label_fit_or_not() -> None:
    files = {"apps/base/web.yaml": b""}
    origin = live(annotations={"config.kubernetes.io/origin": "path: ../../base/web.yaml\n"})
    assert hints.fits_origin(overlay("apps/overlays/prod"), files, origin)
    assert not hints.fits_origin(overlay("other/overlays/prod"), files, origin)
    assert not hints.fits_origin(overlay("apps/overlays/prod"), {}, origin)
    assert not hints.fits_origin(chart("apps/web"), files, origin)
    assert not hints.fits_origin(None, files, origin)
    helm = live(annotations={"meta.helm.sh/release-name": "web"})
    assert not hints.fits_origin(overlay("apps/overlays/prod"), files, helm)
    assert not hints.fits_origin(None, files, helm)
    assert hints.fits_origin(chart("apps/web"), files, helm)
    assert not hints.fits_origin(overlay("a"), files, live(labels={"helm.sh/chart": "web-1.0.0"}))
    assert hints.fits_origin(None, files, live())


def test_a_chart_label_names_a_chart_or_a_part() -> None:
    found = {"apps/shop": Chart(folder="apps/shop", name="shop", version="1", library=False, parts=(("front", "apps/web"),))}
    root = chart("apps/shop")
    for label in ("shop-1.0.0", "web-1.2.3", "front-0.1.0", ""):
        assert hints.is_chart(root, found, live(labels={"helm.sh/chart": label}))
    assert not hints.is_chart(root, found, live(labels={"helm.sh/chart": "redis-1.0.0"}))


WEB = b"kind: Deployment\nmetadata:\n  name: web\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"apps/base/web.yaml": WEB}, True),
        ({"apps/base/web.yaml": b'{"kind": "Deployment", "metadata": {"name": "web"}}'}, True),
        ({"apps/base/web.yaml": WEB.replace(b"Deployment", b"Deployments")}, False),
        ({"apps/base/web.yaml": WEB.replace(b"web", b"api")}, False),
        ({"apps/base/web.yaml": WEB, "apps/live/kustomization.yaml": b"namespace: shop\n"}, True),
        ({"apps/base/web.yaml": WEB, "apps/live/kustomization.yaml": b"namespace: other\n"}, False),
        ({"apps/base/web.yaml": WEB, "apps/base/kustomization.yaml": b"namespace: other\n"}, True),
    ],
)
def test_an_overlay_may_render_an_object(files: dict[str, bytes], expected: bool) -> None:
    assert hints.may_render(overlay("apps/live"), files, live(), "shop") is expected


def test_a_chart_may_render_an_object_whatever_its_name() -> None:
    template = {"apps/web/templates/a.yaml": b"kind: Deployment\nmetadata: {name: {{ x }}}\n"}
    assert hints.may_render(chart("apps/web"), template, live(), "shop")
    assert not hints.may_render(chart("apps/web"), {"apps/web/templates/a.yaml": b"kind: Service\n"}, live(), "shop")
    assert hints.may_render(chart("apps/web"), {"apps/web/charts/a-1.tgz": b"x"}, live(), "shop")


def test_layouts_agree_on_what_is_a_release() -> None:
    assert layouts.find_release({}) == ""
    assert hints.names_of({}) == frozenset()
