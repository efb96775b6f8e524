"""What lies below a path: kustomizations, charts, plain files, and generators that are not run."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from selfheal.remediation import charts, kustomizations, layouts
from selfheal.remediation.layouts import Root, RootKind


def tree(text: str) -> dict[str, bytes]:
    files = {}
    for part in textwrap.dedent(text).split("== ")[1:]:
        name, _, content = part.partition("\n")
        files[name.strip()] = content.encode()
    return files


OVERLAYS = tree(
    """
    == apps/base/kustomization.yaml
    resources: [web.yaml, https://example.org/x, ../../outside]
    patchesStrategicMerge: [patch.yaml, "kind: X\\na: b"]
    == apps/base/web.yaml
    kind: Deployment
    == apps/base/patch.yaml
    kind: Deployment
    == apps/base/notes.txt
    x
    == apps/parts/one/kustomization.yml
    kind: Component
    patches: [{path: p.yaml}, {patch: "a: b"}, odd]
    == apps/parts/one/p.yaml
    kind: Deployment
    == apps/live/Kustomization
    resources: [../base, ../base]
    components: [../parts/one]
    openapi: {path: schema.json}
    configMapGenerator:
    - name: a
      envs: [a.env]
      env: b.env
      files: [c.txt, "key=d.txt"]
    - odd
    == apps/live/a.env
    A=1
    == apps/live/d.txt
    x
    == apps/live/schema.json
    {}
    == apps/empty/kustomization.yaml
    == apps/list/kustomization.yaml
    [a]
    == apps/broken/kustomization.yaml
    {{ x }}
    == apps/plain.yaml
    kind: Service
    == other/kustomization.yaml
    resources: []
    """
)


def test_kustomizations_are_found_with_what_they_are_made_of() -> None:
    known = kustomizations.find_kustomizations(OVERLAYS, "apps")
    assert sorted(known) == ["apps/base", "apps/empty", "apps/live", "apps/parts/one"]
    live = known["apps/live"]
    assert live.folders == ("apps/base", "apps/parts/one")
    assert live.files == ("apps/live/a.env", "apps/live/d.txt", "apps/live/schema.json")
    assert live.remote == ("b.env", "c.txt")
    assert known["apps/base"].remote == ("https://example.org/x", "../../outside")
    assert known["apps/parts/one"].component
    assert known["apps/parts/one"].files == ("apps/parts/one/p.yaml",)
    assert [part.folder for part in kustomizations.close_over("apps/live", known)] == ["apps/live", "apps/base", "apps/parts/one"]
    assert kustomizations.close_over("apps/nowhere", known) == []
    assert kustomizations.find_delivered(known) == ["apps/empty", "apps/live", "apps/base"]


def test_a_tree_is_told_apart() -> None:
    layout = layouts.detect(OVERLAYS, "apps")
    assert layout.rendered
    assert sorted(layout.plain) == ["apps/broken/kustomization.yaml", "apps/list/kustomization.yaml", "apps/plain.yaml", "other/kustomization.yaml"]
    roots = {root.path: root for root in layouts.kustomize_roots(layout)}
    live = roots["apps/live"]
    assert live.title == "Kustomize apps/live"
    assert "not below the mapped path; nothing is fetched" in live.problem
    assert roots["apps/empty"].problem == ""
    assert live.uses("apps/base/web.yaml")
    assert live.uses("apps/live/schema.json")
    assert not live.uses("apps/plain.yaml")
    assert not layouts.detect(tree("== a.yaml\nkind: Service\n"), "").rendered


def test_the_root_of_a_repository_may_be_an_overlay() -> None:
    layout = layouts.detect(tree("== kustomization.yaml\nresources: [./sub]\n== sub/kustomization.yaml\nresources: ['..']\n"), "")
    (one, other) = layouts.kustomize_roots(layout)
    assert (one.path, one.title, one.folders) == ("", "Kustomize .", ("", "sub"))
    assert other.folders == ("sub", "")


def test_plugins_are_not_run() -> None:
    files = tree("== a/kustomization.yaml\nhelmCharts: [{name: x}]\n")
    layout = layouts.detect(files, "")
    assert "uses the plugin helmCharts" in layouts.kustomize_roots(layout)[0].problem
    assert layout.foreign == ("a/kustomization.yaml (Kustomize's Helm plugin)",)


def test_other_generators_are_recognised() -> None:
    files = tree("== a/main.jsonnet\n{}\n== a/helmfile.yaml\nx: 1\n== a/x.cue\nx\n== b/x.tf\n== a/cdk8s.yaml\nx: 1\n")
    found = layouts.detect(files, "a").foreign
    assert found == ("a/cdk8s.yaml (cdk8s)", "a/helmfile.yaml (helmfile)", "a/main.jsonnet (Jsonnet)", "a/x.cue (CUE)")


CHARTS = tree(
    """
    == apps/web/Chart.yaml
    name: web
    version: 1.0.0
    == apps/web/values.yaml
    a: 1
    == apps/web/values-prod.yaml
    a: 2
    == apps/web/values/eu.yaml
    a: 2
    == apps/web/templates/values-x.yaml
    kind: {{ x }}
    == apps/web/crds/values.yaml
    kind: CustomResourceDefinition
    == apps/web/notes.yaml
    x: 1
    == apps/shop/Chart.yaml
    name: shop
    version: 1.0.0
    dependencies:
    - {name: web, alias: front, repository: "file://../web"}
    - {name: redis, repository: "https://charts.example"}
    - {name: web, alias: back, repository: "file://../web"}
    - {name: packed}
    - odd
    - {name: inner, repository: "https://charts.example"}
    == apps/shop/charts/packed-1.0.0.tgz
    x
    == apps/shop/charts/inner/Chart.yaml
    name: inner
    version: 1.0.0
    == apps/shop/charts/loose/Chart.yaml
    name: loose
    version: 1.0.0
    == apps/lib/Chart.yaml
    name: lib
    dependencies: odd
    version: 1.0.0
    type: library
    == apps/broken/Chart.yaml
    [a]
    == apps/unreadable/Chart.yaml
    {{ x }}
    == apps/envs/prod/web.yaml
    a: 3
    == apps/prod.values.yaml
    a: 4
    == elsewhere/values.yaml
    a: 5
    """
)


def test_charts_are_found_with_their_parts() -> None:
    found = charts.find_charts(CHARTS, "apps")
    assert sorted(found) == ["apps/lib", "apps/shop", "apps/web"]
    shop = found["apps/shop"]
    assert shop.parts == (
        ("front", "apps/web"), ("back", "apps/web"), ("packed", ""), ("inner", "apps/shop/charts/inner"), ("loose", "apps/shop/charts/loose"),
    )  # fmt: skip
    assert shop.links == (("apps/shop/charts/web", "apps/web"), ("apps/shop/charts/web", "apps/web"))
    assert shop.missing == ("redis (https://charts.example)",)
    assert charts.close_over(shop, found) == ["apps/shop", "apps/web"]
    assert charts.close_over(shop, {}) == ["apps/shop"]
    assert found["apps/lib"].library
    assert found["apps/web"].values_file == "apps/web/values.yaml"


def test_values_files_are_found_inside_and_beside_a_chart() -> None:
    web = charts.find_charts(CHARTS, "apps")["apps/web"]
    assert charts.find_values_files(CHARTS, web, "apps") == [
        "apps/envs/prod/web.yaml", "apps/prod.values.yaml", "apps/web/values-prod.yaml", "apps/web/values/eu.yaml",
    ]  # fmt: skip


def test_a_chart_at_the_root_has_its_values() -> None:
    files = tree("== Chart.yaml\nname: a\n== values.yaml\na: 1\n== values-x.yaml\na: 1\n== templates/values.yaml\nx\n== README.md\nx\n")
    chart = charts.find_charts(files, "")[""]
    assert charts.find_values_files(files, chart, "") == ["values-x.yaml"]


def test_values_are_combined_none_one_and_two() -> None:
    alone, pairs = charts.combine(["a", "b"])
    assert alone == [(), ("a",), ("b",)]
    assert pairs == [("a", "b"), ("b", "a")]
    assert charts.combine([str(number) for number in range(6)])[1] == []


def live(**metadata: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "web", **metadata}}


def test_a_release_is_made_of_a_chart_and_what_it_links_to() -> None:
    layout = layouts.detect(CHARTS, "apps")
    assert sorted(name for name in layout.plain if name.startswith("apps/")) == ["apps/broken/Chart.yaml", "apps/unreadable/Chart.yaml"]
    root = layouts.helm_root(layout, layout.charts["apps/shop"], ("apps/prod.values.yaml",), live(), "shop")
    assert root.title == "Helm apps/shop with apps/prod.values.yaml"
    assert root.folders == ("apps/shop", "apps/web")
    assert set(root.links) == {("apps/shop/charts/web", "apps/web")}
    assert "needs redis" in root.problem
    assert root.release == "shop"
    assert root.uses("apps/web/templates/values-x.yaml")
    assert root.uses("apps/prod.values.yaml")
    assert not root.uses("apps/lib/Chart.yaml")
    web = layouts.helm_root(layout, layout.charts["apps/web"], (), live(annotations={"meta.helm.sh/release-name": "front"}), "shop")
    assert (web.release, web.problem) == ("front", "")


def test_a_dependency_outside_the_found_charts_has_no_links_of_its_own() -> None:
    files = tree(
        "== apps/a/Chart.yaml\nname: a\ndependencies: [{name: b, repository: 'file://charts2/b'}]\n== apps/a/charts2/b/Chart.yaml\n[x]\n"
    )
    layout = layouts.detect(files, "apps")
    root = layouts.helm_root(layout, layout.charts["apps/a"], (), live(), "shop")
    assert root.folders == ("apps/a", "apps/a/charts2/b")


@pytest.mark.parametrize(
    ("metadata", "release"),
    [
        ({}, ""),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "front:apps/Deployment:shop/web"}}, "front"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "f"}}, "f"),
        ({"labels": {"app.kubernetes.io/instance": "i"}}, "i"),
        ({"labels": {"release": "r"}}, "r"),
    ],
)
def test_the_release_is_named_by_the_running_object(metadata: dict[str, Any], release: str) -> None:
    assert layouts.find_release(live(**metadata)) == release


def test_a_root_is_what_it_is_made_of() -> None:
    root = Root(kind=RootKind.HELM, path="", folders=("",))
    assert root.uses("anything/at.all")
    assert root.title == "Helm ."


def test_charts_that_make_something_anew_each_time_are_known() -> None:
    chart = Root(kind=RootKind.HELM, path="a", folders=("a",))
    text = b"data: {p: {{ randAlphaNum 12 | b64enc }}}"
    assert layouts.is_random(chart, {"a/templates/s.yaml": text})
    assert not layouts.is_random(chart, {"b/templates/s.yaml": text, "a/values.yaml": b"now: 1"})
    assert not layouts.is_random(Root(kind=RootKind.KUSTOMIZE, path="a", folders=("a",)), {"a/s.yaml": text})
