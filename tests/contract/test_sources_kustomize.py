"""Kustomize sources with the real kustomize: found from what runs, fixed at the right place."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract import rendering
from tests.contract.source_worlds import World

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding
from selfheal.remediation.edits import Refusal

BASE = """
== apps/base/kustomization.yaml
resources: [deployment.yaml]
== apps/base/deployment.yaml
# the shop's front
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: nginx:9.9   # bumped on Monday
        resources:
          limits:
            memory: 64Mi   # too small
"""
PROD = """
== apps/overlays/prod/kustomization.yaml
namespace: shop
resources: [../../base]
"""
STAGING = """
== apps/overlays/staging/kustomization.yaml
namespace: shop-staging
resources: [../../base]
"""
MEMORY_PATCH = """
== apps/overlays/prod/memory.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: app
        resources: {limits: {memory: 64Mi}}  # measured
"""

MEMORY_SHAPES = {
    "base only, one overlay: the base": (
        BASE + PROD,
        {"apps/base/deployment.yaml": ["-            memory: 64Mi   # too small", "+            memory: 128Mi   # too small"]},
    ),
    "strategic merge patch of the overlay": (
        BASE.replace("64Mi", "32Mi") + PROD + "patchesStrategicMerge: [memory.yaml]\n" + MEMORY_PATCH + STAGING,
        {
            "apps/overlays/prod/memory.yaml": [
                "-        resources: {limits: {memory: 64Mi}}  # measured",
                "+        resources: {limits: {memory: 128Mi}}  # measured",
            ]
        },
    ),
    "patch file by path": (
        BASE.replace("64Mi", "32Mi") + PROD + "patches:\n- path: memory.yaml\n" + MEMORY_PATCH,
        {
            "apps/overlays/prod/memory.yaml": [
                "-        resources: {limits: {memory: 64Mi}}  # measured",
                "+        resources: {limits: {memory: 128Mi}}  # measured",
            ]
        },
    ),
    "inline strategic merge patch": (
        BASE.replace("64Mi", "32Mi") + PROD + """\
patches:
- target: {kind: Deployment, name: web}
  patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: whatever
    spec:
      template:
        spec:
          containers:
          - name: app
            resources:
              limits:
                memory: 64Mi  # prod
""",
        {
            "apps/overlays/prod/kustomization.yaml": [
                "-                memory: 64Mi  # prod",
                "+                memory: 128Mi  # prod",
            ]
        },
    ),
    "inline JSON 6902 patch": (
        BASE.replace("64Mi", "32Mi") + PROD + """\
patches:
- target:
    kind: Deployment
    name: web
  patch: |-
    - op: replace
      path: /spec/template/spec/containers/0/resources/limits/memory
      value: 64Mi
""",
        {"apps/overlays/prod/kustomization.yaml": ["-      value: 64Mi", "+      value: 128Mi"]},
    ),
    "JSON 6902 patch in a file": (
        BASE.replace("64Mi", "32Mi") + PROD + """\
patchesJson6902:
- target: {group: apps, version: v1, kind: Deployment, name: web}
  path: memory.json
== apps/overlays/prod/memory.json
[
  {"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/memory", "value": "64Mi"}
]
""",
        {
            "apps/overlays/prod/memory.json": [
                '-  {"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/memory", "value": "64Mi"}',
                '+  {"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/memory", "value": "128Mi"}',
            ]
        },
    ),
    "component": (
        BASE.replace("64Mi", "32Mi") + PROD + "components: [../../components/large]\n" + STAGING + """
== apps/components/large/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- path: memory.yaml
""" + MEMORY_PATCH.replace("overlays/prod", "components/large"),
        {
            "apps/components/large/memory.yaml": [
                "-        resources: {limits: {memory: 64Mi}}  # measured",
                "+        resources: {limits: {memory: 128Mi}}  # measured",
            ]
        },
    ),
    "two overlays of one base: a patch in the overlay, not the base of both": (
        BASE + PROD + STAGING,
        {
            "apps/overlays/prod/kustomization.yaml": [
                "+patches:", "+- patch: |-", "+    apiVersion: apps/v1", "+    kind: Deployment", "+    metadata:", "+      name: web",
                "+    spec:", "+      template:", "+        spec:", "+          containers:", "+          - name: app",
                "+            resources:", "+              limits:", "+                memory: 128Mi",
            ]
        },
    ),
    "two overlays of one base, one with a patch of the object: added there": (
        BASE + PROD + """\
patches:
- path: scale.yaml
== apps/overlays/prod/scale.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: app
        env: [{name: A, value: b}]
""" + STAGING,
        {"apps/overlays/prod/scale.yaml": ["+        resources:", "+          limits:", "+            memory: 128Mi"]},
    ),
    "name prefix, common labels and a list of patches to append to": (
        BASE + PROD.replace("namespace", "namePrefix: eu-\nlabels: [{pairs: {region: eu}}]\nnamespace") + """\
patches:
# keep these
- patch: |-
    - op: add
      path: /spec/replicas
      value: 2
  target: {kind: Deployment}

# the end
""" + STAGING,
        {
            "apps/overlays/prod/kustomization.yaml": [
                "+- patch: |-", "+    apiVersion: apps/v1", "+    kind: Deployment", "+    metadata:", "+      name: web",
                "+    spec:", "+      template:", "+        spec:", "+          containers:", "+          - name: app",
                "+            resources:", "+              limits:", "+                memory: 128Mi",
            ]
        },
    ),
    "ConfigMap with a hash beside it": (
        BASE.replace("        resources", "        envFrom: [{configMapRef: {name: settings}}]\n        resources") + PROD
        + "configMapGenerator:\n- name: settings\n  literals: [A=1]\n",
        {"apps/base/deployment.yaml": ["-            memory: 64Mi   # too small", "+            memory: 128Mi   # too small"]},
    ),
    "base of a base, a value by replacement": (
        BASE.replace("64Mi", "1Mi") + """
== apps/regions/eu/kustomization.yaml
resources: [../../base, settings.yaml]
replacements:
- source: {kind: ConfigMap, name: sizes, fieldPath: data.memory}
  targets:
  - select: {kind: Deployment, name: web}
    fieldPaths: ["spec.template.spec.containers.[name=app].resources.limits.memory"]
== apps/regions/eu/settings.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: sizes, annotations: {config.kubernetes.io/local-config: "true"}}
data: {memory: 64Mi}
""" + PROD.replace("../../base", "../../regions/eu"),
        {"apps/regions/eu/settings.yaml": ["-data: {memory: 64Mi}", "+data: {memory: 128Mi}"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", MEMORY_SHAPES)
async def test_a_memory_limit_is_raised_where_the_source_says_it(shape: str) -> None:
    text, expected = MEMORY_SHAPES[shape]
    world = await World.load(text, name="eu-web" if "prefix" in shape else "web")
    placed = await world.fix(rendering.find_oom())
    assert world.changed_lines(placed) == expected
    assert await world.rendered_change(placed) == {"memory": ("64Mi", "128Mi")}


def find_bad_image(image: str, *ran: str) -> Finding:
    return Finding(
        class_=IncidentClass.INVALID_IMAGE_TAG, cause="No such tag.", confidence=0.95, evidence=("pod/web-1",), container="app",
        parameters={"image": image, "tags": [one.rpartition(":")[2] for one in ran], "tags_known": True, "ran": list(ran)},
    )  # fmt: skip


IMAGE_SHAPES = {
    "newTag of the overlay": (
        BASE + PROD + "images:\n- name: nginx\n  newTag: 9.9-x  # ours\n" + STAGING,
        "nginx:9.9-x", {"apps/overlays/prod/kustomization.yaml": ["-  newTag: 9.9-x  # ours", '+  newTag: "1.27"  # ours']},
    ),
    "newName and newTag": (
        BASE.replace("nginx:9.9 ", "front ") + PROD + 'images:\n- {name: front, newName: nginx, newTag: "8"}\n' + STAGING,
        "nginx:8",
        {
            "apps/overlays/prod/kustomization.yaml": [
                '-- {name: front, newName: nginx, newTag: "8"}', '+- {name: front, newName: nginx, newTag: "1.27"}',
            ]
        },
    ),
    "in the base, no other overlay": (
        BASE + PROD, "nginx:9.9",
        {"apps/base/deployment.yaml": ["-        image: nginx:9.9   # bumped on Monday", "+        image: nginx:1.27   # bumped on Monday"]},
    ),
    "in a component": (
        BASE + PROD + "components: [../../components/images]\n" + """
== apps/components/images/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images:
  - name: nginx
    newTag: "7"
""",
        "nginx:7", {"apps/components/images/kustomization.yaml": ['-    newTag: "7"', '+    newTag: "1.27"']},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", IMAGE_SHAPES)
async def test_an_image_is_corrected_where_the_source_says_it(shape: str) -> None:
    text, image, expected = IMAGE_SHAPES[shape]
    world = await World.load(text)
    placed = await world.fix(find_bad_image(image, "nginx:1.27"))
    assert world.changed_lines(placed) == expected
    assert await world.rendered_change(placed) == {"image": (image, "nginx:1.27")}


REFERENCE = "        envFrom: [{configMapRef: {name: settings}}]\n        resources"
SETTINGS_SHAPES = {
    "literal": (
        "configMapGenerator:\n- name: settings\n  literals:\n  - HEAP=64m  # small\n  - B=2\n",
        {"apps/overlays/prod/kustomization.yaml": ["-  - HEAP=64m  # small", "+  - HEAP=256m  # small"]},
    ),
    ".env file": (
        "configMapGenerator:\n- name: settings\n  envs: [prod.env]\n== apps/overlays/prod/prod.env\nB=2\nHEAP=64m\nC=64m\n",
        {"apps/overlays/prod/prod.env": ["-HEAP=64m", "+HEAP=256m"]},
    ),
    "merged over the base's": (
        "configMapGenerator:\n- name: settings\n  behavior: merge\n  env: prod.env\n== apps/overlays/prod/prod.env\nHEAP=64m\n"
        "== apps/base/kustomization.yaml\nresources: [deployment.yaml]\nconfigMapGenerator:\n- {name: settings, literals: [HEAP=1m, Z=1]}\n",
        {"apps/overlays/prod/prod.env": ["-HEAP=64m", "+HEAP=256m"]},
    ),
    "a whole file": (
        "configMapGenerator:\n- name: settings\n  files: [HEAP=heap.txt]\n== apps/overlays/prod/heap.txt\n64m",
        {"apps/overlays/prod/heap.txt": ["-64m", "+256m"]},
    ),
    "no hash": (
        "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- name: settings\n  literals: [HEAP=64m]\n",
        {"apps/overlays/prod/kustomization.yaml": ["-  literals: [HEAP=64m]", "+  literals: [HEAP=256m]"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SETTINGS_SHAPES)
async def test_a_generated_setting_is_changed_in_what_feeds_it(shape: str) -> None:
    more, expected = SETTINGS_SHAPES[shape]
    world = await World.load(BASE.replace("        resources", REFERENCE) + PROD + more)
    placed = await world.intend("ConfigMap", "settings", ("data", "HEAP"), "256m")
    assert {k: [line for line in v if not line.startswith("\\")] for k, v in world.changed_lines(placed).items()} == expected
    renamed = [edit for edit in placed.proposal.edits if edit.path[-1] == "name"]
    assert len(renamed) == (0 if shape == "no hash" else 1)
    assert all(edit.old != edit.new and str(edit.new).startswith("settings-") for edit in renamed)



CLAIM = {
    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}  # fmt: skip


async def test_an_object_is_added_to_the_overlay_and_listed() -> None:
    world = await World.load(BASE + PROD + STAGING)
    placed = await world.add(CLAIM)
    lines = world.changed_lines(placed)
    assert sorted(lines) == ["apps/overlays/prod/data-persistentvolumeclaim.yaml", "apps/overlays/prod/kustomization.yaml"]
    assert lines["apps/overlays/prod/kustomization.yaml"] == [
        "-resources: [../../base]", "+resources: [../../base, data-persistentvolumeclaim.yaml]",
    ]  # fmt: skip


async def test_the_delivered_name_of_a_generated_object_is_known() -> None:
    more = "configMapGenerator:\n- name: settings\n  literals: [HEAP=64m]\n"
    world = await World.load(BASE.replace("        resources", REFERENCE) + PROD + more)
    placed = await world.intend("ConfigMap", "settings", ("data", "HEAP"), "256m")
    (other,) = placed.others.values()
    named = [edit.new for edit in placed.proposal.edits if edit.path[-1] == "name"]
    assert named == [other["metadata"]["name"]]
    assert other["data"] == {"HEAP": "256m"}


# --- which overlay


async def refused(world: World) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await world.fix(rendering.find_oom())
    return caught.value


BARE = PROD.replace("namespace: shop\n", "")
OTHER = BARE.replace("overlays/prod", "overlays/test")
SMALLER = "patches: [{path: memory.yaml}]\n" + MEMORY_PATCH.replace("overlays/prod", "overlays/test").replace("64Mi", "16Mi")


async def test_of_overlays_without_a_namespace_the_one_that_runs_is_taken() -> None:
    world = await World.load(BASE + BARE + OTHER + SMALLER)
    located = await world.locate()
    assert [root.path for root in located.roots] == ["apps/overlays/prod"]
    placed = await world.fix(rendering.find_oom())
    assert list(world.changed_lines(placed)) == ["apps/base/deployment.yaml"], "the other one has a limit of its own"


async def test_overlays_that_render_the_same_are_named() -> None:
    world = await World.load(BASE + BARE + OTHER)
    found = await refused(world)
    assert found.reason == "SourceAmbiguous"
    assert "Kustomize apps/overlays/prod; Kustomize apps/overlays/test" in found.message


FLUX = """
== apps/clusters/eu.yaml
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: front, namespace: flux-system}
spec: {path: ./apps/overlays/prod, prune: true}
"""


@pytest.mark.parametrize(
    ("more", "metadata"),
    [
        (FLUX, {"labels": {"kustomize.toolkit.fluxcd.io/name": "front"}}),
        ("== apps/overlays/prod/extra.yaml\nkind: X\n", {"annotations": {"config.kubernetes.io/origin": "path: extra.yaml\n"}}),
    ],
)
async def test_labels_and_annotations_narrow(more: str, metadata: dict[str, Any]) -> None:
    world = await World.load(BASE + BARE + OTHER + more, metadata=metadata)
    located = await world.locate()
    assert [root.path for root in located.roots] == ["apps/overlays/prod"]


async def test_a_folder_named_like_the_namespace_narrows() -> None:
    world = await World.load(BASE + BARE.replace("overlays/prod", "overlays/shop") + OTHER)
    assert [root.path for root in (await world.locate()).roots] == ["apps/overlays/shop"]


async def test_the_base_of_an_overlay_is_not_taken_for_delivered() -> None:
    world = await World.load(BASE + BARE)
    assert [root.path for root in (await world.locate()).roots] == ["apps/overlays/prod"]


async def test_plain_yaml_that_names_the_namespace_needs_no_rendering() -> None:
    plain = BASE.split("== apps/base/deployment.yaml\n")[1].replace("name: web\nspec", "name: web\n  namespace: shop\nspec")
    world = await World.load(BASE + PROD)
    world.files = {**world.files, "apps/plain/web.yaml": plain.encode()}
    world.renderer = None  # type: ignore[assignment]
    located = await world.locate()
    assert (located.roots, located.source.file) == ((), "apps/plain/web.yaml")


async def test_plain_yaml_and_an_overlay_that_both_run_are_named() -> None:
    plain = BASE.split("== apps/base/deployment.yaml\n")[1]
    world = await World.load(BASE + BARE)
    world.files = {**world.files, "apps/plain/web.yaml": plain.encode()}
    found = await refused(world)
    assert found.reason == "SourceAmbiguous"
    assert "apps/plain/web.yaml; Kustomize apps/overlays/prod" in found.message


@pytest.mark.parametrize(
    ("resource", "path"), [("https://github.com/a/b//c?ref=v1", "apps"), ("../../../elsewhere", "apps"), ("../../base", "apps/overlays")]
)
async def test_bases_that_are_not_below_the_path_go_to_a_person(resource: str, path: str) -> None:
    world = await World.load(BASE + PROD)
    text = f"namespace: shop\nresources: ['{resource}', web.yaml]\n".encode()
    web = world.files["apps/base/deployment.yaml"]
    world.files = {"apps/overlays/prod/kustomization.yaml": text, "apps/overlays/prod/web.yaml": web, "elsewhere/kustomization.yaml": b"{}"}
    world.path = path
    found = await refused(world)
    assert found.reason == "GeneratorNotSupported"
    assert f"refers to {resource}, which is not below the mapped path" in found.message


async def test_an_object_that_nothing_declares_is_looked_for_again() -> None:
    world = await World.load(BASE + PROD)
    world.live = {**world.live, "metadata": {**world.live["metadata"], "name": "unheard-of"}}
    found = await refused(world)
    assert found.reason == "SourceNotFound"
    assert "neither plain YAML, nor one of 0 kustomizations and charts" in found.message


async def test_a_source_that_drifted_from_what_runs_is_said_with_the_field() -> None:
    world = await World.load(BASE + PROD)
    pod = {**world.live["spec"]["template"]["spec"], "serviceAccountName": "x"}
    pod["containers"] = [{**pod["containers"][0], "image": "nginx:1"}]
    world.live = {**world.live, "spec": {**world.live["spec"], "template": {**world.live["spec"]["template"], "spec": pod}}}
    located = await world.locate()
    assert [root.path for root in located.roots] == ["apps/overlays/prod"], "the comparison refuses it later, with the field"


# --- what else a change reaches


async def test_a_place_that_others_share_comes_last_and_says_so() -> None:
    flow = PROD + "patches: []\n"
    world = await World.load(BASE + flow + STAGING)
    placed = await world.fix(rendering.find_oom())
    assert list(world.changed_lines(placed)) == ["apps/base/deployment.yaml"]
    assert placed.proposal.risk == "Medium"
    assert placed.proposal.risk_reason.endswith("The same source also feeds Kustomize apps/overlays/staging.")


async def test_a_place_that_changes_more_elsewhere_is_never_taken() -> None:
    """The ConfigMap feeds the limit, and is an object of its own as well."""
    sizes = "== apps/base/sizes.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: sizes}\ndata: {memory: 64Mi}\n"
    base = BASE.replace("64Mi", "1Mi").replace("[deployment.yaml]", "[deployment.yaml, sizes.yaml]") + sizes
    replace = """replacements:
- source: {kind: ConfigMap, name: sizes, fieldPath: data.memory}
  targets:
  - select: {kind: Deployment, name: web}
    fieldPaths: ["spec.template.spec.containers.[name=app].resources.limits.memory"]
"""
    world = await World.load(base + PROD + replace + STAGING)
    found = await refused(world)
    assert found.reason == "SourceNotEditable"
    assert "apps/base/sizes.yaml: data.memory" in found.message
