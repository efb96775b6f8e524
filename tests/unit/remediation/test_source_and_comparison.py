from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.remediation import fix_factory as repo

from selfheal.api.classes import IncidentClass
from selfheal.remediation import changes, compare, propose, rendering, serialise, workloads
from selfheal.remediation.edits import Edit, Operation, Proposal, Refusal

OTHER = f"{repo.PATH}/other.yaml"
MEMORY = (*repo.APP, "resources", "limits", "memory")


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.reason


def find(files: dict[str, bytes], *, path: str = repo.PATH, manifest: dict[str, Any] | None = None) -> Any:
    return propose.find_source(files, path=path, manifest=manifest or repo.live(), namespace="shop")


def test_the_source_is_found_by_kind_and_name() -> None:
    found = find(repo.FILES)
    assert (found.file, found.document) == (repo.FILE, 1)
    assert found.manifest == repo.manifest()


def test_a_source_outside_the_mapped_path_or_of_another_kind_is_not_found() -> None:
    assert reason(lambda: find(repo.FILES, path="apps/bank")) == "SourceNotFound"
    assert reason(lambda: find(repo.FILES, path="", manifest=repo.live() | {"kind": "StatefulSet"})) == "SourceNotFound"
    assert reason(lambda: find(repo.FILES, manifest=repo.live() | {"apiVersion": "acme.io/v1"})) == "SourceNotFound"
    assert find(repo.FILES, manifest=repo.live() | {"apiVersion": "apps/v1beta2"}).document == 1


def test_the_namespace_tells_equal_names_apart() -> None:
    def placed(namespace: str) -> bytes:
        return repo.TEXT.replace("  labels: {app: web}\nspec", f"  namespace: {namespace}\nspec").encode()

    assert find(repo.FILES | {OTHER: placed("bank")}).file == repo.FILE
    assert find(repo.FILES | {OTHER: placed("shop")}).file == OTHER
    assert reason(lambda: find({OTHER: placed("bank")})) == "SourceNotFound"
    with pytest.raises(Refusal, match=r"other\.yaml document 1, apps/shop/web\.yaml document 1") as caught:
        find(repo.FILES | {OTHER: repo.TEXT.encode()})
    assert caught.value.reason == "SourceAmbiguous"


def test_rendering_gives_every_object_below_the_path() -> None:
    files = repo.FILES | {"apps/x.json": b'{"kind": "Job"}', f"{repo.PATH}/z.yml": b"- a\n---\n---\nkind: Pod\n---\nfree: 1\n"}
    assert [entry["kind"] for entry in rendering.render_plain(files, repo.PATH)] == ["Service", "Deployment", "Pod"]
    assert rendering.render_plain(files, "/apps/")[0]["kind"] == "Service"
    assert len(rendering.render_plain(files, "")) == 4


def test_a_broken_file_is_left_out_unless_it_is_the_path_itself() -> None:
    broken = f"{repo.PATH}/values.yaml"
    assert len(rendering.render_plain(repo.FILES, repo.PATH)) == 2
    assert reason(lambda: rendering.render_plain(repo.FILES, broken)) == "SourceUnreadable"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Pod", ("spec",)), ("CronJob", ("spec", "jobTemplate", "spec", "template", "spec")), ("StatefulSet", ("spec", "template", "spec"))],
)
def test_pod_specs_stand_where_the_kind_says(kind: str, path: tuple[str, ...]) -> None:
    assert workloads.pod_spec_path(kind) == path


def test_containers_are_found_by_name_in_both_lists() -> None:
    assert workloads.container_path(repo.manifest(), "setup")[-2:] == ("initContainers", 0)
    assert reason(lambda: workloads.container_path(repo.manifest(), "x")) == "SourceNotFound"
    assert reason(lambda: workloads.container_path({"kind": "Pod"}, "x")) == "SourceNotFound"
    assert reason(lambda: workloads.pod_spec_path("Service")) == "KindNotSupported"
    assert workloads.look({"a": [1]}, ("a", 1)) is None


def raise_memory() -> Proposal:
    parameters = {"limit": "64Mi"}
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **parameters))
    return found


def test_the_intended_object_is_the_live_one_plus_the_edit() -> None:
    live, proposal = repo.live(), raise_memory()
    intended = compare.intended_manifest(live, proposal, repo.source())
    assert list(changes.compare_values(live["spec"], intended["spec"])) == [
        changes.Leaf(path=("template", "spec", "containers", "app", "resources", "limits", "memory"), before="64Mi", after="128Mi")
    ]
    assert "status" not in intended
    assert intended["metadata"].keys() == {"name", "labels", "namespace", "uid", "annotations"}
    assert live["metadata"]["resourceVersion"] == "7"


def with_edits(*edits: Edit) -> Proposal:
    proposal = raise_memory()
    return Proposal(**{field: getattr(proposal, field) for field in proposal.__dataclass_fields__} | {"edits": edits})


def test_an_intended_object_that_does_not_have_the_old_value_has_drifted() -> None:
    live = repo.live()
    live["spec"]["template"]["spec"]["containers"][1]["resources"]["limits"]["memory"] = "1Gi"
    assert reason(lambda: compare.intended_manifest(live, raise_memory(), repo.source())) == "Drifted"
    live["spec"]["template"]["spec"]["containers"].pop()
    assert reason(lambda: compare.intended_manifest(live, raise_memory(), repo.source())) == "Drifted"


def test_edits_of_other_documents_do_not_reach_the_object() -> None:
    proposal = with_edits(repo.edit(MEMORY, "64Mi", "1Gi", document=0), repo.edit(MEMORY, "64Mi", "1Gi", file=OTHER))
    intended = compare.intended_manifest(repo.live(), proposal, repo.source())
    assert intended["spec"] == repo.live()["spec"]


def test_an_added_block_is_laid_over_what_was_defaulted() -> None:
    live = repo.live()
    added = repo.edit((*repo.APP, "resources"), None, {"limits": {"cpu": "1"}}, operation=Operation.ADD)
    intended = compare.intended_manifest(live, with_edits(added), repo.source())
    assert intended["spec"]["template"]["spec"]["containers"][1]["resources"]["limits"] == {"memory": "64Mi", "cpu": "1"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("spec", "x"), ("spec", "x")), (("spec", "x", "y"), None), ((*repo.APP, "ports", 0, "name"), (*repo.APP[:-1], 1, "ports", 0, "name")),
        (("spec", "template", "spec", "containers", 0, "args", 0), None),
    ],
)  # fmt: skip
def test_paths_are_translated_by_identity(path: tuple[Any, ...], found: tuple[Any, ...] | None) -> None:
    assert compare.to_live_path(repo.manifest(), repo.live(), path) == found


def test_paths_of_plain_lists_keep_their_index() -> None:
    assert compare.to_live_path({"a": ["x"]}, {"a": ["x", "y"]}, ("a", 0)) == ("a", 0)
    assert compare.to_live_path({"a": ["x", "y"]}, {"a": ["x"]}, ("a", 1)) is None
    assert compare.to_live_path({"a": ["x"]}, {"a": 1}, ("a", 0)) is None


def check(live: dict[str, Any], *, text: str = repo.TEXT, after: str | None = None) -> str | None:
    edits = [repo.edit(MEMORY, "64Mi", "128Mi")]
    after = text.replace("64Mi", "128Mi") if after is None else after
    try:
        compare.check_equivalence(rendered_before=repo.manifest(text), rendered_after=repo.manifest(after), live=live, edits=edits)
    except Refusal as refused:
        return f"{refused.reason} {refused.message}"
    return None


def test_the_running_object_equals_its_source() -> None:
    assert check(repo.live()) is None


def altered(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> dict[str, Any]:
    live = copy.deepcopy(repo.live())
    change(live, live["spec"]["template"]["spec"]["containers"][1])
    return live


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda live, app: live["spec"].update(replicas=5), repo.TEXT),
        (lambda live, app: app["resources"]["limits"].update(memory="65536Ki"), repo.TEXT),
        (lambda live, app: app["env"].insert(0, {"name": "INJECTED", "value": "1"}), repo.TEXT),
        (lambda live, app: app.update(volumeMounts=[{"name": "token", "mountPath": "/t"}]), repo.TEXT),
        (lambda live, app: None, repo.TEXT.replace("spec:\n  replicas", "status: {}\nspec:\n  paused:\n  replicas").replace("      initContainers", "      volumes: []\n      initContainers")),
        (lambda live, app: app["ports"].insert(0, {"name": "http", "containerPort": 9, "protocol": "UDP"}), repo.TEXT),
    ],
)  # fmt: skip
def test_what_others_add_does_not_count(change: Any, text: str) -> None:
    assert check(altered(change), text=text) is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda live, app: app.update(image="nginx:1"), "containers.0.image (source nginx:9.9, running nginx:1)"),
        (lambda live, app: app["resources"]["limits"].update(memory="1Gi"), "limits.memory (source 64Mi, running 1Gi)"),
        (lambda live, app: app["resources"]["limits"].update(memory="odd"), "limits.memory"),
        (lambda live, app: app["env"][0].update(value="secret"), "env.0.value."),
        (lambda live, app: app.pop("readinessProbe"), "readinessProbe."),
        (lambda live, app: app.update(env=[]), "env.0."),
        (lambda live, app: live["spec"]["template"]["spec"]["containers"].remove(app), "containers.0."),
        (lambda live, app: app["ports"][0].update(containerPort=True), "containerPort"),
    ],
)
def test_a_running_object_that_differs_has_drifted_and_no_value_of_the_environment_is_told(change: Any, path: str) -> None:
    found = check(altered(change))
    assert found is not None
    assert found.startswith("Drifted")
    assert path in found
    assert "secret" not in found


def test_lists_of_plain_values_are_equal_in_length_and_order() -> None:
    text = repo.TEXT.replace("        env:", "        args: [a, b]\n        env:")
    same = altered(lambda live, app: app.update(args=["a", "b"]))
    assert check(same, text=text) is None
    for args in (["a"], ["b", "a"], ["a", "b", "c"], None):
        assert check(altered(lambda live, app, args=args: app.update(args=args)), text=text) is not None


def test_a_change_beyond_the_intended_one_is_refused() -> None:
    found = check(repo.live(), after=repo.TEXT.replace("64Mi", "128Mi").replace("32Mi", "48Mi"))
    assert found is not None
    assert found.startswith("ComparisonFailed")


def test_quantities_without_a_unit_are_compared_as_text() -> None:
    text = repo.TEXT.replace("memory: 32Mi", 'memory: "32e6"')
    assert check(altered(lambda live, app: app["resources"]["requests"].update(memory="32e6")), text=text) is None


def test_the_live_object_carries_the_change_or_not() -> None:
    proposal = raise_memory()
    after = repo.manifest(proposal.files[repo.FILE].decode())
    assert not compare.carries_change(repo.live(), after, proposal.edits)
    changed = altered(lambda live, app: app["resources"]["limits"].update(memory="131072Ki"))
    assert compare.carries_change(changed, after, proposal.edits)
    assert not compare.carries_change(changed, after, ())
    gone = altered(lambda live, app: live["spec"]["template"]["spec"].update(containers=[]))
    assert not compare.carries_change(gone, after, proposal.edits)


@pytest.mark.parametrize("content", [b"a: 1\n", b"\xef\xbb\xbfa: 1\r\n", b"\xff\x00"])
def test_a_proposal_survives_storage(content: bytes) -> None:
    proposal = raise_memory()
    kept = Proposal(**{field: getattr(proposal, field) for field in proposal.__dataclass_fields__} | {"files": {"x": content}})
    stored = serialise.proposal_to_json(kept)
    assert serialise.proposal_from_json(stored) == kept
    assert stored["edits"][0]["operation"] == "set"


def test_leaves_compare_named_lists_by_name_and_take_blocks_apart() -> None:
    before = {"c": [{"name": "a", "x": 1}, {"name": "b"}], "d": [1], "gone": {"e": {"f": 1}}}
    after = {"c": [{"name": "a", "x": 2}, {"name": "b"}], "d": [2], "new": [{"name": "z", "v": {}}]}
    assert {("/".join(map(str, leaf.path)), str(leaf.before), str(leaf.after)) for leaf in changes.compare_values(before, after)} == {
        ("c/a/x", "1", "2"), ("d", "[1]", "[2]"), ("gone/e/f", "1", "None"), ("new/z/name", "None", "z"), ("new/z/v", "None", "{}"),
    }  # fmt: skip


def test_another_order_of_a_named_list_is_a_change_of_the_whole_list() -> None:
    one, other = {"name": "a", "x": 1}, {"name": "b"}
    found = list(changes.compare_values({"c": [one, other]}, {"c": [other, {**one, "x": 2}]}))
    assert [leaf.path for leaf in found if leaf.path == ("c",)] == [("c",)]
