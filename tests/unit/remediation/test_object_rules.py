"""What of the objects around a workload may change, whoever proposes it; and additions to a file's end."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.unit.remediation import around_factory as repo

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import diff, documents, editing, guards
from selfheal.remediation.edits import Edit, Operation, Proposal, Refusal

AROUND = "apps/shop/around.yaml"


def gate(old: str, new: str, *, file: str = AROUND) -> str | None:
    """Replace a text in a file and ask the gate; the reason of the refusal, None where it lets it through."""
    text = repo.FILES[file].decode()
    assert text.count(old) >= 1
    files = {file: text.replace(old, new, 1).encode()}
    count = len(documents.parse(files[file], file).values)
    edits = tuple(Edit(file=file, document=number, path=("x",), operation=Operation.SET, old=0, new=1, reason="") for number in range(count))
    proposal = Proposal(
        summary="", edits=edits, files=files, diff=diff.render_diff(repo.FILES, files), risk="Low", risk_reason="", rollback="", arithmetic="", checks=(),
    )  # fmt: skip
    try:
        guards.check_proposal(proposal, guards=GuardsSpec(), namespace="shop", mapped_path="apps", files=repo.FILES)
    except Refusal as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    app: wbe", "    app: web", None),
        ("    app: wbe", "    app: wbee", None),
        ("    app: wbe", "    app: api", "AnotherApplication"),
        ("    app: wbe", "    apps: wbe", None),
        ("  selector:\n    app: wbe\n", "  selector: {}\n", "ChangeNotAllowed"),
        ("  selector:\n    app: wbe\n", "", "ChangeNotAllowed"),
        ("targetPort: 8080", "targetPort: http", None),
        ("targetPort: 8080", "targetPort: ''", "ChangeNotAllowed"),
        ("{port: 80, targetPort: 8080}", "{port: 81, targetPort: 8080}", "ChangeNotAllowed"),
        ("storageClassName: standrad", "storageClassName: standard", None),
        ("  storageClassName: standrad\n", "", "DeletesData"),
        ("storage: 1Gi", "storage: 2Gi", None),
        ("storage: 1Gi", "storage: 512Mi", "DeletesData"),
        ("{requests: {storage: 1Gi}}", "{requests: {}}", "DeletesData"),
        ("name: wbe}\n---", "name: web}\n---", None),
        ("kind: Deployment, name: wbe", "kind: StatefulSet, name: wbe", "ChangeNotAllowed"),
        ("{minAvailable: 2}", "{minAvailable: 1}", None),
        ("{minAvailable: 2}", "{minAvailable: 0}", "WeakensBudget"),
        ("{minAvailable: 2}", "{minAvailable: 50%}", "WeakensBudget"),
        ("{minAvailable: 2}", "{minAvailable: true}", "WeakensBudget"),
        ("{minAvailable: 2}", "{minAvailable: 2, maxUnavailable: 1}", None),
        ("{minAvailable: 2}", "{minAvailable: 2, maxUnavailable: 2}", "WeakensBudget"),
        ("name: raeder, namespace: other", "name: reader, namespace: shop", None),
        ("name: raeder, namespace: other", "name: raeder", None),
        ("name: raeder, namespace: other", "name: reader, namespace: other", "WidensRBAC"),
        ("name: raeder, namespace: other", "name: admin, namespace: shop", "WidensRBAC"),
        ("{kind: ServiceAccount, name: raeder, namespace: other}", "{kind: User, name: raeder, namespace: shop}", "WidensRBAC"),
        ("{kind: ServiceAccount, name: raeder, namespace: other}\n", "{kind: ServiceAccount, name: raeder, namespace: other}\n- {kind: ServiceAccount, name: x}\n", "WidensRBAC"),
        ("kind: Role, name: reader", "kind: ClusterRole, name: reader", "ChangeNotAllowed"),
        ("ingressClassName: ngnix", "ingressClassName: nginx", None),
        ("{name: wbe, port", "{name: web, port", None),
        ("{number: 80}", "{number: 81}", None),
        ("{number: 80}", "{name: http}", "AnotherApplication"),
        ("path: /", "path: /x", "ChangeNotAllowed"),
        ("verbs: [get]", "verbs: [get, list]", None),
        ("verbs: [get]", "verbs: [list]", "WidensRBAC"),
        ("verbs: [get]", "verbs: [get, '*']", "WidensRBAC"),
        ("verbs: [get]", "verbs: all", "WidensRBAC"),
        ("resources: [configmaps]", "resources: [configmaps, pods]", "ChangeNotAllowed"),
        ("  verbs: [get]\n", "  verbs: [get]\n- {apiGroups: [''], resources: [pods], verbs: [get]}\n", None),
        ("  verbs: [get]\n", "  verbs: [get]\n- {apiGroups: [''], resources: [secrets], verbs: [get]}\n", "WidensRBAC"),
        ("  verbs: [get]\n", "  verbs: [get]\n- {apiGroups: [''], resources: [pods], verbs: ['*']}\n", "WidensRBAC"),
        ("  verbs: [get]\n", "  verbs: [get]\n- {apiGroups: [''], resources: [pods, nodes], verbs: [get]}\n", "WidensRBAC"),
        ("  verbs: [get]\n", "  verbs: [get]\n- {nonResourceURLs: ['/x'], verbs: [get]}\n", "WidensRBAC"),
        ("  verbs: [get]\n", "  verbs: [get]\n- all\n", "WidensRBAC"),
        ("  verbs: [get]\n", "  verbs: [list]\n- {apiGroups: [''], resources: [pods], verbs: [get]}\n", "WidensRBAC"),
        ("- apiGroups: [\"\"]\n  resources: [configmaps]\n  verbs: [get]\n", "- x\n- y\n", "WidensRBAC"),
        ("rules:\n- apiGroups: [\"\"]\n  resources: [configmaps]\n  verbs: [get]\n", "rules: []\n", "WidensRBAC"),
        ("rules:\n- apiGroups: [\"\"]\n  resources: [configmaps]\n  verbs: [get]\n", "rules: all\n", "WidensRBAC"),
    ],
)  # fmt: skip
def test_the_gate_for_objects_around_a_workload(old: str, new: str, reason: str | None) -> None:
    assert gate(old, new) == reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("kubernetes.io/os: linx", "kubernetes.io/os: linux", None),
        ("        kubernetes.io/os: linx  # all of ours\n", "        {}\n", "ChangeNotAllowed"),
        ("values: [amd46]", "values: [amd64]", None),
        ("values: [amd46]", "values: [amd46, arm64]", "ChangeNotAllowed"),
        ("claimName: ledger-dta", "claimName: ledger-data", None),
        ("claimName: ledger-dta", "claimName: ''", "DeletesData"),
        ("{claimName: ledger-dta}", "{claimName: ledger-dta, readOnly: true}", "DeletesData"),
        ("sizeLimit: 8Mi", "sizeLimit: 16Mi", None),
        ("sizeLimit: 8Mi", "sizeLimit: 4Mi", "DeletesData"),
        ("emptyDir: {sizeLimit: 8Mi}", "emptyDir: {}", "DeletesData"),
        ("subPath: app.inii", "subPath: app.ini", None),
        (", subPath: app.inii", "", "DeletesData"),
        ("ephemeral-storage: 10Mi", "ephemeral-storage: 20Mi", None),
        ("tier: front", "tier: back", None),
        ("{app: web, tier: front}", "{app: web, tier: front, x: y}", "AnotherApplication"),
        ("      volumes:", "      imagePullSecrets: [{name: team}]\n      volumes:", None),
    ],
)
def test_the_gate_for_fields_of_a_workload(old: str, new: str, reason: str | None) -> None:
    assert gate(old, new, file=repo.FILE) == reason


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("kind: PersistentVolumeClaim\nmetadata: {name: x}\nspec: {accessModes: [ReadWriteOnce]}\n", None),
        ("kind: PersistentVolumeClaim\nmetadata: {name: x}\nspec: {volumeName: pv-1}\n", "NewDocument"),
        ("kind: PersistentVolumeClaim\nmetadata: {name: x}\nspec: [1]\n", "NewDocument"),
        ("kind: PersistentVolumeClaim\nmetadata: {name: x, namespace: other}\nspec: {}\n", "AnotherNamespace"),
        ("kind: Role\nmetadata: {name: x}\nrules: []\n", "NewDocument"),
    ],
)
def test_the_gate_for_new_objects(document: str, reason: str | None) -> None:
    assert gate("metadata: {name: front", "metadata: {name: front") == "NothingChanged"
    text = repo.FILES[AROUND].decode()
    tail = text[text.rindex("spec:") :]
    assert gate(tail, f"{tail}---\n{document}") == reason


def edit(path: tuple[str | int, ...], old: object, new: object, *, operation: Operation = Operation.SET, document: int = 0) -> Edit:
    return Edit(file="a.yaml", document=document, path=path, operation=operation, old=old, new=new, reason="")


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ("a: [x, y] # z\n", ["x", "y"], ["x", "y", "w", True], "a: [x, y, w, true] # z\n"),
        ("a: ['x']\n", ["x"], ["x", "it's"], "a: ['x', 'it''s']\n"),
        ('a: ["x"]\n', ["x"], ["x", "y"], 'a: ["x", "y"]\n'),
        ("a: [x]\n", ["x"], ["x", ""], "a: [x, '']\n"),
        ("a:\n- x   # one\n\nb: 1\n", ["x"], ["x", "y"], "a:\n- x   # one\n- y\n\nb: 1\n"),
        ("a:\n  - b: 1\n    c: [1,\n      2]\n# end", [{"b": 1, "c": [1, 2]}], [{"b": 1, "c": [1, 2]}, {"d": "e"}], "a:\n  - b: 1\n    c: [1,\n      2]\n  - d: e\n# end"),
        ("a:\n- x", ["x"], ["x", "y"], "a:\n- x\n- y\n"),
        ("a:\r\n- x\r\nb: 1\r\n", ["x"], ["x", "y"], "a:\r\n- x\r\n- y\r\nb: 1\r\n"),
    ],
)
def test_items_are_added_at_the_end_of_a_list(text: str, old: list[object], new: list[object], expected: str) -> None:
    assert editing.apply_edit(text.encode(), edit(("a",), old, new)).decode() == expected


@pytest.mark.parametrize(
    ("text", "old", "new"), [("a: [x]\n", ["x"], ["y", "x"]), ("a: [x]\n", ["x"], ["x"]), ("a: []\n", [], ["x"]), ("a: [x]\n", ["x"], "x")]
)
def test_other_changes_of_lists_are_made_by_the_library(text: str, old: object, new: object) -> None:
    changed = editing.apply_edit(text.encode(), edit(("a",), old, new))
    assert documents.parse(changed, "a.yaml").values == ({"a": new},)


def test_a_list_that_is_merged_in_is_not_extended() -> None:
    with pytest.raises(Refusal):
        editing.apply_edit(b"b: &m\n  a: [x]\nc:\n  <<: *m\n", edit(("c", "a"), ["x"], ["x", "y"]))


def test_a_document_that_would_read_back_differently_is_not_added() -> None:
    add = edit((), None, {"b": dt.date(2026, 1, 1)}, operation=Operation.ADD, document=1)
    with pytest.raises(Refusal):
        editing.apply_edit(b"a: 1\n", add)


def test_a_list_behind_an_alias_is_not_extended() -> None:
    text = b"b: &l [x]\na: *l\n"
    with pytest.raises(Refusal):
        editing.apply_edit(text, edit(("a",), ["x"], ["x", "y"]))


@pytest.mark.parametrize(("text", "expected"), [("a: 1\n", "a: 1\n---\nb: 2\n"), ("a: 1", "a: 1\n---\nb: 2\n"), ("a: 1\r\n", "a: 1\r\n---\r\nb: 2\r\n")])
def test_a_document_is_added_at_the_end_of_a_file(text: str, expected: str) -> None:
    add = edit((), None, {"b": 2}, operation=Operation.ADD, document=1)
    assert editing.apply_edit(text.encode(), add).decode() == expected


@pytest.mark.parametrize(
    ("text", "operation", "document"), [("a: 1\n", Operation.SET, 1), ("a: 1\n", Operation.ADD, 0), ("a: 1\n---\n# nothing\n", Operation.ADD, 1), ("a: |+\n  x\n", Operation.ADD, 2)]
)
def test_a_document_that_cannot_be_added(text: str, operation: Operation, document: int) -> None:
    with pytest.raises(Refusal) as caught:
        editing.apply_edit(text.encode(), edit((), None, {"b": 2}, operation=operation, document=document))
    assert caught.value.reason == "EditImpossible"
