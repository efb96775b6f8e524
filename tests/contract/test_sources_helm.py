"""Helm sources with the real helm: charts, umbrella charts, values in several files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from tests.contract import rendering
from tests.contract.source_worlds import NAMESPACE, World

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.remediation.edits import Refusal
from selfheal.remediation.layouts import Root, RootKind

RELEASE = {"annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": NAMESPACE}}
TEMPLATE = """
== apps/web/Chart.yaml
apiVersion: v2
name: web
version: 1.2.3
== apps/web/templates/_helpers.tpl
{{- define "web.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
== apps/web/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec: {selector: {app: web}, ports: [{port: 80}]}
== apps/web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "web.labels" . | nindent 4 }}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default "1.0" }}"
        RESOURCES
"""
BLOCK = TEMPLATE.replace("RESOURCES", "resources: {{- toYaml .Values.resources | nindent 10 }}")
VALUES = """
== apps/web/values.yaml
# defaults
image:
  repository: nginx
  tag: "9.9"  # bumped
resources:
  requests: {cpu: 10m}
  limits:
    memory: 64Mi  # too small
"""


def root(*values: str, folder: str = "apps/web", links: tuple[tuple[str, str], ...] = (), more: tuple[str, ...] = ()) -> Root:
    return Root(
        kind=RootKind.HELM, path=folder, folders=(folder, *more), values=values, release="web", namespace=NAMESPACE, links=links,
    )  # fmt: skip


SMALL = ["-    memory: 64Mi  # too small", "+    memory: 128Mi  # too small"]
UMBRELLA = """
== apps/shop/Chart.yaml
apiVersion: v2
name: shop
version: 0.1.0
dependencies:
- {name: web, version: 1.2.3, alias: front, repository: "REPOSITORY"}
"""
NAMED = {"apps/web": "apps/shop/charts/web"}


def inside(text: str) -> str:
    """Move the chart below the umbrella's charts/."""
    return text.replace("== apps/web/", "== apps/shop/charts/web/")


@dataclasses.dataclass
class Shape:
    text: str
    root: Root
    expected: Mapping[str, list[str]]


SHAPES = {
    "one chart, its own values": Shape(BLOCK + VALUES, root(), {"apps/web/values.yaml": SMALL}),
    "values of an environment over the defaults": Shape(
        BLOCK + VALUES.replace("64Mi", "32Mi")
        + "== apps/web/values-prod.yaml\nresources:\n  limits:\n    memory: 64Mi  # too small\n"
        + "== apps/web/values-staging.yaml\nimage: {tag: '8'}\n",
        root("apps/web/values-prod.yaml"), {"apps/web/values-prod.yaml": SMALL},
    ),
    "an environment that says nothing of it: added there, not to the defaults of all": Shape(
        BLOCK + VALUES
        + "== apps/web/values-prod.yaml\nimage:\n  tag: '9.8'\n"
        + "== apps/web/values-staging.yaml\nimage: {tag: '8'}\n",
        root("apps/web/values-prod.yaml"),
        {"apps/web/values-prod.yaml": ["+resources:", "+  limits:", "+    memory: 128Mi"]},
    ),
    "two values files": Shape(
        BLOCK + VALUES.replace("64Mi", "1Mi")
        + "== apps/web/values-common.yaml\nimage: {tag: '7'}\nresources: {limits: {memory: 2Mi}}\n"
        + "== apps/web/values-prod.yaml\nresources: {limits: {memory: 64Mi}}\n",
        root("apps/web/values-common.yaml", "apps/web/values-prod.yaml"),
        {"apps/web/values-prod.yaml": ["-resources: {limits: {memory: 64Mi}}", "+resources: {limits: {memory: 128Mi}}"]},
    ),
    "values beside the chart, in a folder of environments": Shape(
        BLOCK + VALUES.replace("64Mi", "1Mi") + "== apps/envs/prod/web.yaml\nresources:\n  limits:\n    memory: 64Mi  # too small\n",
        root("apps/envs/prod/web.yaml"), {"apps/envs/prod/web.yaml": SMALL},
    ),
    "umbrella, vendored subchart under an alias": Shape(
        UMBRELLA.replace("REPOSITORY", "https://charts.example") + inside(BLOCK + VALUES.replace("64Mi", "1Mi"))
        + "== apps/shop/values.yaml\nfront:\n  resources:\n    limits:\n      memory: 64Mi  # too small\n",
        root(folder="apps/shop"), {"apps/shop/values.yaml": ["-      memory: 64Mi  # too small", "+      memory: 128Mi  # too small"]},
    ),
    "umbrella that says nothing of it: the subchart's default": Shape(
        UMBRELLA.replace("REPOSITORY", "") + inside(BLOCK + VALUES) + "== apps/shop/values.yaml\nother: 1\n",
        root(folder="apps/shop"), {"apps/shop/charts/web/values.yaml": SMALL},
    ),
    "umbrella over a chart of the same repository by file://, used by itself as well": Shape(
        UMBRELLA.replace("REPOSITORY", "file://../web") + BLOCK + VALUES + "== apps/shop/values.yaml\nfront:\n  image: {tag: '9.7'}\n",
        root(folder="apps/shop", links=(("apps/shop/charts/web", "apps/web"),), more=("apps/web",)),
        {"apps/shop/values.yaml": ["+  resources:", "+    limits:", "+      memory: 128Mi"]},
    ),
    "a scalar under another name, number and unit apart": Shape(
        TEMPLATE.replace("RESOURCES", "resources: {limits: {memory: {{ .Values.sizeMb }}Mi}}") + VALUES.split("resources:")[0] + "sizeMb: 64  # MiB\n",
        root(), {"apps/web/values.yaml": ["-sizeMb: 64  # MiB", "+sizeMb: 128  # MiB"]},
    ),
    "a default of the template that no values file says": Shape(
        TEMPLATE.replace("RESOURCES", 'resources: {limits: {memory: {{ .Values.limitMemory | default "64Mi" }}}}') + VALUES.split("resources:")[0],
        root(), {"apps/web/values.yaml": ["+limitMemory: 128Mi"]},
    ),
    "literal in the template": Shape(
        TEMPLATE.replace("RESOURCES", "resources:\n          limits:\n            memory: 64Mi # fixed") + VALUES.split("resources:")[0],
        root(), {"apps/web/templates/deployment.yaml": ["-            memory: 64Mi # fixed", "+            memory: 128Mi # fixed"]},
    ),
    "a loop over services": Shape(
        TEMPLATE.replace("== apps/web/templates/deployment.yaml\n", "== apps/web/templates/deployment.yaml\n{{- range $name, $svc := .Values.services }}\n---\n")
        .replace("{{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}", "{{ $name }}").replace('labels: {{- include "web.labels" . | nindent 4 }}', "labels: {a: b}")
        .replace('"{{ .Values.image.repository }}:{{ .Values.image.tag | default "1.0" }}"', "{{ $svc.image }}")
        .replace("RESOURCES", "resources: {{- toYaml $svc.resources | nindent 10 }}") + "{{- end }}\n"
        + "== apps/web/values.yaml\nservices:\n  web:\n    image: a:1\n    resources:\n      limits: {memory: 64Mi}\n  api:\n    image: b:1\n    resources:\n      limits: {memory: 64Mi}\n",
        root(), {"apps/web/values.yaml": ["-      limits: {memory: 64Mi}", "+      limits: {memory: 128Mi}"]},
    ),
    "an anchor shared by limit and request": Shape(
        BLOCK + VALUES.split("resources:")[0] + "memory: &memory 64Mi  # too small\nresources:\n  requests: {memory: *memory}\n  limits: {memory: *memory}\n",
        root(), {"apps/web/values.yaml": ["-memory: &memory 64Mi  # too small", "+memory: &memory 128Mi  # too small"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_memory_limit_is_raised_in_the_right_values(shape: str) -> None:
    given = SHAPES[shape]
    world = await World.load(given.text, root=given.root, metadata=RELEASE)
    placed = await world.fix(rendering.find_oom())
    assert world.changed_lines(placed) == given.expected
    assert (await world.rendered_change(placed))["memory"] == ("64Mi", "128Mi")


def find_bad_image(image: str, *ran: str) -> Finding:
    return Finding(
        class_=IncidentClass.INVALID_IMAGE_TAG, cause="No such tag.", confidence=0.95, evidence=("pod/web-1",), container="app",
        parameters={"image": image, "tags": [one.rpartition(":")[2] for one in ran], "tags_known": True, "ran": list(ran)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "image", "changed"),
    [
        (VALUES, "nginx:9.9", ['-  tag: "9.9"  # bumped', '+  tag: "1.27"  # bumped']),
        ("== apps/web/values.yaml\nimage: {repository: nginx}\nresources: {}\n", "nginx:1.0", ["-image: {repository: nginx}", "+image: {repository: nginx, tag: '1.27'}"]),
    ],
)  # fmt: skip
async def test_a_tag_is_corrected_in_the_values(values: str, image: str, changed: list[str]) -> None:
    world = await World.load(BLOCK + values, root=root(), metadata=RELEASE)
    placed = await world.fix(find_bad_image(image, "nginx:1.27"))
    assert world.changed_lines(placed) == {"apps/web/values.yaml": changed}


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        ("resources: {}", ["-resources: {}", "+resources: {limits: {memory: 128Mi}}"]),
        ("resources:\n  requests:\n    cpu: 10m", ["+  limits:", "+    memory: 128Mi"]),
        ("unused: 1", ["+resources:", "+  limits:", "+    memory: 128Mi"]),
    ],
)
async def test_a_limit_is_added_where_the_template_takes_the_block(block: str, lines: list[str]) -> None:
    values = VALUES.split("resources:")[0] + block + "\n"
    text = BLOCK.replace("{{- toYaml .Values.resources | nindent 10 }}", "{{- toYaml .Values.resources | nindent 10 }}")
    world = await World.load(text + values, root=root(), metadata=RELEASE)
    path = ("spec", "template", "spec", "containers", 0, "resources", "limits", "memory")
    placed = await world.intend("Deployment", "web", path, "128Mi")
    (found,) = world.changed_lines(placed).values()
    assert found == lines


async def test_values_of_two_environments_that_both_run_it_are_both_proved() -> None:
    """Neither file says anything of the object: the default feeds both, and that is said."""
    text = BLOCK + VALUES + "== apps/web/values-a.yaml\nx: 1\n== apps/web/values-b.yaml\nimage: {tag: '7'}\n"
    world = await World.load(text, root=root(), metadata=RELEASE)
    located = await world.locate()
    assert [entry.values for entry in located.roots] == [(), ("apps/web/values-a.yaml",)]
    placed = await world.fix(rendering.find_oom())
    assert world.changed_lines(placed) == {"apps/web/values.yaml": SMALL}
    assert "The same source also feeds Helm apps/web with apps/web/values-b.yaml." in placed.proposal.risk_reason
    assert placed.proposal.risk == "Medium"


async def test_equal_charts_are_named_not_guessed() -> None:
    text = BLOCK + VALUES + (BLOCK + VALUES).replace("== apps/web/", "== apps/copy/")
    world = await World.load(text, root=root(), metadata=RELEASE)
    with pytest.raises(Refusal) as caught:
        await world.locate()
    assert caught.value.reason == "SourceAmbiguous"
    assert "Helm apps/copy; Helm apps/web" in caught.value.message


APPLICATION = """
== apps/delivery/web.yaml
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: front}
spec:
  source: {path: apps/web, helm: {valueFiles: [values-b.yaml], releaseName: web}}
"""


async def test_an_argo_application_says_which_of_two_and_with_which_values() -> None:
    extra = "== apps/web/values-a.yaml\nx: 1\n== apps/web/values-b.yaml\nresources:\n  limits:\n    memory: 64Mi  # too small\n"
    text = BLOCK + VALUES + extra + (BLOCK + VALUES).replace("== apps/web/", "== apps/copy/") + APPLICATION
    tracked: dict[str, Any] = {"annotations": {"argocd.argoproj.io/tracking-id": f"front:apps/Deployment:{NAMESPACE}/web"}}
    world = await World.load(text, root=root("apps/web/values-b.yaml"), metadata=tracked)
    placed = await world.fix(rendering.find_oom())
    assert world.changed_lines(placed) == {"apps/web/values-b.yaml": SMALL}


async def test_values_inside_a_delivery_object_go_to_a_person() -> None:
    text = BLOCK + VALUES + APPLICATION.replace("valueFiles: [values-b.yaml]", "values: 'a: b'")
    tracked = {"labels": {"argocd.argoproj.io/instance": "front"}}
    world = await World.load(text, root=root(), metadata=tracked)
    with pytest.raises(Refusal) as caught:
        await world.locate()
    assert caught.value.reason == "GeneratorNotSupported"
    assert "apps/delivery/web.yaml carries values of its own" in caught.value.message


async def test_a_dependency_that_is_not_in_the_repository_goes_to_a_person() -> None:
    text = BLOCK + VALUES
    world = await World.load(text, root=root(), metadata=RELEASE)
    chart = "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies: [{name: redis, version: 1.x.x, repository: 'https://charts.example'}]\n"
    world.files = {**world.files, "apps/web/Chart.yaml": chart.encode()}
    with pytest.raises(Refusal) as caught:
        await world.locate()
    assert caught.value.reason == "GeneratorNotSupported"
    assert "needs redis (https://charts.example), which is not in the repository" in caught.value.message


async def test_an_object_is_added_as_a_template() -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": NAMESPACE}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    world = await World.load(BLOCK + VALUES, root=root(), metadata=RELEASE)
    placed = await world.add(claim)
    (lines,) = world.changed_lines(placed).values()
    assert list(world.changed_lines(placed)) == ["apps/web/templates/data-persistentvolumeclaim.yaml"]
    assert "+  namespace: {{ .Release.Namespace }}" in lines


async def test_what_a_chart_makes_anew_each_time_is_no_change() -> None:
    secret = """
== apps/web/templates/secret.yaml
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}}
stringData: {password: {{ randAlphaNum 20 }}, at: {{ now | date "150405.000000" | quote }}}
"""
    world = await World.load(BLOCK + VALUES + secret, root=root(), metadata=RELEASE)
    placed = await world.fix(rendering.find_oom())
    assert world.changed_lines(placed) == {"apps/web/values.yaml": SMALL}


async def test_a_chart_from_elsewhere_goes_to_a_person_with_the_release_that_names_it() -> None:
    release = """
== apps/redis.yaml
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cache}
spec:
  chart: {spec: {chart: redis, sourceRef: {kind: HelmRepository, name: charts}}}
  values: {memory: 64Mi}
"""
    world = await World.load(BLOCK + VALUES, root=root(), metadata={"labels": {"helm.toolkit.fluxcd.io/name": "cache"}})
    for files in (rendering.tree(release), {**world.files, **rendering.tree(release)}):
        world.files = {name: content for name, content in files.items() if "Chart.yaml" not in name}
        with pytest.raises(Refusal) as caught:
            await world.locate()
        assert caught.value.reason == "GeneratorNotSupported"
        assert "apps/redis.yaml (Flux cache) delivers Deployment web from redis" in caught.value.message
