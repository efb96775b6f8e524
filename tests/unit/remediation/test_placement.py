"""From an intended change to candidates: scalars that fit, files of generators, additions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.remediation.test_layouts import tree

from selfheal.remediation import (
    additions,
    appending,
    candidates,
    documents,
    editing,
    fitting,
    intents,
    layouts,
    masking,
    nested,
)
from selfheal.remediation.edits import Edit, Operation, Refusal
from selfheal.remediation.intents import Intent, Named
from selfheal.remediation.layouts import Layout, Root, RootKind
from selfheal.remediation.rendered import Identity

F = "x.yaml"
LIMIT = ("spec", "template", "spec", "containers", Named("app"), "resources", "limits", "memory")
IMAGE = (*LIMIT[:5], "image")


def deployment(image: str = "nginx:9.9", **resources: Any) -> dict[str, Any]:
    container = {"name": "app", "image": image, "resources": resources or {"limits": {"memory": "64Mi"}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def intent(path: tuple[Any, ...] = LIMIT, before: Any = "64Mi", after: Any = "128Mi", *, manifest: Mapping[str, Any] | None = None, kind: str = "Deployment", group: str = "apps", name: str = "web") -> Intent:
    return Intent(
        identity=Identity(group=group, kind=kind, namespace="", name=name), manifest=manifest or deployment(), path=path, before=before, after=after,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "before", "after", "new"),
    [
        ("64Mi", "64Mi", "128Mi", "128Mi"),
        (64, "64Mi", "128Mi", 128),
        ("64", "64Mi", "128Mi", "128"),
        (0.5, "0.5", "x", "x"),
        (64, "64Mi", "half a Mi", "half a "),
        ("HEAP=64m", "64m", "128m", "HEAP=128m"),
        ("OTHER=64m", "64m", "128m", None),
        ("9.9", "nginx:9.9", "nginx:1.27", "1.27"),
        ("nginx", "nginx:9.9", "httpd:9.9", "httpd"),
        ("nginx", "nginx:9.9", "httpd:1", None),
        ("a", "a-a", "a-b", "b"),
        ("64Mi", "64Mi", ["x"], ["x"]),
        ("64", "64Mi", ["x"], None),
        (True, "True", "False", None),
        (None, "x", "y", None),
        ("", "x", "y", None),
        ("x", ["x"], "y", None),
        ("64", "64Mi", "Mi", None),
    ],
)
def test_a_scalar_fits_when_it_is_all_that_differs(value: Any, before: Any, after: Any, new: Any) -> None:
    assert documents.same(fitting.fit(value, before, after, "HEAP"), new)


def test_scalars_and_blocks_are_listed_with_their_paths() -> None:
    value = {"a": [1, {"b": "x"}], 5: "no"}
    assert list(fitting.iterate_scalars(value)) == [(("a", 0), 1), (("a", 1, "b"), "x")]
    assert [path for path, _ in fitting.iterate_blocks(value)] == [(), ("a",), ("a", 1)]


def test_common_keys_are_counted_from_the_end() -> None:
    assert fitting.count_common(("web", 0, "limits", "memory"), ("resources", "limits", "memory")) == 2
    assert fitting.count_common((), ("memory",)) == 0


@pytest.mark.parametrize(
    ("image", "pieces"),
    [
        ("nginx", ("nginx", "", "", "", "nginx")),
        ("nginx:1", ("nginx", "1", "", "", "nginx")),
        ("r.io:5000/a/b", ("r.io:5000/a/b", "", "", "r.io:5000", "a/b")),
        ("localhost/a:1@sha256:x", ("localhost/a", "1", "sha256:x", "localhost", "a")),
        ("acme/a:1", ("acme/a", "1", "", "", "acme/a")),
    ],
)
def test_images_come_apart(image: str, pieces: tuple[str, ...]) -> None:
    assert tuple(fitting.image_pieces(image).values()) == pieces


# --- intents


def test_edits_are_read_by_the_names_of_list_entries() -> None:
    text = "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: web}\nspec: {c: [{name: app, p: [{port: 1}]}], n: null}\n"
    change = Edit(file=F, document=0, path=("spec", "c", 0, "p", 0, "port"), operation=Operation.SET, old=1, new=2, reason="")
    block = Edit(file=F, document=0, path=("spec", "n", "deep"), operation=Operation.ADD, old=None, new=2, reason="")
    new = Edit(file=F, document=1, path=(), operation=Operation.ADD, old=None, new={"kind": "Role", "metadata": {"name": "r"}}, reason="")
    found = intents.read_intents([change, block, new], {F: text.encode()})
    assert found[0].path == ("spec", "c", Named("app"), "p", 0, "port")
    assert (found[0].key, found[0].keys) == ("port", ("spec", "c", "p", "port"))
    assert found[1].path == ("spec", "n", "deep")
    assert (str(found[2].identity), found[2].path, found[2].key) == ("Role r", (), "")


@pytest.mark.parametrize(
    ("path", "place", "rest"),
    [
        (("a", Named("x"), "b"), ("a", 1, "b"), ()),
        (("a", Named("z"), "b"), ("a",), (Named("z"), "b")),
        (("a", 0, "c", "d"), ("a", 0), ("c", "d")),
        (("a", 7), ("a",), (7,)),
        (("n", "x"), (), ("n", "x")),
        (("s", "x"), ("s",), ("x",)),
        (("a", "x"), ("a",), ("x",)),
    ],
)
def test_a_path_is_followed_as_far_as_it_goes(path: tuple[Any, ...], place: tuple[Any, ...], rest: tuple[Any, ...]) -> None:
    value = {"a": [{"b": 1}, {"name": "x", "b": 2}, "text"], "n": None, "s": "text"}
    assert intents.descend(value, path) == (place, rest)


def test_the_rest_of_a_path_is_built_as_a_block() -> None:
    assert intents.build(("c", Named("app"), "m"), 1) == {"c": [{"name": "app", "m": 1}]}
    with pytest.raises(ValueError, match="without a name"):
        intents.build(("c", 0), 1)


# --- edits inside texts


INLINE = """\
patches:
- target: {kind: Deployment}
  patch: |-
    spec:
      # kept
      memory: 64Mi   # small

      other: 1
- patch: '[{"op": "replace", "value": "64Mi"}]'
"""


def inside(content: str, path: tuple[Any, ...], inner: tuple[Any, ...], old: Any, new: Any, operation: Operation = Operation.SET) -> str:
    outer = Edit(file=F, document=0, path=path, operation=Operation.SET, old="", new="", reason="")
    edit = Edit(file=F, document=0, path=inner, operation=operation, old=old, new=new, reason="")
    return nested.edit_inside(content.encode(), outer, edit).decode()


def test_a_block_is_edited_in_place() -> None:
    changed = inside(INLINE, ("patches", 0, "patch"), ("spec", "memory"), "64Mi", "128Mi")
    assert changed == INLINE.replace("memory: 64Mi", "memory: 128Mi")
    windows = INLINE.replace("\n", "\r\n")
    assert inside(windows, ("patches", 0, "patch"), ("spec", "memory"), "64Mi", "128Mi") == windows.replace("memory: 64Mi", "memory: 128Mi")


def test_a_block_that_ends_its_line_keeps_that() -> None:
    assert inside("p: |\n  a: 64Mi\nb: 1\n", ("p",), ("a",), "64Mi", "128Mi") == "p: |\n  a: 128Mi\nb: 1\n"


def test_a_block_is_added_to() -> None:
    changed = inside(INLINE, ("patches", 0, "patch"), ("spec", "more"), None, {"a": 1}, Operation.ADD)
    assert changed == INLINE.replace("      other: 1\n", "      other: 1\n      more:\n        a: 1\n")


def test_a_text_on_one_line_is_edited_whole() -> None:
    changed = inside(INLINE, ("patches", 1, "patch"), (0, "value"), "64Mi", "128Mi")
    assert changed == INLINE.replace('"value": "64Mi"', '"value": "128Mi"')


def test_what_is_no_text_or_cannot_keep_its_form_is_refused() -> None:
    with pytest.raises(Refusal, match="no text"):
        inside(INLINE, ("patches", 0), ("spec",), 1, 2)
    with pytest.raises(Refusal, match="in place"):
        inside("a: &p |-\n  c: d\nb: *p\n", ("a",), ("c",), "d", "x")


@pytest.mark.parametrize(
    ("value", "count"), [("a: 1\nb: 2\n", 1), ("[{a: b}]", 1), ("a: 1\n---\nb: 2\n", 2), ("nginx:9", 0), (5, 0), ("x\ny", 0), ("a: [\n", 0)]
)
def test_documents_in_texts_are_told_from_other_texts(value: Any, count: int) -> None:
    assert len(nested.documents_inside(value)) == count


# --- appending


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\n", "a: 1\nlist:\n- x: 1\n  y: 2\n"),
        ("a: 1", "a: 1\nlist:\n- x: 1\n  y: 2\n"),
        ("list:\n- a\n", "list:\n- a\n- x: 1\n  y: 2\n"),
        ("list:\n  - a   # why\n\n# end\nb: 1\n", "list:\n  - a   # why\n  - x: 1\n    y: 2\n\n# end\nb: 1\n"),
        ("list:\r\n- a\r\nb: 1\r\n", "list:\r\n- a\r\n- x: 1\r\n  y: 2\r\nb: 1\r\n"),
        ("list:\n- a", "list:\n- a\n- x: 1\n  y: 2\n"),
        ("list:\n- p: |-\n    text\n\n", "list:\n- p: |-\n    text\n- x: 1\n  y: 2\n\n"),
        ("list: [a]\n", None),
        ("list: []\n", None),
        ("list: a\n", None),
        ("- a\n", None),
        ("a: 1\n---\nb: 1\n", None),
        ("{a: 1}\n", None),
    ],
)
def test_an_entry_is_appended(before: str, after: str | None) -> None:
    found = appending.append_to_list(before.encode(), F, "list", "x: 1\ny: 2\n")
    assert (found.decode() if found else None) == after


def test_an_empty_line_in_an_entry_stays_empty() -> None:
    found = appending.append_to_list(b"list:\n- a\n", F, "list", "p: |-\n  one\n\n  two\n")
    assert found == b"list:\n- a\n- p: |-\n    one\n\n    two\n"


# --- candidates of Kustomize


KUSTOMIZE = tree(
    """
    == base/kustomization.yaml
    resources: [web.yaml]
    == base/web.yaml
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      template:
        spec:
          containers:
          - name: app
            image: nginx:9.9
            resources:
              limits: {memory: 64Mi}
    == base/unused.yaml
    memory: 64Mi
    == live/kustomization.yaml
    resources: [../base]
    images:
    - {name: nginx, newTag: "9.9"}
    patches:
    - patch: |-
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec: {template: {spec: {containers: [{name: app, resources: {limits: {memory: 64Mi}}}]}}}
    configMapGenerator:
    - {name: c, envs: [a.env], files: [whole.txt, b.yaml]}
    == live/a.env
    # a comment
    HEAP=64m
    OTHER=64m
    MORE=-Xmx64m
    == live/whole.txt
    64m
    == live/b.yaml
    {{ not yaml }}
    """
)


def kustomize(files: Mapping[str, bytes] = KUSTOMIZE) -> tuple[Root, Layout]:
    layout = layouts.detect(files, "")
    return layouts.kustomize_roots(layout)[0], layout


def find(wanted: Intent, files: Mapping[str, bytes] = KUSTOMIZE, root: Root | None = None) -> dict[str, dict[str, bytes]]:
    found, layout = kustomize(files)
    listed = list(candidates.find_candidates(root or found, layout, files, wanted))
    return {candidate.what: dict(candidate.files) for candidate in listed}


def test_fields_that_say_the_value_come_first_the_overlays_before_the_bases() -> None:
    root, layout = kustomize()
    assert candidates.order_files(root, layout, KUSTOMIZE) == ["live/b.yaml", "live/kustomization.yaml", "base/kustomization.yaml", "base/web.yaml"]
    found = list(find(intent()))
    inner = "spec.template.spec.containers.0.resources.limits.memory"
    assert found[:2] == [f"live/kustomization.yaml: patches.0.patch.{inner}", f"base/web.yaml: {inner}"]
    assert found[-1] == "live/kustomization.yaml: a patch of its own"
    assert not any("unused" in name for name in found)


def test_lines_and_contents_of_generators_are_candidates() -> None:
    found = find(intent(("data", "HEAP"), "64m", "128m", kind="ConfigMap", group="", name="c"))
    assert found["live/a.env: HEAP"]["live/a.env"] == KUSTOMIZE["live/a.env"].replace(b"HEAP=64m", b"HEAP=128m")
    assert found["live/a.env: OTHER"]["live/a.env"] == KUSTOMIZE["live/a.env"].replace(b"OTHER=64m", b"OTHER=128m")
    assert "live/a.env: MORE" not in found
    text = find(intent(("data", "whole.txt"), "64m\n", "128m\n", kind="ConfigMap", group="", name="c"))
    assert text["live/whole.txt: its content"] == {"live/whole.txt": b"128m\n"}
    assert "live/whole.txt: its content" not in find(intent(("spec", "x"), 64, 128))


def test_an_image_in_parts_changes_together() -> None:
    found = find(intent(IMAGE, "nginx:9.9", "httpd:2.4"))
    (first, *_) = found.values()
    assert first["live/kustomization.yaml"] == KUSTOMIZE["live/kustomization.yaml"].replace(
        b'{name: nginx, newTag: "9.9"}', b'{name: nginx, newTag: "2.4", newName: httpd}'
    )
    files = {**KUSTOMIZE, "live/kustomization.yaml": KUSTOMIZE["live/kustomization.yaml"].replace(b'{name: nginx, newTag: "9.9"}', b"{name: &n nginx, newTag: *n}")}
    assert find(intent(IMAGE, "nginx:nginx", "nginx:2"), files)


def test_an_object_that_no_document_names_gets_a_patch_of_its_own() -> None:
    found = find(intent(before=None, name="eu-web"))
    patch = found["live/kustomization.yaml: a patch of its own"]["live/kustomization.yaml"].decode()
    assert patch.endswith(
        "- {name: c, envs: [a.env], files: [whole.txt, b.yaml]}\n"
    )
    assert "- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: web\n" in patch
    assert "a patch of its own" not in str(list(find(intent(("rules", 0, "x"), None, 1, kind="Role", group="rbac.authorization.k8s.io"))))
    assert "a patch of its own" not in str(list(find(intent(("spec", "args", 0), "64Mi", "128Mi"))))


def test_a_patch_of_its_own_needs_a_list_that_can_be_appended_to() -> None:
    flow = {**KUSTOMIZE, "live/kustomization.yaml": b"resources: [../base]\npatches: []\n"}
    assert "a patch of its own" not in str(list(find(intent(before=None), flow)))


def test_documents_of_the_object_are_added_to() -> None:
    files = {**KUSTOMIZE, "base/web.yaml": KUSTOMIZE["base/web.yaml"] + b"---\nkind: Deployment\nmetadata: odd\n---\nkind: Deployment\nmetadata: {name: other}\nspec: x\n"}
    found = find(intent((*LIMIT[:6], "requests", "memory"), None, "32Mi"), files)
    assert any(name.startswith("live/kustomization.yaml: patches.0.patch.spec") for name in found)
    assert any(name.startswith("base/web.yaml: spec") for name in found)


def test_a_whole_object_gets_a_file_that_is_listed() -> None:
    role = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "r"}}
    found = find(intent((), None, role, kind="Role", name="r"))
    (only,) = found.values()
    assert only["live/kustomization.yaml"] == KUSTOMIZE["live/kustomization.yaml"].replace(b"[../base]", b"[../base, r-role.yaml]")
    assert only["live/r-role.yaml"] == b"apiVersion: v1\nkind: Role\nmetadata:\n  name: r\n"
    listed = {**KUSTOMIZE, "live/kustomization.yaml": b"resources:\n- ../base\n"}
    (only,) = find(intent((), None, role, kind="Role", name="r"), listed).values()
    assert only["live/kustomization.yaml"] == b"resources:\n- ../base\n- r-role.yaml\n"
    none = {**KUSTOMIZE, "live/kustomization.yaml": b"components: []\n"}
    (only,) = find(intent((), None, role, kind="Role", name="r"), none, kustomize()[0]).values()
    assert only["live/kustomization.yaml"] == b"components: []\nresources:\n- r-role.yaml\n"
    shared = {**KUSTOMIZE, "live/kustomization.yaml": b"resources: &x [../base]\nbases: *x\n"}
    assert find(intent((), None, role, kind="Role", name="r"), shared) == {}
    taken = {**listed, "live/r-role.yaml": b"x: 1\n"}
    assert find(intent((), None, role, kind="Role", name="r"), taken) == {}


def test_candidates_are_bounded_and_each_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST", 1)
    assert len(find(intent())) == 1


def test_what_cannot_be_edited_where_it_stands_is_no_candidate() -> None:
    """A block shared by an alias, and parts of an image of which one is."""
    files = {
        **KUSTOMIZE,
        "base/web.yaml": b"kind: Deployment\nmetadata: {name: web}\nspec: &x |\n  64Mi\nother: *x\nmemory: {limits: &y {memory: 1}, b: *y}\n",
        "live/kustomization.yaml": b"resources: [../base]\nimages:\n- {name: nginx, newTag: &t |-\n    9.9, more: *t}\n- name: nginx\n  newTag: &u |-\n    9.9\n  digest: *u\n",
    }
    assert "base/web.yaml: spec" not in find(intent(("spec",), "64Mi\n", "128Mi\n"), files)
    one = dict(files, **{"live/kustomization.yaml": b"resources: [../base]\nimages:\n- name: nginx\n  newTag: &u |-\n    9.9\n  other: *u\n"})
    assert "live/kustomization.yaml: images.0 newTag" not in find(intent(IMAGE, "nginx:9.9", "nginx:2"), one)
    nested_alias = dict(files, **{"live/kustomization.yaml": b"resources: [../base]\na: &p |-\n  memory: 64Mi\nb: *p\n"})
    assert "live/kustomization.yaml: a.memory" not in find(intent(), nested_alias)


def test_a_shared_scalar_is_changed_for_all_its_aliases() -> None:
    content = b"a: &x 64Mi\nb: *x\nc: &y |\n  z\nd: *y\n"
    edit = Edit(file=F, document=0, path=("a",), operation=Operation.SET, old="64Mi", new="128Mi", reason="")
    assert candidates.apply_shared(content, edit) == b"a: &x 128Mi\nb: *x\nc: &y |\n  z\nd: *y\n"
    block = Edit(file=F, document=0, path=("c",), operation=Operation.SET, old="z\n", new="w\n", reason="")
    with pytest.raises(Refusal):
        candidates.apply_shared(content, block)
    assert editing.look({"a": [1, {"b": 2}]}, ("a", 1, "b")) == 2


# --- candidates of Helm


HELM = tree(
    """
    == web/Chart.yaml
    name: web
    version: 1.0.0
    == web/values.yaml
    resources:
      limits: {memory: 64Mi}
    image: {registry: r.io, repository: a/b, tag: "1"}
    list: [{name: x}]
    == web/values-prod.yaml
    {}
    == web/templates/web.yaml
    {{ .Values.resources }} {{ .Values.image.tag }} {{ .Values.maxMemory }} {{ $.Values.list }} {{ .Values.unrelated }}
              memory: 64Mi
              memory: 64Mi 64Mi
              cpu: 64Mi
    == web/templates/_helpers.tpl
    {{- define "x" }}kind: Deployment{{ end }}
    == web/charts/sub/Chart.yaml
    name: sub
    version: 1.0.0
    == web/charts/sub/values.yaml
    resources: {}
    == web/charts/sub/templates/x.yaml
    {{ .Values.resources.limits }}
    == web/charts/bare/Chart.yaml
    name: bare
    version: 1.0.0
    == web/charts/packed-1.tgz
    x
    """
)


def helm(files: Mapping[str, bytes] = HELM, folder: str = "web") -> tuple[Root, Layout]:
    layout = layouts.detect(files, "")
    values = tuple(name for name in files if name.endswith("values-prod.yaml"))
    root = Root(kind=RootKind.HELM, path=folder, folders=(folder,), values=values)
    return root, layout


def find_in_chart(wanted: Intent, files: Mapping[str, bytes] = HELM, folder: str = "web") -> dict[str, dict[str, bytes]]:
    root, layout = helm(files, folder)
    listed = list(candidates.find_candidates(root, layout, files, wanted))
    return {candidate.what: dict(candidate.files) for candidate in listed}


def test_values_files_go_by_how_specific_they_are() -> None:
    root, layout = helm()
    assert additions.list_values_files(root, layout, HELM) == [
        ("web/values-prod.yaml", ()), ("web/values.yaml", ()), ("web/charts/sub/values.yaml", ("sub",)),
    ]  # fmt: skip


def test_values_are_set_where_they_stand_or_where_the_template_takes_them() -> None:
    found = find_in_chart(intent())
    assert next(iter(found)) == "web/values.yaml: resources.limits.memory"
    assert found["web/values-prod.yaml: resources"] == {"web/values-prod.yaml": b"{resources: {limits: {memory: 128Mi}}}\n"}
    assert "web/charts/sub/values.yaml: resources.limits" in found
    assert "web/values.yaml: sub" in found
    assert "web/values.yaml: maxMemory" in found
    lines = found["web/templates/web.yaml: line 2"]["web/templates/web.yaml"].decode().split("\n")
    assert lines[1] == "          memory: 128Mi"
    assert "web/templates/web.yaml: line 3" not in found
    assert "web/templates/web.yaml: line 4" not in found


def test_a_block_that_is_rendered_whole_is_added_to() -> None:
    found = find_in_chart(intent((*LIMIT[:6], "requests"), None, {"cpu": "1m"}))
    assert next(iter(found)) == "web/values.yaml: resources.requests"


def test_an_image_with_its_registry_apart() -> None:
    (first, *_) = find_in_chart(intent(IMAGE, "r.io/a/b:1", "r.io/a/c:2")).values()
    assert b'{registry: r.io, repository: a/c, tag: "2"}' in first["web/values.yaml"]
    found = find_in_chart(intent(IMAGE, "q.io/z:0", "q.io/z@sha256:x"))
    assert "web/values.yaml: image.tag" not in found
    added = find_in_chart(intent(IMAGE, None, "q.io/z:0"))
    assert "web/values-prod.yaml: image" in added


def test_a_list_is_added_to_by_name_only() -> None:
    manifest = {**deployment(), "list": [{"name": "y"}]}
    found = find_in_chart(intent(("list", Named("y"), "v"), None, 1, manifest=manifest))
    assert "web/values-prod.yaml: list" in found
    assert "web/values.yaml: list" not in found
    assert "web/values-prod.yaml: list" not in find_in_chart(intent(("list", 3, "v"), None, 1, manifest=manifest))


def test_an_empty_value_is_nothing_to_look_for() -> None:
    assert "line" not in str(list(find_in_chart(intent(("spec", "memory"), "", "x"))))


def test_a_whole_object_gets_a_template() -> None:
    role = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "r"}}
    (only,) = find_in_chart(intent((), None, role, kind="Role", name="r")).values()
    assert list(only) == ["web/templates/r-role.yaml"]
    braces = {**role, "data": "{{ x }}"}
    assert find_in_chart(intent((), None, braces, kind="Role", name="r")) == {}


def test_a_chart_at_the_root_names_its_templates() -> None:
    files = {name.removeprefix("web/"): content for name, content in HELM.items()}
    assert "values.yaml: maxMemory" in find_in_chart(intent(), files, "")


def test_values_that_cannot_be_read_are_left_out() -> None:
    files = {**HELM, "web/values-prod.yaml": b"{{ x }}\n"}
    assert not any("values-prod" in name for name in find_in_chart(intent(), files))


def test_an_edit_is_made_only_where_it_says_something_new() -> None:
    assert additions.make_edit(F, 0, {"a": 1}, ("a",), 1) is None
    assert additions.make_edit(F, 0, {"a": "text"}, ("a", "b"), 1) is None
    assert additions.make_edit(F, 0, {"a": [1]}, ("a", 5), 1) is None
    found = additions.make_edit(F, 0, {"a": None}, ("a", "b"), 1)
    assert found is not None
    assert (found.operation, found.new) == (Operation.SET, {"b": 1})


# --- templates


TEMPLATE = """\
{{- if .Values.on }}
# for {{ .Release.Name }}
kind: Deployment
metadata:
  name: {{ include "web.name" . }}
spec:
  template:
    spec:
      containers:
        - name: {{ .Chart.Name }}
          image: "{{ .Values.image }}:{{ .Values.tag }}"
          command: [serve, "--fast"]   # tuned
          {{- with .Values.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
{{- end }}
"""
COMMAND = (*LIMIT[:5], "command")


def in_template(path: tuple[Any, ...], before: Any, after: Any, text: str = TEMPLATE, kind: str = "Deployment") -> dict[str, bytes]:
    files = {**HELM, "web/templates/web.yaml": text.encode()}
    found = find_in_chart(intent(path, before, after, kind=kind), files)
    return {what: changed["web/templates/web.yaml"] for what, changed in found.items() if "in the template" in what}


def test_what_a_template_says_literally_is_set_there() -> None:
    (changed,) = in_template(COMMAND, ["serve", "--fast"], ["serve"]).values()
    assert changed.decode() == TEMPLATE.replace('command: [serve, "--fast"]   # tuned', "command:   # tuned\n            - serve")


def test_what_a_template_does_not_say_is_added_there() -> None:
    secrets = "      imagePullSecrets:\n        - name: login\n"
    (changed,) = in_template((*LIMIT[:3], "imagePullSecrets"), None, [{"name": "login"}]).values()
    ends = "          {{- end }}\n"
    assert changed.decode() == TEMPLATE.replace(ends, ends + secrets), "after the condition, not in it"
    labels = in_template(("metadata", "labels"), None, {"a": "b"})
    assert next(iter(labels.values())).decode() == TEMPLATE.replace("spec:\n", "  labels:\n    a: b\nspec:\n", 1)


def test_an_addition_never_stands_in_a_condition_of_its_own() -> None:
    text = TEMPLATE.replace("          {{- end }}\n", "          tty: true\n          {{- end }}\n").replace("{{- with .Values.resources }}\n", "{{- with .Values.resources }}\n          stdin: true\n")
    closed = in_template((*LIMIT[:5], "workingDir"), None, "/srv", text)
    (changed,) = closed.values()
    assert changed.decode() == text.replace("          {{- end }}\n", "          {{- end }}\n          workingDir: /srv\n")
    open_ = "kind: Deployment\nmetadata: {name: x}\nspec:\n  a: 1\n  {{- if .Values.on }}\n  b: 1\nother: 1\n  {{- end }}\n"
    assert in_template(("spec", "c"), None, 1, open_) == {}


def test_what_a_template_computes_is_not_replaced() -> None:
    assert in_template(IMAGE, "a:1", "b:2") == {}
    assert in_template(LIMIT, "64Mi", "128Mi") == {}
    assert in_template(COMMAND, ["serve", "--fast"], ["{{ x }}"]) == {}


def test_templates_that_are_no_yaml_even_masked_are_left_alone() -> None:
    assert in_template(COMMAND, ["serve"], ["x"], TEMPLATE.replace("{{ .Chart.Name }}", "{{\n.Chart.Name }}")) == {}
    assert in_template(COMMAND, ["serve"], ["x"], TEMPLATE + "kind: Twice\n") == {}
    assert in_template(COMMAND, ["serve"], ["x"], kind="Job") == {}
    assert in_template(COMMAND, ["serve"], ["x"], TEMPLATE + "# selfheal\n") == {}
    edit = Edit(file=F, document=0, path=("a",), operation=Operation.SET, old="x", new="y", reason="")
    with pytest.raises(Refusal, match="computes"):
        masking.edit_template(b"a: {{\n}}\n", edit)


def test_every_template_is_itself_again_once_unmasked() -> None:
    masked = masking.mask(TEMPLATE)
    assert masked is not None
    assert masking.unmask(*masked) == TEMPLATE
    assert "{{" not in masked[0]


def test_computed_names_are_taken_as_the_wanted_ones_only_where_there_is_one() -> None:
    one = {"c": [{"name": "selfhealmask0001x", "v": 1}]}
    assert masking.with_names(one, ("c", Named("app"), "v")) == {"c": [{"name": "app", "v": 1}]}
    assert masking.with_names({"c": [{"name": "x"}]}, ("c", Named("app"))) == {"c": [{"name": "x"}]}
    assert masking.with_names({"c": ["text"]}, ("c", Named("app"))) == {"c": ["text"]}
    two = {"c": [{"name": "selfhealmask0001x"}, {"name": "b"}]}
    assert masking.with_names(two, ("c", Named("app"))) == two
    assert masking.with_names({"a": 1}, ("b", "c")) == {"a": 1}
