"""What a trial does with files: the namespace is set by lines, and every other byte stays."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from selfheal.cli import trial_manifests, trial_namespace, trial_symptoms

BLOCK = """\
# a comment
apiVersion: v1
kind: Service
metadata:
  name: web   # the shop
  labels:
    app: web
spec: {ports: [{port: 80}]}
"""


def test_a_namespace_is_added_to_a_block() -> None:
    changed = trial_namespace.set_namespace(BLOCK, "try-web")
    assert changed == BLOCK.replace("metadata:\n", "metadata:\n  namespace: try-web\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "metadata:\n    name: a\n    namespace: old  # why\nspec: {}\n",
            "metadata:\n    name: a\n    namespace: new  # why\nspec: {}\n",
        ),
        ("metadata: {name: a}\n", "metadata: {namespace: new, name: a}\n"),
        (
            "metadata: {name: a, namespace: old, labels: {x: y}}\n",
            "metadata: {name: a, namespace: new, labels: {x: y}}\n",
        ),
        ("kind: List\nitems: []\n", "kind: List\nitems: []\n"),
    ],
    ids=["block replaced", "flow added", "flow replaced", "without metadata"],
)
def test_set_namespace(before: str, after: str) -> None:
    assert trial_namespace.set_namespace(before, "new") == after


def test_every_document_of_a_file_gets_it_once() -> None:
    text = f"{BLOCK}--- # second\n{BLOCK}---\nmetadata: {{name: c}}\n"
    changed = trial_namespace.set_namespace(text, "new")
    found = list(yaml.safe_load_all(changed))
    assert [entry["metadata"]["namespace"] for entry in found] == ["new"] * 3
    assert changed.count("namespace: new") == 3
    assert "--- # second\n" in changed


def test_a_template_below_keeps_its_own_metadata() -> None:
    text = BLOCK + "template:\n  metadata:\n    labels: {app: web}\n"
    found = yaml.safe_load(trial_namespace.set_namespace(text, "new"))
    assert found["template"]["metadata"] == {"labels": {"app": "web"}}


def test_the_end_is_told_to_a_person() -> None:
    row = {
        "incident": "web-1",
        "resolved": True,
        "phases": [{"phase": "INCIDENT_DETECTED", "seconds": 0.25}],
        "class": "OOMKilled",
        "confidence": 0.95,
        "by": "Rules",
        "cause": "limit too small",
        "ticket": "http://jira/OPS-1",
        "pullRequest": "http://git/1",
        "modelCalls": 0,
        "cost": 0.0,
        "healthy": True,
        "message": "",
        "diff": "-  memory: 64Mi\n+  memory: 128Mi",
    }
    text = trial_manifests.render({"namespace": "try-web", "incidents": [row], "message": ""})
    for words in ("try-web/web-1", "INCIDENT_DETECTED", "0.25 s", "limit too small", "+  memory"):
        assert words in text
    assert "healthy       yes" in text
    healthy = {"namespace": "n", "incidents": [], "message": "Everything is healthy."}
    assert trial_manifests.render(healthy) == "Everything is healthy."


PLAIN = {"web.yaml": BLOCK.encode()}
OVERLAY = {
    "base/kustomization.yaml": b"resources: [web.yaml]\n",
    "base/web.yaml": BLOCK.encode(),
    "live/kustomization.yaml": b"# what runs\nnamespace: old\nresources: [../base]\n",
    "live/live.env": b"A=1\n",
    "parts/kustomization.yaml": b"kind: Component\n",
}
CHART = {
    "Chart.yaml": b"name: web\nversion: 1.0.0\n",
    "values.yaml": b"a: 1\n",
    "templates/web.yaml": b"kind: {{ .Values.a }}\n",
}


def test_the_namespace_of_an_overlay_is_set_where_it_is_delivered() -> None:
    placed = trial_manifests.place_in_namespace(OVERLAY, "try-web")
    assert {name for name in placed if placed[name] != OVERLAY[name]} == {"live/kustomization.yaml"}
    assert placed["live/kustomization.yaml"] == b"namespace: try-web\n# what runs\nresources: [../base]\n"


def test_a_chart_stays_as_it_is_and_plain_files_do_not() -> None:
    assert trial_manifests.place_in_namespace(CHART, "try-web") == CHART
    assert b"namespace: try-web" in trial_manifests.place_in_namespace(PLAIN, "try-web")["web.yaml"]


@pytest.mark.parametrize(("files", "kept"), [(PLAIN, {"web.yaml"}), (OVERLAY, set(OVERLAY)), (CHART, set(CHART))])
def test_a_folder_is_read_whole_only_where_it_is_rendered(
    files: dict[str, bytes], kept: set[str], tmp_path: pathlib.Path
) -> None:
    for name, content in {**files, ".git/config": b"x", "README.md": b"# x\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.yaml").symlink_to("/etc/hosts")
    more = set() if files is PLAIN else {"README.md"}
    assert set(trial_manifests.read_files(tmp_path)) == kept | more


def test_an_empty_folder_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(trial_manifests.TrialError, match=r"holds no \.yaml files"):
        trial_manifests.read_files(tmp_path)


def test_what_a_list_holds_gets_it_and_templates_do_not() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: web # it\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
        "- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: d}\n  spec:\n"
        "    template: {metadata: {labels: {a: b}}}\n"
    )
    changed = trial_namespace.set_namespace(text, "new")
    items = yaml.safe_load(changed)["items"]
    assert [item["metadata"]["namespace"] for item in items] == ["new"] * 3
    assert items[2]["spec"]["template"]["metadata"] == {"labels": {"a": "b"}}
    for line in text.splitlines():
        assert line.strip() in changed or "metadata: {" in line


def test_kinds_of_the_cluster_get_none_and_subjects_move_along() -> None:
    text = (
        "kind: ClusterRoleBinding\nmetadata:\n  name: a\nsubjects:\n- kind: ServiceAccount\n  name: web\n"
        "  namespace: shop   # theirs\n---\nkind: Namespace\nmetadata: {name: shop}\n"
    )
    changed = trial_namespace.set_namespace(text, "new")
    assert changed == text.replace("namespace: shop", "namespace: new")


def test_windows_line_ends_stay() -> None:
    text = "kind: Pod\r\nmetadata:\r\n  name: a\r\n"
    changed = trial_namespace.set_namespace(text, "new")
    assert changed == "kind: Pod\r\nmetadata:\r\n  namespace: new\r\n  name: a\r\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"kind: Pod\nmetadata: {name: a\nspec: [\n", r"web\.yaml, line \d+ is no YAML"),
        (b"just words\n", "without apiVersion and kind"),
        (b"apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", "a Pod without metadata.name"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "hold no workload"),
    ],
    ids=["broken", "prose", "no name", "not text", "no workload"],
)
def test_what_cannot_be_tried_is_said_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(trial_manifests.TrialError, match=said) as raised:
        trial_manifests.list_wanted({"web.yaml": content})
    assert "\n" not in str(raised.value)


def test_workloads_of_lists_and_of_many_documents_are_wanted() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "in-a-list"}}
    text = yaml.safe_dump_all([None, {"apiVersion": "v1", "kind": "List", "items": [pod]}])
    deployment = "---\n# only a comment\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
    found = trial_manifests.list_wanted({"a.yaml": (text + deployment + BLOCK.join(["---\n", ""])).encode()})
    assert found == [("Pod", "in-a-list"), ("Deployment", "web")]


@pytest.mark.parametrize(
    ("folder", "name"), [("My App_", "try-my-app"), ("a" * 60, "try-" + "a" * 36), ("x.y", "try-x-y")]
)
def test_a_namespace_is_a_dns_label(folder: str, name: str, tmp_path: pathlib.Path) -> None:
    assert trial_manifests.name_namespace(tmp_path / folder) == name


@pytest.mark.parametrize(
    ("kind", "owner", "its"),
    [
        ("Deployment", "web-5d9c7", True),
        ("Deployment", "web-api-5d9c7", False),
        ("StatefulSet", "web", True),
        ("StatefulSet", "web-api", False),
        ("CronJob", "web-29", True),
        ("Job", "web", True),
    ],
)
def test_pods_are_told_by_their_owner(kind: str, owner: str, its: bool) -> None:
    pod = {"metadata": {"name": f"{owner}-x", "ownerReferences": [{"name": owner}]}}
    assert trial_symptoms.belongs(pod, kind, "web") is its


def test_a_hand_over_is_told_without_what_there_is_not() -> None:
    row = {
        "incident": "web-1", "resolved": False, "phase": "INCIDENT_REQUIRES_HUMAN", "phases": [], "class": None,
        "confidence": None, "by": None, "cause": None, "ticket": "http://jira/OPS-1", "pullRequest": None,
        "modelCalls": 0, "cost": 0.0, "healthy": False, "symptom": "CrashLoopBackOff", "message": "NoSafeFix: why",
        "diff": None,
    }  # fmt: skip
    text = trial_manifests.render({"namespace": "n", "incidents": [row], "message": ""})
    assert "None" not in text
    assert "no: CrashLoopBackOff" in text
    assert "0 of 1 incidents resolved" in text
