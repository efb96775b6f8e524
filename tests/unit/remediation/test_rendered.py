"""What is rendered, as objects: identity, names with hashes, differences, and files that fixes edit."""

from __future__ import annotations

from typing import Any

import pytest

from selfheal.remediation import rendered
from selfheal.remediation.edits import Refusal
from selfheal.remediation.rendered import Change, Identity

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-4h2mbtbbt6, namespace: shop}\ndata: {A: 'settings-4h2mbtbbt6'}\n"
WEB = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {from: [settings-4h2mbtbbt6], x: 1}\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s-4h2mbtbbt6}\n"
CRD = 'apiVersion: apiextensions.k8s.io/v1\nkind: "CustomResourceDefinition"\nmetadata: {name: x}\nspec: {a: [}\n'


def objects(*texts: str) -> dict[Identity, Any]:
    return rendered.by_identity([rendered.load(text) for text in texts])


def test_output_is_split_at_its_documents() -> None:
    output = f"---\n# Source: shop/templates/a.yaml\n{CONFIG}--- # next\n{WEB}---\n\n---\n# nothing\n---\r\n{SECRET}"
    texts = rendered.split(output)
    assert [rendered.load(text)["kind"] for text in texts] == ["ConfigMap", "Deployment", "Secret"]


def test_a_rule_inside_a_block_is_no_separator() -> None:
    text = "kind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    a\nother: ---x\n"
    assert len(rendered.split(text)) == 1


def test_definitions_of_kinds_are_not_read() -> None:
    (text,) = rendered.split(CRD)
    one, other = rendered.load(text), rendered.load(text.replace("x}", "y}"))
    assert one["kind"] == "CustomResourceDefinition"
    assert one != other


@pytest.mark.parametrize("text", ["a: b\n", "- a\n", "a: [\n"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        rendered.split(text)
    assert caught.value.reason == "SourceUnreadable"


def test_what_is_loaded_is_ones_own() -> None:
    rendered.load(WEB)["spec"]["x"] = 2
    assert rendered.load(WEB)["spec"]["x"] == 1


def test_objects_as_files_without_secrets_and_definitions() -> None:
    files = rendered.virtual_files([CONFIG, WEB, SECRET, CRD, WEB], "apps/live")
    assert list(files) == [
        "apps/live/~rendered/configmap-settings-4h2mbtbbt6.0.yaml",
        "apps/live/~rendered/deployment-web.0.yaml", "apps/live/~rendered/deployment-web.1.yaml",
    ]  # fmt: skip
    assert list(rendered.virtual_files([WEB], "")) == ["~rendered/deployment-web.0.yaml"]
    assert all(map(rendered.is_virtual, files))
    assert not rendered.is_virtual("apps/rendered/web.yaml")


def test_hashes_of_generated_names_are_no_change() -> None:
    after = objects(*(text.replace("4h2mbtbbt6", "f655md8fbd") for text in (CONFIG, WEB, SECRET)))
    before = objects(CONFIG, WEB, SECRET)
    assert rendered.find_changes(before, after) == frozenset()
    assert Identity(group="", kind="ConfigMap", namespace="shop", name="settings") in before
    named = objects(WEB.replace("web}", "web-4h2mbtbbt6}"))
    assert [identity.name for identity in named] == ["web-4h2mbtbbt6"]


def test_differences_are_leaves_of_objects() -> None:
    web = Identity(group="apps", kind="Deployment", namespace="", name="web")
    found = rendered.find_changes(objects(WEB, SECRET), objects(WEB.replace("x: 1", "x: 2")))
    assert found == {
        Change(identity=web, path=("spec", "x"), now="int 1", wanted="int 2"),
        Change(
            identity=Identity(group="", kind="Secret", namespace="", name="s"), path=(),
            now="dict {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 's'}}", wanted="NoneType None",
        ),
    }  # fmt: skip
    assert str(web) == "Deployment web"
